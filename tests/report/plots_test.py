import os
import re
import subprocess
import sys
import xml.etree.ElementTree

import matplotlib
import pytest

from bottleneck.report import drawing, gaps, html, plots, tables
from tests.report.answered import over_seeds

RICH = (("cat5", 3500, 0.08), ("twice", 700, 0.0))


def texts(svg):
    return [e.text for e in xml.etree.ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def drawn(rows):
    """Every figure of the main answer as one drawing, by name."""
    return {name: figure.svg() for name, figure in html.figures(rows).items()}


def test_figures_are_the_same_bytes_whatever_the_style_in_force(study):
    rows = study(representations=RICH)
    first, before = drawn(rows), matplotlib.rcParams["font.size"]
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.edgecolor": "red"}):
        assert drawn(rows) == first
    assert matplotlib.rcParams["font.size"] == before


@pytest.mark.parametrize("backend", ["no such backend", "module://not_there", "TkAgg", "agg", ""])
def test_the_backend_is_ours_whatever_the_environment_asks_for(backend):
    code = (
        "import os, sys; from bottleneck.report import drawing;"
        "made = drawing.lines('x', ['a'], lambda axes: axes.plot([0, 1], [0, 0]), xlabel='bits');"
        "print(made.startswith('<svg'), 'matplotlib.pyplot' in sys.modules, repr(os.environ['MPLBACKEND']))"
    )
    environment = {**os.environ, "MPLBACKEND": backend}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ran.stdout.strip() == f"True False {backend!r}", ran.stderr


def test_a_terminal_s_tables_need_no_matplotlib():
    code = "import sys; from bottleneck.report import tables; tables.terminal([]); print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_words_are_text_and_ink_is_the_page_s(study):
    rows = study(representations=RICH)
    for svg in (*plots.accuracy(rows).values(), *drawn(rows).values()):
        assert "currentColor" in svg and drawing.INK not in svg
        assert "#000000" not in svg and "#ffffff" not in svg and "<style" not in svg
        assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)
    assert all("left" in texts(svg) for svg in drawn(rows).values())


def test_accuracy_shows_the_chosen_probe_of_every_seed(study):
    strip = plots.strips(study(foreign=("a-network-with-a-long-name",)), "accuracy", 100)["left"]
    assert list(strip) == [
        *("direct", "mixture", "alone", "balanced", "heads"),
        *("a-network-wit\u2026", "random init", "pooled input"),
    ]
    arm, mean, ends, dots = strip["mixture"]
    assert (arm, round(mean, 6)) == ("mixture", 55.0) and [round(d, 6) for d in dots] == [55.0, 56.0, 57.0]
    assert [round(e, 6) for e in ends] == [51.0, 59.0]


def test_one_panel_has_the_scale_of_all(study):
    shown = plots.accuracy(study())
    assert "right" not in texts(shown["left"]) and "left" in texts(shown["left"])
    ticks = [{t for t in texts(svg) if t.replace(".", "").isdigit()} for svg in shown.values()]
    assert ticks[0] and all(found == ticks[0] for found in ticks)
    ids = [set(re.findall(r'id="([^"]+)"', shown[t])) for t in ("left", "right")]
    assert not ids[0] & ids[1]  # both go into one page


def test_gap_says_the_verdict_of_every_target_and_subject(study):
    shown = texts(gaps.sizes(study(foreign=("vit",))).panels[0])
    assert {"lost", "retained", "untestable", "inconclusive", "left, vit"} <= set(shown)


def test_parts_are_stacked_from_zero_to_their_own_side():
    places = gaps.stack({"exposure": -0.1, "interference": 0.5, "normalisation": 0.2})
    assert places == {"exposure": (0.0, -0.1), "interference": (0.0, 0.5), "normalisation": (0.5, 0.2)}
    left = gaps.stack({"a": -0.1, "b": -0.2, "c": 0.4})
    assert left["b"] == (-0.1, -0.2) and left["c"] == (0.0, 0.4)


def test_the_split_is_drawn_of_lost_targets_with_all_their_parts(study):
    figure = gaps.split(study(batchnorm=True))
    assert [label for label, *_ in figure.key] == ["exposure", "interference", "normalisation"]
    shown = texts(figure.panels[0])
    assert "left" in shown and "right" not in shown and "bits" in shown
    assert gaps.split(study(arms=("direct", "mixture"))) is None


def test_shares_have_the_interval_of_what_is_restored(study):
    figure = gaps.shares(study())
    shown = texts(figure.panels[0])
    assert {"label conflict", "named", "competition", "likely", "dilution", "ruled out"} <= set(shown)
    assert "unfinished training" not in shown  # not asked
    row = dict(value=0.4, ci95=[0.2, 0.6], extra={"share": 0.5})
    assert gaps.interval(row) == pytest.approx((0.25, 0.75))
    assert gaps.interval({**row, "value": 0.0, "extra": {"share": 0.0}}) == (0.0, 0.0)
    low, high = gaps.limits([(0.5, -40.0, 90.0)])
    assert -40 < low < 0 and 100 < high < 140  # a few seeds' interval is cut


def test_few_shot_probes_are_curves_under_the_level_of_the_whole(study):
    at = dict(target="left", protocol="k_shot")
    read = {("mixture", 1): 0.52, ("mixture", 16): 0.6, ("direct", 1): 0.7, ("direct", 16): 0.9}
    few = [over_seeds("accuracy", v, "fraction", arm=arm, n_shot=k, **at) for (arm, k), v in read.items()]
    direct, mixture, *others = plots.shots([*study(), *few])["left"]
    assert [point[:2] for point in mixture.points] == [(1, 52.0), (16, 60.0)] and not any(others)
    assert direct.level == 95.0 and direct.through and mixture.level is None
    assert html.figures([*study(), *few])["few-shot"].panels and "few-shot" not in html.figures(study())


def test_awkward_rows(study):
    rows = study(seeds=1, unit="r2", arms=("direct", "mixture"), representations=RICH)
    for svg in drawn(rows).values():
        assert "R2" in " ".join(t for t in texts(svg) if t)
    assert set(drawn([{**r, "extra": None, "ci95": None} for r in rows])) == {"gap", "accuracy"}
    assert drawn([]) == drawn([{**r, "value": None} for r in study()]) == {}
    odd = [{**r, "target": "$a_$ <b>"} if r["target"] == "left" else r for r in rows]
    assert "$a_$ <b>" in texts(plots.accuracy(odd)["$a_$ <b>"]) and tables.targets(odd)[0] == "$a_$ <b>"
