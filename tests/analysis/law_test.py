"""Data-mixture laws: planted ones are recovered, the form is chosen by the fitted points, predictions are losses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bottleneck.analysis import law
from bottleneck.errors import UserError

OTHERS = np.array([0.5, 0.3, 0.2])
FITTED = np.array([0.003, 0.01, 0.04, 0.15, 0.4, 0.9])
HELD_OUT = np.array([0.006, 0.02, 0.08, 0.25, 0.7])
PLANTED = {
    "constant": lambda r: np.full(len(r), 0.3),
    "power": lambda r: 0.1 + 0.05 * r[:, 0] ** -0.4,
    "saturating": lambda r: 0.03 + 0.97 / (1 + (r[:, 0] / 0.05) ** 1.3),
    "exponential": lambda r: 0.05 + 0.9 * np.exp(-6 * r[:, 0] + 0.5 * r[:, 1]),
    "levels": lambda r: 0.15 + 0.3 / (1 + (r[:, 0] / 0.05) ** 2.5),
}


def line(own: np.ndarray) -> np.ndarray:
    """Mixtures [P, 4] of the first component with the others in fixed proportions."""
    return np.column_stack([own, (1 - own)[:, None] * OTHERS])


@pytest.mark.parametrize("form", law.FORMS)
def test_a_planted_law_is_chosen_and_recovered(form):
    planted = PLANTED[form]
    choice = law.choose(line(FITTED), 0, planted(line(FITTED)), top=1.0)
    assert choice.law.form == form and choice.errors[form] < 1e-3 and set(choice.errors) == set(law.FORMS)
    assert choice.law(line(HELD_OUT)) == pytest.approx(planted(line(HELD_OUT)), rel=1e-3)


def test_parameters_are_those_that_were_planted():
    said = {form: law.fit(form, line(FITTED), 0, PLANTED[form](line(FITTED)), 1.0).said for form in law.FORMS}
    assert said["constant"] == pytest.approx({"c": 0.3})
    assert said["power"] == pytest.approx({"c": 0.1, "k": 0.05, "a": 0.4}, rel=1e-3)
    assert said["saturating"] == pytest.approx({"c": 0.03, "a": 1.3, "m": 0.05, "h": 1.0}, rel=1e-3)
    assert said["levels"] == pytest.approx({"c": 0.15, "a": 2.5, "m": 0.05, "h": 0.45}, rel=1e-3)
    assert said["exponential"]["c"] == pytest.approx(0.05, rel=1e-3)
    t = np.array(said["exponential"]["t"])
    assert t[0] - t[1:] @ OTHERS == pytest.approx(
        -6.0 - 0.5 * OTHERS[0], rel=1e-3
    )  # along the line they are one number


def test_the_exponential_law_holds_over_all_weights():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), 24)
    t = np.array([-4.0, 1.0, 0.5])
    losses = 0.2 + 0.5 * np.exp(shares @ t)
    choice = law.choose(shares[:16], 0, losses[:16] * np.exp(0.01 * rng.normal(size=16)), top=2.0)
    assert choice.law.form == "exponential"
    assert np.abs(law.relative(choice.law(shares[16:]), losses[16:])).mean() < 0.02
    nearest = losses[:16][law.nearest(shares[:16], shares[16:])]
    assert np.abs(law.relative(nearest, losses[16:])).mean() > 0.1
    found = np.array(choice.law.said["t"])
    assert found - found.mean() == pytest.approx(t - t.mean(), abs=0.3)  # a constant is part of k


@pytest.mark.parametrize("seed", range(3))
def test_with_noise_a_law_beats_the_nearest_point(seed):
    rng = np.random.default_rng(seed)
    measured = PLANTED["saturating"](line(FITTED)) * np.exp(0.03 * rng.normal(size=len(FITTED)))
    choice, true = law.choose(line(FITTED), 0, measured, 1.0), PLANTED["saturating"](line(HELD_OUT))
    nearest = measured[law.nearest(line(FITTED), line(HELD_OUT))]
    assert np.abs(law.relative(choice.law(line(HELD_OUT)), true)).mean() < 0.08
    assert np.abs(law.relative(nearest, true)).mean() > 0.15


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0.02, 1.2), min_size=4, max_size=7), st.integers(0, 3))
def test_laws_predict_losses_and_do_not_know_the_order(losses, own):
    """Whatever was measured: above 0, and the same of the points in another order and of losses in another unit."""
    losses, shares = np.array(losses), line(np.linspace(0.05, 0.9, len(losses)))
    choice = law.choose(shares, own, losses, top=1.0)
    predicted = choice.law(line(HELD_OUT))
    assert (predicted > 0).all() and choice.law.form in choice.errors
    again = law.fit("power", shares[::-1], own, losses[::-1], 1.0)
    assert again(shares) == pytest.approx(law.fit("power", shares, own, losses, 1.0)(shares), rel=2e-2, abs=1e-3)


def test_rounded_shares_are_still_on_a_line():
    shares = line(FITTED)
    rounded = np.round(shares * 32768) / 32768
    assert law.directions(shares).shape == law.directions(rounded).shape == (4, 1)
    assert law.directions(np.eye(3)).shape == (3, 2) and law.directions(shares[:1]).shape == (4, 0)


def test_few_points_have_few_forms():
    losses = PLANTED["power"](line(FITTED))
    assert set(law.choose(line(FITTED[:3]), 0, losses[:3], 1.0).errors) == {"constant"}
    assert set(law.choose(line(FITTED[:4]), 0, losses[:4], 1.0).errors) == set(law.FORMS) - {"levels"}
    assert law.choose(line(FITTED[:2]), 0, losses[:2], 1.0).law.form == "constant"
    zero = line(np.array([0.0, 0.1, 0.3, 0.5]))
    assert "power" not in law.choose(zero, 0, np.array([1.0, 0.5, 0.3, 0.2]), 1.0).errors
    same = np.tile(line(FITTED[:1]), (5, 1))
    assert set(law.choose(same, 0, losses[:5], 1.0).errors) == {"constant"}


def test_rivals():
    assert law.nearest(line(FITTED), line(np.array([0.004, 0.008, 0.7]))).tolist() == [0, 1, 5]
    losses = -np.log(FITTED)
    assert law.interpolated(line(FITTED), 0, losses, line(HELD_OUT)) == pytest.approx(-np.log(HELD_OUT))
    assert law.interpolated(line(FITTED), 0, losses, line(np.array([0.95]))) == pytest.approx(losses[-1:])
    corners = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    assert law.interpolated(corners, 0, losses[:3], corners) is None


def test_the_jackknife_of_a_mean_is_its_t_interval():
    x = np.array([0.1, 0.4, 0.2, 0.6])
    held = law.jackknife(x.mean(), [np.delete(x, s).mean() for s in range(4)], n_examples=7)
    plain = law.two_way(x[:, None])
    assert (held.value, held.low, held.high) == pytest.approx((plain.value, plain.low, plain.high))
    assert (held.unit, held.n_seeds, held.n_examples) == ("seeds", 4, 7)
    assert np.isinf(law.jackknife(1.0, [], 7).high)


@pytest.mark.parametrize("losses", [[0.5, 0.0], [0.5, np.nan], [0.5], [0.5, 0.4, 0.3]])
def test_losses_that_have_no_relative_error(losses):
    with pytest.raises(UserError, match="losses"):
        law.choose(line(FITTED[:2]), 0, losses, 1.0)
