import pytest

from bottleneck.report import lookup, recovery


@pytest.fixture
def section(content):
    return next(s for s in content.sections if s.name == "recovery")


def test_the_sentence_says_what_is_saved(section):
    assert section.sentence == (
        "Fine-tuning: the mixture's weights save steps over random ones on every target; the mixture's "
        "weights save examples over random ones on every target."
    )


def test_curves_over_steps_and_examples(section):
    steps, examples, _ = section.parts
    assert len(steps.panels) == len(examples.panels) == 5
    assert [label for label, *_ in steps.key] == ["from the mixture", "from direct training", "from random"]
    assert "fine-tuning steps" in steps.panels[0] and "8,000" in examples.panels[0] and ">200<" in steps.panels[0]


def test_the_table_has_budgets_and_savings(section):
    table = section.parts[2]
    found = {cells[:2]: dict(zip(table.header, map(str, cells))) for cells in table.rows}
    assert found["rare", "from the mixture"] == {
        "target": "rare",
        "start": "from the mixture",
        "steps to recover": "100",
        "steps saved (log2)": "1.20 [0.70, 1.70]",
        "examples to recover": "900",
        "examples saved (log2)": "at least 0.70",
    }
    assert found["rare", "from random"]["examples to recover"] == "not reached"


@pytest.mark.parametrize(
    "bounds, words",
    [
        ((0.5, 2.0), "0.50 to 2.00"),
        ((0.5, None), "at least 0.50"),
        ((None, 2.0), "at most 2.00"),
        ((None, None), "not known"),
    ],
)
def test_savings_of_seeds_that_never_recovered_are_bounds(bounds, words):
    row = dict(
        metric="saved", unit="log2 steps", value=None, ci95=None, extra=dict(zip(("at_least", "at_most"), bounds))
    )
    assert recovery.saving(row) == words


def test_what_is_not_sure_is_neither_saved_nor_cost(with_analyses):
    rows = lookup.split(with_analyses(("recovery",)))[1]["recovery"]
    for r in rows:
        if r["metric"] == "saved" and r["target"] in ("easy", "plus"):
            r["ci95"] = [-2.0, -1.0] if r["target"] == "easy" else [None, None]
    said = recovery.sentence(rows)
    assert (
        "cost steps over random ones on easy;"
    ) in said and "neither clearly save nor cost examples over random ones on plus" in said
    assert recovery.section({}) is None
