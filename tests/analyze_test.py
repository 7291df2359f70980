"""`python -m bottleneck.analyze`: of a work directory, and of features from elsewhere."""

import subprocess
import sys

import numpy as np
import pytest

from bottleneck import analyze, execute


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
    code = "import sys; from bottleneck import analyze; status = analyze.main(sys.argv); print('jax' in sys.modules); sys.exit(status)"
    child = subprocess.run(
        [sys.executable, "-c", code, *command(arrays, "--groups", str(arrays / "g.npy"))],
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("The target is lost: ") and "left" in child.stdout and "right" in child.stdout
    assert child.stdout.rstrip().endswith("False")


@pytest.mark.parametrize(
    "change, named",
    [
        (("--labels", "missing.npy"), "--labels"),
        (("--groups", "missing.npy"), "--groups"),
        (("somewhere",), "command line"),
    ],
)
def test_mistakes_are_one_line(arrays, change, named, capsys):
    assert analyze.main(["analyze", *command(arrays, *change)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {named}")


def test_arrays_of_other_lengths_are_refused(arrays, tmp_path, capsys):
    np.save(tmp_path / "short.npy", np.zeros(899, int))
    assert analyze.main(["analyze", *command(arrays, "--labels", str(tmp_path / "short.npy"))]) == 2
    assert "899 rows" in capsys.readouterr().err


def test_a_work_directory_is_analysed_again_to_the_same_bytes(tiny, tmp_path, capsys):
    execute.study(tiny(), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in ("results.jsonl", "report.html")}
    for path in (*tmp_path.glob("rows/answer-*"), tmp_path / "results.jsonl", tmp_path / "report.html"):
        path.unlink()
    assert analyze.main(["analyze", str(tmp_path)]) == 0
    assert before == {name: (tmp_path / name).read_bytes() for name in before}
    assert analyze.main(["analyze", str(tmp_path), "--config", "nothing"]) == 2
    assert analyze.main(["analyze", str(tmp_path / "nowhere")]) == 2


def test_two_studies_side_by_side(tiny, tmp_path, capsys):
    execute.study(tiny(), tmp_path / "one")
    execute.study(tiny({"train.steps": "10"}), tmp_path / "two")
    capsys.readouterr()
    assert analyze.main(["analyze", str(tmp_path / "one"), "--compare", str(tmp_path / "two")]) == 0
    said = capsys.readouterr().out
    assert "train.steps" in said and "first" in said and "difference" in said
    page = (tmp_path / "one" / "compare.html").read_text()
    assert "train.steps" in page and "tiny (one)" in page and "tiny (two)" in page
    assert analyze.main(["analyze", str(tmp_path / "one"), "--compare", str(tmp_path / "nowhere")]) == 2
    assert analyze.main(["analyze", "--compare", str(tmp_path / "two")]) == 2
