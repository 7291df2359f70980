import pytest

from bottleneck.report import findings, lookup, tables


@pytest.fixture
def kinds(analysed_rows):
    return lookup.split(analysed_rows)[1]


def test_clauses_say_when_where_and_in_which_seeds(kinds):
    said = findings.clauses(kinds)
    assert said["easy"] == "Its label: learned; prominent at features; kept in all 5 seeds."
    assert said["plus"] == (
        "Its label: learned then lost; readable only non-linearly at features; kept in 0, lost in 1, "
        "undecided in 4 of 5 seeds."
    )
    assert findings.clauses({"ladder": kinds["ladder"]})["rare"] == (
        "Its label: readable in full nowhere in the network (at best 10% of direct training's, non-linearly)."
    )
    assert findings.clauses({"steps": kinds["steps"]})["rare"] == "Its label: never learned."
    assert not findings.clauses({}) and not findings.clauses({"seeds": kinds["seeds"]})


def test_what_training_did_not_bring_is_told_from_what_is_nowhere(kinds):
    told = [
        {**r, "extra": {**r["extra"], "untrained": "layer1"}} if r["metric"] == "rung" and r["target"] == "rare" else r
        for r in kinds["ladder"]
    ]
    said = findings.clauses({"ladder": told})["rare"]
    assert said == "Its label: readable in full at layer1 alone, where the same network untrained reads it too."


def test_nothing_is_said_of_what_cannot_be_tested(kinds):
    told = [
        {**r, "extra": {**r["extra"], "rung": "untestable"}} if r["metric"] == "rung" and r["factor"] is None else r
        for r in kinds["ladder"]
    ]
    assert not findings.clauses({**kinds, "ladder": told})
    table = findings.overview(kinds)
    assert ("easy", "shape") not in {line[:2] for line in table.rows} and "4 without anything to read" in table.caption
    assert len(table.rows) == 5 * 5 - 4


def test_the_overview_has_a_line_per_label_and_factor(kinds):
    lines = {line[:2]: line[2:] for line in findings.overview(kinds).rows}
    assert lines["shadowed", "texture"] == ("linear*", "still rising", "some")  # * its intervals do not decide
    assert lines["rare", "background"] == ("earlier: layer1", "learned then lost", "undecided")
    assert findings.overview({}) is None and findings.overview({"cka": kinds["cka"]}) is None


def test_the_overview_ends_the_terminal_s_text(analysed_rows, study):
    shown = tables.terminal(analysed_rows)
    assert shown.startswith(
        "easy is retained: it reads so & so. Its label: learned; prominent at features; kept in all 5 seeds.\n"
    )
    assert "rare      shape       nowhere (10%)    never learned      none" in shown[shown.index("\nFeatures\n") :]
    assert max(
        map(len, shown[shown.index("\nFeatures\n") :].splitlines())
    ) <= 120 and "Features" not in tables.terminal(study())


@pytest.mark.parametrize(
    "counts, words",
    [
        ((5, 0, 0), "kept in all 5 seeds"),
        ((0, 2, 0), "lost in both seeds"),
        ((1, 0, 0), "kept in the one seed"),
        ((1, 1, 1), "kept in 1, lost in 1, undecided in 1 of 3 seeds"),
    ],
)
def test_seeds_in_words(counts, words):
    kept, lost, open_ = counts
    word = "all" if lost == open_ == 0 else "none" if kept == open_ == 0 else "some"
    assert findings.seeds({"extra": {"class": word, "retained": kept, "lost": lost, "undecided": open_}}) == words
    assert findings.seeds({"extra": {"class": "all"}}) == "kept in all seeds" and findings.seeds(None) == ""


def test_groups_name_factors_of_the_same_targets_together():
    rows = [
        dict(factor=f, target=t, extra={"rung": rung})
        for f, t, rung in (
            (None, "a", "linear"),
            (None, "b", "nowhere"),
            ("x", "a", "linear"),
            ("x", "b", "linear"),
            ("y", "a", "linear"),
            ("y", "b", "nowhere"),
            ("z", "a", "untestable"),
            ("z", "b", "nowhere"),
        )
    ]
    found = findings.grouped(rows, "rung", ("nowhere", "linear", "prominent"))
    assert found == {"nowhere": "label, y and z in b", "linear": "label and y in a, x in every target"}
