"""The main command: what it passes on, and a user's mistake as exit status 2, one line that names key, value and what
was expected, and no trace."""

import os
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

import bottleneck
from bottleneck import config as configs
from bottleneck import main, study, supervision
from bottleneck.processes import Place

TINY = pathlib.Path(__file__).with_name("tiny.py")


def command(*arguments, timeout=120, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "bottleneck.main", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout, done.stderr


def snapshot(folder):
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*") if p.is_file()
    }


@pytest.fixture
def calls(monkeypatch):
    """Calls of execute.study, which does nothing but return the last exit status of `calls.status`."""
    made = types.SimpleNamespace(all=[], status=0)

    def study(config, workdir, **options):
        made.all.append((config, workdir, options))
        return made.status

    module = types.ModuleType("bottleneck.execute")
    module.study = study
    monkeypatch.setitem(sys.modules, "bottleneck.execute", module)
    monkeypatch.setattr(bottleneck, "execute", module, raising=False)
    return made


DEFAULTS = dict(stage="all", shard=(0, 1), dry_run=False, speed=None, retrain=False, output=None)


def test_what_a_command_passes_on(calls, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main.main(["main", f"--config={TINY}"]) == 0
    config, workdir, options = calls.all[-1]
    assert (config.to_dict(), workdir, options) == (configs.load(str(TINY)).to_dict(), None, DEFAULTS)
    calls.status = 3
    given = "--stage=report --shard 2/4 --dry_run --images_per_second=5e2 --retrain --output=~/out --workdir ~/work"
    assert main.main(["main", f"--config={TINY}:steps=7", "--config.seeds=3", *given.split()]) == 3
    config, workdir, options = calls.all[-1]
    assert (config.train.steps, config.seeds, workdir) == (7, 3, tmp_path / "work")
    assert options == dict(
        stage="report", shard=(2, 4), dry_run=True, speed=500.0, retrain=True, output=tmp_path / "out"
    )


def test_nothing_of_one_call_is_left_to_the_next(calls, monkeypatch):
    """Whatever sys.argv says."""
    monkeypatch.setattr(sys, "argv", ["kernel", "-f", "connection.json"])
    first = [f"--config={TINY}", "--workdir=w", "--dry_run", "--config.seeds=7", "--config.model.width=16"]
    for argv in (first, first[:1], first, [*first[:1], "--nonsense"], first[:1]):
        main.main(["main", *argv])
    assert [(c.seeds, c.model.width, str(w), o["dry_run"]) for c, w, o in calls.all] == [
        (7, 16, "w", True),
        (2, 8, "None", False),
        (7, 16, "w", True),
        (2, 8, "None", False),
    ]


OVERRIDES = [
    ("analysis.kinds", "ladder,cka", ("ladder", "cka")),
    ("probe.shots", "4", (4,)),
    ("train.steps", "1e2", 100),
    ("train.steps", "5 epochs", "5 epochs"),
    ("keep", "1/4,10", ("1/4", 10)),
    ("optimizer.clip", "2", 2.0),
    ("optimizer.clip", "None", None),
    ("mixture.competitor", "colour", "colour"),
    ("mixture.weights.first", "1", 1.0),
    ("data.image_size", "8,16", (8, 16)),
    ("data.train", "1e3", 1000),
    ("augment.flip", "true", True),
    ("components.first.source.size", "0.4,0.5", (0.4, 0.5)),
    ("components.first.source.reliability.shape", "1", 1.0),
    ("components.first.transforms.blur.radius", "1", 1.0),
    ("components.first.transforms.mine", "{'name': 'blur'}", {"name": "blur"}),
    ("components.third.source.name", "tfds", "tfds"),
    ("representations.cat.members", "mixture/*@last:features", "mixture/*@last:features"),
    ("representations.cat.n", "2", 2),
    ("model.width", "1e2", 100),
]


@pytest.mark.parametrize(("key", "text", "value"), OVERRIDES)
def test_overrides_are_typed_by_the_spec(key, text, value, calls):
    """The study file holds other types, or nothing, at these keys."""
    assert main.main(["main", f"--config={TINY}", f"--config.{key}={text}"]) == 0
    held = configs.to_dict(calls.all[-1][0])
    for part in key.split("."):
        held = held[part]
    assert held == value and type(held) is type(value)


def test_a_word_that_names_another_spec_is_read_by_that_one(calls):
    more = ["--config.model.name=resnet", "--config.model.width=0.5"]
    assert main.main(["main", f"--config={TINY}", *more]) == 0 and calls.all[-1][0].model.width == 0.5


SPELLINGS = {
    "--config.seeds 3": "--config.seeds=3, with an equals sign",
    "--seeds=3": "--config.seeds=3",
    "--seeds 3": "--config.seeds=3",
    "seeds=3": "--config.seeds=3",
    "--optimizer.lr=1": "--config.optimizer.lr=1",
    "--lr=1": "--config.optimizer.lr=1 or --config.grid.lr=1",
    "--mixture.weights.first=1": "--config.mixture.weights.first=1",
    "configs/rich.py": "--config=configs/rich.py",
    "--dry-run": "'--dry_run'",
    "--stages=all": "'--stage'",
    "--work_dir=w": "'--workdir'",
}


@pytest.mark.parametrize("given", SPELLINGS)
def test_other_spellings_are_answered_with_the_right_one(given, calls, capsys):
    assert main.main(["main", f"--config={TINY}", *given.split()]) == 2 and not calls.all
    error = capsys.readouterr().err
    assert SPELLINGS[given] in error and error.count("\n") == 1


def test_a_signal_is_unfinished(calls, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(bottleneck.execute, "study", interrupted)
    assert main.main(["main", f"--config={TINY}"]) == 3
    assert capsys.readouterr() == ("", "stopped: saved; the same command goes on\n")


def test_one_of_several_processes_has_a_parent(calls, monkeypatch):
    asked = []
    monkeypatch.setattr(supervision, "supervise", lambda argv, where: asked.append((argv, where)) or 3)
    argv = ["main", f"--config={TINY}", "--coordinator=localhost:1234", "--processes=2", "--process=1"]
    assert main.main(argv) == 3 and asked == [(argv, Place("localhost:1234", 2, 1))] and not calls.all
    assert main.main(["main", f"--config={TINY}", "--processes=1"]) == 0 and len(calls.all) == 1


def test_every_flag_is_in_the_help(capsys):
    assert main.main(["main", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in main.FLAGS) and "exit status" in shown and "--config.seeds=3" in shown


def test_a_dictionary_of_no_known_name_has_no_spec():
    assert study.spec_of(("model",), {"name": "alexnet"}) is None is study.spec_of(("model",), {})
    assert study.spec_of(("components", "a", "source"), {"name": "imagenet"}) is None
    assert study.spec_of(("components", "a", "transforms", "sharpen"), {}) is None
    assert study.spec_of(("components", "a"), {"name": "mlp"}) is None


@pytest.fixture
def run(tmp_path, capsys):
    """run("--config.a=1", ...) -> (exit status, standard error), in this process; it works in tmp_path/work."""

    def call(*arguments, config=TINY):
        status = main.main(["main", f"--config={config}", f"--workdir={tmp_path / 'work'}", *arguments])
        return status, capsys.readouterr().err

    return call


@pytest.fixture
def refused(run, tmp_path):
    """Asserts that a call is refused in one line that holds all of `words`, and that nothing was written."""

    def call(*arguments, words=(), **options):
        before = snapshot(tmp_path)
        status, errors = run(*arguments, **options)
        assert status == 2, errors
        lines = errors.splitlines()
        assert len(lines) == 1 and re.match(r"error: [^=]+=.*: expected .+", lines[0]), errors
        assert len(lines[0]) < 700 and not [w for w in words if w not in lines[0]], lines[0]
        assert snapshot(tmp_path) == before and not (tmp_path / "work").is_dir()

    return call


CONFIG_MISTAKES = [
    # a string where a number belongs, a number where text belongs, and other types
    ("optimizer.lr", "fast", "a number"),
    ("train.batch", "many", "an integer"),
    ("seeds", "five", "an integer"),
    ("seeds", "2.5", "an integer"),
    ("optimizer.nesterov", "3", "True or False"),
    ("optimizer.clip", "tight", "a number or None"),
    ("mixture.weights.first", "most", "a number"),
    ("data.image_size", "big", "an integer or"),
    ("data.train", "all", "an integer or None"),
    ("components.first.source.noise", "loud", "a number"),
    ("optimizer.lr", "None", "a number"),
    ("optimizer.lr", "nan", "a number"),
    ("model.width", "wide", "an integer"),
    # out of range
    ("train.steps", "0", "at least one step"),
    ("train.steps", "-3", "steps"),
    ("train.steps", "5 parsecs", "'5 epochs'"),
    ("seeds", "0", "at least 1"),
    ("train.batch", "0", "at least 1"),
    ("optimizer.lr", "-1", "at least 0"),
    ("model.width", "0", "at least 1"),
    ("data.test", "0", "at least 1"),
    ("objective.label_smoothing", "1.0", "[0, 1"),
    ("keep", "21", "at most 20"),
    ("keep", "1/0", "a fraction"),
    ("augment.crop", "8", "less than the image's sides"),
    ("seed_offset", "10000000000", "below"),
    # weights
    ("mixture.weights.first", "-0.1", "at least 0"),
    ("mixture.weights", "{'first': 0, 'second': 0}", "positive"),
    ("mixture.weights", "{'first': 1}", "'second'"),
    ("mixture.weights", "{'first': 1, 'second': 1, 'third': 1}", "first, second"),
    # unknown names
    ("components.first.source.name", "imagenet", "one of factors, arrays"),
    ("model.name", "alexnet", "one of mlp"),
    ("components.first.transforms", "{'sharpen': {}}", "blur"),
    ("arms", "mixture,direct,wishful", "wishful"),
    ("arms", "mixture,longer", "'direct' among them"),
    ("optimizer.name", "lion", "'sgd', 'adam', 'adamw'"),
    ("train.dtype", "float16", "'bfloat16'"),
    ("probe.protocols", "linear_probe,guess", "protocols among"),
    ("probe.layer", "layer9", "layer1, features"),
    ("mixture.label_space", "common", "'shared'"),
    ("train.speed", "fast", "a known key"),
    ("speed", "3", "a known key"),
    ("trian.steps", "5", "did you mean 'train'?"),
    ("model.name.x", "5", "no keys"),
    ("model.widht", "5", "a known key (did you mean 'width'?); here: name, width"),
    ("optimizer.lr.max", "5", "no keys"),
    ("components.first.source.noise.max", "5", "no key"),
    ("components.first.source.sise", "(0.4, 0.5)", "a known key"),
    ("mixture.competitor", "colour", "'randomised'"),
    ("representations", "{'r': {'members': 'mixture/*@last:layer9'}}", "layer1, features"),
    ("representations", "{'mixture': {'members': 'mixture/*@last:features'}}", "other than"),
    ("representations", "{'r': {'members': 'mixture'}}", "source/seed@step:layer"),
    ("train.dtype", "float64", "JAX_ENABLE_X64=1"),
]


@pytest.mark.parametrize(("key", "value", "expected"), CONFIG_MISTAKES)
def test_mistakes_in_a_config(key, value, expected, refused):
    leaf = key.split(".")[-1] if key not in ("mixture.weights.first",) else "weights"
    refused(f"--config.{key}={value}", words=(leaf, expected))


def test_numbers_given_as_text_in_a_config_file(refused, tmp_path):
    text = (
        f"import pathlib\nfrom bottleneck import config\nBASE = pathlib.Path({str(TINY)!r})\n"
        "def get_config():\n    c = config.get(BASE)\n    c.optimizer = dict(name='sgd', lr='0.1')\n    return c\n"
    )
    (tmp_path / "mine.py").write_text(text)
    refused(config=tmp_path / "mine.py", words=("optimizer.lr='0.1'", "a number"))


def test_a_config_file_that_fails_or_is_missing(refused, tmp_path):
    refused(config=tmp_path / "absent.py", words=("absent.py", "a Python file"))
    (tmp_path / "broken.py").write_text("def get_config():\n    return 1 / 0\n")
    refused(config=tmp_path / "broken.py", words=("line 2", "ZeroDivisionError"))
    refused(config=f"{TINY}:speed=3", words=("speed=3", "one of steps"))


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--stage=train", ("--stage='train'", "pretrain, transfer")),
        ("--shard=3", ("--shard='3'", "i/n")),
        ("--shard=0/0", ("--shard='0/0'", "i/n")),
        ("--process=1", ("--process", "--coordinator, --processes not")),
        ("--shard=2/2", ("--shard='2/2'",)),
        ("--images_per_second=100", ("--images_per_second='100'", "with --dry_run")),
        ("--nonsense", ("nonsense",)),
        ("stray", ("stray", "no further argument")),
        ("--workdir=", ("--workdir=DIR",)),
        ("--workdir=gs://bucket/run", ("--workdir='gs://bucket/run'", "a directory of a file system")),
        ("--output=s3://bucket/run", ("--output='s3://bucket/run'", "a directory of a file system")),
        ("--stage=", ("--stage=STAGE",)),
        ("--dry_run=perhaps", ("dry_run",)),
    ],
)
def test_mistakes_on_the_command_line(argument, words, refused):
    refused(argument, words=words)


def test_work_directory_that_is_a_file(run, tmp_path):
    (tmp_path / "work").write_text("mine")
    for name in ("work", "work/deeper"):
        status, errors = run(f"--workdir={tmp_path / name}")
        assert status == 2 and len(errors.splitlines()) == 1 and "--workdir" in errors and "a directory" in errors
    assert (tmp_path / "work").read_text() == "mine" and list(tmp_path.iterdir()) == [tmp_path / "work"]


def arrays(path, **changes):
    """A valid .npz of gray images, with arrays changed; returns the overrides of a study of it."""
    rng = np.random.default_rng(0)
    content = {
        "x_train": rng.integers(0, 256, (60, 8, 8), dtype=np.uint8),
        "y_train": np.arange(60) % 2,
        "x_test": rng.integers(0, 256, (20, 8, 8), dtype=np.uint8),
        "y_test": np.arange(20) % 2,
    }
    content.update({k: v(content[k]) for k, v in changes.items()})
    np.savez(path, **{k: v for k, v in content.items() if v is not None})
    return source(name="arrays", path=str(path))


def source(**fields):
    return [
        f"--config.components.first.source={fields}",
        "--config.data.train=None",
        "--config.data.test=None",
        "--config.data.probe=10",
        "--config.data.val=10",
        "--config.components.second.sizes={'train': 20, 'test': 20}",
    ]


def test_valid_arrays_are_accepted(run, tmp_path):
    """The baseline of the next test: without its changes it would run."""
    status, errors = run(*arrays(tmp_path / "a.npz"), "--dry_run")
    assert status == 0, errors


ARRAY_MISTAKES = {
    "labels of the wrong length": (dict(y_train=lambda y: y[:-1]), "y_train"),
    "test labels too": (dict(y_test=lambda y: y[:-1]), "y_test"),
    "float images": (dict(x_train=lambda x: x / np.float32(255)), "float32"),
    "NaN images": (dict(x_test=lambda x: np.where(x > 9, np.nan, x)), "NaN"),
    "wide integers": (dict(x_train=lambda x: x.astype(np.int64)), "int64"),
    "a class absent from train": (dict(y_test=lambda y: y + 1), "absent: 2"),
    "a class of too few items": (dict(y_train=lambda y: np.where(np.arange(60) == 0, 2, y)), "'2'"),
    "no such array": (dict(y_test=lambda y: None), "y_test"),
    "negative labels": (dict(y_train=lambda y: y - 1), "y_train"),
    "float labels": (dict(y_train=lambda y: y * 1.0), "float64"),
    "no images": (dict(x_train=lambda x: x[:0], y_train=lambda y: y[:0]), "x_train"),
    "pickled objects": (dict(y_train=lambda y: y.astype(object)), "pickled"),
}


@pytest.mark.parametrize("mistake", ARRAY_MISTAKES)
def test_mistakes_in_arrays(mistake, refused, tmp_path):
    changes, word = ARRAY_MISTAKES[mistake]
    refused(*arrays(tmp_path / "a.npz", **changes), words=("components.first.", word))


def test_missing_and_truncated_arrays(refused, tmp_path):
    overrides = arrays(tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.npz").write_bytes(whole[:size])
        refused(*overrides, words=("components.first.source.path", "a.npz", "complete .npz file" if size else ".npz"))
    (tmp_path / "a.npz").unlink()
    refused(*overrides, words=("components.first.source.path", "a.npz", "a readable .npz file"))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 5)):
        for name in ("cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
                    tmp_path / "images" / split / name / f"{i:02}.png"
                )
    return tmp_path / "images"


