from bottleneck.report import tables
from bottleneck.report.table import MISSING


def line(table, target, nth=0):
    return dict(zip(table.header, map(str, [cells for cells in table.rows if cells[0] == target][nth])))


def test_answer_has_one_line_per_target(study):
    table = tables.answer(study(seeds=5))
    assert [cells[0] for cells in table.rows] == ["left", "right", "noise", "beyond"]
    assert line(table, "left") == {
        "target": "left",
        "family": "mixture",
        "verdict": "lost",
        "direct (bits)": "0.90 \u00b10.04",
        "mixture (bits)": "0.10 \u00b10.04",
        "gap (bits)": "0.80 [0.76, 0.84]",
        "gap (points)": "40.0 [38.0, 42.0]",
        "cause": "label conflict",
    }
    assert line(table, "beyond")["family"] == "outside" and line(table, "noise")["cause"] == MISSING
    assert "5 seeds, 1,500 test items" in table.caption and "provisional" not in table.caption


def test_targets_outside_come_last_and_few_seeds_are_provisional(study):
    rows = study(seeds=1, outside=("left",))
    assert tables.targets(rows) == ["right", "noise", "beyond", "left"]
    table = tables.answer(rows)
    assert line(table, "left")["verdict"] == "lost*"
    assert "1 seed," in table.caption and "provisional" in table.caption


def test_no_cause_established_and_saturation(study):
    rows = study()
    for r in rows:
        if r["metric"] == "gap_bits" and r["target"] == "left":
            r["extra"] |= {"causes": []}
    assert line(tables.answer(rows), "left")["cause"] == "none established"
    for r in rows:
        if r["metric"] == "gap_bits" and r["target"] == "left":
            r["extra"] |= {"causes": ["competition"], "saturated": True}
    assert line(tables.answer(rows), "left")["cause"] == "competition (saturated)"


def test_accuracy_per_arm_in_percent(study):
    table = tables.accuracy(study())
    assert table.header == ("target", "direct", "mixture", "matched", "heads")
    assert line(table, "left")["mixture"] == "55.0 \u00b14.0"
    assert line(table, "beyond")["matched"] == MISSING  # outside the mixture nothing is matched


def test_limits_show_only_what_is_known(study):
    rows = study()
    table = tables.limits(rows)
    assert table.header == ("target", "random init (%)", "pooled input (%)", "examples drawn")
    assert line(table, "left")["examples drawn"] == "4,321" and "Bayes" not in table.caption
    bayes = {**rows[0], "arm": "bayes", "target": "left", "metric": "accuracy", "value": 0.75, "ci95": None}
    known = tables.limits([*rows, *({**bayes, "reference": kind} for kind in ("direct", "shared", "heads"))])
    assert line(known, "left")["Bayes, shared head (%)"] == "75.0" and "Bayes" in known.caption
    assert line(known, "right")["Bayes, shared head (%)"] == MISSING


def test_causes_have_shares_and_status(study):
    table = tables.causes(study())
    assert [cells[0] for cells in table.rows] == ["left", "left"]
    assert line(table, "left") == {
        "target": "left",
        "suspected cause": "label conflict",
        "arm": "heads",
        "restored (bits)": "0.75 [0.71, 0.79]",
        "share of the gap (%)": "94",
        "status": "named",
    }
    assert line(table, "left", 1)["status"] == "ruled out"


def test_representations_are_beside_one_network_and_the_control(study):
    table = tables.representations(study(representations=(("cat5", 3500, 0.08), ("twice", 700, 0.0))))
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
        "over single": MISSING,
        "verdict": "no verdict; direct at ceiling",
    }
    assert not tables.representations(study()).rows


def test_protocols_only_where_there_are_several(study):
    rows = study()
    assert not tables.protocols(rows).rows
    probe = tables.find(rows, arm="mixture", metric="accuracy")
    table = tables.protocols([*rows, {**probe, "protocol": "k_shot", "n_shot": 4}])
    assert line(table, "left", 1) == {
        "target": "left",
        "protocol": "4-shot probe",
        "direct (%)": MISSING,
        "mixture (%)": "55.0 [51.0, 59.0]",
    }


def test_regression_is_in_r2(study):
    rows = study(unit="r2", arms=("direct", "mixture"))
    assert tables.answer(rows).header[2:] == ("verdict", "direct (R2)", "mixture (R2)", "gap (R2)", "cause")
    assert tables.accuracy(rows).title.startswith("R2")
    assert line(tables.accuracy(rows), "left")["direct"] == "0.90 \u00b10.04"
    assert line(tables.answer(rows), "left")["cause"] == MISSING  # lost, but no intervention was run
    assert "bits" not in tables.terminal(rows)


def test_nothing_crashes_on_missing_rows(study):
    rows = study()
    for metric in ("gap_bits", "bits", "accuracy", "margin_bits", "gap_points", "restored_bits"):
        left = [r for r in rows if r["metric"] != metric]
        assert tables.terminal(left)
    for arm in ("direct", "mixture", "random", "pixels"):
        assert tables.terminal([r for r in rows if r["arm"] != arm])
    bare = [{**r, "extra": None, "ci95": None, "n_seeds": None, "n_examples": None} for r in rows]
    assert line(tables.answer(bare), "left")["verdict"] == MISSING
    assert line(tables.answer([{**r, "value": None} for r in rows]), "left")["gap (bits)"] == MISSING
    assert tables.terminal([]) == "\n"


def test_terminal_starts_with_the_sentences_and_fits(study):
    shown = tables.terminal(study(seeds=5, representations=(("cat5", 3500, 0.08),)))
    assert shown.startswith("left is lost: it reads so & so.\nright is retained")
    assert "\x1b" not in shown and max(map(len, shown.splitlines())) <= 125
