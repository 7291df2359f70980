"""What representations add, on planted features and outcomes: the truth is known, and so is what each control reads."""

import dataclasses

import numpy as np
import pytest

from bottleneck import representations
from bottleneck import study as studies
from bottleneck.analysis import intervals
from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.features.source import SPLITS, Kept, Member
from bottleneck.gains import Gains
from bottleneck.items import Items
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.probing import Probe
from bottleneck.representations import RepresentationSpec
from bottleneck.rows import row, select
from tests.planted import Held, bits, member, outcome

DATA = DataSpec(image_size=8, train=40, probe=600, val=300, test=1500)
SETS = 4
ROWS = dict(seed="all", protocol="linear_probe")


@pytest.fixture(scope="module")
def target():
    return components.load("t", ComponentSpec({"name": "factors", "reliability": {"colour": 1.0}}), DATA)


def signs(target):
    """split -> the label of two classes as a sign."""
    return {split: 2.0 * target.splits[split].labels - 1.0 for split in SPLITS}


def study(workdir, target, networks, n=2, scalings=("raw", "standardised", "whitened"), **others):
    """Probes of a concatenation of `networks`, (arm, set, place) -> features, its members and controls, all read."""
    store = Held(workdir, {f"{arm}.{u}.{i}": x for (arm, u, i), x in networks.items()})
    declared = {"cat": RepresentationSpec("mixture/*@last:features", n=n, **others)}
    probes = []

    def ask(arm, seed, members, spec=None):
        reduce, average = (spec.reduce, spec.combine == "average") if spec else ("", False)
        options = dict(scalings=scalings, reduce=reduce, average=average)
        probes.append(Probe(arm, seed, "t", target, tuple(members), **options))

    for arm, u, i in networks:
        ask(arm, u * n + i, [member(f"{arm}.{u}.{i}")])
    for u in range(SETS):
        for arm, name in (("mixture", "cat"), ("direct", "cat|direct")):
            members = [member(f"{arm}.{u}.{i}") for i in range(n)]
            if (arm, u, 0) in networks:
                ask(name, u, members)
        members = [member(f"mixture.{u}.{i}") for i in range(n)]
        for name, each in representations.derived(declared).items():
            ask(name, u, each.take(members), each.spec)
    for probe in probes:
        probe.run(store)
    found = Gains(Items(store, probes), declared, {"t": target}, "bits").findings()
    return [row(finding, "answer", 1) for finding in found], store, probes


def one(rows, **values):
    (found,) = select(rows, **values)
    return found


def beyond(rows, control, unit="points", arm="cat"):
    return one(rows, metric="beyond", arm=arm, reference=control, unit=unit)


@pytest.fixture(scope="module")
def shared(target, tmp_path_factory):
    """The label is the sign of a + 3 b; a is a unit of every set's first member, b of its second; the rest is noise."""
    networks, y = {}, signs(target)
    for u in range(SETS):
        rng = np.random.default_rng([1, u])
        parts = {split: rng.normal(size=(len(sign), 2)) for split, sign in y.items()}
        parts = {s: x * (np.sign(x @ [1.0, 3.0]) * y[s])[:, None] for s, x in parts.items()}
        for i in (0, 1):
            noise = {s: rng.normal(size=(len(x), 3)) for s, x in parts.items()}
            networks["mixture", u, i] = {s: np.column_stack([x[:, i], noise[s]]) for s, x in parts.items()}
    return study(tmp_path_factory.mktemp("shared"), target, networks)


