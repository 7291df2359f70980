import re
import xml.etree.ElementTree
from html.parser import HTMLParser

from bottleneck.report import html, methods, tables

PROVENANCE = {
    "versions": {"jax": "0.10.2", "flax": "0.12.8"},
    "commit": "abc1234",
    "devices": ["cpu", "cpu"],
    "config": None,
    "hosts": {"first": {"cores": 2}},
}
RICH = (("cat5", 3500, 0.08),)


class Parsed(HTMLParser):
    """Collects text, and checks that elements close in order."""

    VOID = {"base", "meta", "link", "br", "img", "hr", "input"}

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
    return html.render(html.read(rows), provenance)


def words(source):
    return " ".join("".join(Parsed(source).words).split())


def test_write_leaves_one_page_figures_and_tables(study, tmp_path):
    rows = study(representations=RICH)
    path = html.write(tmp_path, rows, PROVENANCE)
    assert path == tmp_path / "report.html"
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {
        f"{name}.svg" for name in ("accuracy", "gap", "split", "restored", "price-bits-training-steps")
    }
    for kind in ("csv", "tex"):
        written = {p.stem for p in (tmp_path / "tables").glob(f"*.{kind}")}
        assert written == {table.name for table in tables.all_tables(rows)} >= {"answer", "restored"}
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
    shown = words(re.sub(r"<nav.*?</nav>", "", source, flags=re.DOTALL))
    order = [
        "left is lost:",
        "right is retained:",
        "noise is untestable:",
        "Targets outside the mixture",
        "beyond is inconclusive:",
        "What is missing",
        "Gap per target",
        "How the gap splits",
        "What restores it",
        "Accuracy per target and arm",
        "Methods",
        "Provenance",
    ]
    places = [shown.index(part) for part in order]
    assert places == sorted(places)


def test_tables_are_in_the_page(study):
    shown = words(page(study(representations=RICH)))
    for part in (
        "0.80 [0.76, 0.84]",
        "40.0 \u00b12.0",
        "the mixture, one classifier per component",
        "55.0 \u00b14.0",
        "ruled out",
        "cat5",
        "3,500",
    ):
        assert part in shown


def test_methods_are_made_from_the_rows(study):
    rows = study(seeds=3)
    said = " ".join(methods.methods(rows))
    assert "unfinished training is not ruled out" in said  # it may well be named
    for part in (
        "for 700 steps in a shared label space",
        "3 seeds, 1,500 test items",
        "scaling (raw, whitened) and penalty chosen on val",
        "read on test",
        "over seeds and items",
        "and not adjusted for multiplicity",
        "on components use Holm's adjustment over those that are not untestable (2 of 3)",
        "a family of their own, use Holm's adjustment over those that are not untestable (1 of 1)",
        "the upper limit of direct training's information is below 2% of the label's entropy",
        "90% of direct training's information minus that of the features",
        "divided by the number of planned looks",
        "conditional on the training data and on the probe split",
        "half an item added to each class",
        "exposure (direct minus alone) and interference (alone minus mixture)",
        "losses of all other components masked. Exposure holds few draws.",
        "While training is still rising, capacity and dilution are at most likely",
        "Named: the interval of what the arm restores minus half of the gap lies above 0.",
        "provisional",
    ):
        assert part in said
    probes = [r for r in rows if r["metric"] == "information" and (r["extra"] or {}).get("chosen")]
    probes[0]["extra"]["at_edge"] = "low"
    assert f"1 of {len(probes)} chose a penalty at the edge" in " ".join(methods.methods(rows))
    assert "R2" in " ".join(methods.methods(study(unit="r2")))


ANALYSES = ("Where and how deep", "When", "Seeds", "Similarity (CKA)", "Relatedness", "Recovery")


def headings(source):
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", source)


def test_every_analysis_has_its_section_and_a_sentence(content):
    source = html.render(content, PROVENANCE)
    parsed = Parsed(source)
    assert [h for h in headings(source) if h in ANALYSES] == list(ANALYSES)
    assert source.count('<p class="finding">') == len(ANALYSES) == len(content.sections)
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", source)
    ids = re.findall(r'\bid="([^"]+)"', source)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', re.search(r"<nav.*?</nav>", source, re.DOTALL)[0])) <= set(ids)


def test_no_section_without_rows(study, with_analyses):
    assert not set(ANALYSES) & set(headings(page(study())))
    for kind, title in zip(("relatedness", "cka"), ("Relatedness", "Similarity (CKA)")):
        assert set(ANALYSES) & set(headings(page(with_analyses((kind,))))) == {title}


def test_analyses_leave_the_main_answer_as_it_is(with_analyses):
    alone, all_of_it = (html.read(with_analyses(kinds)) for kinds in ((), ("ladder", "seeds")))
    assert alone.rows == all_of_it.rows and alone.chapters == all_of_it.chapters
    assert [t.rows for t in tables.all_tables(alone.rows)] == [t.rows for t in tables.all_tables(all_of_it.rows)]


def test_a_clause_of_every_analysis_ends_the_target_s_sentence(content):
    shown = words(html.render(content, PROVENANCE))
    assert (
        "rare is lost: it reads so & so. Its label: never learned; readable in full nowhere in the network "
        "(at best 10% of direct training's, non-linearly); lost in all 5 "
        "seeds."
    ) in shown


def test_exploratory_methods_follow_those_of_the_answer(content):
    said = " ".join(methods.exploratory(content.sections))
    for part in (
        "The ladder (5 seeds, 1,500 test items per target)",
        "It looked at 25 labels and factors",
        "at 9 steps from 0 to 1,500",
        "chosen on val",
        "minibatches of 64 items",
        "no verdicts, and no adjustment",
    ):
        assert part in said
    assert not methods.exploratory([])


