"""A sweep: axes to points, one graph of which everything shared is carried out once, and a slope as its answer."""

import functools
import json
import pathlib
import subprocess
import sys
import types

import ml_collections
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bottleneck import config as configs
from bottleneck import execute, overall, sweep, trends
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.axes import Axis
from bottleneck.errors import UserError
from bottleneck.graph import Outcomes
from bottleneck.points import Place, Reading
from bottleneck.pretraining import Train
from bottleneck.report import tables
from bottleneck.training import loop

TINY = str(pathlib.Path(__file__).with_name("tiny.py"))
WEIGHT = "mixture.weights.second"


def swept(overrides=(), **sweep_keys) -> ml_collections.ConfigDict:
    """The tiny study with `config.sweep = dict(**sweep_keys)` and overrides as on the command line."""
    config = configs.load(TINY, overrides, studies.StudySpec, studies.spec_of).unlock()
    config.sweep = sweep_keys
    return config


def weights(*values) -> dict:
    return dict(mixture=dict(weights=dict(second=values)))


def points(config) -> list[dict]:
    return [point.at for point in sweep.plan(config).points]


# Axes


def test_points_are_the_product_of_the_axes_in_order():
    axes = dict(**weights(0.1, 0.3), model=dict(width=(4, 8)))
    assert points(swept(axes=axes)) == [
        {WEIGHT: 0.1, "model.width": 4},
        {WEIGHT: 0.1, "model.width": 8},
        {WEIGHT: 0.3, "model.width": 4},
        {WEIGHT: 0.3, "model.width": 8},
    ]


def test_listed_points_are_taken_as_they_are():
    listed = [dict(mixture=dict(weights=dict(first=1 - w, second=w))) for w in (0.25, 0.75)]
    at = {"mixture.weights.first": 0.75, WEIGHT: 0.25}
    assert points(swept(points=listed))[0] == at


def test_named_points_change_what_they_like():
    later = dict(start="1/2", weights=dict(first=1.0, second=0.0))
    turned = dict(mixture=dict(schedule=dict(then=later)))
    named = (dict(point="plain"), dict(point="long", train=dict(steps=30)), dict(point="turned", **turned))
    made = sweep.plan(swept(points=named)).points
    assert [point.at for point in made] == [{"point": "plain"}, {"point": "long"}, {"point": "turned"}]
    assert [point.plan.episodes.steps for point in made] == [20, 30, 20]
    assert [point.plan.episodes.schedule for point in made][2] == ((0, (0.7, 0.3)), (10, (1.0, 0.0)))


def test_points_lie_on_axes_of_the_config_s_own():
    """One coordinate may stand for several keys."""
    listed = [
        dict(point=dict(size=s, kind="even"), model=dict(width=s), mixture=dict(weights=dict(second=s / 10)))
        for s in (4, 8)
    ]
    made = sweep.plan(swept(points=tuple(listed), log=("size",), by=("parameters",)))
    assert [{k: v for k, v in p.at.items() if k != "parameters"} for p in made.points] == [
        {"size": 4, "kind": "even"},
        {"size": 8, "kind": "even"},
    ]
    assert [p.plan.study.mixture.weights["second"] for p in made.points] == [0.4, 0.8]
    assert [(axis.name, axis.per) for axis in made.curve.axes][0] == ("size", "doubling")


def test_the_targets_of_any_point_are_read_at_it():
    other = dict(source=dict(name="factors", reliability=dict(shape=1.0), seed=5), transforms={})
    only = dict(components=dict(first=other, third=other), mixture=dict(weights=dict(first=0.5, third=0.5)))
    config = swept(points=(dict(point="plain"), dict(point="other", **only)))
    with config.unlocked():
        plain = configs.to_dict(config.components), configs.to_dict(config.mixture.weights)
        del config.components, config.mixture["weights"]
        first = dict(point="plain", components=plain[0], mixture=dict(weights=plain[1]))
        config.sweep.points = (first, dict(point="other", **only))
    made = sweep.plan(config)
    assert made.curve.families == (("first", "second", "third"), ())
    assert [sorted({p.target for p in place.probes}) for place in made.curve.places] == [
        ["first", "second"],
        ["first", "third"],
    ]


def test_targets_of_one_name_and_other_items_are_not_compared_between_names():
    def at(name, items):
        arms = dict.fromkeys(("mixture", "direct"), np.ones((2, 9)))
        return Reading(Place({"point": name}, (0, 1), ()), "t", None, "bits", items, items, arms, {})

    axis, same, other = Axis("point"), [at("a", "x"), at("b", "x")], [at("a", "x"), at("b", "y")]
    assert list(trends.differences(axis, {"t": same})) and not list(trends.differences(axis, {"t": other}))