def test_what_no_member_has_alone_is_read_beyond_every_control(shared):
    """Alone b is right in 1 - atan(1/3) / pi of the items, a in atan(1/3) / pi + 1/2; their logits' sum is not the
    boundary either: averaged predictions weigh b nine times as a, and are wrong in (atan 9 - atan 3) / pi."""
    rows = shared[0]
    b, a = 1 - np.arctan(1 / 3) / np.pi, 0.5 + np.arctan(1 / 3) / np.pi
    cat = 1 - 0.01  # what 600 items leave
    member, averaged = beyond(rows, "mixture"), beyond(rows, "cat-averaged")
    assert member["value"] == pytest.approx(100 * (cat - (a + b) / 2), abs=2) and member["ci95"][0] > 15
    assert averaged["value"] == pytest.approx(100 * (np.arctan(9) - np.arctan(3)) / np.pi - 1, abs=2)
    for control in ("mixture", "cat-repeated", "cat-pca", "cat-whitened", "cat-random", "cat-averaged"):
        for unit in ("points", "bits"):
            found = beyond(rows, control, unit)
            assert found["ci95"][0] > 0 and found["extra"]["paired"], control
            assert (found["ci_unit"], found["n_seeds"], found["n_examples"]) == ("member sets and items", SETS, 1500)


def test_steps_add_up_and_members_carry_what_they_hold(shared):
    rows, store, probes = shared
    tables = {arm: [store.items(p)["information"][0] for p in probes if p.arm == arm] for arm in ("cat", "mixture")}
    step = one(rows, metric="added", unit="bits")
    first = np.mean(tables["mixture"][::2])
    assert step["value"] == pytest.approx(np.mean(tables["cat"]) - first, abs=1e-12)
    assert step["extra"]["position"] == 2 and step["members"] == [f"mixture.{u}.1:features" for u in range(SETS)]
    assert step["extra"]["after"] == [[f"mixture.{u}.0:features"] for u in range(SETS)]
    a, b = select(rows, metric="carried", unit="points")
    left = {1: 1 - np.arctan(1 / 3) / np.pi, 2: 0.5 + np.arctan(1 / 3) / np.pi}  # without a, without b
    assert a["value"] == pytest.approx(100 * (0.99 - left[1]), abs=2)
    assert b["value"] == pytest.approx(100 * (0.99 - left[2]), abs=2)
    assert b["extra"]["mean_abs_weight"] > a["extra"]["mean_abs_weight"] and a["n_seeds"] == SETS
    assert a["members"] == [f"mixture.{u}.0:features" for u in range(SETS)]


@pytest.mark.parametrize("scaling", ["raw", "standardised", "whitened"])
def test_the_same_member_again_adds_nothing_in_any_scaling(scaling, target, tmp_path):
    """Nor do members that are identical: within half a point of one of them, and of one listed twice."""
    networks, y = {}, signs(target)
    for u in range(SETS):
        rng = np.random.default_rng([2, u])
        spread = np.array([1.0, 30.0, 0.2, 5.0, 1.0])
        same = {s: (0.6 * sign[:, None] + rng.normal(size=(len(sign), 5))) * spread for s, sign in y.items()}
        networks |= {("mixture", u, i): same for i in (0, 1, 2)}
    rows, _, _ = study(tmp_path, target, networks, n=3, scalings=(scaling,))
    for control in ("mixture", "cat-repeated"):
        assert abs(beyond(rows, control)["value"]) < 0.5, control
        assert abs(beyond(rows, control, "bits")["value"]) < 0.01
    steps = select(rows, metric="added", unit="points")
    assert [r["extra"]["position"] for r in steps] == [2, 3] and all(abs(r["value"]) < 0.5 for r in steps)
    carried = [r["value"] for r in select(rows, metric="carried", unit="bits")]
    assert len(carried) == 3 and max(carried) - min(carried) < 1e-6  # they share it


@pytest.fixture(scope="module")
def random(target, tmp_path_factory):
    """Members are random features of the same numbers, mixture and direct alike: only their number matters."""
    networks, y, n, width = {}, signs(target), 2, 12
    rng = np.random.default_rng(3)
    inputs = {s: rng.normal(size=(len(sign), 6)) for s, sign in y.items()}
    for s, x in inputs.items():  # the label is the sign of a product: nothing linear tells it
        x[:, 0] *= np.where(np.sign(x[:, 0] * x[:, 1]) == y[s], 1, -1)

    def features(units):
        weights, shift = rng.normal(size=(6, units)), rng.normal(size=units)
        return {s: np.maximum(x @ weights + shift, 0) for s, x in inputs.items()}

    for arm in ("mixture", "direct"):
        networks |= {(arm, u, i): features(width) for u in range(SETS) for i in range(n)}
    networks |= {("wide", u, 0): features(n * width) for u in range(SETS)}
    return study(tmp_path_factory.mktemp("random"), target, networks, n, against=("wide",))[0]


