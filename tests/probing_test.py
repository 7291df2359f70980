"""A feature source meets a target: planted features are read for what they hold, heads at their own classes."""

import dataclasses
import types

import numpy as np
import pytest

from bottleneck import execute, probing, study, workers
from bottleneck import rows as row_files
from bottleneck.analysis import information, probes
from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.features.join import collect
from bottleneck.features.source import SPLITS, Kept, Member
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.probing import Probe, null
from tests.planted import Held, label_features, member

DATA = DataSpec(image_size=8, train=40, probe=400, val=200, test=1000)


@pytest.fixture(scope="module")
def target():
    return components.load("t", ComponentSpec({"name": "factors", "reliability": {"colour": 1.0}}), DATA)


@pytest.fixture(scope="module")
def kept(tiny):
    """A kept step of the tiny study's mixture run: a source with a head."""
    plan = plans.plan(study.spec(tiny()))
    run = next(task.episode for task in plan.graph.of(Train) if task.episode.name == "mixture")
    return Kept("mixture/0@20", run, 20, plan.study.data)


def probe(target, *members, arm="mixture", seed=0, **options):
    return Probe(arm, seed, "t", target, members, **options)


def results(store, task):
    """(rows, items) that a task leaves."""
    task.run(store)
    return store.rows(task), store.items(task)


def chosen(rows, metric):
    (row,) = [r for r in rows if r["metric"] == metric and r["split"] == "test" and r["extra"].get("chosen", True)]
    return row


def test_planted_bits_are_read(target, tmp_path):
    """A sign that is wrong in a tenth of the items holds 1 - H(0.1) = 0.53 bits; noise holds none."""
    given = {"whole": label_features(target), "part": label_features(target, 0.1), "none": label_features(target, 0.5)}
    store = Held(tmp_path, given)
    read = {name: results(store, probe(target, member(name))) for name in given}
    value = {name: chosen(rows, "information")["value"] for name, (rows, _) in read.items()}
    assert value["whole"] > 0.95 and value["part"] == pytest.approx(0.531, abs=0.06) and abs(value["none"]) < 0.02
    assert chosen(read["part"][0], "accuracy")["value"] == pytest.approx(0.9, abs=0.03)
    for rows, items in read.values():
        assert items["information"].shape == (1, 1000) and items["correct"].dtype == bool
        assert items["information"].mean() == pytest.approx(chosen(rows, "information")["value"], abs=1e-12)


def test_the_rows_say_what_was_chosen_on_validation_and_what_was_not(target, tmp_path):
    rows, _ = results(Held(tmp_path, {"x": label_features(target, 0.1)}), probe(target, member("x")))
    tried = [r for r in rows if r["metric"] == "information"]
    assert {r["scaling"] for r in tried} == set(probes.SCALINGS) and sum(r["extra"]["chosen"] for r in tried) == 1
    assert all(r["selected_on"] == "val" and r["n_examples"] == 1000 and r["lambda"] is not None for r in tried)
    (loss,) = [r for r in rows if r["split"] == "val"]
    assert loss["metric"] == "log_loss" and loss["unit"] == "nats" and loss["n_examples"] == 200
    assert chosen(rows, "information")["dim"] == 4 and {row_files.kind(r) for r in rows} == {"probe"}


def test_the_null_is_of_train_and_probe_items_and_one_for_all_arms(target):
    labels = {split: target.splits[split].labels for split in ("probe", "val")}
    expected = information.null(labels, 2, train=target.splits["train"].labels)
    np.testing.assert_array_equal(null(target), expected)
    np.testing.assert_array_equal(probe(target, member("a")).null, probe(target, member("b"), arm="direct").null)


def test_the_training_items_are_part_of_the_key_for_the_null_reads_them(target):
    more = dataclasses.replace(target, fingerprints={**target.fingerprints, "train": "others"})
    keys = {probe(each, member("a")).key for each in (target, more)}
    assert len(keys) == 2
    assert probe(target, member("a")).key == dataclasses.replace(probe(target, member("a")), asks=(1,)).key