def test_targets_decided_at_different_looks_are_averaged_over_the_seeds_of_all():
    readings, places = {}, [Place({"size": size}, tuple(range(4)), ()) for size in (1, 2)]
    for target, seeds in (("early", 2), ("late", 4)):
        arms = {arm: np.full((seeds, 9), level) for arm, level in (("mixture", 0.2), ("direct", 1.0), ("wide", 0.5))}
        readings[target] = [Reading(p, target, None, "bits", target, target, arms, {}) for p in places]
    found = list(overall.beyond((Axis("size"),), readings))
    assert {f.metric for f in found} == {"over_mixture", "slope"} and {f.value.n_seeds for f in found} == {2}


def test_what_seeds_vary_is_said_of_all_points_or_of_each():
    both, one = (sweep.plan(swept(vary, axes=weights(0.1, 0.3))).curve for vary in ((), (("vary", "init"),)))
    assert [curve.vary(curve.places[0].at) for curve in (both, one)] == ["both", "init"] and one.vary(None) == "init"
    silent = row_files.Finding("rise", None, "bits", {"extra": {"sentence": None}})  # said in another row
    assert row_files.fixed(silent, "init").at["extra"] == {"sentence": None}
    mixed = sweep.plan(swept(points=[dict(vary=v) for v in ("both", "init")])).curve
    assert [mixed.vary(place.at) for place in mixed.places] == ["both", "init"] and mixed.vary(None) == "both"


def test_values_are_typed_by_the_spec_as_on_the_command_line():
    axes = dict(train=dict(steps=("1e1", "2 epochs")), data=dict(test=(37.0,)), mixture=dict(weights=dict(second=(1,))))
    at = points(swept(axes=axes))[0]
    assert at == {"train.steps": 10, "data.test": 37, WEIGHT: 1.0}
    assert {key: type(value) for key, value in at.items()} == {"train.steps": int, "data.test": int, WEIGHT: float}
    assert (
        points(swept(axes=dict(arms=(("mixture", "direct"), ("mixture", "direct", "longer")))))[1]["arms"][2]
        == "longer"
    )


def test_axes_are_set_on_the_command_line():
    given = [(f"sweep.axes.{WEIGHT}", "0.1,0.3"), ("sweep.axes.mixture.label_space", "shared,disjoint")]
    config = configs.load(TINY, given, studies.StudySpec, studies.spec_of)
    assert points(config)[3] == {WEIGHT: 0.3, "mixture.label_space": "disjoint"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (dict(axes=dict(model=dict(widht=(4, 8)))), r"sweep.axes.model.widht=4: .*'width'"),
        (
            dict(axes=dict(mixture=dict(weights=dict(third=(0.1, 0.2))))),
            r"sweep.axes.mixture.weights.third=0.1: .*first",
        ),
        (dict(axes=weights(0.1, "much")), rf"sweep.axes.{WEIGHT}='much': expected a number"),
        (dict(axes=weights(0.1, -1.0)), r"mixture.weights.*-1.*at the point"),
        (dict(axes=dict(train=dict(steps=(10, 0)))), r"sweep.axes.train.steps=0: .*at least one step \(at the point"),
        (dict(axes=weights(0.1, 0.1)), r"each point once"),
        (dict(axes=weights(1, 1.0)), r"each point once"),
        (dict(axes=dict(mixture=dict(weights=dict(second=0.1)))), r"in a sequence"),
        (dict(axes=weights()), r"in a sequence"),
        (dict(axes=dict(sweep=dict(log=(("a",),)))), r"a key of the study"),
        (dict(axes=weights(0.1, 0.2), log=("model.width",)), rf"sweep.log='model.width': .*{WEIGHT}"),
        (dict(axes=weights(0.0, 0.2), log=(WEIGHT,)), r"numbers above 0"),
        (dict(axes=weights(0.1), points=(dict(seeds=1),)), r"sweep.points.*not both"),
        (dict(points=(dict(seeds=1), dict(model=dict(width=4)))), r"keys of the first point: seeds"),
        (dict(points=(dict(point="a", seeds=1), dict(point="a", seeds=2))), r"sweep.points=.*'a'.*each point once"),
        (dict(points=(dict(point="a", model=dict(widht=4)),)), r"sweep.points.model.widht=4: .*'width'"),
        (dict(axes=dict(point=("a", "b"))), r"sweep.axes.point='a'"),
        (dict(points=(dict(point=3),)), r"sweep.points.point=3: expected a name"),
        (dict(points=(dict(point=dict(a=dict(b=1))),)), r"sweep.points.point=.*a dictionary of coordinates"),
        (dict(points=(dict(point=dict(parameters=1)),)), r"sweep.points.point=.*`by` computes"),
        (dict(points=(dict(point=dict(a=1)), dict(point=dict(b=1)))), r"keys of the first point: a"),
        (dict(by=("parameters",)), r"sweep.by=.*nothing is swept"),
        (dict(axes=weights(0.1, 0.2), by=("flops",)), r"sweep.by='flops': .*'parameters'"),
        (dict(axes=weights(0.1, 0.2), log=("parameters",)), rf"sweep.log='parameters': .*{WEIGHT}"),
        (dict(points=(dict(point="a"), dict(seeds=1))), r"'point' for every point, or for none"),
        (dict(axis=dict(seeds=(1, 2))), r"sweep.axis.*'axes'"),
    ],
)
def test_a_mistake_is_one_line(keys, said):
    with pytest.raises(UserError, match=said) as met:
        sweep.plan(swept(**keys))
    assert "\n" not in str(met.value)


