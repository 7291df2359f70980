"""A study whose runs train in fleets: the same study, by other programs."""

import json
import shutil

import jax
import numpy as np
import pytest

from bottleneck import checkpoint, execute, main
from bottleneck.signals import Stopped
from bottleneck.training import loop

FLEET = {"seeds": "3", "train.fleet": "2", "train.steps": "12"}


def rows(workdir):
    return [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]


def provenance(workdir):
    return {path.parent.name: json.loads(path.read_text()) for path in workdir.glob("runs/*/provenance.json")}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("fleet")
    assert execute.study(tiny(FLEET), workdir) == execute.DONE
    return workdir


def test_arms_and_seeds_train_together_and_say_so(finished):
    recorded = provenance(finished)
    groups = {tuple(each["members"]) for each in recorded.values() if "members" in each}
    assert len(recorded) == 9 and {len(group) for group in groups} == {2} and len(groups) == 4
    assert all(each["fleet"] == "2 runs, vmapped" for each in recorded.values() if "members" in each)


def test_rows_are_those_of_runs_one_by_one(finished, tiny, tmp_path):
    assert execute.study(tiny({**FLEET, "train.fleet": "1"}), tmp_path) == execute.DONE
    assert not any("members" in each for each in provenance(tmp_path).values())
    ours, alone = rows(finished), rows(tmp_path)
    assert [row["metric"] for row in ours] == [row["metric"] for row in alone]
    near = [
        (row["value"], other["value"])
        for row, other in zip(ours, alone, strict=True)
        if row["metric"] == "information" and row["value"] is not None
    ]
    assert len(near) > 10
    np.testing.assert_allclose(*zip(*near), atol=2e-3)


def test_a_fleet_that_was_stopped_goes_on_together(finished, tiny, tmp_path, monkeypatch):
    calls, agreed = [], loop._agreed

    def stopping(stop, count):
        calls.append(count)
        return agreed(stop or len(calls) == 9, count)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_agreed", stopping)
        with pytest.raises(Stopped, match="and 1 more are saved at step"):
            execute.study(tiny(FLEET), tmp_path)
    assert execute.study(tiny(FLEET), tmp_path) == execute.DONE
    assert rows(tmp_path) == rows(finished)


def test_a_step_that_is_lost_is_made_again_by_its_whole_fleet(finished, tiny, tmp_path):
    workdir = tmp_path / "work"
    shutil.copytree(finished, workdir)
    name, recorded = next(item for item in provenance(workdir).items() if "members" in item[1])
    place = workdir / "runs" / name / "checkpoints" / "12"
    before = checkpoint.load(place)
    checkpoint.remove(place)
    assert execute.study(tiny(FLEET), workdir) == execute.DONE
    assert all(np.array_equal(*leaves) for leaves in zip(*map(jax.tree.leaves, (before, checkpoint.load(place)))))
    assert provenance(workdir)[name] == recorded and rows(workdir) == rows(finished)


def test_a_fleet_of_none_is_refused(capsys, tmp_path):
    code = main.main(["main", "--config=tests/tiny.py", f"--workdir={tmp_path}", "--config.train.fleet=0"])
    assert code == 2 and "train.fleet=0: expected at least 1" in capsys.readouterr().err
