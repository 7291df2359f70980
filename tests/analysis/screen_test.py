import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bottleneck.analysis import eigenbasis, information, ladder, nonlinear, probes, ridge, screen

SIZES = {"probe": 400, "val": 200, "test": 400}


def split(values, sizes=SIZES):
    return dict(zip(sizes, np.split(values, np.cumsum(list(sizes.values()))[:-1])))


def planted(strength, classes=2, p=20, seed=0, sizes=SIZES, frequencies=None):
    """Classes whose means differ by `strength` in some directions of a random rotation of unit noise."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, sum(sizes.values()), p=frequencies)
    x = rng.normal(size=(len(labels), p))
    x[:, :classes] += strength * np.eye(classes)[labels]
    return split(x @ np.linalg.qr(rng.normal(size=(p, p)))[0], sizes), split(labels, sizes)


def other(classes=2, seed=1, sizes=SIZES):
    return split(np.random.default_rng(seed).integers(0, classes, sum(sizes.values())), sizes)


@pytest.mark.parametrize("penalty", [None, 0.1])
@pytest.mark.parametrize("classes", [2, 5])
def test_a_clean_label_is_read_and_an_absent_one_is_not(classes, penalty):
    x, y = planted(8.0, classes)
    found = screen.screen(x, {"label": (y, classes), "absent": (other(classes), classes)}, penalty)
    label, absent = found["label"], found["absent"]
    assert label.correct.dtype == bool and label.correct.mean() > 0.98
    assert label.bits.shape == (SIZES["test"],) and np.log2(classes) - 0.1 < label.bits.mean() < np.log2(classes) + 0.05
    assert abs(absent.bits.mean()) < 0.02 and abs(absent.val_bits) < 0.03
    assert abs(absent.correct.mean() - 1 / classes) < 0.08
    assert label.scaling == ("raw" if penalty else "whitened") and (penalty is None or label.lam == penalty)


def test_a_target_is_read_the_same_alone_and_among_others():
    x, y = planted(1.0, 3)
    alone = screen.screen(x, {"a": (y, 3)})["a"]
    among = screen.screen(x, {"b": (other(5), 5), "a": (y, 3), None: (other(2), 2)})
    assert set(among) == {"a", "b", None}
    assert alone.lam == among["a"].lam
    np.testing.assert_allclose(alone.bits, among["a"].bits, atol=1e-4)  # the solver of the K x K map stops at 1e-4


def test_the_test_split_decides_nothing():
    x, y = planted(1.0)
    first = screen.screen(x, {"a": (y, 2)})["a"]
    changed = screen.screen(x | {"test": 3 * x["test"][::-1]}, {"a": (y | {"test": 1 - y["test"]}, 2)})["a"]
    assert (first.lam, first.val_bits, first.at_edge) == (changed.lam, changed.val_bits, changed.at_edge)
    assert (first.bits != changed.bits).any()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(3, 40),
    st.integers(1, 40),
    st.integers(2, 5),
    st.sampled_from(["raw", "standardised"]),
)
def test_squared_errors_are_those_of_the_predictions(seed, n, p, classes, scaling):
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(2 * n, p)) * rng.exponential(size=p) + 5.0, rng.integers(0, classes, 2 * n)
    y, space = np.eye(classes)[labels], eigenbasis.basis(x[:n], scaling)
    weights, intercept = ridge.ridge(space, y[:n], (1e-3, 0.1, 10.0))
    val = space.project(x[n:])
    direct = np.stack([((y[n:] - val @ weight - intercept) ** 2).mean(0) for weight in weights])
    np.testing.assert_allclose(screen.squared_errors(weights, val, y[n:] - intercept), direct, rtol=1e-8, atol=1e-10)


def test_errors_of_a_label_point_to_its_penalty_and_add_over_components():
    """Against scikit-learn's ridge on the same one-hots, at a few penalties of the grid."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = planted(1.5, 3)
    found = screen.errors(x, y, 3)
    assert found.shape == (len(ridge.GRID),)
    for index in (5, 20, 30):
        model = linear_model.Ridge(alpha=ridge.GRID[index] * SIZES["probe"]).fit(x["probe"], np.eye(3)[y["probe"]])
        direct = ((model.predict(x["val"]) - np.eye(3)[y["val"]]) ** 2).sum(1).mean()
        assert found[index] == pytest.approx(direct, rel=1e-6)
    assert 0 < found.argmin() < len(found) - 1


def test_what_stands_out_is_read_raw_and_what_is_weak_only_whitened():
    """A factor 50 times weaker than the pretraining task: the task's penalty drowns it, whitening brings it back."""
    rng, sizes = np.random.default_rng(0), {"probe": 1000, "val": 500, "test": 1000}
    n, p = sum(sizes.values()), 64
    task, factor, x = rng.integers(0, 2, n), rng.integers(0, 2, n), rng.normal(size=(n, p))
    x[:, 0] = 3.0 * (2 * task - 1) + rng.normal(size=n)
    x[:, 1] = (3.0 * (2 * factor - 1) + rng.normal(size=n)) / 50
    x = split(x @ np.linalg.qr(rng.normal(size=(p, p)))[0], sizes)
    targets = {"task": (split(task, sizes), 2), "factor": (split(factor, sizes), 2)}
    penalty = ridge.GRID[int(screen.errors(x, targets["task"][0], 2).argmin())]
    raw, whitened = screen.screen(x, targets, penalty), screen.screen(x, targets)
    assert raw["task"].correct.mean() > 0.99 and whitened["factor"].correct.mean() > 0.99
    assert raw["factor"].correct.mean() < 0.95


