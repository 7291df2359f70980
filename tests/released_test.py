"""The released probe as a task: its rows and outcomes on planted features, and what is part of its key."""

import dataclasses

import numpy as np
import pytest

from bottleneck import study as studies
from bottleneck.analysis.released import ReleasedSpec
from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.items import LARGEST
from bottleneck.planning import plan as plans
from bottleneck.probing import Probe
from bottleneck.released import ReleasedProbe
from bottleneck.rows import select
from tests.planted import Held, label_features, member

SPEC = ReleasedSpec(weight_decay=(1e-4, 1e-2), epochs=6, batch=32)


@pytest.fixture(scope="module")
def target():
    data = DataSpec(image_size=8, train=40, probe=400, val=200, test=500)
    return components.load("t", ComponentSpec({"name": "factors", "reliability": {"colour": 1.0}}), data)


def released(target, *names, seed=0, spec=SPEC):
    members = tuple(member(name) for name in names)
    return ReleasedProbe("cat", seed, "t", target, members, "released_probe", spec=spec)


@pytest.fixture(scope="module")
def done(target, tmp_path_factory):
    """(task, rows, items, store) of two members, of which one holds 0.53 bits and the other noise."""
    given = {"part": label_features(target, 0.1), "none": label_features(target, 0.5, seed=1)}
    store, task = Held(tmp_path_factory.mktemp("released"), given), released(target, "part", "none")
    task.run(store)
    return task, store.rows(task), store.items(task), store


def test_two_readings_of_one_training(done):
    _, rows, items, _ = done
    assert items.keys() == {"information", "correct", LARGEST}
    assert all(items[name].shape == (1, 500) for name in items)
    (honest,), (largest,) = (select(rows, metric="accuracy", split="test", selected_on=on) for on in ("val", "test"))
    assert honest["value"] == items["correct"].mean() <= largest["value"] == items[LARGEST].mean()
    assert honest["value"] == pytest.approx(0.9, abs=0.04)
    (bits,) = select(rows, metric="information")
    assert bits["value"] == pytest.approx(0.53, abs=0.1) and bits["selected_on"] == "val"
    for row in (honest, largest, bits):
        assert row["dim"] == 8 and row["lambda"] in SPEC.weight_decay and 1 <= row["extra"]["epoch"] <= 6
        assert row["extra"]["updates"] == 6 * 13 and row["ci95"] and row["n_examples"] == 500
        assert (row["representation"], row["protocol"]) == ("cat", "released_probe")


def test_its_bits_count_from_the_same_null_as_the_solved_probes(done, target):
    _, rows, _, store = done
    solved = Probe("cat", 0, "t", target, (member("part"), member("none")))
    solved.run(store)
    (bits,) = [r for r in select(store.rows(solved), metric="information") if r["extra"].get("chosen", True)]
    (read,) = select(rows, metric="information")
    assert read["value"] == pytest.approx(bits["value"], abs=0.05)


def test_the_key_holds_the_seed_and_every_field_of_the_protocol(target):
    base = released(target, "part")
    assert base.key == released(target, "part", spec=dataclasses.replace(SPEC)).key
    others = [dataclasses.replace(SPEC, **{f: v}) for f, v in (("weight_decay", (1e-4,)), ("epochs", 5), ("lr", 0.1))]
    keys = {released(target, "part", spec=spec).key for spec in others} | {released(target, "part", seed=1).key}
    assert len(keys) == 4 and base.key not in keys
    assert np.unique([Probe("cat", 0, "t", target, (member("part"),), "released_probe").key, base.key]).size == 2


def test_a_study_asks_for_it_by_arm_and_representation(tiny):
    overrides = {
        "probe.protocols": "linear_probe,released_probe",
        "probe.arms": "mixture,cat,small",
        "probe.released": "{'epochs': 2}",
        "representations": str(
            {
                "cat": {"members": "mixture/*@last:features", "n": 2},
                "small": {"members": "mixture/*@last:features", "n": 2, "reduce": "pca"},
            }
        ),
    }
    plan = plans.plan(studies.spec(tiny(overrides)))
    asked = plan.graph.of(ReleasedProbe)
    assert {(p.arm, p.seed, p.reduce) for p in asked if p.target == "first"} == {
        ("mixture", 0, ""),
        ("mixture", 1, ""),
        ("cat", 0, ""),
        ("small", 0, "pca"),
    }
    assert {p.spec for p in asked} == {ReleasedSpec(epochs=2)}
    assert not set(asked) & {p for t in plan.graph if t.KIND == "choose" for p in getattr(t, "probes", ())}


@pytest.mark.parametrize("text", ["{'epochs': 0}", "{'weight_decay': ()}", "{'lr': -1}"])
def test_mistakes_are_one_line(text, tiny):
    with pytest.raises(UserError, match="^probe.released"):
        studies.spec(tiny({"probe.released": text}))
