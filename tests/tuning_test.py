"""Studies that are tuned, small: a grid of which some or all candidates diverge."""

import pytest

from bottleneck import execute, study, sweep
from bottleneck import rows as row_files
from bottleneck.errors import UserError
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.rows import select
from bottleneck.training import loop

SMALL = {"seeds": "2", "probe.protocols": "linear_probe,"}
SOME = {**SMALL, "grid": "{'lr': (1e30, 0.05)}"}
ALL = {**SMALL, "grid": "{'lr': (1e30, 2e30)}"}
ARMS = ("mixture", "direct-first", "direct-second")


@pytest.fixture
def trainings(monkeypatch):
    """(name, seed, learning rate) of the runs that are trained."""
    runs, train = [], loop.train

    def counted(members, *args, **kwargs):
        runs.extend((member.run.name, member.run.seed, member.run.optimizer.lr) for member in members)
        return train(members, *args, **kwargs)

    monkeypatch.setattr(loop, "train", counted)
    return runs


def test_a_candidate_that_diverges_is_left_out_of_the_choice(tiny, tmp_path, trainings):
    assert execute.study(tiny(SOME), tmp_path) == execute.DONE
    assert sorted(trainings) == sorted((arm, s, lr) for arm in ARMS for s, lr in ((0, 1e30), (0, 0.05), (1, 0.05)))
    rows = row_files.read(tmp_path / "results.jsonl")
    losses = select(rows, metric="tuning_loss")
    said = {(r["extra"]["lr"], r["extra"]["chosen"], r["extra"]["diverged"], r["value"] is None) for r in losses}
    assert len(losses) == 6 and said == {(1e30, False, True, True), (0.05, True, False, False)}
    assert {r["members"][0].partition(" ")[0] for r in losses} == set(ARMS)  # whose choice it is
    assert {r["target"] for r in select(rows, metric="gap", unit="bits")} == {"first", "second"}
    trainings.clear()
    assert execute.study(tiny(SOME), tmp_path) == execute.DONE and trainings == []  # nor is it trained again


def test_a_study_cut_short_does_not_train_the_diverged_again(tiny, tmp_path, trainings):
    assert execute.study(tiny(SOME), tmp_path, stage="pretrain") == execute.UNFINISHED
    assert sorted(lr for _, _, lr in trainings) == [0.05] * 3 + [1e30] * 3
    trainings.clear()
    assert execute.study(tiny(SOME), tmp_path) == execute.DONE
    assert trainings == [(arm, 1, 0.05) for arm in ARMS]


def test_where_every_candidate_diverges_it_is_one_line_again_and_again(tiny, tmp_path, trainings):
    for _ in range(2):
        with pytest.raises(UserError) as error:
            execute.study(tiny(ALL), tmp_path)
        assert error.value.key == "grid" and "all of these diverged" in str(error.value)
        assert "1e+30" in str(error.value) and "2e+30" in str(error.value)
    assert len(trainings) == len(set(trainings))
    trainings.clear()
    with pytest.raises(UserError, match="diverged"):
        execute.study(tiny(ALL), tmp_path, retrain=True)
    assert trainings  # they may be tried again


def test_a_run_that_is_no_candidate_stops_the_study_though_it_was_one_before(tiny, tmp_path):
    assert execute.study(tiny(SOME), tmp_path) == execute.DONE
    for _ in range(2):
        with pytest.raises(UserError, match="optimizer.lr=1e[+]30: expected a rate"):
            execute.study(tiny({**SMALL, "optimizer.lr": "1e30"}), tmp_path)


def test_a_run_is_a_candidate_only_as_long_as_nobody_needs_it_itself(tiny):
    """In a sweep, a point's candidate may be a run that another point has no choice about."""
    asked = [{"grid": "{'lr': (0.02, 0.05)}"}, {"grid": "{'lr': (0.05, 0.1)}"}, {"optimizer.lr": "0.05"}]
    groups = [plans.plan(study.spec(tiny({**SMALL, **each}))).tasks for each in asked]

    def shared(*groups):
        """The grids of the one run that all have."""
        of = [t for t in sweep.union(groups) if isinstance(t, Train) and not t.chooser and t.episode.name == "mixture"]
        (task,) = [t for t in of if (t.episode.seed, t.episode.optimizer.lr) == (0, 0.05)]
        return [[run.optimizer.lr for run in grid] for grid in task.grids]

    assert shared(groups[0], groups[1]) == [[0.02, 0.05], [0.05, 0.1]]
    assert shared(*groups) == shared(*groups[::-1]) == []
