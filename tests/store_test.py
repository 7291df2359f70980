"""A work directory: outputs by name, rows and items, kept steps and features that can be trusted."""

import dataclasses
import json
import threading

import numpy as np
import pytest

from bottleneck import checkpoint, study
from bottleneck.analysis.screen import Reading
from bottleneck.errors import UserError
from bottleneck.features import extract
from bottleneck.features.source import SPLITS, Pixels
from bottleneck.graph import Graph, Outcomes
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.rows import KEYS, Finding
from bottleneck.store import Recent, Store, bytes_of
from bottleneck.tasks import Task


class Note(Task):
    """A task that leaves rows."""

    KIND, VERSION, STAGE = "note", 3, "analyze"

    def __init__(self, name, asks=()):
        self.name, self.asks = name, asks

    @property
    def identity(self):
        return [self.name]


@pytest.fixture(scope="module")
def plan(tiny):
    return plans.plan(study.spec(tiny()))


@pytest.fixture(scope="module")
def train(plan):
    return next(task for task in plan.graph.of(Train) if task.episode.name == "mixture")


@pytest.fixture(scope="module")
def run_and_target(plan, train):
    return train.episode, plan.targets["first"]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def keep(store, run, step, value):
    """Seals a kept step."""
    writer = checkpoint.Writer()
    writer.save(store.place_of(run) / "checkpoints" / str(step), {"params": {"w": np.full(3, value)}}, step=step)
    writer.close()


def test_rows_come_back_with_the_bookkeeping_of_who_asks(store):
    task = Note("a")
    assert store.rows(task) == [] and not store.has(task.makes[0])
    store.write(task, [Finding("gap", 0.5, "bits", {"target": "t", "extra": {"p": np.float64(0.1)}})])
    assert store.has(task.makes[0])
    (row,) = store.rows(task, study="s", config_hash="c")
    assert tuple(row) == KEYS and (row["study"], row["metric"], row["value"], row["extra"]) == (
        "s",
        "gap",
        0.5,
        {"p": 0.1},
    )
    assert row["version"].startswith("note-3 ")


