import xml.etree.ElementTree

from bottleneck.report import curves
from bottleneck.report.curves import Curve, curve
from bottleneck.report.drawing import INK


def rows(values, half=0.1):
    return [
        dict(step=step, value=value, ci95=[value - half, value + half], target="a") for step, value in values.items()
    ]


def test_a_curve_is_its_rows_in_the_order_of_steps():
    found = curve(
        [*rows({10: 0.5, 0: 0.25}), dict(step=20, value=None, ci95=None), dict(step=None, value=1.0, ci95=None)],
        "x",
        INK,
        100,
    )
    assert found.points == ((0, 25.0, 15.0, 35.0), (10, 50.0, 40.0, 60.0))
    assert curve([], "x", INK) is None


def test_wide_intervals_do_not_flatten_the_curves():
    wide = Curve("x", INK, ((1, 0.2, -9.0, 9.0), (2, 0.8, 0.7, 0.9)))
    low, high = curves.extent([wide])
    assert -0.3 <= low <= 0.2 - 0.3 and 0.8 + 0.3 <= high <= 1.3
    assert curves.extent([Curve("x", INK, ((1, 0.5, 0.25, 0.75),))])[0] < 0.25  # one value: all of its interval
    low, high = curves.extent([Curve("x", INK, ((1, 10.0, -80.0, 100.0), (2, 95.0, 90.0, 130.0)))], 100)
    assert -10 <= low <= 0 and 100 <= high <= 110
    assert curves.extent([Curve("x", INK, ((1, 0.5, 0.5, 0.5),), level=2.0)])[1] > 2.0


def test_steps_that_are_written_out_leave_room():
    assert curves.named({0: 0.0, 10: 0.4, 20: 5.0, 40: 10.0}) == [10, 20, 40]
    assert curves.named({7: 1.0}) == [7]


def test_steps_lie_at_their_logarithm_and_what_is_below_0_as_it_is():
    assert curves.spread([0, 2, 8]) == {0: 0.0, 2: 1.0, 8: 3.0}
    assert curves.spread([-1, 0.5]) == {-1: -1.0, 0.5: 0.5} and curves.spread([0]) == {0: -1.0}


def test_a_figure_has_a_panel_per_title_and_one_key():
    found = {
        "a": [curve(rows({0: 0.0, 4: 1.0}), "x", INK), None],
        "b": [None],
        "c": [curve(rows({4: 1.0}), "x", INK), curve(rows({4: 2.0}), "y", "#123456", dashed=True)],
    }
    figure = curves.figure("f", "Title", "Caption.", found, ylabel="bits")
    assert len(figure.panels) == 2 and figure.key == (("x", "currentColor", False), ("y", "#123456", True))
    texts = [
        e.text
        for svg in figure.panels
        for e in xml.etree.ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"a", "c", "bits", "step", "0", "4"} <= set(texts) and "b" not in texts
    whole = xml.etree.ElementTree.fromstring(figure.svg())
    assert len([e for e in whole if e.tag.endswith("svg")]) == 3  # two panels and the key
    assert curves.figure("f", "T", "C", {"b": [None]}) is None
