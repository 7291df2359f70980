"""What the report says of representations: no more than the rows' intervals support."""

import re

import pytest

from bottleneck.report import helped, lookup, prices, representations
from bottleneck.report.section import Figure
from bottleneck.report.table import MISSING, Number
from tests.report.answered import build, over_seeds

AT = dict(target="left", protocol="linear_probe")
PRICE = {"parameters": 57_796, "inference_flops": 115_200, "training_flops": 4_423_680_000}


def level(arm, value, steps, sets=6, **extra):
    """What an arm reads, in bits and as accuracy, with its price."""
    at = dict(arm=arm, train_steps=steps, image_forwards=100 * steps, dim=steps // 10, seeds=sets, **AT)
    extra = {"price": {name: count * steps // 100 for name, count in PRICE.items()}, **extra}
    return [
        over_seeds("information", value, "bits", extra=extra, **at),
        over_seeds("accuracy", 0.5 + value / 2, "fraction", extra=extra, **at),
    ]


def beyond(arm, control, kind, value, half=0.02, sets=6, unit="member sets and items", **at):
    at = {"arm": arm, "representation": arm, "reference": control, "seeds": sets, **AT, **at}
    rows = [
        over_seeds("beyond", scale * value, of, scale * half, extra={"control": kind, "paired": True}, **at)
        for of, scale in (("bits", 1), ("points", 50))
    ]
    return [{**r, "ci_unit": unit} for r in rows]


def study(*comparisons, excess=None, sets=6, note=""):
    """cat5 at 500 steps beside one network, its members' average, its reduction, and a longer run of 800 steps."""
    rows = [r for r in build(levels_of={"left": dict(direct=0.9, mixture=0.1)}) if r["metric"] != "restored"]
    rows += level("cat5", 0.5, 500, sets)
    rows += level("cat5-averaged", 0.4, 500, sets, control_of="cat5", control="averaged")
    rows += level("cat5-pca", 0.45, 500, sets, control_of="cat5", control="pca")
    rows += level("short", 0.2, 50, sets)
    rows += level("long", 0.48, 800, sets)
    for comparison in comparisons:
        rows += beyond(*comparison, sets=sets, unit="items" if sets == 1 else "member sets and items")
    if excess is not None:
        rows.append(over_seeds("excess_gain", excess, "bits", 0.02, arm="cat5", extra={"note": note}, **AT))
    return rows


MEMBER = ("cat5", "short", "member", 0.3)
AVERAGED = ("cat5", "cat5-averaged", "averaged", 0.1)


def test_what_reads_more_than_all_its_controls_helped():
    overall, (said,) = helped.sentences(study(MEMBER, AVERAGED))
    assert said.startswith(
        "left: cat5 (500 steps) reads 0.10 bits (95% interval 0.08 to 0.12, 5.0 points; 6 member sets) more than its "
        "members' averaged predictions, the strongest of one network and its controls of no more training steps"
    )
    assert overall == (
        "More than one network and its controls of no more training steps reads cat5 (500 steps) on left. 95% "
        "intervals, not adjusted for the 2 comparisons."
    )


def test_one_interval_that_holds_0_and_it_did_not():
    """Then what it is shown to read more than is said, and what not."""
    overall, (said,) = helped.sentences(study(MEMBER, ("cat5", "cat5-averaged", "averaged", 0.01)))
    assert said == (
        "left: cat5 (500 steps) reads 0.30 bits (95% interval 0.28 to 0.32, 15.0 points; 6 member sets) more than one "
        "member alone (short), but is not shown to read more than its members' averaged predictions (0.010 bits more, "
        "-0.010 to 0.030)."
    )
    assert overall.startswith("No representation is shown to read more than one network and its controls")


def test_nothing_helped():
    _, (said,) = helped.sentences(study(("cat5", "short", "member", 0.01), ("cat5", "cat5-averaged", "averaged", -0.3)))
    assert said == (
        "left: nothing is shown to read more than any of one network and its controls of no more training steps; "
        "closest comes cat5, -0.30 bits more, -0.32 to -0.28 beside its members' averaged predictions."
    )


def test_a_control_that_cost_more_is_no_rival():
    dearer = ("cat5", "long", "declared", -0.1)
    assert "is not shown" not in helped.sentences(study(MEMBER, AVERAGED, dearer))[1][0]
    network = ("cat5", "mixture", "one network", -0.1)  # but for the network that everything is set beside
    plain = [{**r, "train_steps": 900} if r["arm"] == "mixture" else r for r in study(MEMBER, AVERAGED, network)]
    assert "is not shown to read more than one network (-0.10 bits more" in helped.sentences(plain)[1][0]
    cheaper = [{**r, "train_steps": 500} if r["arm"] == "long" else r for r in study(MEMBER, AVERAGED, dearer)]
    assert "is not shown to read more than long (-0.10 bits more" in helped.sentences(cheaper)[1][0]


@pytest.mark.parametrize(
    "value, words",
    [
        (0.2, "reduced to one member's dimension it keeps 0.20 (0.18 to 0.22) over one member"),
        (0.01, "reduced to one member's dimension nothing of it is shown to be left: 0.010 (-0.010 to 0.030)"),
    ],
)
def test_its_reductions_say_whether_the_gain_is_one_of_dimension(value, words):
    """They are no rivals: to read as much in fewer dimensions takes nothing from it."""
    rows = study(MEMBER, AVERAGED, ("cat5", "cat5-pca", "pca", -0.05))
    rows += beyond("cat5-pca", "short", "member", value, representation="cat5")
    said = helped.sentences(rows)[1][0]
    assert said.startswith("left: cat5 (500 steps) reads 0.10 bits") and words in said


def test_of_members_of_several_patterns_the_strongest_counts():
    rows = study(MEMBER, AVERAGED, ("cat5", "cat5-pca", "pca", -0.05))
    rows += beyond("cat5-pca", "short", "member", 0.35, representation="cat5")
    rows += beyond("cat5-pca", "long", "member", -0.05, representation="cat5")
    assert "nothing of it is shown to be left: -0.05" in helped.sentences(rows)[1][0]


def test_trained_controls_are_drawn_open():
    rows = study(MEMBER, AVERAGED, ("cat5", "long", "declared", -0.1))
    assert lookup.trained_controls(rows) == {"long"}
    assert "long" not in lookup.trained_controls([*rows, *beyond("long", "short", "declared", 0.1)])


def test_trained_controls_are_not_said_to_help():
    rows = [*study(MEMBER, AVERAGED), *beyond("long", "mixture", "one network", 0.3)]
    assert "long" in helped.sentences(rows)[0]
    assert "long" not in helped.sentences([*rows, *beyond("cat5", "long", "declared", -0.1)])[0]


@pytest.mark.parametrize(
    "excess, words",
    [
        (0.1, "directly trained members gain less by it, by 0.10 (difference 0.08 to 0.12)"),
        (-0.1, "directly trained members gain more by it, by 0.10 (difference -0.12 to -0.08)"),
        (0.01, "directly trained members are not shown to gain less by it (difference -0.010 to 0.030)"),
    ],
)
def test_what_direct_members_gain_is_said(excess, words):
    assert words in helped.sentences(study(MEMBER, AVERAGED, excess=excess))[1][0]
    ceiling = helped.sentences(study(MEMBER, AVERAGED, excess=excess, note="direct at ceiling"))[1][0]
    assert "directly trained members, at their ceiling, " in ceiling


def test_few_sets_are_said():
    overall, (said,) = helped.sentences(study(MEMBER, AVERAGED, sets=1))
    assert "these networks alone" in said and "no verdicts where there are fewer than 5 member sets" in overall


def test_without_controls_nothing_is_said():
    assert helped.sentences(build(representations=(("cat5", 3500, 0.08),))) == ("", ())
    assert helped.sentences([]) == ("", ())


def test_the_reader_chooses_measure_and_price():
    choice = prices.choice(study(MEMBER, AVERAGED))
    assert dict(choice.axes) == {"": ("bits", "accuracy (%)"), "against": tuple(prices.PRICES)}
    assert len(choice.figures) == 2 * len(prices.PRICES) == len({figure.name for figure in choice.figures})
    for figure, price in zip(choice.figures, 2 * tuple(prices.PRICES)):
        assert isinstance(figure, Figure) and len(figure.panels) == 1 and f">{price}<" in figure.panels[0]
    labels = [label for label, _, _ in choice.key]
    assert labels == ["direct training", "one network", "short", "cat", "long"]


def test_a_price_that_is_one_for_all_or_unknown_is_not_offered():
    rows = [{**r, "dim": 64} for r in study(MEMBER, AVERAGED)]
    rows = [{**r, "extra": {k: v for k, v in (r["extra"] or {}).items() if k != "price"}} for r in rows]
    assert dict(prices.choice(rows).axes)["against"] == ("training steps", "image-forwards")
    assert prices.choice(build()) is None


def test_controls_are_open_marks_in_the_colour_of_what_they_control():
    points = prices._points(study(MEMBER), ["cat5", "short"], "left", "information", 1, prices.PRICES["training steps"])
    by_name = {point.name: point for point in points}
    assert by_name["cat5-averaged"].control == "averaged" and by_name["cat5-averaged"].family == "cat"
    assert by_name["cat5"].control == "" and by_name["mixture"].family == prices.NETWORK
    places = prices._places(points)
    assert len(set(places.values())) == len(places)  # of what costs the same nothing hides behind another


@pytest.mark.parametrize(
    "number, words", [(20, "20"), (9_999, "9,999"), (69_000, "69k"), (2.5e10, "25G"), (1e21, "1e+03E")]
)
def test_large_numbers_are_short(number, words):
    assert prices.compact(number) == words


def test_tables_have_prices_controls_and_members():
    rows = study(MEMBER, AVERAGED)
    for metric, half in (("added", 0.02), ("carried", 0.03)):
        for unit, value in (("bits", 0.2), ("points", 10.0)):
            extra = {"position": 2, "mean_abs_weight": 0.125}
            rows.append(over_seeds(metric, value, unit, half, arm="cat5", extra=extra, **AT))
    table = representations.prices(rows)
    lines = {line[0]: dict(zip(table.header, line)) for line in table.rows}
    assert lines["cat5"]["steps"] == Number(500, digits=0) and lines["cat5"]["parameters"] == Number(288_980, digits=0)
    assert lines["cat5-averaged"]["control of"] == "cat5" and lines["short"]["control of"] == MISSING
    table = representations.controls(rows)
    (averaged,) = [dict(zip(table.header, line)) for line in table.rows if line[2] == "cat5-averaged"]
    assert str(averaged["difference (bits)"]) == "0.10 [0.08, 0.12]" and averaged["paired"] == "yes"
    (line,) = representations.members(rows).rows
    assert list(map(str, line[2:])) == [
        "2",
        "0.20 \u00b10.02",
        "10.0 \u00b10.0",
        "0.20 \u00b10.03",
        "10.0 \u00b10.0",
        "0.125",
    ]


def test_the_section_is_a_sentence_its_points_a_choice_and_tables():
    section = prices.section(study(MEMBER, AVERAGED))
    assert section.sentence.startswith("More than one network") and len(section.points) == 1
    assert [table.name for table in section.tables] == ["representations", "prices", "controls"]
    assert len(section.figures) == 12 and not re.search(r"[^\w-]", section.figures[-1].name)
    assert prices.section(build()) is None