def test_an_unreadable_image_is_named(run, refused, folder):
    overrides = [*source(name="folder", path=str(folder)), "--config.mixture.label_space=disjoint"]
    assert run(*overrides, "--dry_run")[0] == 0
    for split, name in (("test", "cat/03.png"), ("train", "dog/17.png")):
        path = folder / split / name
        whole = path.read_bytes()
        for content in (b"no image", whole[: len(whole) // 2], b""):
            path.write_bytes(content)
            refused(*overrides, words=("components.first.source.path", name, "a readable image"))
        path.write_bytes(whole)


def test_folders_that_are_none(refused, folder, tmp_path):
    refused(
        *source(name="folder", path=str(tmp_path / "absent")),
        words=("components.first.source.path", "absent", "a folder"),
    )
    (folder / "test" / "bird").mkdir()
    os.rename(folder / "test" / "cat" / "00.png", folder / "test" / "bird" / "00.png")
    refused(*source(name="folder", path=str(folder)), words=("components.first", "bird", "absent from train"))


def test_finished_study_is_left_as_it_is(tmp_path):
    """As real processes: run, run again (by other means of output), run with a mistake."""
    arguments = [f"--config={TINY}:steps=6", f"--workdir={tmp_path / 'work'}", "--config.seeds=1"]
    status, shown, errors = command(*arguments)
    assert status == 0, errors
    assert "first" in shown and "report" in shown
    results = (tmp_path / "work" / "results.jsonl").read_bytes()
    work = {
        k: v for k, v in snapshot(tmp_path / "work").items() if k.startswith(("runs", "features")) or k.endswith(".npz")
    }
    status, _, errors = command(*arguments, MPLBACKEND="nonsense", PYTHONIOENCODING="ascii")
    assert status == 0 and (tmp_path / "work" / "results.jsonl").read_bytes() == results, errors
    assert {k: v for k, v in snapshot(tmp_path / "work").items() if k in work} == work
    before = snapshot(tmp_path / "work")
    status, shown, errors = command(*arguments, "--config.optimizer.lr=fast")
    assert (status, shown, errors) == (2, "", "error: --config.optimizer.lr='fast': expected a number\n") and snapshot(
        tmp_path / "work"
    ) == before


def test_help_unknown_flag_and_no_config():
    status, shown, errors = command("--help")
    assert status == 0 and "--config" in shown and "--workdir" in shown and not errors
    for arguments, words in ((["--nonsense=1"], "nonsense"), ([], "--config=FILE.py")):
        status, shown, errors = command(*arguments)
        assert status == 2 and not shown and len(errors.splitlines()) == 1 and words in errors


def test_dry_run_prints_a_plan_and_writes_nothing(run, tmp_path):
    assert run("--dry_run")[0] == 0
    assert list(tmp_path.iterdir()) == []