def test_a_path_on_an_axis_is_the_same_point_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.npz", "b.npz")):
        x, y = np.random.default_rng(seed).integers(0, 256, (160, 8, 8, 3), dtype=np.uint8), np.arange(160) % 2
        np.savez(name, x_train=x[:120], y_train=y[:120], x_test=x[120:], y_test=y[120:])
    source = {"source": {"name": "arrays", "path": "a.npz"}}
    given = {"components": str({"first": source, "second": {**source, "transforms": {"tint": {}}}})}
    given |= {"data.train": "None", "data.test": "None", "sweep.axes.components.first.source.path": "a.npz,b.npz"}
    config = configs.load(TINY, given.items(), studies.StudySpec, studies.spec_of)
    here, stored = sweep.plan(config), json.loads(json.dumps(configs.absolute(config)))
    monkeypatch.chdir("/")
    there = sweep.plan(ml_collections.ConfigDict(stored, convert_dict=True))
    places = [{"components.first.source.path": str(tmp_path / name)} for name in ("a.npz", "b.npz")]
    assert [point.at for point in here.points] == [point.at for point in there.points] == places
    assert here.curve.key == there.curve.key


# One graph


def test_a_config_without_a_sweep_is_an_ordinary_study():
    assert sweep.plan(configs.load(TINY)).points == ()


def test_what_points_share_is_in_the_graph_once():
    made = sweep.plan(swept(axes=weights(0.1, 0.3, 0.5)))
    runs = [train.episode.name for train in made.graph.of(Train)]
    assert runs.count("mixture") == 3 * 2 and len(runs) == 3 * 2 + 2 * 2  # direct training knows no weights
    alone = sweep.plan(swept([(WEIGHT, "0.3")])).graph
    assert set(alone.tasks) <= set(made.graph.tasks)


def test_a_shared_run_keeps_the_steps_of_all_points():
    made = sweep.plan(swept(axes=dict(keep=((5,), (10,)))))
    kept = {train.keep for train in made.graph.of(Train) if train.episode.name == "mixture"}
    assert kept == {(0, 5, 10, 20)}


def test_every_study_sees_what_it_asked_for_itself():
    """One study asks for longer training of all targets, the other only of lost ones, of which there are none."""
    made = sweep.plan(swept(axes=dict(arms=(("mixture", "direct", "longer"),), arms_for=("all", "lost"))))
    probes = [next(p for p in point.plan.answer.probes if p.arm == "longer") for point in made.points]
    assert probes[0].key == probes[1].key and not probes[0].asks and probes[1].asks
    store = types.SimpleNamespace(has=lambda output: True, is_empty=lambda task: False, choices=lambda output: set())
    for task in made.graph:
        task.__dict__["done"] = lambda store: True
    outcomes = Outcomes(made.graph, store)
    assert outcomes.of(probes[0]) == outcomes.of(probes[1]) == "done"
    assert outcomes.present(probes[0]) and not outcomes.present(probes[1])


# Its answer


class Planted:
    """A store of which every probe holds what `table(at, arm, target)` gives, [S, N]."""

    def __init__(self, made, table):
        self.tables = {}
        for place in made.curve.places:
            for probe in place.probes:
                whole = table(place.at, probe.arm, probe.target)
                self.tables[probe.key] = whole[place.seeds.index(probe.seed)]

    def present(self, task):
        return True

    def items(self, probe):
        return {"information": self.tables[probe.key][None], "correct": self.tables[probe.key][None] > 0.5}


def answered(config, table) -> list[dict]:
    made = sweep.plan(config)
    return [row_files.row(f, "sweep", 1) for f in made.curve.findings(Planted(made, table))]


def gap_slopes(found, **where) -> list[dict]:
    """The slopes of gaps: the sweep's test."""
    return [r for r in row_files.select(found, metric="slope", **where) if r["extra"]["measure"] == "gap"]