def test_figures_and_tables_of_the_analyses_are_files_too(analysed_rows, content, monkeypatch, tmp_path):
    monkeypatch.setattr(html, "read", lambda rows: content)  # drawn once for all tests
    html.write(tmp_path, analysed_rows, PROVENANCE)
    drawn = {p.stem for p in (tmp_path / "figures").iterdir()}
    assert {
        "ladder-layers",
        "trajectories",
        "shapes",
        "gradients",
        "cka-steps",
        "seeds",
        "cka-layers",
        "cka-direct",
        "relatedness",
        "recovery-steps",
    } <= drawn
    for path in (tmp_path / "figures").iterdir():
        assert xml.etree.ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert (
        {"features", "ladder", "learning", "accuracy-last", "seeds", "cka", "relatedness", "recovery"}
        <= {p.stem for p in (tmp_path / "tables").glob("*.tex")}
        == {p.stem for p in (tmp_path / "tables").glob("*.csv")}
    )


def test_the_same_rows_give_the_same_bytes(analysed_rows, content):
    again = html.read(analysed_rows)
    assert html.render(again, PROVENANCE) == html.render(content, PROVENANCE)
    assert again.chapters == content.chapters and again.sections == content.sections


def test_long_tables_are_folded_and_wide_ones_set_closer(content):
    source = html.render(content, PROVENANCE)
    assert "<details><summary>74 lines</summary>" in source and 'class="table close"' in source


def test_provenance_is_at_the_end(study):
    shown = words(page(study()))
    tail = shown[shown.rindex("Provenance") :]
    for part in ("abc1234", "cpu, cpu", "flax 0.12.8, jax 0.10.2", "hosts: first"):
        assert part in tail


def test_versions_that_differ_among_the_runs_are_listed(study):
    versions = {"jax": ["0.10.0", "0.10.2"], "flax": "0.12.8", "optax": ["0.2.8"]}
    shown = words(page(study(), {"versions": versions, "devices": ["cpu", "cpu"]}))
    assert "Package versions differ among the runs: jax (0.10.0 and 0.10.2)." in shown
    assert "flax 0.12.8, jax 0.10.0 and 0.10.2, optax 0.2.8" in shown
    assert "differ among" not in words(page(study()))


def test_what_was_read_is_said_per_component(study):
    reading = {"left": ["8,000 train items; 2 classes", "3 files left out: a <b>, c, d"], "right": []}
    source = html.render(html.read(study()), PROVENANCE, reading)
    shown = source[source.index('<h2 id="reading">What was read</h2>') : source.index('<h2 id="provenance">')]
    assert "<dt>left</dt><dd><div>8,000 train items; 2 classes</div><div>3 files" in shown and "<dt>right</dt>" in shown
    assert "a &lt;b&gt;" in shown
    described = {"left": ["left (factors): 8,000 train", "  note: left (factors) is odd"], "networks": ["a: on disk"]}
    shown = words(html.render(html.read(study()), PROVENANCE, described))
    assert "left (factors)8,000 train note: left (factors) is odd" in shown  # the name and the source once
    assert "networksa: on disk" in shown
    assert "What was read" not in words(page(study()))


def test_methods_name_looks_foreign_features_and_re_measured_statistics(study):
    rows = study(seeds=5, foreign=("timm-vit",), batchnorm=True)
    for r in rows:
        later = r["target"] == "right" and r["arm"] != "timm-vit"
        r["look"] = 2 if later else 1
        r["n_seeds"] = 10 if later else 4 if r["arm"] == "timm-vit" else 5
    said = " ".join(methods.methods(rows))
    assert "The features of timm-vit were not trained here" in said
    assert "Looks were planned before the first: 3 at 5 seeds, 1 at 10 seeds;" in said
    assert "is normalisation." in said and "provisional" not in said
    plain = " ".join(methods.methods(study(seeds=1, arms=("direct", "mixture"))))
    assert "about this checkpoint" in plain
    assert not any(word in plain for word in ("Looks", "exposure", "Named", "normalisation", "not trained here"))


def test_foreign_sentences_stress_their_subject(study):
    source = page(study(foreign=("timm-vit",)))
    assert "<strong>left in timm-vit is lost</strong>: it reads so &amp; so." in source


def test_awkward_rows(study):
    for options in (dict(seeds=1, arms=("direct", "mixture")), dict(unit="r2", outside=())):
        Parsed(page(study(**options)))
    rows = study(representations=RICH)
    Parsed(page([r for r in rows if not (r["metric"] or "").startswith("gap")]))
    Parsed(page([{**r, "extra": None, "ci95": None, "n_seeds": None} for r in rows], {}))
    assert "Methods" in words(page([], {}))
    odd = page([{**r, "target": "<b>&"} if r["target"] == "left" else r for r in rows])
    assert "<b>&" not in odd and "&lt;b&gt;&amp;" in odd


def test_awkward_rows_of_analyses(with_analyses):
    rows = with_analyses(("ladder", "seeds", "cka", "relatedness"))
    odd = page(
        [
            {**r, **{k: "<b>&" for k in ("target", "factor", "layer") if r[k] in ("easy", "colour", "layer1")}}
            for r in rows
        ]
    )
    Parsed(odd)
    assert "<b>&" not in odd
    Parsed(page([{**r, "extra": None, "ci95": None, "n_seeds": None} for r in rows]))
    Parsed(page([{**r, "value": None} for r in rows]))
