"""Features kept too coarse or on an impossible scale are recognised, whatever they were converted to since."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bottleneck.analysis import precision


def test_offset_is_the_largest_mean_over_deviation_of_units_that_vary():
    x = np.array([[1.0, 100.0, 7.0], [3.0, 102.0, 7.0]])
    assert precision.offset(x) == 101.0 and precision.offset(x[:, 2:]) == 0.0


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def small_signal(dtype, n=400):
    """A column of 5 plus or minus 0.01 beside ten of noise, kept in `dtype`; and the signs."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], n)
    return np.column_stack([5 + 0.01 * signs, rng.normal(size=(n, 10))]).astype(dtype), signs


@pytest.mark.parametrize("columns", [slice(None), slice(1)], ids=["beside others", "alone"])
@pytest.mark.parametrize("converted", [False, True], ids=["as it is", "converted"])
def test_a_precision_that_erases_a_small_signal_is_recognised(converted, columns):
    """0.01 on 5: gone in bfloat16, there in float16 and float32, also after a conversion to float32 or float64."""
    for dtype, survives in ((BFLOAT16, False), (np.float16, True), (np.float32, True), (np.float64, True)):
        x, signs = small_signal(dtype)
        signal = np.float64(x[:, 0]) - np.float64(x[:, 0]).mean()
        assert (abs(signal @ signs) > 0.9 * np.linalg.norm(signs) * np.linalg.norm(signal) > 0) == survives
        for kept in (x.astype(np.float32), x.astype(np.float64)) if converted else (x,):
            reason = precision.objection(kept[:, columns])
            assert (reason == "") == survives
            assert survives or "8 significant bits" in reason


@pytest.mark.parametrize(("mean", "fine"), [(0, True), (20, True), (30, False), (1000, False)])
def test_bfloat16_is_refused_where_a_tenth_of_a_deviation_is_rounded_away(mean, fine):
    """|mean|/std 2^-8 > 0.1, that is above 25.6; float32 is fine with all of these."""
    x = np.random.default_rng(1).normal(size=(500, 8)).astype(np.float32)
    x[:, 3] += mean
    assert precision.objection(x) == ""
    assert (precision.objection(x.astype(BFLOAT16).astype(np.float32)) == "") == fine


def test_ordinary_features_are_accepted():
    rng = np.random.default_rng(2)
    relu = np.maximum(rng.normal(size=(300, 50)) + rng.normal(size=50) * 2, 0).astype(np.float32)
    relu[:, 7] = 0.0  # a dead unit
    whole = {
        "counts": rng.poisson(4, (300, 5)),
        "one-hot": np.eye(5)[rng.integers(0, 5, 300)],
        "pixels": rng.integers(0, 256, (300, 5)),
        "rare": np.arange(300)[:, None] % 299 > 0,
        "bright pixels": rng.integers(250, 256, (300, 5)),
        "codes and a constant": np.column_stack([rng.integers(-8, 9, 300), np.ones(300)]),
    }
    for name, x in {
        "relu": relu,
        "positions": relu.reshape(60, 5, 50),
        "bfloat16 relu": relu.astype(BFLOAT16),
        **{k: v.astype(np.float32) for k, v in whole.items()},
    }.items():
        assert precision.objection(x) == "", name
    assert precision.objection(np.zeros((5, 3), np.float32)) == ""  # a dead layer says nothing, exactly


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_none_is_an_objection(value):
    x = np.random.default_rng(3).normal(size=(20, 3)).astype(np.float32)
    x[7, 1] = value
    assert "NaN or infinity" in precision.objection(x)


@given(st.integers(1, 24), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_significant_bits_are_those_that_rounding_left(bits, seed):
    """Mantissas in [1/2, 1) rounded to multiples of 2^-bits: one of 400 numbers needs all the bits (or 1 in 2^400)."""
    mantissa, exponent = np.frexp(np.random.default_rng(seed).normal(size=400))
    x = np.ldexp(np.rint(mantissa * 2.0**bits) / 2.0**bits, exponent)
    assert precision.significant_bits(x) == precision.significant_bits(x.astype(np.float32)) == bits
    assert precision.significant_bits(np.append(x, [0.0, 2.0, -0.25])) == bits


def test_significant_bits_of_formats():
    x = np.random.default_rng(4).normal(size=200)
    for dtype, bits in ((np.float64, 53), (np.float32, 24), (np.float16, 11), (BFLOAT16, 8)):
        assert (
            precision.significant_bits(x.astype(dtype))
            == precision.significant_bits(x.astype(dtype).astype(np.float64))
            == bits
        )
    assert precision.significant_bits(np.zeros((3, 2), np.float32)) == 1
    assert (
        precision.significant_bits(x.astype(np.float16).astype(">f8").reshape(2, 100).T) == 11
    )  # in any byte order and layout


@pytest.mark.parametrize("scale, fine", [(1e-120, False), (1e-90, True), (1.0, True), (1e90, True), (1e120, False)])
def test_scales_whose_squares_leave_float64_are_an_objection(scale, fine):
    x = scale * np.random.default_rng(3).normal(size=(20, 3))
    assert ("range of float64" in precision.objection(x)) == (not fine)
    assert precision.objection(0 * x) == ""


def test_integers_and_wide_floats():
    x = np.random.default_rng(3).integers(0, 2**40, (20, 3))
    assert (
        precision.objection(x) == precision.objection(x % 2 == 0) == precision.objection(x.astype(np.longdouble)) == ""
    )