@pytest.mark.parametrize("frequencies", [None, (0.7, *[0.3 / 7] * 7)])
def test_ridge_made_logits_reads_as_much_as_a_logistic_probe(frequencies):
    """To a tenth, also of many and unequal classes, of which plain ridge scores lose a quarter of the bits."""
    sizes = {"probe": 1000, "val": 500, "test": 1000}
    x, y = planted(2.0, 8, 32, sizes=sizes, frequencies=frequencies)
    reading = screen.screen(x, {"a": (y, 8)})["a"]
    logistic = probes.linear_probe(x, y, 8, scalings=("whitened",))
    assert reading.bits.mean() > 0.9 * logistic.bits.mean()
    assert reading.correct.mean() > logistic.accuracy - 0.03


def test_the_penalty_follows_the_log_loss_to_the_edge_of_the_grid():
    x, y = planted(0.0)
    assert screen.screen(x, {"a": (y, 2)})["a"].at_edge in ("", "strong")
    rng = np.random.default_rng(0)
    exact = split(np.repeat(np.eye(2)[rng.integers(0, 2, 1000)], 3, axis=1) + 1e-9 * rng.normal(size=(1000, 6)))
    labels = {name: (values[:, 0] < 0.5).astype(int) for name, values in exact.items()}
    assert screen.screen(exact, {"a": (labels, 2)})["a"].correct.all()
    assert screen.screen(exact, {"a": (labels, 2)}, 1e-2)["a"].at_edge == ""


def test_more_features_than_items_and_constant_features():
    x, y = planted(6.0, 3, p=700)
    wide = {name: np.hstack([values, np.ones((len(values), 3))]).astype(np.float32) for name, values in x.items()}
    for penalty in (None, 0.1):
        assert screen.screen(wide, {"a": (y, 3)}, penalty)["a"].correct.mean() > 0.85


def test_a_layer_that_is_dead_says_nothing():
    x, y = planted(6.0, 3)
    dead = {name: np.ones((len(values), 4)) for name, values in x.items()}
    for reading in (
        screen.screen(dead, {"a": (y, 3)})["a"],
        screen.screen(dead, {"a": (y, 3)}, 0.1)["a"],
        nonlinear.probe(dead, {"a": (y, 3)})["a"],
    ):
        np.testing.assert_allclose(reading.bits, 0.0, atol=1e-9)
    assert np.ptp(screen.errors(dead, y, 3)) == 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.floats(0.0, 6.0))
def test_calibration_is_never_worse_than_the_prior_and_bounds_every_mistake(seed, classes, strength):
    rng = np.random.default_rng(seed)
    labels, n = rng.integers(0, classes, 120), 120
    prior = information.prior(labels, classes)
    logits = strength * np.eye(classes)[labels] + rng.normal(size=(n, classes))
    slope, loss = screen.calibrate(logits, labels, prior)
    assert loss <= -np.log(prior[labels]).mean() + 1e-3 * (1 + np.abs(logits).max())  # the least slope is 1e-3
    wrong = 50.0 * np.eye(classes)[(labels + 1) % classes]
    y = {"val": labels, "test": labels}
    worst = screen.reading({"val": logits, "test": wrong}, y, prior, slope, 1.0, "", "raw").bits.min()
    assert worst >= -np.log2((n + 1) / prior.min()) - 1e-9


def test_logits_that_are_the_prior_carry_no_information_whatever_the_frequencies_on_val():
    """Flattened logits end at the prior of the probe split; equal classes would be read as information here."""
    prior, rng = np.array([0.7, 0.3]), np.random.default_rng(0)
    y = {name: rng.integers(0, 2, 400) for name in ("val", "test")}
    noise = {name: np.log(prior) + 1e-3 * rng.normal(size=(400, 2)) for name in y}
    slope, _ = screen.calibrate(noise["val"], y["val"], prior)
    assert abs(screen.reading(noise, y, prior, slope, 1.0, "", "raw").bits.mean()) < 1e-2


@pytest.mark.parametrize("seed", range(4))
def test_labels_independent_of_the_items_are_not_read(seed):
    """No adjusted interval lies above 0 bits, for equal and unequal classes, raw and whitened."""
    rng = np.random.default_rng(seed)
    items = sum(SIZES.values())
    x = split(
        np.maximum(rng.normal(size=(items, 12)) @ rng.normal(size=(12, 40)), 0.0) + 0.1 * rng.normal(size=(items, 40))
    )
    targets = {
        i: (
            split(np.minimum(rng.geometric(0.5, items) - 1, 3) if i % 2 else rng.integers(0, 2 + i % 5, items)),
            4 if i % 2 else 2 + i % 5,
        )
        for i in range(20)
    }
    tables = {
        (scaling, name): reading.bits[None]
        for scaling, penalty in (("whitened", None), ("raw", 1e-2))
        for name, reading in screen.screen(x, targets, penalty).items()
    }
    assert not [name for name, interval in ladder.adjusted(tables).items() if interval.low > 0]
    assert -0.02 < np.mean([table.mean() for table in tables.values()]) < 0.002
