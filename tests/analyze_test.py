"""`python -m bottleneck.analyze`: of a work directory, and of features from elsewhere."""

import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

import bottleneck
from bottleneck import analyze, identity


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Three seeds whose direct features hold the label and whose mixture features hold a third of it."""
    folder, rng = tmp_path_factory.mktemp("arrays"), np.random.default_rng(0)
    labels = rng.integers(0, 3, 900)
    for seed in range(3):
        signal = np.eye(3)[labels] @ rng.normal(size=(3, 16))
        np.save(folder / f"d{seed}.npy", (signal + rng.normal(size=(900, 16))).astype(np.float32))
        np.save(folder / f"m{seed}.npy", (signal / 5 + rng.normal(size=(900, 16))).astype(np.float32))
    np.save(folder / "y.npy", labels)
    np.save(folder / "g.npy", rng.choice(["left", "right"], 900))
    return folder


def command(folder, *more):
    names = {arm: ",".join(str(folder / f"{arm}{s}.npy") for s in range(3)) for arm in "md"}
    return ["--mixture", names["m"], "--direct", names["d"], "--labels", str(folder / "y.npy"), *more]


def test_given_features_get_a_verdict_without_jax(arrays):
    code = "import sys; from bottleneck import analyze; print(analyze.main(sys.argv), 'jax' in sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", code, *command(arrays, "--groups", str(arrays / "g.npy"))],
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("The target is lost: ") and "left" in child.stdout and "right" in child.stdout
    assert child.stdout.endswith("0 False\n")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--labels", "missing.npy"), "--labels='missing.npy': expected a .npy array"),
        (("--groups", "missing.npy"), "--groups='missing.npy'"),
        (("--grups", "g.npy"), "--grups='g.npy': expected a known flag (did you mean '--groups'?)"),
        (("somewhere",), "command line="),
        (("--selftest",), "command line="),
        (("--output=out",), "command line="),
        (("--config=abc",), "command line="),
    ],
)
def test_mistakes_are_one_line(arrays, change, named, capsys):
    assert analyze.main(["analyze", *command(arrays, *change)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {named}") and error.count("\n") == 1


def test_arrays_that_are_none_or_not_enough(arrays, tmp_path, capsys):
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "scalar.npy", 3)
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    for name in ("text", "scalar", "objects"):
        assert analyze.main(["analyze", *command(arrays, "--labels", str(tmp_path / f"{name}.npy"))]) == 2
        assert "error: --labels=" in capsys.readouterr().err
    assert analyze.main(["analyze", *command(arrays)[:4]]) == 2
    assert "--labels='': expected all of" in capsys.readouterr().err


def test_one_file_is_not_two_seeds(arrays, capsys, monkeypatch):
    monkeypatch.chdir(arrays)
    one, same = "m0.npy", str(arrays / "." / "m0.npy")
    assert analyze.main(["analyze", *command(arrays), "--mixture", f"{one},{same}"]) == 2
    assert capsys.readouterr().err.startswith(f"error: --mixture={same!r}: expected another file for every seed")


def test_arrays_of_other_lengths_are_refused(arrays, tmp_path, capsys):
    np.save(tmp_path / "short.npy", np.arange(899) % 2)
    assert analyze.main(["analyze", *command(arrays, "--labels", str(tmp_path / "short.npy"))]) == 2
    assert "899 rows" in capsys.readouterr().err


@pytest.fixture
def stages(monkeypatch):
    """What is asked of execute, which does nothing: (stages or "compare", what was given); `status` of a study."""
    module, module.asked, module.status = types.ModuleType("bottleneck.execute"), [], 0

    def study(config, workdir, **options):
        module.asked.append((options.pop("stage"), (config.to_dict(), workdir, options)))
        return module.status

    module.study = study
    module.compare = lambda first, second, **options: module.asked.append(("compare", (first[1], second[1], options)))
    monkeypatch.setitem(sys.modules, "bottleneck.execute", module)
    monkeypatch.setattr(bottleneck, "execute", module, raising=False)
    return module


ALL = ("transfer", "analyze", "report")
HASHES = {
    name: identity.digest(dict(name=name, train=dict(steps=age)), 12) for age, name in enumerate(("abd", "abc", "xyz"))
}


@pytest.fixture
def workdir(tmp_path):
    """A work directory of three studies; the newest is `abd`."""
    (tmp_path / "work" / "configs").mkdir(parents=True)
    for age, name in enumerate(("abd", "abc", "xyz")):
        path = tmp_path / "work" / "configs" / f"{HASHES[name]}.json"
        path.write_text(json.dumps(dict(name=name, train=dict(steps=age))))
        os.utime(path, (1e9 - age, 1e9 - age))
    return tmp_path / "work"


def test_a_work_directory_goes_through_the_stages_that_train_nothing(stages, workdir):
    assert analyze.main(["analyze", str(workdir)]) == 0
    plain = dict(name="abd", train=dict(steps=0))
    assert stages.asked == [(ALL, (plain, workdir, {"output": None}))]
    stages.asked.clear()
    assert (
        analyze.main(["analyze", str(workdir), "--config", HASHES["abc"], "--output", "out", f"--compare={workdir}"])
        == 0
    )
    assert [stage for stage, _ in stages.asked] == [ALL, "compare"]
    assert stages.asked[0][1][0]["name"] == "abc" and stages.asked[0][1][2] == {"output": pathlib.Path("out")}
    assert stages.asked[1][1] == (workdir, workdir, {"output": pathlib.Path("out")})


def test_an_unfinished_stage_ends_the_command(stages, workdir):
    stages.status = 3
    assert analyze.main(["analyze", str(workdir), "--compare", str(workdir)]) == 3
    assert [stage for stage, _ in stages.asked] == [ALL]


@pytest.mark.parametrize("kinds", [("study", "audit"), ("audit", "study"), ("audit", "audit")])
def test_audits_are_not_compared_like_studies(stages, tmp_path, kinds, capsys):
    for place, kind in zip("ab", kinds):
        plain = {"name": "x", **({"networks": {"n": {"uses": "saved"}}} if kind == "audit" else {})}
        path = tmp_path / place / "configs" / f"{identity.digest(plain, 12)}.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(plain))
    assert analyze.main(["analyze", str(tmp_path / "a"), "--compare", str(tmp_path / "b")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --compare=") and "two studies" in said and said.count("\n") == 1 and not stages.asked


def test_a_directory_that_cannot_be_written_is_reported_on(stages, workdir, monkeypatch):
    monkeypatch.setattr(analyze.os, "access", lambda path, mode: False)  # permissions do not bind an administrator
    assert analyze.main(["analyze", str(workdir), "--output=out"]) == 0
    assert [stage for stage, _ in stages.asked] == [("report",)]


def test_which_study(stages, workdir, capsys, tmp_path):
    for hash_, name in (("", "abd"), (HASHES["xyz"][:6], "xyz"), (HASHES["abc"], "abc")):
        assert analyze.stored(workdir, hash_).name == name
    assert analyze.main(["analyze", str(workdir), "--config=nothing"]) == 2
    assert "--config='nothing'" in (error := capsys.readouterr().err) and ", ".join(sorted(HASHES.values())) in error
    assert analyze.main(["analyze", str(tmp_path / "nowhere")]) == 2
    said = capsys.readouterr().err
    assert "workdir=" in said and "there is no such directory" in said
    held = workdir / "configs" / f"{HASHES['xyz']}.json"
    for damaged in (held.read_text()[:20], held.read_text().replace('"steps": 2', '"steps": 3')):
        held.write_text(damaged)
        assert analyze.main(["analyze", str(workdir), f"--config={HASHES['xyz']}"]) == 2
        assert "a config as it was written" in capsys.readouterr().err and not stages.asked


def test_help_needs_no_jax():
    code = (
        "import sys; from bottleneck import analyze; analyze.main(['analyze', '--help']); print('jax' in sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert all(flag in child.stdout for flag in analyze.FLAGS) and child.stdout.endswith("False\n"), child.stderr


def test_a_work_directory_is_analysed_again_to_the_same_bytes(tiny, tmp_path, capsys):
    from bottleneck import execute

    execute.study(tiny(), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in ("results.jsonl", "report.html")}
    for path in (tmp_path / "results.jsonl", tmp_path / "report.html"):
        path.unlink()
    assert analyze.main(["analyze", str(tmp_path)]) == 0
    assert before == {name: (tmp_path / name).read_bytes() for name in before}
    assert analyze.main(["analyze", str(tmp_path), "--config", "nothing"]) == 2
    assert analyze.main(["analyze", str(tmp_path / "nowhere")]) == 2


def test_two_studies_side_by_side(tiny, tmp_path, capsys):
    from bottleneck import execute

    execute.study(tiny(), tmp_path / "one")
    other = tiny({"train.steps": "10"})
    with other.unlocked():
        del other.train.dtype, other.targets  # that they are at their defaults is no difference
        other.margin = 0.9
    execute.study(other, tmp_path / "tiny")
    capsys.readouterr()
    assert analyze.main(["analyze", str(tmp_path / "one"), "--compare", str(tmp_path / "tiny")]) == 0
    said = capsys.readouterr().out
    assert "train.steps" in said and "first" in said and "difference" in said
    assert not any(key in said for key in ("train.dtype", "margin", "targets  ")), said
    page = (tmp_path / "one" / "compare.html").read_text()
    assert "train.steps" in page and "tiny (one)" in page and "tiny (tiny)" not in page
    assert analyze.main(["analyze", str(tmp_path / "one"), "--compare", str(tmp_path / "nowhere")]) == 2
    assert analyze.main(["analyze", "--compare", str(tmp_path / "tiny")]) == 2
