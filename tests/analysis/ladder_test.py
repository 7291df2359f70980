import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from bottleneck.analysis import information, ladder, nonlinear, planted, screen

SPLITS = ("probe", "val", "test")


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1, "blas"):  # many small products
        yield


def split(values, n=2000):
    return dict(zip(SPLITS, np.split(values, [n, n + n // 2])))


def draw(sizes, seed=0, n=2000):
    """Independent factors f0, f1, ... with so many values: split -> name -> int [n]."""
    rng = np.random.default_rng(seed)
    values = {f"f{i}": split(rng.integers(0, size, 2 * n + n // 2), n) for i, size in enumerate(sizes)}
    return {s: {name: v[s] for name, v in values.items()} for s in SPLITS}


def held(factors, sizes, seed=0, noise=0.5, units=64):
    """A representation that holds every factor side by side."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(units, units)))[0]
    x = {}
    for s, known in factors.items():
        ones = np.hstack([np.eye(size)[values] for size, values in zip(sizes, known.values())])
        x[s] = np.hstack([3.0 * ones, np.zeros((len(ones), units - ones.shape[1]))]) @ rotation
        x[s] += noise * rng.normal(size=x[s].shape)
    return x


@pytest.mark.parametrize("how", planted.STORED)
def test_a_planted_factor_lands_where_it_was_put(how):
    case = planted.plant(how, seed=0, n=800)
    landing = planted.climb(case)
    assert landing.rung in case.rungs
    assert landing.certain == (how != "independent")
    assert landing.layer == ("before" if landing.rung == "earlier" else None)
    assert landing.untrained == ("before" if how == "never used" else None)
    if how != "independent":
        assert set(landing.shares) == set(landing.margins) == {"prominent", "linear", "nonlinear", "before"}
    if how == "erased":  # not to be read linearly at any scale
        assert max(landing.shares["prominent"], landing.shares["linear"]) < 0.05 < landing.shares["nonlinear"]
    if how == "tiny":
        assert landing.shares["prominent"] < 0.05


def test_a_planted_case_is_a_function_of_its_seed():
    first, again, other = (planted.plant("product", seed, 100) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.last["val"], again.last["val"])
    assert (first.last["val"] != other.last["val"]).any()
    assert [len(first.task[s]) for s in SPLITS] == [100, 50, 100] and first.reference["test"].shape == (
        100,
        planted.UNITS,
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(2, 30))
def test_erasure_leaves_no_covariance_changes_nothing_else_and_is_idempotent(seed, classes, p):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 300)
    x = rng.normal(size=(300, p)) @ rng.normal(size=(p, p)) + 2.0 * rng.normal(size=(classes, p))[labels] + 7.0
    erased = planted.erase(x, labels)
    one_hot = np.eye(classes)[labels] - np.eye(classes)[labels].mean(0)
    scale = np.abs(x - x.mean(0)).max()
    assert np.abs(erased.T @ one_hot / 300).max() < 1e-8 * scale
    assert np.linalg.matrix_rank(x - erased, tol=1e-6 * scale) <= min(classes - 1, p)
    np.testing.assert_allclose(erased.mean(0), x.mean(0), atol=1e-8 * scale)
    np.testing.assert_allclose(planted.erase(erased, labels), erased, atol=1e-6 * scale)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 7), min_size=2, max_size=4), st.integers(2, 7), st.integers(0, 10**6))
def test_a_control_task_is_one_function_of_the_combination_in_all_splits(sizes, classes, seed):
    factors = draw(sizes, n=200)
    task = ladder.control(factors, classes, seed)[0]
    if task is None:
        assert np.prod(sizes) < 4 * classes
        return
    rows = np.concatenate([np.stack([*factors[s].values(), task[s]], 1) for s in SPLITS])
    combinations = np.unique(rows[:, :-1], axis=0)
    assert len(np.unique(rows, axis=0)) == len(combinations)  # a function
    counts = np.bincount(np.unique(rows, axis=0)[:, -1], minlength=classes)
    assert len(counts) == classes and counts.max() - counts.min() <= 1  # of equally many combinations
    again = ladder.control(factors, classes, seed)[0]
    assert all((task[s] == again[s]).all() for s in SPLITS)
    if np.prod(sizes) > 30:
        assert any((task[s] != ladder.control(factors, classes, seed + 1)[0][s]).any() for s in SPLITS)


def test_where_there_is_no_control_task_the_reason_is_said():
    assert ladder.control({s: {} for s in SPLITS}, 2, 0) == (None, "a control task needs two factors that are read")
    assert ladder.control(draw([10]), 2, 0) == (None, "a control task needs two factors that are read")
    task, reason = ladder.control(draw([2, 2]), 5, 0)
    assert task is None and reason == "4 combinations of factor values for a control task of 5 classes"
    biased = draw([10, 10], n=1000)
    biased = {
        s: {"f0": known["f0"], "f1": np.where(np.arange(len(known["f0"])) % 10 > 0, known["f0"], known["f1"])}
        for s, known in biased.items()
    }
    task, reason = ladder.control(biased, 10, 0)  # the factors agree nine times in ten
    assert task is None and "one factor alone" in reason
    task, reason = ladder.control(draw([2, 2]), 2, 0)
    a, b = (draw([2, 2])["test"][name] for name in ("f0", "f1"))
    assert len({bool(v) for v in task["test"] == (a ^ b)}) == 1 and reason == ""  # all that is left: equal, or unequal


def test_a_control_task_has_something_to_tell():
    """Nineteen items in twenty share one value: a task that tells the rest apart would find no memory out."""
    rng, sizes = np.random.default_rng(0), {"probe": 1000, "val": 500, "test": 1000}
    rare = {s: {name: (rng.random(n) < 0.03).astype(int) for name in ("a", "b")} for s, n in sizes.items()}
    task, reason = ladder.control(rare, 2, 0)
    assert task is None and reason == "nearly all items would be of one class of a control task"
    mixed = {s: {**draw([2, 2], n=1000)[s], "rare": (rng.random(n) < 0.03).astype(int)} for s, n in sizes.items()}
    for seed in range(5):
        task, _ = ladder.control(mixed, 2, seed)
        assert 0.3 < task["probe"].mean() < 0.7


def columns(n=1000):
    """Two factors beside columns that are none, split -> name -> int [n]."""
    rng, sizes = np.random.default_rng(1), {"probe": n, "val": n // 2, "test": n}
    first = dict(zip(sizes, np.cumsum([0, n, n // 2])))
    found = {}
    for split, items in sizes.items():
        odd = np.arange(items) == 3
        found[split] = {
            "id": first[split] + np.arange(items),
            "shape": rng.integers(0, 4, items),
            "camera": rng.integers(0, n // 2, items),  # nearly one value an item
            "year": np.full(items, 2020),
            "retouched": odd.astype(int),  # nearly constant
            "colour": rng.choice([10, 30, 70], items),
            "old": rng.integers(0, 2, items) if split == "probe" else np.zeros(items, int),
        }
    return found


def test_only_factors_are_read_and_the_other_columns_are_named_with_a_reason():
    known, left_out = ladder.readable(columns())
    assert [list(known[s]) for s in SPLITS] == [["shape", "colour"]] * 3
    np.testing.assert_array_equal(known["val"]["shape"], columns()["val"]["shape"])
    assert set(known["test"]["colour"]) == {0, 1, 2}  # codes of the values there are
    assert left_out == {
        "id": "2,500 values among 1,000 probe items: names, not a factor",
        "camera": left_out["camera"],
        "year": "it never varies on probe",
        "retouched": "all but 1 of 1,000 probe items have the same value",
        "old": "it never varies on val",
    }
    assert left_out["camera"].endswith("values among 1,000 probe items: names, not a factor")
    assert set(ladder.readable(columns(), limit=3)[0]["probe"]) == {"colour"}
    assert ladder.readable({s: {} for s in SPLITS}) == ({s: {} for s in SPLITS}, {})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 12), max_size=4), st.integers(0, 10**6))
def test_factors_that_vary_are_all_read_as_they_are(sizes, seed):
    factors = draw(sizes, seed, n=200)
    known, left_out = ladder.readable(factors)
    assert not left_out
    for s in SPLITS:
        for name, values in factors[s].items():
            np.testing.assert_array_equal(known[s][name], values)


@pytest.mark.parametrize("extra", ["id", "camera", "retouched"])
def test_a_column_that_is_no_factor_switches_no_control_off(extra):
    """As it did: alone it tells every task that depends on it."""
    every = {s: {name: known[name] for name in ("shape", "colour", extra)} for s, known in columns().items()}
    known, _ = ladder.readable(every)
    task, reason = ladder.control(known, 4, 0)
    assert reason == "" and len(np.unique(task["probe"])) == 4
    without = {s: {name: values for name, values in each.items() if name != extra} for s, each in every.items()}
    again, _ = ladder.control(ladder.readable(without)[0], 4, 0)
    assert all((task[s] == again[s]).all() for s in SPLITS)
    if extra == "id":
        assert "one factor alone" in ladder.control(every, 4, 0)[1]


def test_selectivity_of_a_linear_probe_on_a_representation_that_holds_the_factors():
    """Published toy: factor 1.00, control 0.25 at chance 0.17; with three factors of six values, over three draws."""
    factors = draw([6, 6, 6], n=1000)
    x = held(factors, [6, 6, 6])
    targets = {("control", seed): (ladder.control(factors, 6, seed)[0], 6) for seed in range(3)}
    targets["A"] = ({s: known["f0"] for s, known in factors.items()}, 6)
    found = screen.screen(x, targets)
    assert found["A"].correct.mean() > 0.995
    assert 0.2 < np.mean([found["control", seed].correct.mean() for seed in range(3)]) < 0.33
    assert (found["A"].bits - found["control", 0].bits).mean() > 2.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 10), min_size=1, max_size=4), st.integers(0, 10**6))
def test_type_disjoint_splits_share_no_combination_and_are_stratified(sizes, seed):
    factors = draw(sizes, seed)
    for name in factors["probe"]:
        masks = ladder.disjoint(factors, name)
        if masks is None:
            continue
        kept = {s: {tuple(row) for row in np.stack(list(known.values()), 1)[masks[s]]} for s, known in factors.items()}
        assert not (kept["probe"] | kept["val"]) & kept["test"]
        values = factors["probe"][name]
        fitted = np.array([masks["probe"][values == value].mean() for value in np.unique(values)])
        assert (fitted > 0.3).all() and (fitted < 0.95).all()
        assert set(factors["test"][name][masks["test"]]) == set(values)


@pytest.mark.parametrize(
    "sizes, possible",
    [
        ([10], False),
        ([2, 2], False),
        ([3, 3], False),
        ([10, 2], False),
        ([2, 2, 2], True),
        ([2, 2, 2, 2], True),
        ([4, 4], True),
        ([6, 6], True),
        ([10, 10], True),
        ([3, 3, 3], True),
    ],
)
def test_type_disjoint_splits_exist_where_they_confound_nothing(sizes, possible):
    assert (ladder.disjoint(draw(sizes), "f0") is not None) == possible


def test_no_type_disjoint_split_of_a_factor_that_never_varies_or_always_agrees_with_another():
    factors = draw([4, 4])
    constant = {s: {"f0": np.zeros_like(known["f0"]), "f1": known["f1"]} for s, known in factors.items()}
    assert ladder.disjoint(constant, "f0") is None
    same = {s: {"f0": known["f0"], "f1": known["f0"]} for s, known in factors.items()}
    assert ladder.disjoint(same, "f0") is None


def test_a_representation_that_only_knows_which_combination_is_found_out():
    """Published toy: random split 0.40, type-disjoint 0.16, which is chance; over eight codes 0.40 and 0.19 here."""
    factors = draw([6, 6])
    y, masks = {s: known["f0"] for s, known in factors.items()}, ladder.disjoint(factors, "f0")
    random, unseen = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        codes = rng.normal(size=(36, 32))
        x = {s: codes[6 * known["f0"] + known["f1"]] for s, known in factors.items()}
        x = {s: values + 2.3 * rng.normal(size=values.shape) for s, values in x.items()}
        random.append(screen.screen(x, {"A": (y, 6)})["A"].correct.mean())
        parts = {s: x[s][masks[s]] for s in SPLITS}, {s: y[s][masks[s]] for s in SPLITS}
        unseen.append(screen.screen(parts[0], {"A": (parts[1], 6)})["A"].correct.mean())
    assert 0.35 < np.mean(random) < 0.47
    assert 0.12 < np.mean(unseen) < 0.23


def test_a_factor_that_is_held_is_read_on_unseen_combinations():
    factors = draw([6, 6])
    y, masks = {s: known["f0"] for s, known in factors.items()}, ladder.disjoint(factors, "f0")
    x = held(factors, [6, 6])
    reading = screen.screen({s: x[s][masks[s]] for s in SPLITS}, {"A": ({s: y[s][masks[s]] for s in SPLITS}, 6)})["A"]
    assert reading.correct.mean() > 0.99


def table(mean, seeds=3, n=400, seed=0, sd=0.2):
    """Bits [seeds, n] whose mean is exactly `mean`."""
    noise = np.random.default_rng(seed).normal(size=(seeds, n)) * sd
    return mean + noise - noise.mean()


def land(prominent=0.0, linear=0.0, entangled=0.0, layers=(), control=None, reference=0.8, seeds=3, **options):
    names = {"prominent": prominent, "linear": linear, "nonlinear": entangled}
    tables = {name: table(mean, seeds, seed=i) for i, (name, mean) in enumerate(names.items(), 1)}
    earlier = {
        name: (table(trained, seeds, seed=10 + i), table(untrained, seeds, seed=20 + i))
        for i, (name, trained, untrained) in enumerate(layers)
    }
    return ladder.land(
        table(reference, seeds),
        tables,
        earlier,
        entropy=1.0,
        control=None if control is None else table(control, seeds, seed=30),
        **options,
    )


def test_the_first_rung_within_the_margin_is_where_a_factor_lands():
    assert land(0.75, 0.8, 0.8).rung == "prominent"
    landing = land(0.5, 0.75, 0.8)
    assert (landing.rung, landing.layer, landing.certain, landing.untrained) == ("linear", None, True, None)
    assert landing.shares["prominent"] == pytest.approx(0.625)
    assert landing.margins["linear"].value == pytest.approx(0.9 * 0.8 - 0.75) and landing.selectivity is None
    assert land(0.5, 0.75, 0.8, margin=0.6).rung == "prominent"
    assert land(0.1, 0.1, 0.1).rung == "nowhere" and land(0.1, 0.1, 0.1).certain


def test_close_calls_are_uncertain():
    assert not land(0.5, 0.721, 0.8).certain and land(0.5, 0.721, 0.8).rung == "linear"
    landing = land(0.719, 0.8, 0.8)  # the rung before it may be the one
    assert landing.rung == "linear" and not landing.certain
    assert not land(0.1, 0.1, 0.719).certain


def test_a_non_linear_reading_counts_only_above_its_control_task():
    landing = land(0.1, 0.1, 0.78, control=0.3)
    assert landing.rung == "nonlinear" and landing.certain and landing.selectivity.value == pytest.approx(0.48)
    memorised = land(0.1, 0.1, 0.78, control=0.78)
    assert memorised.rung == "nowhere" and not memorised.certain
    assert landing.control == memorised.control == ""


def test_without_a_control_task_a_non_linear_reading_is_never_certain_and_says_why():
    landing = land(0.1, 0.1, 0.78, no_control="one factor alone gives every control task away")
    assert (landing.rung, landing.certain, landing.selectivity) == ("nonlinear", False, None)
    assert landing.control == "one factor alone gives every control task away"
    assert land(0.1, 0.1, 0.78).control == ladder.UNCONTROLLED == land(0.1, 0.1, 0.78, no_control="").control
    assert land(0.5, 0.75, 0.8).certain and land(0.1, 0.1, 0.1).certain  # these rungs need none


def test_an_earlier_layer_counts_only_above_an_untrained_network():
    """Of the layers that count the last one is named; where none does, the last that reads it."""
    landing = land(layers=[("a", 0.78, 0.1), ("b", 0.78, 0.2), ("c", 0.2, 0.1)])
    assert (landing.rung, landing.layer, landing.certain, landing.untrained) == ("earlier", "b", True, None)
    assert landing.gains["b"].value == pytest.approx(0.58)
    landing = land(layers=[("a", 0.78, 0.1), ("b", 0.78, 0.78)])
    assert (landing.rung, landing.layer) == ("earlier", "a")
    landing = land(layers=[("a", 0.78, 0.78), ("b", 0.2, 0.1)])
    assert (landing.rung, landing.layer, landing.certain, landing.untrained) == ("nowhere", None, True, "a")
    landing = land(layers=[("a", 0.73, 0.72)])  # may be the training's, may be not
    assert (landing.rung, landing.certain, landing.untrained) == ("nowhere", False, "a")


def test_untestable_comes_first():
    landing = land(0.8, 0.8, 0.8, reference=0.001)
    assert (landing.rung, landing.certain, landing.shares) == ("untestable", False, {})
    landing = land(0.8, 0.8, 0.8, reference=0.02)  # perhaps direct training reads it, perhaps not
    assert (landing.rung, landing.certain, landing.shares) == ("inconclusive", False, {})
    assert land(0.8, 0.8, 0.8, reference=0.1).rung == "prominent"


def test_one_seed_and_other_seeds_for_the_reference():
    landing = land(0.5, 0.78, 0.8, seeds=1)
    assert landing.rung == "linear" and landing.certain and landing.margins["linear"].unit == "items"
    tables = {"prominent": table(0.1, 5), "linear": table(0.78, 5, seed=1)}
    landing = ladder.land(table(0.8, 2, seed=2), tables, {}, entropy=1.0)
    assert landing.rung == "linear" and landing.margins["linear"].unit == "seeds and items"
    assert dataclasses.is_dataclass(landing) and landing.gains == {}


def test_adjusted_intervals_hold_together():
    """Among 50 tables of mean 0, some 95 % interval misses 0 almost always, some adjusted one in 5 % of the draws."""
    missed = {"plain": 0, "adjusted": 0}
    for seed in range(60):
        tables = {i: np.random.default_rng((seed, i)).normal(size=(1, 60)) for i in range(50)}
        intervals = {
            "plain": [ladder.two_way(t) for t in tables.values()],
            "adjusted": ladder.adjusted(tables).values(),
        }
        for key, found in intervals.items():
            missed[key] += any(not interval.low <= 0 <= interval.high for interval in found)
    assert missed["plain"] > 45 and missed["adjusted"] < 10
    assert ladder.adjusted({"a": table(0.1)})["a"] == ladder.two_way(table(0.1))


@pytest.mark.parametrize("seed", range(3))
def test_a_label_independent_of_the_image_is_read_nowhere(seed):
    """Neither on any rung by an adjusted interval nor, as direct training does not read it, by landing."""
    rng, n = np.random.default_rng(seed), 400
    x, direct, untrained = (
        split(np.maximum(rng.normal(size=(1000, 10)) @ rng.normal(size=(10, 32)), 0.0), n) for _ in range(3)
    )
    targets = {i: (split(rng.integers(0, classes, 1000), n), classes) for i, classes in enumerate((2, 2, 3, 10))}
    factors = draw([4, 4, 4], seed, n)
    targets |= {("control", i): (ladder.control(factors, targets[i][1], seed)[0], targets[i][1]) for i in range(4)}
    read = {
        "prominent": screen.screen(x, targets, 0.1),
        "linear": screen.screen(x, targets),
        "nonlinear": nonlinear.probe(x, targets),
        "reference": screen.screen(direct, targets),
        "untrained": screen.screen(untrained, targets),
    }
    tables = {(rung, name): reading.bits[None] for rung, found in read.items() for name, reading in found.items()}
    assert not [key for key, interval in ladder.adjusted(tables).items() if interval.low > 0]
    for name in range(4):
        rungs = {rung: tables[rung, name] for rung in ladder.RUNGS[:3]}
        entropy = information.entropy(information.prior(targets[name][0]["probe"], targets[name][1]))
        landing = ladder.land(
            tables["reference", name],
            rungs,
            {"before": (tables["linear", name], tables["untrained", name])},
            entropy=entropy,
            control=tables["nonlinear", ("control", name)],
        )
        assert landing.rung == "untestable"
