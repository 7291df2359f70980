"""What damage on disk comes to: the file is named, what it held is made again, and the rows are the same bits.

python tests/faults_test.py        # every kind of file, cut short, with one bit flipped, and gone, as a table
"""

import contextlib
import io
import pathlib
import shutil
import sys
import tempfile

import pytest

from bottleneck import analyze, main
from bottleneck import rows as row_files

TINY = pathlib.Path(__file__).with_name("tiny.py")
STUDY = ("--config.seeds=1", "--config.keep=1/2,", "--config.arms=mixture,direct,alone", "--config.arms_for=lost")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove(path):
    path.unlink()


FAULTS = dict(cut=cut, flipped=flip, gone=remove)


def largest(workdir, pattern):
    return max(workdir.glob(pattern), key=lambda path: (path.stat().st_size, path.name))


# What is damaged: a pattern (the largest such file), and whether what reads the file has to be made again as well.
FILES = {
    "kept step": ("runs/mixture-*/checkpoints/20/**/d/*", False),
    "its manifest": ("runs/mixture-*/checkpoints/20/manifest.json", False),
    "provenance": ("runs/mixture-*/provenance.json", False),
    "end of a run": ("runs/mixture-*/done", False),
    "metrics": ("runs/mixture-*/metrics.jsonl", False),
    "features": ("features/*/features-probe.npy", True),
    "their manifest": ("features/*/manifest.json", True),
    "rows": ("rows/*.jsonl", False),
    "items of rows": ("rows/*.npz", False),
    "record of a study": ("configs/*.tasks", False),
    "config": ("configs/*.json", False),
    "results": ("results.jsonl", False),
    "report": ("report.html", False),
}
# Nothing is lost with these: they are written anew whenever a study is carried out, or read by nobody.
UNSAID = {"metrics", "end of a run", "record of a study", "config", "results", "report"}


def command(workdir, *more) -> tuple[int, str]:
    """(exit status, what was said)."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main.main(["main", f"--config={TINY}", f"--workdir={workdir}", *STUDY, *more])
    return code, said.getvalue()


def outcome(workdir) -> dict[str, bytes]:
    return {name: (workdir / name).read_bytes() for name in ("results.jsonl", "report.html")}


def struck(whole, workdir, what, fault) -> tuple[pathlib.Path, int, str]:
    """(the damaged file, exit status, what was said) of a copy of a finished study that is carried out again."""
    pattern, unread = FILES[what]
    shutil.copytree(whole, workdir)
    if unread:
        for path in workdir.glob("rows/*"):
            path.unlink()
    FAULTS[fault](damaged := largest(workdir, pattern))
    return damaged, *command(workdir)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole") / "study"
    assert command(workdir)[0] == 0
    return workdir


QUICK = [("kept step", "flipped"), ("its manifest", "gone"), ("provenance", "cut"), ("features", "flipped")]
QUICK += [("rows", "cut"), ("rows", "flipped"), ("items of rows", "gone"), ("record of a study", "cut")]


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        pytest.param(what, fault, marks=() if (what, fault) in QUICK else pytest.mark.slow)
        for what in FILES
        for fault in FAULTS
    ],
)
def test_what_is_damaged_is_named_and_made_again(what, fault, whole, tmp_path):
    damaged, code, said = struck(whole, tmp_path / "study", what, fault)
    assert code == 0 and "Traceback" not in said, said
    assert outcome(tmp_path / "study")["results.jsonl"] == outcome(whole)["results.jsonl"]
    if what != "provenance":  # which says then that it is not known
        assert outcome(tmp_path / "study") == outcome(whole)
    if what not in UNSAID and (what, fault) not in GONE:
        assert any(named(damaged, line) for line in said.splitlines()), said


# Files that were there and are no more leave no trace, where nothing else lists them.
GONE = {("provenance", "gone"), ("rows", "gone"), ("features", "gone"), ("their manifest", "gone")}


def named(path: pathlib.Path, line: str) -> bool:
    """Whether a line says that a file, or the directory it makes whole, is damaged, and names it."""
    word = any(word in line for word in ("damaged", "manifest", "missing"))
    return word and (path.name in line or str(path.parent) in line)


def test_damage_that_a_report_meets_is_one_line(whole, tmp_path, capsys):
    """It makes nothing again: nothing damaged is shown."""
    workdir = tmp_path / "study"
    shutil.copytree(whole, workdir)
    damaged = largest(workdir, "rows/*.jsonl")
    flip(damaged)
    code, said = command(workdir, "--stage=report")
    assert code == 3 and f"{damaged.name} is not as it was written" in said and "run again" in said
    flip(config := largest(workdir, "configs/*.json"))
    assert analyze.main(["analyze", str(workdir)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(config) in line and "a config as it was written" in line


@pytest.mark.parametrize("pattern", ["rows/*.jsonl", "configs/*.tasks"])
def test_damage_of_another_study_is_said_and_its_rows_are_left(pattern, whole, tmp_path):
    workdir, other = tmp_path / "study", "--config.probe.scalings=raw,"
    shutil.copytree(whole, workdir)
    (old,) = {r["config_hash"] for r in row_files.read(workdir / "results.jsonl")}
    assert command(workdir, other)[0] == 0
    both = (workdir / "results.jsonl").read_bytes()
    kept = {path.name for path in workdir.glob("rows/*")}
    flip(damaged := largest(workdir, pattern.replace("configs/*", f"configs/{old}")))
    code, said = command(workdir, other)
    assert code == 0 and damaged.name in said and "Traceback" not in said
    assert {path.name for path in workdir.glob("rows/*")} == kept  # nobody's rows are set aside
    assert command(workdir)[0] == 0 and command(workdir, other)[0] == 0
    assert (workdir / "results.jsonl").read_bytes() == both


def test_divergence_names_the_step_and_the_last_good_checkpoint(tmp_path):
    """The rate is too large for the loss; what was kept before is whole."""
    steep = ("--config.optimizer.lr=1e30", "--config.train.save_every=1", "--config.train.log_every=1")
    code, said = command(tmp_path, *steep)
    (line,) = [line for line in said.splitlines() if line.startswith("error: optimizer.lr=")]
    assert code == 2 and "before step" in line, said
    place = line.partition("its last good checkpoint is ")[2]
    assert place and (pathlib.Path(place) / "manifest.json").is_file()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        place, lines = pathlib.Path(made), []
        command(place / "whole")
        print("| damaged | how | exit | rows in the end | what was said |\n|---|---|---|---|---|")
        for what in FILES:
            for fault in FAULTS:
                damaged, code, said = struck(place / "whole", place / "study", what, fault)
                same = outcome(place / "whole")["results.jsonl"] == outcome(place / "study")["results.jsonl"]
                line = next((line for line in said.splitlines() if named(damaged, line)), "nothing")
                line = line.replace(f"{place / 'study'}/", "")
                print(f"| {what} | {fault} | {code} | {'the same bits' if same else 'OTHERS'} | {line} |", flush=True)
                shutil.rmtree(place / "study")
    sys.exit()
