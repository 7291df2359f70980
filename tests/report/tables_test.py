import pytest

from bottleneck.report import causes, representations, tables
from bottleneck.report.lookup import find
from bottleneck.report.table import MISSING
from tests.report.answered import over_seeds


def line(table, target, nth=0):
    return dict(zip(table.header, map(str, [cells for cells in table.rows if cells[0] == target][nth])))


def test_answer_has_one_line_per_target_and_splits_its_gap(study):
    table = tables.answer(study(seeds=5))
    assert [cells[0] for cells in table.rows] == ["left", "right", "noise", "beyond"]
    assert line(table, "left") == {
        "target": "left",
        "family": "mixture",
        "verdict": "lost",
        "direct (bits)": "0.90 \u00b10.04",
        "mixture (bits)": "0.10 \u00b10.04",
        "gap (bits)": "0.80 [0.76, 0.84]",
        "gap (points)": "40.0 \u00b12.0",
        "exposure (bits)": "0.20 \u00b10.04",
        "interference (bits)": "0.60 \u00b10.04",
    }
    assert line(table, "right")["exposure (bits)"] == "-0.03 \u00b10.04"  # the others help
    outside = line(table, "beyond")
    assert outside["family"] == "outside" and outside["exposure (bits)"] == outside["interference (bits)"] == MISSING
    assert "5 seeds, 1,500 test items" in table.caption and "provisional" not in table.caption
    assert "The gap is the sum of exposure and interference." in table.caption


def test_under_batchnorm_normalisation_is_a_part(study):
    table = tables.answer(study(batchnorm=True))
    cells = line(table, "left")
    parts = [float(cells[f"{p} (bits)"].split()[0]) for p in ("exposure", "interference", "normalisation")]
    assert parts == [0.2, 0.5, 0.1] and sum(parts) == pytest.approx(float(cells["gap (bits)"].split()[0]))
    assert "exposure, interference and normalisation" in table.caption and "re-measured" in table.caption


def test_foreign_sources_have_lines_and_names(study):
    rows = study(foreign=("timm-vit",))
    table = tables.answer(rows)
    assert [cells[:3] for cells in table.rows[:2]] == [
        ("left", "mixture", "mixture"),
        ("left", "mixture", "timm-vit"),
    ]
    foreign = line(table, "left", 1)
    assert foreign["features (bits)"] == "0.50 \u00b10.04" and foreign["gap (bits)"] == "0.40 [0.36, 0.44]"
    assert foreign["exposure (bits)"] == MISSING  # only the mixture's gap splits
    assert line(tables.accuracy(rows), "left")["timm-vit"] == "75.0 \u00b14.0"
    assert "left in timm-vit is lost: it reads so & so." in tables.terminal(rows)
    assert not representations.table(rows).rows  # it is none


def test_another_reference_is_named_and_read(study):
    rows = study(foreign=("timm-vit", "timm-direct"))
    rows = [r for r in rows if not (r["arm"] == "timm-direct" and r["metric"] in ("gap", "margin"))]
    for r in rows:
        if r["arm"] == "timm-vit" and r["reference"] == "direct":
            r["reference"] = "timm-direct"
    cells = line(tables.answer(rows), "left", 1)
    assert cells["against"] == "timm-direct" and cells["direct (bits)"] == "0.50 \u00b10.04"
    assert cells["gap (points)"] == "20.0 \u00b12.0"


def test_targets_outside_come_last_and_few_seeds_are_provisional(study):
    rows = study(seeds=1, outside=("left",))
    assert tables.targets(rows) == ["right", "noise", "beyond", "left"]
    table = tables.answer(rows)
    assert line(table, "left")["verdict"] == "lost*"
    assert "1 seed," in table.caption and "provisional" in table.caption


def test_accuracy_per_arm_in_percent(study):
    table = tables.accuracy(study())
    assert table.header == ("target", "direct", "mixture", "alone", "balanced", "heads")
    assert line(table, "left")["mixture"] == "55.0 \u00b14.0"
    assert line(table, "beyond")["alone"] == MISSING  # outside the mixture there is nothing to be alone in


def test_readings_of_a_factor_are_not_those_of_the_label(study):
    rows = study()
    variant = [{**r, "factor": "colour", "value": 0.0} for r in rows if r["metric"] in ("information", "accuracy")]
    for make in (tables.answer, tables.accuracy, tables.limits, tables.protocols):
        assert make([*variant, *rows]) == make(rows)


def test_limits_show_only_what_is_known(study):
    rows = study()
    table = tables.limits(rows)
    assert table.header == ("target", "random init (%)", "pooled input (%)", "examples drawn")
    assert line(table, "left")["examples drawn"] == "4,321" and "Bayes" not in table.caption
    optima = [
        over_seeds("accuracy", 0.75, "fraction", None, arm="bayes", target="left", reference=kind)
        for kind in ("direct", "shared", "heads")
    ]
    known = tables.limits([*rows, *optima])
    assert line(known, "left")["Bayes, shared head (%)"] == "75.0" and "Bayes" in known.caption
    assert line(known, "right")["Bayes, shared head (%)"] == MISSING


def test_a_bound_that_says_nothing_says_why(study):
    reason = "the head reads no more than the classes' frequencies"
    bounds = [
        over_seeds("bound", 0.9, target="left", protocol="head", reference="direct"),
        over_seeds("bound", None, target="right", protocol="head", reference="direct", extra={"reason": reason}),
    ]
    table = tables.limits([*study(), *bounds])
    assert line(table, "left")["bound on the gap (bits)"] == "0.90 \u00b10.04"
    assert line(table, "right")["bound on the gap (bits)"] == "none" and f"none: {reason}." in table.caption
    assert line(table, "noise")["bound on the gap (bits)"] == MISSING
    assert "none:" not in tables.limits([*study(), bounds[0]]).caption