def line(at, arm, target, coefficient=0.2, noise=0.02, bent=0.0):
    """Direct holds 1 bit; the mixture loses `coefficient` bits of `second` per doubling of its weight."""
    rng = np.random.default_rng([*f"{arm} {target} {at}".encode()])
    x = np.log2(at[WEIGHT]) if arm == "mixture" and target == "second" else 0.0
    return 1.0 - coefficient * x - bent * x**2 + noise * rng.normal(size=(3, 37))


FIVE = (0.05, 0.1, 0.2, 0.4, 0.8)


def test_the_slope_is_the_planted_one_per_doubling():
    found = answered(swept([("seeds", "3")], axes=weights(*FIVE), log=(WEIGHT,)), line)
    slopes = {r["target"]: r for r in gap_slopes(found)}
    assert set(slopes) == {"first", "second"}
    second, first = slopes["second"], slopes["first"]
    assert second["value"] == pytest.approx(0.2, abs=0.01) and second["unit"] == "bits per doubling"
    assert second["ci95"][0] < 0.2 < second["ci95"][1] and second["n_seeds"] == 3 and second["n_examples"] == 37
    assert second["extra"]["adjusted_p"] == pytest.approx(2 * second["extra"]["p"]) and second["extra"]["family"] == 2
    assert second["extra"]["lack_of_fit"] > 0.05 and "grows by 0.2 bits per doubling" in second["extra"]["sentence"]
    assert abs(first["value"]) < 0.01 and "no slope" in first["extra"]["sentence"]


def test_a_bent_line_is_said_not_to_fit():
    config = swept([("seeds", "3")], axes=weights(*FIVE), log=(WEIGHT,))
    found = answered(config, lambda *at: line(*at, bent=0.1))
    (second,) = gap_slopes(found, target="second")
    assert second["extra"]["lack_of_fit"] < 0.001 and "does not describe it" in second["extra"]["sentence"]


def test_every_point_has_its_gap_and_both_sides_and_no_verdict():
    found = answered(swept([("seeds", "3")], axes=weights(*FIVE)), line)
    for value in FIVE:
        of = row_files.select(found, point={WEIGHT: value}, target="second")
        assert {(r["metric"], r["arm"], r["unit"]) for r in of} == {
            ("information", "mixture", "bits"),
            ("information", "direct", "bits"),
            ("information", "random", "bits"),
            ("gap", "mixture", "bits"),
            ("gap", "mixture", "points"),
        }
        (gap,) = row_files.select(of, metric="gap", unit="bits")
        assert gap["value"] == pytest.approx(0.2 * np.log2(value), abs=0.02) and gap["ci95"] and not gap["extra"]


def test_the_point_in_the_middle_makes_no_slope_but_shows_a_bend():
    config = swept([("seeds", "3")], axes=weights(0.1, 0.2, 0.4), log=(WEIGHT,))
    found = answered(config, lambda *at: line(*at, bent=0.2))
    (second,) = gap_slopes(found, target="second")
    assert second["extra"]["lack_of_fit"] < 0.01 and second["extra"]["misfit"] > 0.05


def test_two_axes_have_a_slope_each_and_names_have_none():
    axes = weights(0.1, 0.2, 0.4) | dict(optimizer=dict(lr=(0.01, 0.1)), probe=dict(layer=("features", "layer1")))
    found = answered(swept([("seeds", "3")], axes=axes, log=(WEIGHT,)), line)
    slopes = {r["extra"]["axis"]: r for r in gap_slopes(found, target="second")}
    assert set(slopes) == {WEIGHT, "optimizer.lr"}
    assert slopes[WEIGHT]["value"] == pytest.approx(0.2, abs=0.01)


def test_over_split_seeds_the_interval_is_unconditional():
    """The draw of the data moves all of a point by 0.3 bits: only the interval over all points knows."""

    def table(at, arm, target):
        rng = np.random.default_rng([at["data.split_seed"], *target.encode()])
        moved = 0.3 * rng.normal() if arm == "mixture" else 0.0
        return 1.0 - moved + 0.01 * rng.normal(size=(2, 37))

    found = answered(swept(axes=dict(data=dict(split_seed=(0, 1, 2, 3)))), table)
    assert not gap_slopes(found)
    (whole,) = row_files.select(found, metric="gap", unit="bits", target="first", point={"data.split_seed": "all"})
    (one,) = row_files.select(found, metric="gap", unit="bits", target="first", point={"data.split_seed": 0})
    assert "split seeds" in whole["ci_unit"] and "4 draws of the data" in whole["extra"]["sentence"]
    assert np.diff(whole["ci95"]) > 10 * np.diff(one["ci95"])


