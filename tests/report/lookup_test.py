from bottleneck import rows
from bottleneck.report import lookup
from bottleneck.report.table import MISSING, Number


def test_rows_of_analyses_are_apart_from_the_answer(study, with_analyses):
    main, kinds = lookup.split(with_analyses(("ladder", "cka")))
    assert set(kinds) == {"ladder", "cka"} and {rows.kind(r) for r in main} == {"probe", "answer"}
    assert all(rows.kind(r) == kind for kind, of in kinds.items() for r in of)
    correlations = lookup.split(with_analyses(("relatedness",)))[1]["relatedness"][-2:]
    assert [rows.kind(r) for r in correlations] == ["answer"] * 2 and correlations[0]["metric"] == "relatedness"
    assert lookup.split(study()) == (study(), {}) and lookup.split([]) == ([], {})


def test_the_label_is_first_among_factors():
    read = [dict(target="a", factor=f) for f in ("colour", None, "shape", "colour")] + [
        dict(target="b", factor="texture")
    ]
    assert lookup.factors(read, "a") == [None, "colour", "shape"]
    assert lookup.factors(read, "b") == ["texture"] and lookup.factors(read, "c") == []


def test_numbers_have_the_scale_and_digits_of_their_metric():
    row = dict(metric="disjoint_accuracy", unit="fraction", value=0.5, ci95=[0.4, 0.625])
    assert lookup.number(row) == Number(50.0, 40.0, 62.5, 1)
    assert lookup.number({**row, "unit": "bits"}, half=True) == Number(0.5, 0.4, 0.625, 2, half=True)
    assert lookup.number({**row, "ci95": None}) == Number(50.0, None, None, 1)
    assert (
        lookup.number({**row, "value": None})
        == lookup.number(None)
        == lookup.plain(None)
        == lookup.whole(None)
        == MISSING
    )
    assert lookup.ends(dict(value=1.0, ci95=[None, 2.0])) == (1.0, 2.0)


def test_lists_in_sentences():
    assert [lookup.several(list("abcdef"[:n])) for n in range(1, 6)] == [
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and d",
        "a, b, c and 2 more",
    ]
    assert lookup.several([]) == "none" and lookup.several(list("abc"), 2) == "a and 2 more"
