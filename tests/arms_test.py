import string

import pytest

from bottleneck import arms


def fields(template):
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_every_arm_is_one_complete_row():
    for name, arm in arms.ARMS.items():
        assert name == arm.name and arm.trained
        assert bool(arm.cause) <= bool(arm.evidence)  # what undoes a cause says what it did
        assert arm.cause or arm.shows  # and what undoes none says what it is for
        assert fields(arm.evidence) <= {"share", "times", "before", "after"}
        assert not arm.cause or "{share}" in arm.evidence


def test_every_cause_has_one_arm_and_a_reference():
    assert list(arms.CAUSES) == [
        "dilution",
        "scarcity",
        "unfinished training",
        "label conflict",
        "competition",
        "capacity",
    ]
    references = {name: arms.ARMS[name].reference for name in arms.CAUSES.values()}
    assert references.pop("scarce") == "direct" and set(references.values()) == {"mixture"}


@pytest.mark.parametrize(
    "space, cause",
    [
        ("shared", "label conflict"),
        ("disjoint", "telling the components apart"),
        ("per_component", "label conflict"),
    ],
)
def test_a_head_per_component_undoes_what_the_label_space_can_do(space, cause):
    assert arms.ARMS["heads"].cause_in(space) == cause
    assert arms.ARMS["wider"].cause_in(space) == "capacity"


def test_targets_outside_the_mixture_have_no_arm_that_needs_a_weight():
    outside = {name for name, arm in arms.ARMS.items() if arm.outside}
    assert {"mixture", "direct", "longer", "heads", "wider"} <= outside
    assert not outside & {"alone", "balanced", "scarce", "randomised"}


def test_the_table_has_a_row_an_arm_and_names_every_cause():
    rows = arms.table()
    assert [row[0] for row in rows] == list(arms.ARMS) and all(len(row) == 3 and all(row) for row in rows)
    purposes = {name: purpose for name, _, purpose in rows}
    for cause, name in arms.CAUSES.items():
        assert cause in purposes[name]
    assert "telling the components apart" in purposes["heads"]
