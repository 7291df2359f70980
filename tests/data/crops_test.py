import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from bottleneck.data import crops, mixture

AREA = (0.08, 1.0)
sides = st.integers(1, 3000)


def draw(seed, step, batch, area):
    return crops.drawn(mixture.bits(seed, step, batch, crops.NUMBERS), area)


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(
    st.tuples(sides, sides), st.tuples(st.integers(4, 300), st.integers(4, 300)), st.integers(0, 2**31 - 1)
)
def test_a_box_lies_in_the_image(size, shape, seed):
    for row in draw(seed, 5, 4, AREA):
        left, upper, right, lower = crops.box(row, shape, size)
        assert 0 <= left < right <= size[0] and 0 <= upper < lower <= size[1]


@pytest.mark.parametrize("shape", [(64, 64), (32, 64)])
def test_areas_and_aspect_ratios_are_those_asked_for(shape):
    size, (low, high) = (5000, 4000), (0.2, 0.6)
    boxes = np.array([crops.box(row, shape, size) for row in draw(1, 2, 1000, (low, high))])
    across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    share, ratio = across * down / (size[0] * size[1]), across / down / (shape[1] / shape[0])
    assert low - 1e-3 < share.min() < low + 0.02 and high - 0.02 < share.max() < high + 1e-3
    assert share.mean() == pytest.approx((low + high) / 2, abs=0.02)
    assert 3 / 4 - 1e-2 < ratio.min() < 0.78 and 1.28 < ratio.max() < 4 / 3 + 1e-2
    assert np.log(ratio).mean() == pytest.approx(0, abs=0.03)
    place = boxes[:, 0] / (size[0] - across)
    assert place.mean() == pytest.approx(0.5, abs=0.04) and place.min() < 0.02 and place.max() > 0.98


@pytest.mark.parametrize(("size", "box"), [((400, 40), (173, 0, 226, 40)), ((40, 400), (0, 173, 40, 226))])
def test_where_no_try_fits_the_middle_is_seen(size, box):
    rows = draw(0, 0, 20, (1.0, 1.0))  # of the whole area, which no such ratio has
    assert {crops.box(row, (8, 8), size) for row in rows} == {box}


def test_a_row_depends_on_seed_step_and_place_only():
    drawn = draw(3, 7, 8, AREA)
    assert drawn.shape == (8, crops.TRIES + 1, 2) and drawn.dtype == np.float64
    np.testing.assert_array_equal(draw(3, 7, 5, AREA), drawn[:5])
    others = [draw(4, 7, 8, AREA), draw(3, 8, 8, AREA)]
    assert all((other != drawn).all() for other in others) and len(np.unique(drawn[:, 0, 0])) == 8
    np.testing.assert_array_equal(drawn, draw(np.int32(3), np.int32(7), 8, AREA))


def test_the_numbers_of_a_step_are_pinned():
    """Runs go on after the package has changed: these must not."""
    drawn = draw(1, 2, 3, AREA)
    expected = [[0.41206130015663806, 0.9437778847752878], [0.12893139362335204, 1.237747571176139]]
    expected.append([0.0029682123567909002, 0.7495432617142797])
    np.testing.assert_allclose([drawn[0, 0], drawn[2, 3], drawn[1, -1]], expected, rtol=1e-12)