def test_what_restores_a_gap_the_surest_first(study):
    table = causes.table(study())
    assert [cells[:3] for cells in table.rows] == [
        ("left", "label conflict", "named"),
        ("left", "competition with colour", "likely"),
        ("left", "dilution", "ruled out"),
        ("left", "unfinished training", "not asked"),
    ]
    assert line(table, "left") == {
        "target": "left",
        "suspected cause": "label conflict",
        "status": "named",
        "share of the gap (%)": "94",
        "restored (bits)": "0.75 [0.71, 0.79]",
        "arm": "heads",
        "what was trained": "the mixture, one classifier per component",
        "in words": "a head per component restores 94%",
    }
    not_asked = line(table, "left", 3)
    assert not_asked["in words"] == "training had ended"
    assert not_asked["restored (bits)"] == not_asked["what was trained"] == MISSING
    assert "variant" in table.caption and "scarcity" not in table.caption


def test_where_no_arm_was_trained_there_is_no_table_of_what_restores(study):
    silent = [{**r, "value": None, "ci95": None} if r["metric"] == "restored" else r for r in study()]
    assert causes.table(study()).rows and not causes.table(silent).rows
    assert "What restores it" not in tables.terminal(silent)


def test_in_a_terminal_what_was_trained_stands_once(study):
    table = causes.short(study())
    assert "what was trained" not in table.header and table.header[-2:] == ("arm", "in words")
    assert "heads: the mixture, one classifier per component" in table.caption
    assert "longer: " not in table.caption and "longer" in [cells[-2] for cells in table.rows]  # it was not trained
    assert {len(cells) for cells in table.rows} == {len(table.header)}


def test_representations_are_compared_with_one_network_and_the_control(study):
    table = representations.table(study(representations=(("cat5", 3500, 0.08), ("twice", 700, 0.0))))
    assert [cells[1] for cells in table.rows[:3]] == ["one network", "twice", "cat5"]
    assert line(table, "left", 2) == {
        "target": "left",
        "representation": "cat5",
        "steps": "3,500",
        "sets": "1",
        "bits": "0.18 \u00b10.04",
        "accuracy (%)": MISSING,
        "gain": "0.08 \u00b10.04",
        "control": "0.02 \u00b10.04",
        "excess": "0.06 \u00b10.04",
        "verdict": "no verdict; direct at ceiling",
    }
    assert not representations.table(study()).rows


def test_protocols_only_where_there_are_several(study):
    rows = study()
    assert not tables.protocols(rows).rows
    probe = find(rows, arm="mixture", metric="accuracy")
    table = tables.protocols([*rows, {**probe, "protocol": "k_shot", "n_shot": 4}])
    assert line(table, "left", 1) == {
        "target": "left",
        "protocol": "4-shot probe",
        "direct (%)": MISSING,
        "mixture (%)": "55.0 [51.0, 59.0]",
    }


def test_regression_is_in_r2(study):
    rows = study(unit="r2", arms=("direct", "mixture"))
    assert tables.answer(rows).header[2:] == ("verdict", "direct (R2)", "mixture (R2)", "gap (R2)")
    assert tables.accuracy(rows).title.startswith("R2")
    assert line(tables.accuracy(rows), "left")["direct"] == "0.90 \u00b10.04"
    assert not causes.table(rows).rows  # lost, but no intervention was run
    assert "bits" not in tables.terminal(rows)


def test_nothing_crashes_on_missing_rows(study):
    rows = study()
    for metric in ("gap", "information", "accuracy", "margin", "restored", "exposure", "interference"):
        assert tables.terminal([r for r in rows if r["metric"] != metric])
    for arm in ("direct", "mixture", "random", "pixels"):
        assert tables.terminal([r for r in rows if r["arm"] != arm])
    bare = [{**r, "extra": None, "ci95": None, "n_seeds": None, "n_examples": None} for r in rows]
    assert line(tables.answer(bare), "left")["verdict"] == MISSING
    assert line(tables.answer([{**r, "value": None} for r in rows]), "left")["gap (bits)"] == MISSING
    assert tables.terminal([]) == "\n"


def test_terminal_starts_with_the_sentences_and_fits(study):
    rows = study(seeds=5, representations=(("cat5", 3500, 0.08),))
    shown = tables.terminal(rows)
    assert shown.startswith("left is lost: it reads so & so.\nright is retained")
    assert shown.index("What is missing") < shown.index("What restores it") < shown.index("Accuracy per target")
    assert "\x1b" not in shown and max(map(len, shown.splitlines())) <= 120
    assert max(map(len, tables.terminal(rows, 80).splitlines())) <= 80


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-8", None])
def test_terminal_is_what_an_encoding_can_hold(study, encoding):
    rows = study()
    for r in rows:
        if r["target"] == "left":
            r["target"] = "\u00fcber \u6f22\u5b57 \u2014"
    tables.terminal(rows, encoding=encoding).encode(encoding or "ascii")


def test_verdicts_are_those_of_the_answer_as_plain_numbers(study):
    rows = study(foreign=("timm-vit",))
    said = tables.verdicts(rows)
    table = tables.answer(rows)
    assert [(v["target"], v["subject"], v["verdict"] + "*" * v["provisional"]) for v in said] == [
        tuple(line[table.header.index(head)] for head in ("target", "features of", "verdict")) for line in table.rows
    ]
    assert said[0]["information"] == 0.1 and said[0]["reference_information"] == 0.9 and said[0]["unit"] == "bits"
    assert (said[0]["low"], said[0]["gap"], said[0]["high"]) == (0.76, 0.8, 0.8400000000000001)
    assert [v["sentence"] for v in said] == tables.every_sentence(rows)[: len(said)]
