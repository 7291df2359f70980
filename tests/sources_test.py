"""Features from elsewhere go through a whole study like a network of ours: probed, judged, and diagnosed."""

import numpy as np
import pytest

from bottleneck import execute, study
from bottleneck import rows as row_files
from bottleneck.errors import UserError
from bottleneck.features import foreign
from bottleneck.planning import plan as plans
from tests.planted import label_features

SEEDS = range(4)
PLAIN = {"data.test": "97", "analysis": "{'kinds': ('ladder', 'seeds')}", "seeds": "4", "train.steps": "40"}


@pytest.fixture(scope="module")
def found(tiny, tmp_path_factory):
    """(rows, work directory, config) of a study with a source that reads the labels and one that does not."""
    place = tmp_path_factory.mktemp("arrays")
    targets = plans.plan(study.spec(tiny(PLAIN))).targets
    for name, flip in (("good", 0.0), ("poor", 0.5)):
        for seed in SEEDS:
            for target, component in targets.items():
                features = label_features(component, flip, seed=seed)
                for split, x in features.items():
                    ids = component.splits[split].ids
                    order = np.random.default_rng(seed).permutation(len(ids))  # rows are matched by id
                    foreign.save(place / f"{name}{seed}", target, split, x[order], ids[order])
    sources = {
        "good": {"arrays": tuple(str(place / f"good{seed}") for seed in SEEDS)},
        "poor": {"arrays": tuple(str(place / f"poor{seed}") for seed in SEEDS), "reference": "good"},
    }
    both = {"both": {"members": ("good/*@last:features", "poor/*@last:features")}}
    config = tiny({**PLAIN, "sources": str(sources), "representations": str(both)})
    workdir = tmp_path_factory.mktemp("sources")
    assert execute.study(config, workdir) == execute.DONE
    return row_files.read(workdir / "results.jsonl"), workdir, config


@pytest.fixture(scope="module")
def rows(found):
    return found[0]


def one(rows, **where):
    (row,) = row_files.select(rows, **where)
    return row


@pytest.mark.parametrize("target", ["first", "second"])
def test_they_are_probed_without_a_head(target, rows):
    for source, least, most in (("good", 0.9, 1.0), ("poor", -0.2, 0.2)):
        where = dict(arm=source, target=target, metric="information", protocol="linear_probe")
        mean = one(rows, seed="all", **where)
        assert least <= mean["value"] <= most and mean["n_seeds"] == 4
        each = [r for r in row_files.select(rows, **where) if r["seed"] != "all" and r["extra"]["chosen"]]
        assert {r["seed"] for r in each} == set(SEEDS) and all("guard" not in r["extra"] for r in each)
        assert mean["value"] == pytest.approx(np.mean([r["value"] for r in each]), abs=1e-12)
        assert {r["train_steps"] for r in each} == {0}
    assert not row_files.select(rows, arm="good", protocol="head")


@pytest.mark.parametrize("target", ["first", "second"])
def test_they_are_judged_against_direct_training_or_another_source(target, rows):
    read = {
        arm: one(rows, arm=arm, target=target, metric="information", protocol="linear_probe", seed="all")["value"]
        for arm in ("good", "poor", "direct")
    }
    for arm, reference in (("good", "direct"), ("poor", "good")):
        gap = one(rows, arm=arm, target=target, metric="gap", unit="bits")
        assert gap["reference"] == reference
        assert gap["value"] == pytest.approx(read[reference] - read[arm], abs=1e-12)
        said, named = gap["extra"]["sentence"], {"direct": "direct training"}.get(reference, reference)
        assert f"in the features of {arm} against" in said and f" from {named}, a gap" in said and "mixture" not in said
    assert one(rows, arm="poor", target=target, metric="gap", unit="bits")["extra"]["verdict"] == "lost"
    assert one(rows, arm="good", target=target, metric="gap", unit="bits")["extra"]["causes"] == []
    assert one(rows, arm="mixture", target=target, metric="gap", unit="bits")["reference"] == "direct"


@pytest.mark.parametrize("target", ["first", "second"])
def test_ladder_and_seeds_are_asked_of_them(target, rows):
    where = dict(arm="good", target=target, factor=None)
    rung = one(rows, metric="rung", **where)
    assert rung["extra"]["rung"] in ("prominent", "linear") and rung["step"] is None
    evidence = one(rows, metric="evidence", seed="all", **where)
    assert evidence["n_seeds"] == 4 and evidence["extra"]["lost"] == 0
    lost = one(rows, metric="evidence", seed="all", arm="poor", target=target, factor=None)["extra"]
    assert lost["class"] == "untestable" or lost["retained"] == 0


def test_they_are_members_of_representations(rows):
    for target in ("first", "second"):
        both = one(rows, arm="both", target=target, metric="information", protocol="linear_probe", seed="all")
        assert both["value"] > 0.8
        assert {r["metric"] for r in row_files.select(rows, arm="both", target=target)} >= {"gain", "excess_gain"}


@pytest.mark.parametrize("member, known", [("last:features", True), ("0:features", True), ("1/2:features", False)])
def test_a_member_of_theirs_is_the_one_layer_there_is(member, known, found, tiny):
    """What was asked for would be recorded as something else: their arrays have no steps and no layers."""
    sources = str(found[2].sources.to_dict())
    for pattern, accepted in ((f"good/0@{member}", known), (f"good/0@{member.replace('features', 'layer1')}", False)):
        config = tiny({**PLAIN, "sources": sources, "representations": str({"one": {"members": pattern}})})
        if accepted:
            assert plans.plan(study.spec(config))
        else:
            with pytest.raises(UserError, match="representations.one.members=.*expected good/0@last:features"):
                plans.plan(study.spec(config))


def test_other_content_is_another_source_and_the_place_is_not(found, tiny, tmp_path):
    _, workdir, config = found
    keys = {t.key for t in plans.plan(study.spec(config)).graph}
    moved = {name: {"arrays": [], **({"reference": "good"} if name == "poor" else {})} for name in ("good", "poor")}
    for name in moved:
        for seed, directory in enumerate(config.sources[name].arrays):
            there = tmp_path / f"{name}-{seed}"
            there.mkdir()
            for path in __import__("pathlib").Path(directory).iterdir():
                (there / path.name).write_bytes(path.read_bytes())
            moved[name]["arrays"].append(str(there))
    moved = {name: {**spec, "arrays": tuple(spec["arrays"])} for name, spec in moved.items()}
    both = {"both": {"members": ("good/*@last:features", "poor/*@last:features")}}
    again = tiny({**PLAIN, "sources": str(moved), "representations": str(both)})
    assert {t.key for t in plans.plan(study.spec(again)).graph} == keys
    x = np.load(tmp_path / "good-0" / "first-test.npy")
    np.save(tmp_path / "good-0" / "first-test.npy", x + 1)
    assert {t.key for t in plans.plan(study.spec(again)).graph} != keys
