"""The command line: a user's mistake is exit status 2, one line that names key, value and what was expected, and no trace."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image

from bottleneck import main

TINY = pathlib.Path(__file__).with_name("tiny.py")


def command(*arguments, timeout=120):
    done = subprocess.run(
        [sys.executable, "-m", "bottleneck.main", *arguments], capture_output=True, text=True, timeout=timeout
    )
    return done.returncode, done.stdout, done.stderr


def snapshot(folder):
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*") if p.is_file()
    }


@pytest.fixture
def run(tmp_path, capsys):
    """run("--config.a=1", ...) -> (exit status, standard error), in this process; the work directory is tmp_path/work."""

    def call(*arguments, config=TINY):
        values = flags.FLAGS
        for name in ("config", "workdir", "stage", "shard", "dry_run", "help"):
            values[name].unparse()
        try:
            status = main.main(["main", f"--config={config}", f"--workdir={tmp_path / 'work'}", *arguments])
        finally:
            for name in ("config", "workdir", "stage", "shard", "dry_run", "help"):
                values[name].unparse()
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
        assert len(lines[0]) < 500 and not [w for w in words if w not in lines[0]], lines[0]
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
    ("arms", "mixture,direct,wishful", "mixture, direct, matched"),
    ("arms", "mixture", "'direct' among them"),
    ("optimizer.name", "adam", "'sgd', 'adamw'"),
    ("train.dtype", "float16", "'bfloat16'"),
    ("probe.protocols", "linear_probe,guess", "protocols among"),
    ("probe.layer", "layer9", "layer1, features"),
    ("mixture.label_space", "common", "'shared'"),
    ("train.speed", "fast", "a known key"),
    ("speed", "3", "a known key"),
    ("trian.steps", "5", "a known key"),
    ("model.widht", "5", "a known key; here: width"),
    ("optimizer.lr.max", "5", "no keys"),
    ("components.first.source.sise", "(0.4, 0.5)", "a known key"),
    ("mixture.competitor", "colour", "'randomised'"),
    ("representations", "{'r': {'members': 'mixture/*@last:layer9'}}", "layer1, features"),
    ("representations", "{'mixture': {'members': 'mixture/*@last:features'}}", "other than"),
    ("representations", "{'r': {'members': 'mixture'}}", "run/seed@step:layer"),
    ("train.dtype", "float64", "JAX_ENABLE_X64=1"),
]


@pytest.mark.parametrize(("key", "value", "expected"), CONFIG_MISTAKES)
def test_mistakes_in_a_config(key, value, expected, refused):
    leaf = key.split(".")[-1] if key not in ("mixture.weights.first",) else "weights"
    refused(f"--config.{key}={value}", words=(leaf, expected))


def test_numbers_given_as_text_in_a_config_file(refused, tmp_path):
    text = (
        f"from importlib import util\nspec = util.spec_from_file_location('tiny', {str(TINY)!r})\nbase = util.module_from_spec(spec)\n"
        "spec.loader.exec_module(base)\ndef get_config(arg=''):\n    c = base.get_config()\n    c.optimizer = dict(name='sgd', lr='0.1')\n    return c\n"
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
        ("--shard=2/2", ("--shard='2/2'",)),
        ("--nonsense", ("nonsense",)),
        ("stray", ("stray", "--config=FILE.py")),
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
    overrides = source(name="folder", path=str(folder))
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
    """As real processes: run, run again, run with a mistake."""
    arguments = [f"--config={TINY}:steps=6", f"--workdir={tmp_path / 'work'}", "--config.seeds=1"]
    status, shown, errors = command(*arguments)
    assert status == 0, errors
    assert "first" in shown and "report" in shown
    results = (tmp_path / "work" / "results.jsonl").read_bytes()
    work = {
        k: v for k, v in snapshot(tmp_path / "work").items() if k.startswith(("runs", "features")) or k.endswith(".npz")
    }
    status, _, errors = command(*arguments)
    assert status == 0 and (tmp_path / "work" / "results.jsonl").read_bytes() == results, errors
    assert {k: v for k, v in snapshot(tmp_path / "work").items() if k in work} == work
    before = snapshot(tmp_path / "work")
    status, shown, errors = command(*arguments, "--config.optimizer.lr=fast")
    assert (status, shown, errors) == (2, "", "error: optimizer.lr='fast': expected a number\n") and snapshot(
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