def test_items_lie_beside_the_rows_and_are_no_pickles(store):
    task, table = Note("a"), np.arange(6.0).reshape(2, 3)
    assert store.items(task) == {}
    store.write(task, [], {"information": table})
    np.testing.assert_array_equal(store.items(task)["information"], table)
    np.savez(store.rows_path(task.key).with_suffix(".npz"), information=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        store.items(task)


def test_an_empty_outcome_is_one_like_any_other(store):
    task = Note("a")
    assert not store.is_empty(task)
    store.leave_empty(task, "nobody asks")
    assert store.is_empty(task) and not store.has(task.makes[0]) and not task.done(store)
    (path,) = store.workdir.glob("rows/*.empty")
    assert json.loads(path.read_text()) == {"kind": "note", "reason": "nobody asks"}


def test_what_nobody_asks_for_is_not_present_though_it_is_on_disk(store):
    task, chooser = Note("a"), Note("chooser")
    asked = Note("asked", asks=(type("Asked", (), {"chooser": chooser.makes[0], "choice": "lost t 0"})(),))
    for each in (task, asked):
        store.write(each, [])
    store.write(chooser, [Finding("choice", 0.0, None, {"extra": {"choice": "lost t 0"}})])
    store.outcomes = Outcomes(Graph([task, chooser, asked]), store)
    assert store.present(task) and not store.present(asked)


def test_choices_are_the_questions_answered_yes(store):
    task = Note("chooser")
    answers = {"lost a 0": 1.0, "lost b 0": 0.0}
    store.write(task, [Finding("choice", value, None, {"extra": {"choice": name}}) for name, value in answers.items()])
    assert store.choices(task.makes[0]) == {"lost a 0"}


def test_settings_are_those_of_the_candidate_that_was_taken(store):
    task = Note("tune")
    settings = [{"lr": 0.1, "weight_decay": 0.0, "chosen": False}, {"lr": 0.2, "weight_decay": 0.5, "chosen": True}]
    store.write(task, [Finding("tuning_loss", 1.0, "nats", {"extra": extra}) for extra in settings])
    assert store.settings(task.makes[0]) == {"lr": 0.2, "weight_decay": 0.5}


def test_a_run_is_found_by_its_key_whatever_it_was_called(store, run_and_target):
    run, _ = run_and_target
    assert store.place_of(run) == store.workdir / "runs" / run.folder
    (store.workdir / "runs" / f"another-name-{run.key}").mkdir(parents=True)
    assert store.place_of(run).name == f"another-name-{run.key}" == store.run_directory(run.key).name


def test_a_kept_step_is_an_output_once_it_is_sealed(store, run_and_target):
    run, _ = run_and_target
    output = f"runs/{run.key}@20"
    assert not store.has(output)
    with pytest.raises(UserError, match="--stage=pretrain"):
        store.variables(run, 20)
    keep(store, run, 20, 1.5)
    assert store.has(output) and not store.has(f"runs/{run.key}@10")
    np.testing.assert_array_equal(store.variables(run, 20)["params"]["w"], np.full(3, 1.5))


def test_a_damaged_step_is_named_and_removed(store, run_and_target):
    run, _ = run_and_target
    keep(store, run, 20, 1.5)
    path = store.place_of(run) / "checkpoints" / "20"
    victim = max(
        (p for p in path.rglob("*") if p.is_file() and p.name != "manifest.json"), key=lambda p: p.stat().st_size
    )
    victim.write_bytes(victim.read_bytes()[:-1] + b"\x99")
    with pytest.raises(UserError) as error:
        store.variables(run, 20)
    assert str(path) in str(error.value) and "trains it again" in str(error.value)
    assert not path.exists() and not store.has(f"runs/{run.key}@20")


@pytest.mark.parametrize("field", ["mean", "std"])
def test_a_pool_of_another_normalisation_is_another_pool(field, store, train):
    run, components, data = train.episode, train.components, train.data
    mesh = store.mesh(run.train.batch)
    plain = store.pool(run, components, data, mesh)
    assert store.pool(run, components, data, mesh) is plain
    other = store.pool(run, components, dataclasses.replace(data, **{field: (0.1, 0.1, 0.1)}), mesh)
    np.testing.assert_allclose(getattr(other, field), 0.1)


@pytest.fixture
def passes(monkeypatch):
    """How often pixels are read."""
    calls, plain = [], Pixels.extract
    monkeypatch.setattr(Pixels, "extract", lambda *args: calls.append(1) or plain(*args))
    return calls


def test_features_are_read_from_disk_and_held(store, run_and_target, passes):
    _, target = run_and_target
    first = store.features(Pixels(), "features", target)  # not on disk: made, and said
    again = store.features(Pixels(), "features", target)
    assert first is again and len(passes) == 1
    other = Store(store.workdir).features(Pixels(), "features", target)
    assert len(passes) == 1 and store.has(extract.output(Pixels(), "features", target))
    for split in SPLITS:
        np.testing.assert_array_equal(first[split], other[split])


def test_features_that_cannot_be_trusted_are_named_and_made_again(store, run_and_target, passes, capsys):
    _, target = run_and_target
    whole = store.features(Pixels(), "features", target)
    path = store.features_path(extract.key(Pixels(), target)) / "features-val.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x99")
    capsys.readouterr()
    again = Store(store.workdir).features(Pixels(), "features", target)
    assert f"{path} is damaged; made again" in capsys.readouterr().out and len(passes) == 2
    np.testing.assert_array_equal(again["val"], whole["val"])
    Store(store.workdir).features(Pixels(), "features", target)
    assert len(passes) == 2


def test_threads_that_want_the_same_features_wait_for_one_pass(store, run_and_target, passes):
    _, target = run_and_target
    threads = [threading.Thread(target=store.features, args=(Pixels(), "features", target)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passes) == 1


def test_features_are_held_up_to_a_number_of_bytes():
    held = Recent(160, bytes_of)
    for i in range(25):
        held.get(("pass", i), lambda i=i: {"test": np.full(2, i)})
        held.get(("pass", 3), lambda: {"test": np.full(2, 3)})  # asked for again and again: it stays
    assert len(held) == 10 and held.weight == 160
    np.testing.assert_array_equal(held.get(("pass", 3), lambda: "made again")["test"], [3, 3])
    assert held.get(("pass", 0), lambda: "made again") == "made again"


def test_mapped_features_weigh_nothing(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(100))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert bytes_of({"probe": mapped, "test": np.zeros(3)}) == 24


def test_small_results_are_worked_out_once(store):
    calls = []
    for _ in range(3):
        assert store.remember(("a", 1), lambda: calls.append(1) or "result") == "result"
    store.remember(("a", 2), lambda: calls.append(1))
    assert len(calls) == 2


def test_results_of_many_points_are_not_held_for_ever(store, monkeypatch):
    reading = Reading(np.zeros(8), np.zeros(8, bool), np.zeros(8, bool), 0.0, 1.0, "", "raw")
    assert bytes_of({None: reading, "colour": [reading]}) == 2 * (64 + 8 + 8)
    monkeypatch.setattr(store._results, "most", 1000)
    for point in range(50):
        store.remember(("linear", point), lambda: {None: reading})
    assert len(store._results) == 12 and store._results.weight == 12 * 80
    assert store.remember(("linear", 49), lambda: "made again") == {None: reading}
    assert store.remember(("linear", 0), lambda: "made again") == "made again"
    store.remember(("linear", 50), lambda: {None: np.zeros(1000)})  # more than all: held until the next one comes
    assert len(store._results) == 1