def test_a_slope_over_draws_of_the_data_counts_them_as_error():
    def table(at, arm, target):
        rng = np.random.default_rng([at["data.split_seed"], *target.encode()])
        tilt = 0.2 + 0.1 * rng.normal()
        x = np.log2(at[WEIGHT]) if arm == "mixture" else 0.0
        return 1.0 - tilt * x + 0.001 * np.random.default_rng([*f"{at} {arm}".encode()]).normal(size=(2, 37))

    axes = dict(**weights(0.1, 0.2, 0.4), data=dict(split_seed=(0, 1, 2)))
    found = answered(swept(axes=axes, log=(WEIGHT,)), table)
    (slope,) = gap_slopes(found, target="second")
    assert "split seeds" in slope["ci_unit"] and np.diff(slope["ci95"]) > 0.05
    assert slope["ci95"][0] < 0.2 < slope["ci95"][1]


ARMS = [("seeds", "3"), ("arms", "mixture,direct,alone"), ("arms_for", "all")]


def in_parts(at, arm, target, axis=WEIGHT, noise=0.02):
    """Per doubling of the axis exposure takes 0.05 bits and interference 0.15."""
    rng = np.random.default_rng([*f"{arm} {target} {at}".encode()])
    each = {"direct": 0.0, "alone": 0.05, "mixture": 0.2, "random": 0.0}[arm]
    return 1.0 - each * np.log2(at[axis]) + noise * rng.normal(size=(3, 37))


def test_slopes_of_exposure_and_interference_are_the_planted_ones():
    found = answered(swept(ARMS, axes=weights(*FIVE), log=(WEIGHT,)), in_parts)
    slopes = {(r["target"], r["extra"]["measure"]): r for r in row_files.select(found, metric="slope")}
    assert len(slopes) == 2 * 5 and slopes["first", "mixture"]["value"] == pytest.approx(-0.2, abs=0.01)
    for measure, planted in dict(gap=0.2, exposure=0.05, interference=0.15).items():
        row = slopes["second", measure]
        assert row["value"] == pytest.approx(planted, abs=0.005) and row["ci95"][0] < row["value"] < row["ci95"][1]
        assert row["extra"]["exploratory"] == (measure != "gap") and row["extra"]["family"] == 2
        assert ("sentence" in row["extra"]) == (measure == "gap")
    assert "it is made up of exposure 0.0" in slopes["second", "gap"]["extra"]["sentence"]
    (alone,) = row_files.select(found, metric="information", arm="alone", target="first", point={WEIGHT: 0.4})
    assert alone["value"] == pytest.approx(1 - 0.05 * np.log2(0.4), abs=0.02) and alone["ci95"]
    parts = [r for r in row_files.select(found, point={WEIGHT: 0.4}, target="first") if r["metric"] == "exposure"]
    assert {(r["arm"], r["reference"], r["unit"]) for r in parts} == {
        ("alone", "direct", u) for u in ("bits", "points")
    }


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 5),
    st.lists(st.integers(1, 4), min_size=2, max_size=5).filter(lambda x: len(set(x)) > 1),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_the_slopes_of_the_parts_add_up_to_that_of_the_gap(seeds, values, batch_norm, draw):
    rng = np.random.default_rng(draw)
    arms = ("direct", "alone", "mixture")
    readings = []
    for index, value in enumerate(values):
        place = Place({"a": value, "b": index % 2}, tuple(range(seeds)), ())
        tables, adapted = ({arm: rng.normal(size=(seeds, 7)) for arm in arms} for _ in range(2))
        readings.append(Reading(place, "t", None, "bits", "", "", tables, {}, adapted if batch_norm else None))
    found = [f for f in trends.slopes(Axis("a"), {"t": readings}) if f.value is not None]
    size = {f.at["extra"]["measure"]: f.value.value for f in found}
    parts = {"exposure", "interference", *(["normalisation"] if batch_norm else [])}
    alike = [{value for i, value in enumerate(values) if i % 2 == b} for b in (0, 1)]
    assert set(size) == ({"gap", "direct", "mixture", *parts} if max(map(len, alike)) > 1 else set())
    if size:
        assert size["gap"] == pytest.approx(sum(size[part] for part in parts), abs=1e-9)
        assert size["gap"] == pytest.approx(size["direct"] - size["mixture"], abs=1e-9)


def test_parts_that_were_not_read_everywhere_have_no_slope_and_it_is_said():
    class Partial(Planted):
        def present(self, task):
            return task.arm != "alone" or task.key in self.read

    made = sweep.plan(swept(ARMS, axes=weights(*FIVE)))
    store = Partial(made, in_parts)
    store.read = {probe.key for probe in made.curve.places[0].probes}
    found = [row_files.row(f, "sweep", 1) for f in made.curve.findings(store)]
    slopes = row_files.select(found, metric="slope", target="first")
    assert [r["extra"]["measure"] for r in slopes] == ["gap", "direct", "mixture"]
    assert "its parts were not read at every point" in slopes[0]["extra"]["sentence"]
    assert len(row_files.select(found, metric="exposure", target="first", unit="bits")) == 1


