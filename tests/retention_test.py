"""bottleneck/retention.py: every byte of a work directory is counted once, and only what can be made again may go."""

import pathlib
import subprocess
import sys

import pytest

from bottleneck import config as configs
from bottleneck import execute, lock, retention, study

TINY = pathlib.Path(__file__).with_name("tiny.py")


def load(**overrides):
    return configs.load(str(TINY), overrides.items(), study.StudySpec, study.spec_of)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    assert execute.study(load(), workdir) == execute.DONE
    return workdir


def counted(workdir) -> dict[str, set]:
    return {kind.name: set(retention.files(workdir, kind)) for kind in retention.KINDS}


def test_every_file_is_of_one_kind(finished):
    kinds = counted(finished)
    assert sum(map(len, kinds.values())) == len(set().union(*kinds.values()))
    assert set().union(*kinds.values()) == {path for path in finished.rglob("*") if path.is_file()}
    assert kinds["kept steps"] and kinds["features"] and kinds["rows"] and not kinds["resume points"]


def test_what_is_dropped_is_not_missed(finished, capsys):
    results = (finished / "results.jsonl").read_bytes()
    sizes = [path.stat().st_size for path in counted(finished)["features"]]
    assert retention.main(["store", str(finished), "--drop=features,compiled"]) == 0
    said = capsys.readouterr().out
    assert f"dropped features: {len(sizes):,} files, {sum(sizes) / 2**20:,.1f} MiB\n" in said
    assert "--drop=features" in said and not counted(finished)["features"]
    assert execute.study(load(), finished) == execute.DONE  # nothing is made again
    assert (finished / "results.jsonl").read_bytes() == results and not counted(finished)["features"]
    again = load(**{"probe.scalings": "whitened,"})  # what needs them makes them
    assert execute.study(again, finished) == execute.DONE and counted(finished)["features"]


def test_features_may_go_as_soon_as_all_that_reads_them_is_done(finished, tmp_path):
    assert execute.study(load(retain_features="False"), tmp_path) == execute.DONE
    assert not counted(tmp_path)["features"] and counted(tmp_path)["kept steps"]
    assert (tmp_path / "report.html").is_file() and not [p for p in tmp_path.glob("rows/*.jsonl") if not p.read_text()]


def test_mistakes_are_one_line(finished, tmp_path, capsys):
    for given, said in (
        ([str(tmp_path)], "a work directory"),
        ([str(finished), "--drop=rows"], "some of resume, features, superseded, compiled"),
        ([str(tmp_path / "nowhere")], "a work directory of bottleneck.main (there is no such directory)"),
        ([""], "a work directory"),
        ([], "command line='': expected WORKDIR to be given"),
    ):
        assert retention.main(["store", *given]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    with lock.hold(finished):
        assert retention.main(["store", str(finished), "--drop=features"]) == 2


def test_it_is_a_command(finished):
    shown = subprocess.run(
        [sys.executable, "-m", "bottleneck.store", finished], capture_output=True, text=True, check=True
    )
    assert "kept steps" in shown.stdout and "--drop=features" in shown.stdout
