import re
import xml.etree.ElementTree

import matplotlib

from bottleneck.report import plots, tables

RICH = (("cat5", 3500, 0.08), ("twice", 700, 0.0))


def texts(svg):
    return [e.text for e in xml.etree.ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_figures_are_the_same_bytes_whatever_the_style_in_force(study):
    rows = study(representations=RICH)
    first = [make(rows) for make in (plots.accuracy, plots.bits, plots.budget)]
    before = matplotlib.rcParams["font.size"]
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.edgecolor": "red"}):
        assert [make(rows) for make in (plots.accuracy, plots.bits, plots.budget)] == first
    assert matplotlib.rcParams["font.size"] == before


def test_words_are_text_and_ink_is_the_page_s(study):
    rows = study(representations=RICH)
    for svg in (plots.accuracy(rows), plots.bits(rows), plots.budget(rows)):
        assert "left" in texts(svg) and "currentColor" in svg and plots.INK not in svg
        assert "#000000" not in svg and "#ffffff" not in svg and "<style" not in svg
        assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)


def test_accuracy_shows_the_chosen_probe_of_every_seed(study):
    strip = plots.strips(study(), "left", "accuracy", 100)
    assert list(strip) == ["direct", "mixture", "matched", "heads", "random init", "pooled input"]
    arm, mean, ends, dots = strip["mixture"]
    assert (arm, round(mean, 6)) == ("mixture", 55.0) and [round(d, 6) for d in dots] == [55.0, 56.0, 57.0]
    assert [round(e, 6) for e in ends] == [51.0, 59.0]


def test_one_panel_has_the_scale_of_all(study):
    rows = study()
    alone = plots.accuracy(rows, ["left"])
    assert "right" not in texts(alone) and "left" in texts(alone)
    ticks = [t for t in texts(alone) if t.replace(".", "").isdigit()]
    assert ticks and set(ticks) <= set(texts(plots.accuracy(rows)))
    ids = [set(re.findall(r'id="([^"]+)"', plots.accuracy(rows, [t]))) for t in ("left", "right")]
    assert not ids[0] & ids[1]  # both go into one page


def test_gap_says_the_verdict_of_every_target(study):
    assert {"lost", "retained", "untestable", "inconclusive"} <= set(texts(plots.bits(study())))


def test_budget_marks_every_representation(study):
    found = texts(plots.budget(study(representations=RICH)))
    assert {"single network", "cat5", "twice", "direct training", "700", "3,500"} <= set(found)
    assert not any("|direct" in t for t in found if t)
    assert plots.budget(study()) == ""


def test_awkward_rows(study):
    rows = study(seeds=1, unit="r2", arms=("direct", "mixture"), representations=RICH)
    for made in (plots.accuracy(rows), plots.bits(rows), plots.budget(rows)):
        assert "R2" in " ".join(t for t in texts(made) if t)
    bare = [{**r, "extra": None, "ci95": None} for r in rows]
    assert plots.accuracy(bare) and plots.bits(bare) and plots.budget(bare)
    assert plots.accuracy([]) == plots.bits([]) == plots.budget([]) == ""
    nothing = [{**r, "value": None} for r in rows]
    assert plots.accuracy(nothing) == plots.bits(nothing) == plots.budget(nothing) == ""
    odd = [{**r, "target": "$a_$ <b>"} if r["target"] == "left" else r for r in rows]
    assert "$a_$ <b>" in texts(plots.accuracy(odd)) and tables.targets(odd)[0] == "$a_$ <b>"