def test_a_gain_by_dimension_alone_is_matched_by_its_controls(random):
    assert beyond(random, "mixture", "bits")["ci95"][0] > 0.02  # more random features read more
    wide = beyond(random, "wide", "bits")  # and as many of one network read as much
    assert wide["extra"]["control"] == "declared" and wide["ci95"][0] < 0 < wide["ci95"][1]
    excess = one(random, metric="excess_gain")["ci95"]
    assert excess[0] < 0 < excess[1]  # so do those of direct runs
    for kind in ("pca", "whitened", "random"):  # and in the dimension of one member nothing is left of it
        assert beyond(random, "mixture", "bits", arm=f"cat-{kind}")["ci95"][0] < 0.0


# Intervals


class Planted:
    """Outcomes of a concatenation and others, by hand: arm -> its probes' means of information."""

    def __init__(self, workdir, target, sources, declared, read):
        self.store, self.tables = Held(workdir), {}
        probes = []
        for arm, sets in sources.items():
            for index, members in enumerate(sets):
                probe = Probe(arm, index, "t", target, tuple(map(member, members)))
                table = bits(read[arm], index, n=1500)
                outcome(self.store, probe, table, table > 0.3)
                self.tables.setdefault(arm, []).append(table)
                probes.append(probe)
        found = Gains(Items(self.store, probes), declared, {"t": target}, "bits").findings()
        self.rows = [row(finding, "answer", 1) for finding in found]


@pytest.fixture(scope="module")
def planted(target, tmp_path_factory):
    names = [f"m{i}" for i in range(6)]
    sources = {
        "mixture": [[name] for name in names],
        "cat": [names[:2], names[2:4], names[4:]],
        "fine": [["f0", "f1"], ["f2", "f3"], ["f4", "f5"]],
        "rough": [["r0", "r1"]] * 2,
    }
    pattern = "mixture/*@last:features"
    cat = RepresentationSpec(pattern, n=2, controls=False, prefixes=False, against=("fine", "rough"))
    declared = {"cat": cat, "fine": RepresentationSpec("fine/*@last:features", n=2, controls=False, prefixes=False)}
    read = dict(mixture=0.3, cat=0.5, fine=0.45, rough=0.4)
    return Planted(tmp_path_factory.mktemp("planted"), target, sources, declared, read)


def interval(found):
    return found["value"], *found["ci95"]


def test_a_control_of_own_networks_is_paired_with_their_mean_set_by_set(planted):
    tables = {arm: np.stack(each) for arm, each in planted.tables.items()}
    own = tables["mixture"].reshape(3, 2, -1).mean(1)
    expected = intervals.two_way(tables["cat"] - own)
    found = beyond(planted.rows, "mixture", "bits")
    assert interval(found) == pytest.approx((expected.value, expected.low, expected.high))
    assert found["extra"] == {"control": "member", "paired": True} and found["n_seeds"] == 3
    points = intervals.two_way(100.0 * ((tables["cat"] > 0.3) - (tables["mixture"] > 0.3).reshape(3, 2, -1).mean(1)))
    assert interval(beyond(planted.rows, "mixture")) == pytest.approx((points.value, points.low, points.high))


def test_sets_of_other_networks_are_not_paired_however_many_they_are(planted):
    tables = {arm: np.stack(each) for arm, each in planted.tables.items()}
    for name in ("fine", "rough"):
        found, apart = beyond(planted.rows, name, "bits"), intervals.welch([(1.0, tables["cat"]), (-1.0, tables[name])])
        assert not found["extra"]["paired"] and interval(found) == pytest.approx((apart.value, apart.low, apart.high))
    assert found["n_seeds"] == 2 and found["ci_unit"] == "member sets and items"