def logits(target, offset, outputs, seed=0):
    """Logits of a classifier of several components, whose own columns know the label, and the others shout."""
    rng = np.random.default_rng(seed)
    whole = {}
    for split in SPLITS:
        labels = target.splits[split].labels
        x = rng.normal(size=(len(labels), outputs)) + 9.0
        x[:, offset : offset + 2] = 2.0 * np.eye(2)[labels] + rng.normal(size=(len(labels), 2))
        whole[split] = x.astype(np.float32)
    return whole


@pytest.mark.parametrize("offset", [0, 2, 4])
def test_a_head_is_read_at_the_targets_own_classes(offset, target, kept, tmp_path):
    whole = logits(target, offset, 6)
    own = {split: x[:, offset : offset + 2] for split, x in whole.items()}
    read = []
    for place, given, head in (("all", whole, offset), ("own", own, 0)):
        store = Held(tmp_path / place, {("mixture/0@20", "logits"): given})
        read.append(results(store, probe(target, Member(kept), protocol="head", head=head)))
    np.testing.assert_array_equal(read[0][1]["information"], read[1][1]["information"])
    correct = own["test"].argmax(1) == target.splits["test"].labels
    np.testing.assert_array_equal(read[0][1]["correct"][0], correct)
    assert chosen(read[0][0], "accuracy")["value"] == correct.mean()


def test_a_head_reads_logits_and_a_probe_its_layer(target, kept):
    layers = {layer for _, layer, _ in probe(target, Member(kept), protocol="head", head=0).reads}
    assert layers == {"logits"}
    plain = probe(target, Member(kept, "layer1"))
    assert {layer for _, layer, _ in plain.reads} == {"layer1"}
    assert plain.needs == tuple(f"features/{plain.reads[0][0].key and plain.needs[0][9:25]}:layer1" for _ in "1")


def guarded(target, kept, tmp_path, kernel, **options):
    given = {("mixture/0@20", "features"): label_features(target, 0.1)}
    store = Held(tmp_path, given, {"params": {"head": {"kernel": kernel, "bias": np.zeros(kernel.shape[1])}}})
    return probe(target, Member(kept), **{"head": 0, **options}), store


def test_no_solved_probe_is_worse_than_the_head(target, kept, tmp_path):
    kernel = np.random.default_rng(0).normal(size=(4, 2))
    task, store = guarded(target, kept, tmp_path, kernel)
    rows, _ = results(store, task)
    guard = chosen(rows, "information")["extra"]["guard"]
    assert guard["holds"] and guard["probe"] <= guard["head"] + 1e-6


def test_the_guard_reads_the_targets_own_columns(target, kept, tmp_path):
    kernel = np.random.default_rng(0).normal(size=(4, 6))
    task, store = guarded(target, kept, tmp_path, kernel, head=2)
    x = store.given["mixture/0@20", "features"]
    solved = task.solve(x, task.labels)
    expected = probes.penalised(solved, x["probe"], task.labels["probe"], kernel[:, 2:4], np.zeros(2))
    assert task.guard(store, solved).head == pytest.approx(expected)


def test_a_probe_that_is_worse_is_said(target, kept, tmp_path, capsys):
    x = label_features(target, 0.1)
    good = probe(target, Member(kept), head=0).solve(x, {s: target.splits[s].labels for s in SPLITS})
    task, store = guarded(target, kept, tmp_path, good.weights)
    broken = dataclasses.replace(good, weights=-good.weights)
    assert not task.guard(store, broken).holds
    out, err = capsys.readouterr()
    assert "do not trust it" in out + err and "mixture/0@20" in out + err


@pytest.mark.parametrize("options", [{"head": None}, {"reduce": "pca"}, {"protocol": "linear_probe_bn"}])
def test_where_the_guard_cannot_be_asked(options, target, kept, tmp_path):
    task, store = guarded(target, kept, tmp_path, np.ones((4, 2)), **options)
    rows, _ = results(store, task)
    assert "guard" not in chosen(rows, "information")["extra"]