def test_a_computed_axis_is_the_number_of_parameters_and_its_slope_is_per_decade():
    config = swept(ARMS, axes=dict(model=dict(width=(4, 8, 16))), by=("parameters",), log=("parameters",), per="decade")
    made = sweep.plan(config)
    widths = {point.at["model.width"]: point.at["parameters"] for point in made.points}
    assert widths == {w: 8 * 8 * 3 * w + w + w * w + w + 2 * w + 2 for w in (4, 8, 16)}
    table = functools.partial(in_parts, axis="parameters")
    found = [row_files.row(f, "sweep", 1) for f in made.curve.findings(Planted(made, table))]
    slopes = row_files.select(found, metric="slope", target="first", arm="alone")
    (slope,) = [r for r in slopes if r["extra"]["axis"] == "parameters"]
    assert slope["unit"] == "bits per decade" and slope["ci95"][0] < 0.05 * np.log2(10) < slope["ci95"][1]
    assert {r["point"]["parameters"] for r in found if r["point"]} == set(widths.values())


def test_one_factor_at_a_time_only_points_that_differ_in_it_make_its_slope():
    """The other factors' points lie at one end of the axis, far off: they must not tilt it."""
    centre = {WEIGHT: 0.1, "model.width": 4}
    listed = [{}, {WEIGHT: 0.2}, {WEIGHT: 0.4}, {"model.width": 8}, {"model.width": 16}]
    nested = [
        dict(mixture=dict(weights=dict(second=p[WEIGHT])), model=dict(width=p["model.width"]))
        for p in ({**centre, **changed} for changed in listed)
    ]

    def table(at, arm, target):
        lost = 0.2 * np.log2(at[WEIGHT]) + 0.7 * np.log2(at["model.width"]) if arm == "mixture" else 0.0
        rng = np.random.default_rng([*f"{arm} {target} {at}".encode()])
        return 1.0 - lost + 0.01 * rng.normal(size=(3, 37))

    found = answered(swept([("seeds", "3")], points=tuple(nested), log=(WEIGHT, "model.width")), table)
    size = {r["extra"]["axis"]: r["value"] for r in gap_slopes(found, target="first")}
    assert size == pytest.approx({WEIGHT: 0.2, "model.width": 0.7}, abs=0.02)


def test_names_are_compared_with_the_first():
    named = tuple(dict(point=name, train=dict(steps=steps)) for name, steps in (("a", 10), ("b", 20), ("c", 30)))

    def table(at, arm, target):
        lost = dict(a=0.1, b=0.1, c=0.5)[at["point"]] if (arm, target) == ("mixture", "second") else 0.0
        rng = np.random.default_rng([*f"{arm} {target} {at}".encode()])
        return 1.0 - lost + 0.02 * rng.normal(size=(3, 37))

    found = answered(swept([("seeds", "3")], points=named), table)
    assert not gap_slopes(found)
    every = row_files.select(found, metric="difference")
    rows, own = (
        {(r["target"], r["extra"]["name"]): r for r in every if r["extra"]["measure"] == m} for m in ("gap", "mixture")
    )
    assert own["second", "c"]["value"] == pytest.approx(-0.4, abs=0.01) and own["second", "c"]["reference"] is None
    assert "direct training differs, too: the mixture alone changes by" in rows["second", "b"]["extra"]["sentence"]
    assert set(rows) == {(target, name) for target in ("first", "second") for name in "bc"}
    big, none = rows["second", "c"], rows["second", "b"]
    assert big["value"] == pytest.approx(0.4, abs=0.01) and big["ci95"][0] < 0.4 < big["ci95"][1]
    assert big["extra"]["adjusted_p"] < 0.001 and none["extra"]["adjusted_p"] > 0.05
    assert "against a, the gap is larger by 0.4 bits at c" in none["extra"]["sentence"]
    assert "none is shown at b" in none["extra"]["sentence"]
    assert "no difference of the gap is shown" in rows["first", "b"]["extra"]["sentence"]


def test_where_the_competitor_says_nothing_a_target_is_its_own_variant():
    """Its rows with the competitor randomised begin at the point where that is so without doing anything."""
    axes = dict(components=dict(second=dict(source=dict(reliability=dict(colour=(0.5, 0.9))))))
    asked = [("mixture.competitor", "colour"), ("arms", "mixture,direct,randomised"), ("arms_for", "all")]
    made = sweep.plan(swept(asked, axes=axes))
    key = "components.second.source.reliability.colour"
    assert [(p.at[key], p.unopposed) for p in made.curve.places] == [(0.5, ("second",)), (0.9, ())]

    def table(at, arm, target):
        return np.full((2, 37), dict(direct=1.0, mixture=at[key]).get(arm, 0.0)) + np.arange(37) / 1e6

    found = [row_files.row(f, "sweep", 1) for f in made.curve.findings(Planted(made, table))]
    gaps = row_files.select(found, metric="gap", target="second", unit="bits", factor="colour")
    assert {r["point"][key]: r["value"] for r in gaps} == pytest.approx({0.5: 0.5, 0.9: 0.1})
    (slope,) = gap_slopes(found, target="second", factor="colour")
    assert slope["extra"]["exploratory"] and slope["value"] == pytest.approx(-1.0)


