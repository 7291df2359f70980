import pytest

from bottleneck.report import claims, html, tables
from bottleneck.rows import Finding, row


def claimed(name, value, status, low=None, high=None, **claim):
    interval = dict(value=value, ci95=[low, high], n_seeds=3, n_examples=100) if low is not None else {}
    said = dict(
        says=f"{name} is so", source="Somebody 2020", published=None, sd=None, above=None, below=None, reduced=""
    )
    said |= dict(claim=name, status=status, networks=3, sentence=f"{name} is so: {status}.", **claim)
    made = row(
        Finding("claim", value, "points", dict(arm="mixture", target="a", protocol="head", extra=said)), "claims", 1
    )
    return {**made, **interval}


@pytest.fixture
def kinds():
    return {
        "claims": [
            claimed("first", 50.3, "reproduced", 49.5, 51.1, published=50.7, sd=0.2, band=[48.7, 52.7]),
            claimed("second", 61.0, "same direction", 60.0, 62.0, published=70.0, above=55.0, reduced="half of it"),
            claimed("third", 12.0, "measured", 10.0, 14.0),
        ]
    }


def test_one_line_a_claim(kinds):
    table, measured = claims.section(kinds).parts
    assert table.header == ("claim", "published", "here", "networks", "status", "reduced", "source")
    assert len(table.rows) == 2 and [line[0] for line in measured.rows] == ["third is so"]
    assert [str(cell) for cell in table.rows[0][:5]] == [
        "first is so",
        "50.7 \u00b1 0.2",
        "50.3 [49.5, 51.1]",
        "3",
        "reproduced",
    ]
    assert str(table.rows[1][1]) == "70 (> 55)" and table.rows[1][5] == "half of it"
    assert "max(2 sd, 2 points)" in table.caption


def test_the_sentence_counts_and_every_claim_is_said(kinds):
    assert claims.section(kinds).sentence == "Of 3 claims: 1 reproduced, 1 same direction and 1 measured."
    assert claims.sentences(kinds)[0] == "first is so: reproduced." and len(claims.sentences(kinds)) == 4


def test_it_is_a_section_of_the_page_and_of_the_terminal(kinds, tmp_path):
    rows = [{**r, "study": "claims"} for r in kinds["claims"]]
    source = html.write(tmp_path, rows, {}).read_text()
    assert '<h2 id="claims">Published results</h2>' in source and "Somebody 2020" in source
    assert "<h1>Published results, held against ours</h1>" in source
    assert (tmp_path / "tables" / "claims.csv").is_file()
    assert "half of it" in tables.terminal(rows)
    assert claims.section({}) is None and claims.tables({}) == [] and claims.sentences({}) == []
