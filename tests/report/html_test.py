import re
from html.parser import HTMLParser

from bottleneck.report import html, tables

PROVENANCE = {"versions": {"jax": "0.10.2", "flax": "0.12.8"}, "commit": "abc1234", "devices": ["cpu", "cpu"],
              "config": None, "hosts": {"first": {"cores": 2}}}
RICH = (("cat5", 3500, 0.08),)


class Parsed(HTMLParser):
    """Collects text, and checks that elements close in order."""
    VOID = {"meta", "link", "br", "img", "hr"}

    def __init__(self, source):
        super().__init__()
        self.open, self.words, self.tags = [], [], []
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def page(rows, provenance=PROVENANCE):
    return html.render(rows, provenance, html.figures(rows))


def words(source):
    return " ".join("".join(Parsed(source).words).split())


def test_write_leaves_one_page_figures_and_tables(study, tmp_path):
    rows = study(representations=RICH)
    path = html.write(tmp_path, rows, PROVENANCE)
    assert path == tmp_path / "report.html"
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {"accuracy.svg", "gap.svg", "budget.svg"}
    written = {p.stem for p in (tmp_path / "tables").glob("*.csv")}
    assert written == {table.name for table in tables.all_tables(rows)} >= {"answer", "causes"}
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    html.write(tmp_path, rows, dict(reversed(PROVENANCE.items())))
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_the_page_stands_alone(study):
    source = page(study(representations=RICH))
    parsed = Parsed(source)
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", source)
    assert not re.findall(r"@import|url\((?!#)|\bsrc=", source)
    ids = re.findall(r'\bid="([^"]+)"', source)
    assert len(ids) == len(set(ids))
    assert "prefers-color-scheme: dark" in source and "@media print" in source


def test_sentences_come_first_and_are_escaped(study):
    source = page(study())
    assert "<strong>left is lost</strong>: it reads so &amp; so." in source
    shown = words(source)
    order = ["left is lost:", "right is retained:", "noise is untestable:", "Targets outside the mixture",
             "beyond is inconclusive:", "What is missing", "Gap per target", "Accuracy per target and arm",
             "Why: what each", "Methods", "Provenance"]
    places = [shown.index(part) for part in order]
    assert places == sorted(places)


def test_tables_are_in_the_page(study):
    shown = words(page(study(representations=RICH)))
    for part in ("0.80 [0.76, 0.84]", "40.0 [38.0, 42.0]", "55.0 \u00b14.0", "ruled out", "cat5", "3,500"):
        assert part in shown


def test_methods_are_made_from_the_rows(study):
    rows = study(seeds=3)
    said = " ".join(html.methods(rows))
    for part in ("for 700 steps in a shared label space", "3 seeds, 1,500 test items",
                 "scaling (raw, whitened) and penalty chosen on val", "read on test", "over seeds and items",
                 "not adjusted for multiplicity",
                 "on components use Holm's adjustment over the testable ones (2 of 3)",
                 "a family of their own, use Holm's adjustment over the testable ones (1 of 1)",
                 "less than 90%", "provisional"):
        assert part in said
    probes = [r for r in rows if r["metric"] == "bits" and (r["extra"] or {}).get("chosen")]
    probes[0]["extra"]["at_edge"] = "low"
    assert f"1 of {len(probes)} chose a penalty at the edge" in " ".join(html.methods(rows))
    assert "R2" in " ".join(html.methods(study(unit="r2")))


def test_provenance_is_at_the_end(study):
    shown = words(page(study()))
    tail = shown[shown.rindex("Provenance"):]
    for part in ("abc1234", "cpu, cpu", "flax 0.12.8, jax 0.10.2", "hosts: first"):
        assert part in tail


def test_awkward_rows(study):
    for options in (dict(seeds=1, arms=("direct", "mixture")), dict(unit="r2", outside=())):
        Parsed(page(study(**options)))
    rows = study(representations=RICH)
    Parsed(page([r for r in rows if not (r["metric"] or "").startswith("gap")]))
    Parsed(page([{**r, "extra": None, "ci95": None, "n_seeds": None} for r in rows], {}))
    assert "Methods" in words(page([], {}))
    odd = page([{**r, "target": "<b>&"} if r["target"] == "left" else r for r in rows])
    assert "<b>&" not in odd and "&lt;b&gt;&amp;" in odd