@pytest.mark.parametrize("others, paired", [((0, 1), True), ((1, 0), False), ((2, 3), False)])
def test_sets_are_paired_where_their_seeds_agree_set_by_set(others, paired, tiny, target, tmp_path):
    plan = plans.plan(studies.spec(tiny()))
    run = next(task.episode for task in plan.graph.of(Train) if task.episode.name == "mixture")

    def kept(name, seed, step):
        made = dataclasses.replace(
            run, seed=seed, objective=dataclasses.replace(run.objective, dropout=0.1 * len(name))
        )
        return Member(Kept(f"{name}/{seed}", made, step, plan.study.data))

    sets = {"cat": [(0, 1), (2, 3)], "ca": [(2 * u, 2 * u + 1) for u in others]}
    probes = [
        Probe(arm, u, "t", target, tuple(kept(arm, seed, 20) for seed in seeds))
        for arm, of in sets.items()
        for u, seeds in enumerate(of)
    ]
    store = Held(tmp_path)
    for probe in probes:
        outcome(store, probe, bits(0.4, probe.seed, n=1500))
    declared = {"cat": RepresentationSpec("cat/*@last:features", n=2, controls=False, prefixes=False, against=("ca",))}
    found = [row(f, "answer", 1) for f in Gains(Items(store, probes), declared, {"t": target}, "bits").findings()]
    assert beyond(found, "ca", "bits")["extra"] == {"control": "declared", "paired": paired}


def test_without_directly_trained_counterparts_there_is_a_gain_and_no_excess(planted):
    gain = one(planted.rows, metric="gain", arm="cat")
    assert gain["value"] == pytest.approx(beyond(planted.rows, "mixture", "bits")["value"])
    assert not select(planted.rows, metric="excess_gain")


def test_what_was_not_read_has_no_row(planted):
    assert {r["metric"] for r in planted.rows} == {"gain", "over_single", "beyond", "added"}  # of two, both are there
    assert not select(planted.rows, metric="added", arm="fine")
    assert {r["reference"] for r in select(planted.rows, metric="beyond", arm="fine")} == {"mixture"}


@pytest.mark.parametrize("ancestors, paired", [(((0, 1), (2, 3)), True), (((0, 1), (1, 2)), False), (((), ()), False)])
def test_students_pair_with_their_teachers_where_these_are_their_own(ancestors, paired, tiny, target, tmp_path):
    """Two sets that share a network are no independent pairs."""
    plan = plans.plan(studies.spec(tiny()))
    run = next(task.episode for task in plan.graph.of(Train) if task.episode.name == "mixture")
    teachers = [dataclasses.replace(run, seed=seed) for seed in range(4)]
    students = [dataclasses.replace(run, seed=100 + u, name="student") for u in (0, 1)]

    def kept(run, *parents):
        stands_on = tuple((teachers[i], 20) for i in parents)
        return (Member(Kept(f"{run.name}/{run.seed}", run, 20, plan.study.data, stands_on=stands_on)),)

    probes = [Probe("mixture", i, "t", target, kept(teacher)) for i, teacher in enumerate(teachers)]
    probes += [Probe("student", u, "t", target, kept(students[u], *ancestors[u])) for u in (0, 1)]
    store = Held(tmp_path)
    for probe in probes:
        outcome(store, probe, bits(0.4, probe.seed, n=1500))
    declared = {"student": RepresentationSpec("student/*@last:features")}
    found = [row(f, "answer", 1) for f in Gains(Items(store, probes), declared, {"t": target}, "bits").findings()]
    held = beyond(found, "mixture", "bits", arm="student")
    assert held["extra"] == {"control": "one network", "paired": paired}
    assert held["ci_unit"] == "seeds and items"