def test_few_shots_are_the_same_for_both_arms_and_nested_in_seeds(target, tmp_path, monkeypatch):
    """Features that know their item show which ones were taken."""
    whole = {s: np.column_stack([np.arange(len(target.splits[s])), np.ones(len(target.splits[s]))]) for s in SPLITS}
    store, taken, solve = Held(tmp_path, {"a": whole, "b": whole}), {}, Probe.solve
    monkeypatch.setattr(
        Probe,
        "solve",
        lambda self, x, y: (
            taken.setdefault((self.arm, self.seed), []).append(x["probe"][:, 0].tolist()) or solve(self, x, y)
        ),
    )
    for arm, name in (("mixture", "a"), ("direct", "b")):
        for seed in (0, 1):
            task = probe(target, member(name), arm=arm, seed=seed, protocol="k_shot", shots=4, draws=3)
            rows, items = results(store, task)
            assert items["information"].shape == (3, 1000)
            row = chosen(rows, "information")
            assert row["n_shot"] == 4 and row["extra"]["draws"] == 3 and row["extra"]["draw_sd"] is not None
            assert row["value"] == pytest.approx(items["information"].mean(), abs=1e-12)
            assert (row["ci_unit"], row["n_seeds"]) == ("draws and items", 1)  # it is one network
    assert taken["mixture", 0] == taken["direct", 0] and taken["mixture", 1] == taken["direct", 1]
    draws = taken["mixture", 0] + taken["mixture", 1]
    assert len({tuple(draw) for draw in draws}) == 6
    for draw in draws:
        labels = target.splits["probe"].labels[np.array(draw, int)]
        assert np.bincount(labels).tolist() == [4, 4]


def test_averaging_a_member_with_itself_says_what_it_says(target, tmp_path):
    store = Held(tmp_path, {"x": label_features(target, 0.2)})
    alone = results(store, probe(target, member("x")))[1]
    twice = results(store, probe(target, member("x"), member("x"), arm="twice", average=True))[1]
    np.testing.assert_array_equal(alone["correct"], twice["correct"])
    np.testing.assert_allclose(alone["information"], twice["information"], atol=0.02)


def test_joined_members_read_what_either_holds(target, tmp_path):
    given = {"x": label_features(target, 0.5), "y": label_features(target, 0.0, seed=1)}
    rows, _ = results(Held(tmp_path, given), probe(target, member("x"), member("y"), arm="cat2"))
    assert chosen(rows, "information")["value"] > 0.9 and chosen(rows, "information")["dim"] == 8
    assert chosen(rows, "information")["members"] == ["x:features", "y:features"]


def test_vectors_are_read_in_r2(tmp_path):
    spec = ComponentSpec({"name": "gaussian", "index": 0, "dim": 4, "outputs": 2})
    target = components.load("t", spec, DATA)
    given = {s: target.splits[s].fetch(np.arange(len(target.splits[s]))) for s in SPLITS}
    rows, items = results(Held(tmp_path, {"x": given}), probe(target, member("x")))
    assert chosen(rows, "information")["unit"] == "r2" and chosen(rows, "information")["value"] > 0.99
    assert set(items) == {"information"} and not [r for r in rows if r["metric"] == "accuracy"]
    (loss,) = [r for r in rows if r["split"] == "val"]
    assert loss["metric"] == "squared_error"


def test_room_is_taken_before_features_are_joined(target, tmp_path, monkeypatch):
    """Who waits for room holds no array of the whole set."""
    given = {"a": label_features(target, 0.1), "b": label_features(target, 0.2)}
    task, store = probe(target, member("a"), member("b"), member("b")), Held(tmp_path, given)
    size = {name: sum(x.nbytes for x in splits.values()) for name, splits in given.items()}
    assert task.holds(store) == size["a"] + 2 * size["b"]
    monkeypatch.setattr(workers, "MANY", 0)
    monkeypatch.setattr(workers, "_room", workers.Room(1e9))
    left = []

    def joined(*given):
        left.append(workers._room.left)
        return collect(*given)

    monkeypatch.setattr(probing, "collect", joined)
    store.outcomes = types.SimpleNamespace(of=lambda task: "ready", wanted=lambda task: True)
    store.stop = None
    execute.side_by_side([task], store)
    assert left and set(left) == {1e9 - workers.TIMES * task.holds(store)} and workers._room.left == 1e9