def test_specialists_are_set_beside_the_mixture_over_all_targets():
    """What they hold beyond it falls by 0.1 bits per decade of parameters, on average of two targets."""
    recipes = [("recipes", "{'specialists': {'like': 'direct', 'steps': 0.5}}")]
    axes = dict(model=dict(width=(4, 8, 16)))
    config = swept([*ARMS, *recipes], axes=axes, by=("parameters",), log=("parameters",), per="decade")

    def table(at, arm, target):
        x, each = np.log10(at["parameters"]), dict(first=0.15, second=0.05)[target]
        rng = np.random.default_rng([*f"{arm} {target} {at}".encode()])
        return 1.0 - (each * x if arm == "specialists" else 0.0) + 0.01 * rng.normal(size=(3, 37))

    found = answered(config, table)
    slopes = row_files.select(found, metric="slope", target=None)
    assert {(r["arm"], r["extra"]["axis"]) for r in slopes} == {(a, "parameters") for a in ("direct", "specialists")}
    (slope,) = row_files.select(slopes, arm="specialists")
    assert slope["value"] == pytest.approx(-0.1, abs=0.02) and slope["unit"] == "bits per decade"
    assert "on average over 2 targets, specialists: -0.2" in slope["extra"]["sentence"]
    means = row_files.select(found, metric="over_mixture", arm="specialists")
    planted = [-0.1 * np.log10(r["point"]["parameters"]) for r in means]
    assert [r["value"] for r in means] == pytest.approx(planted, abs=0.02)
    assert len(means) == 3 and all(r["ci95"] and r["extra"]["targets"] == 2 for r in means)


def test_where_training_was_still_rising_is_said():
    given_arms = [("seeds", "3"), ("arms", "mixture,direct,longer,direct_half"), ("arms_for", "all")]

    def table(at, arm, target):
        risen = 0.5 if arm == "longer" and at[WEIGHT] == 0.1 and target == "second" else 0.0
        level = {"direct": 1.0, "direct_half": 1.0}.get(arm, 0.4)
        return level + risen + 0.01 * np.random.default_rng([*f"{arm}{target}{at}".encode()]).normal(size=(3, 37))

    found = answered(swept(given_arms, axes=weights(0.1, 0.3)), table)
    rises = row_files.select(found, metric="rise", arm="longer")
    assert {(r["target"], r["point"][WEIGHT]): r["extra"]["rising"] for r in rises} == {
        ("first", 0.1): False,
        ("first", 0.3): False,
        ("second", 0.1): True,
        ("second", 0.3): False,
    }
    (longest,) = row_files.select(found, metric="finished", target="second", unit="bits", point={WEIGHT: 0.1})
    assert longest["value"] == pytest.approx(0.1, abs=0.02) and longest["arm"] == "longer"
    slopes = {r["extra"]["measure"]: r["value"] for r in row_files.select(found, metric="slope", target="second")}
    assert slopes["finished"] == pytest.approx(0.5 / 0.2, abs=0.1) and abs(slopes["gap"]) < 0.1
    said = {r["target"]: words for r in rises if (words := r["extra"]["sentence"])}
    assert said["first"].startswith("first: at none of 2 points") and said["second"].startswith("second: at 1 of 2")


def test_other_numbers_of_test_items_have_no_slope_and_say_so():
    def table(at, arm, target):
        return np.random.default_rng(at["data.test"]).normal(size=(2, at["data.test"]))

    found = answered(swept(axes=dict(data=dict(test=(30, 37)))), table)
    for slope in gap_slopes(found):
        assert slope["value"] is None and "different numbers of test items" in slope["extra"]["sentence"]


def test_curves_of_other_points_have_other_keys():
    keys = {sweep.plan(swept(axes=weights(*values))).curve.key for values in ((0.1, 0.2), (0.2, 0.1), (0.1, 0.3))}
    assert len(keys) == 3
    assert sweep.plan(swept(axes=weights(0.1, 0.2), log=(WEIGHT,))).curve.key not in keys


# Carried out


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(config, work directory, runs that were trained, output)."""
    workdir, trained = tmp_path_factory.mktemp("sweep"), []
    config = swept(axes=weights(0.1, 0.3, 0.5), log=(WEIGHT,))
    train = loop.train

    def counted(members, *args, **kwargs):
        trained.extend(member.run.folder for member in members)
        return train(members, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", counted)
        assert execute.study(config, workdir) == execute.DONE
    return config, workdir, trained


def results(workdir) -> list[dict]:
    return row_files.read(workdir / "results.jsonl")


def test_the_union_is_trained_once(finished):
    _, _, trained = finished
    assert len(trained) == len(set(trained)) == 3 * 2 + 2 * 2


def test_rows_carry_their_point_and_no_verdicts(finished):
    _, workdir, _ = finished
    rows = results(workdir)
    assert all(tuple(r) == row_files.KEYS for r in rows)
    assert {json.dumps(r["point"]) for r in rows if row_files.kind(r) != "sweep"} == {
        json.dumps({WEIGHT: value}) for value in (0.1, 0.3, 0.5)
    }
    gaps = row_files.select(rows, metric="gap")
    assert {row_files.kind(r) for r in gaps} == {"answer", "sweep"}
    assert all("verdict" not in (r["extra"] or {}) and "adjusted_p" not in (r["extra"] or {}) for r in gaps)
    assert not row_files.select(rows, metric="choice")  # which says what was lost
    assert sorted(r["target"] for r in gap_slopes(rows)) == ["first", "second"]


def test_a_point_in_the_sweeps_rows_is_the_one_its_study_answers(finished):
    _, workdir, _ = finished
    rows = row_files.select(results(workdir), metric="gap", unit="bits", target="second", point={WEIGHT: 0.3})
    values = {row_files.kind(r): (r["value"], *r["ci95"]) for r in rows}
    assert values["sweep"] == pytest.approx(values["answer"])


def test_the_report_shows_the_slopes(finished):
    config, workdir, _ = finished
    assert WEIGHT in (workdir / "report.html").read_text()
    shown = tables.terminal([r for r in results(workdir) if row_files.kind(r) == "sweep"])
    assert "Slopes" in shown and "bits per doubling" in shown


def test_again_and_from_disk_it_is_the_same(finished, capsys):
    config, workdir, trained = finished
    before, report = results(workdir), (workdir / "report.html").read_bytes()
    assert execute.study(config, workdir) == execute.DONE
    assert execute.study(config, workdir, stage="report") == execute.DONE
    assert results(workdir) == before and (workdir / "report.html").read_bytes() == report


def test_a_point_alone_is_a_study_that_is_done(finished, monkeypatch):
    """Nothing is trained; its rows stand for themselves too, then with its verdicts."""
    _, workdir, _ = finished
    monkeypatch.setattr(loop, "train", None)
    alone = swept([(WEIGHT, "0.3")])
    del alone["sweep"]
    assert execute.study(alone, workdir) == execute.DONE
    gaps = row_files.select(results(workdir), metric="gap", unit="bits", target="second")
    judged = [r for r in gaps if row_files.kind(r) == "answer" and (r["extra"] or {}).get("verdict")]
    assert [r["point"] for r in judged] == [None]
    assert len([r for r in gaps if r["point"] == {WEIGHT: 0.3}]) == 2  # the study's and the sweep's


def test_shards_and_stages_end_in_the_same_rows(finished, tmp_path):
    config, workdir, trained = finished
    again = []
    train = loop.train
    with pytest.MonkeyPatch.context() as patch:

        def counted(members, *args, **kwargs):
            again.extend(member.run.folder for member in members)
            return train(members, *args, **kwargs)

        patch.setattr(loop, "train", counted)
        for stage in ("pretrain", "all"):
            codes = [execute.study(config, tmp_path, stage, shard=(index, 2)) for index in (0, 1)]
        codes = [execute.study(config, tmp_path, shard=(index, 2)) for index in (0, 1, 0)]
    assert codes[-1] == execute.DONE and sorted(again) == sorted(trained)
    swept_rows = [r for r in results(workdir) if r["point"] or row_files.kind(r) == "sweep"]
    assert results(tmp_path) == swept_rows


def test_a_dry_run_counts_the_union_and_writes_nothing(tmp_path, capsys):
    config = swept(axes=weights(0.1, 0.3, 0.5))
    assert execute.study(config, tmp_path / "none", dry_run=True) == execute.DONE
    said = capsys.readouterr().out
    assert "3 points" in said and "10 train" in said and "200 steps" in said and not (tmp_path / "none").exists()


@pytest.mark.slow
def test_many_points_take_little_more_memory_than_one():
    """Every point with a width of its own: what it compiles is let go of again."""
    benchmark = pathlib.Path(__file__).parent / "benchmarks" / "sweep_benchmark.py"
    done = subprocess.run(
        [sys.executable, str(benchmark), "--axis=width", "--points=20"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
