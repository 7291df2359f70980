import csv
import io
import re

from hypothesis import given
from hypothesis import strategies as st

from bottleneck.report import table, tables
from bottleneck.report.table import MISSING, Number, Table


def test_numbers_are_shown_with_their_intervals():
    assert str(Number(0.5)) == "0.50"
    assert str(Number(0.5, 0.4, 0.6)) == "0.50 [0.40, 0.60]"
    assert str(Number(50.0, 48.0, 52.0, 1, half=True)) == "50.0 \u00b12.0"
    assert str(Number(12345, digits=0)) == "12,345"
    assert str(Number(-0.001)) == "0.00"  # no negative zero


def test_text_is_aligned_and_wraps_the_last_column():
    shown = Table(
        "t",
        "Title",
        "Caption.",
        ("name", "value (bits)", "words"),
        (("a", Number(1.0), "one two three four five six seven"), ("bb", MISSING, "-")),
    )
    lines = table.text(shown, 38).splitlines()
    assert lines[:3] == ["Title", "Caption.", ""]
    body = lines[lines.index(next(s for s in lines if s.startswith("--"))) + 1 :]
    assert body == ["a       1.00  one two three four five", "              six seven", "bb         \u2014  -"]
    assert table.text(Table("t", "T", "C.", ("name", "words"), ())).endswith("name  words\n----  -----")


def test_text_that_is_too_wide_goes_on_below():
    wide = Table("t", "T", "C.", ("name", "what", *"abcdef"), (("x", "first", *[Number(1234.5)] * 6),))
    lines = table.text(wide, 42).splitlines()[3:]
    assert [line.split() for line in lines if line and "-" not in line] == [
        ["name", "what", "a", "b", "c"],
        ["x", "first", *["1,234.50"] * 3],
        ["T", "(continued)"],
        ["name", "what", "d", "e", "f"],
        ["x", "first", *["1,234.50"] * 3],
    ]
    assert max(map(len, lines)) <= 42


def test_what_goes_on_below_repeats_what_tells_lines_apart():
    lines = [("x", "first", source, *[Number(1234.5)] * 4) for source in ("clip", "dino")]
    shown = table.text(Table("t", "T", "C.", ("name", "what", "of", *"abcd"), tuple(lines)), 42).splitlines()
    found = [line.split()[:3] for line in shown if "1,234.50" in line]
    assert found == [["x", "first", "clip"], ["x", "first", "dino"]] * 2
    alike = [("x", "first", "clip", *[Number(1234.5)] * 4)] * 2  # nothing does: as many columns as words lead them
    shown = table.text(Table("t", "T", "C.", ("name", "what", "of", *"abcd"), tuple(alike)), 42)
    assert max(map(len, shown.splitlines())) <= 42 and shown.count("(continued)") == 1


def test_a_key_that_is_too_long_is_broken_between_its_names():
    key = "components.shadowed.transforms.tint.reliability.colour"
    shown = table.text(Table("t", "T", "C.", ("key", "words"), ((key, "?"),)), 30).splitlines()
    pieces = [line.rstrip(" ?") for line in shown[5:]]
    assert "".join(pieces) == key and all(piece.endswith(".") for piece in pieces[:-1]) and len(pieces) > 1


@given(st.lists(st.text(alphabet="yz -", max_size=30), min_size=3, max_size=3), st.integers(80, 120))
def test_text_keeps_to_its_width_and_loses_no_letter(words, width):
    shown = Table("t", "T", "C.", ("name", "x", "more"), ((words[0], Number(0.5), words[1]), ("-", MISSING, words[2])))
    made = table.text(shown, width)
    assert max(map(len, made.splitlines())) <= width
    assert [made.count(letter) for letter in "yz"] == ["".join(words).count(letter) for letter in "yz"]


def test_marks_have_words_in_ascii():
    assert table.encodable("0.5 \u00b10.1 \u2014 \u00d7\u00a02", "ascii") == "0.5 +-0.1 - x 2"
    assert (
        table.encodable("\u00b1 \u6f22", "latin-1") == "+- \\u6f22" and table.encodable("\u00b1", "latin-1") == "\u00b1"
    )
    assert table.encodable("\u2014", "no such encoding") == table.encodable("\u2014", None) == "-"


def test_csv_has_full_precision_and_interval_columns(study):
    found = list(csv.DictReader(io.StringIO(table.to_csv(tables.answer(study())))))
    assert float(found[0]["gap (bits)"]) == 0.9 - 0.1
    assert float(found[0]["gap (bits) low"]) < 0.8 < float(found[0]["gap (bits) high"])
    accuracy = list(csv.DictReader(io.StringIO(table.to_csv(tables.accuracy(study())))))
    assert accuracy[3]["target"] == "beyond" and accuracy[3]["alone"] == accuracy[3]["alone low"] == ""


AWKWARD = Table(
    "t",
    "100% of a_b",
    "Caption & more: 5% of {x}.",
    ("a_b", "x (%)", "\\cmd"),
    (("[odd] & $x$", Number(-1.5, -2.0, -1.0), "a~b^c #1"), ("<b>|\u00b1\u2212", MISSING, MISSING)),
)


def balanced(text):
    """Whether braces that are not escaped open and close in order."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text.replace("\\\\", "")):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    return depth == 0


def test_latex_is_a_tabular_of_booktabs():
    lines = table.to_latex(AWKWARD).splitlines()
    assert lines[0].startswith("% 100% of a_b. Caption & more")
    assert (
        lines[1] == r"\begin{tabular}{lrl}"
        and lines[2] == r"\toprule"
        and lines[-1] == r"\end{tabular}"
        and lines[-2] == r"\bottomrule"
    )
    assert lines[3] == r"a\_b & x (\%) & \textbackslash{}cmd \\" and lines[4] == r"\midrule"
    assert (
        lines[5]
        == r"{[}odd{]} \& \$x\$ & $-$1.50 {[}$-$2.00, $-$1.00{]} & a\textasciitilde{}b\textasciicircum{}c \#1 \\"
    )
    assert lines[6] == r"$<$b$>$$|$$\pm$$-$ & --- & --- \\"
    assert balanced(table.to_latex(AWKWARD))


@given(st.text(alphabet='ab \\{}$&#%_^~<>|[]"\u00b1-\n', max_size=20))
def test_latex_of_any_words_has_balanced_braces_and_two_cells(words):
    line = table.to_latex(Table("t", "T", "C", ("h", "h"), ((words, "x"),))).splitlines()[-3]
    assert balanced(line) and len(re.findall(r"(?<!\\)&", line)) == 1
    assert len(re.findall(r"(?<!\\)\$", line.replace(r"\\", ""))) % 2 == 0 and not re.search(r"(?<!\\)[#%]", line)


def test_columns_without_anything_are_left_out():
    shown = table.trim(Table("t", "T", "C", ("a", "b", "c"), (("x", MISSING, Number(1.0)), ("y", MISSING, MISSING))))
    assert shown.header == ("a", "c") and shown.rows == (("x", Number(1.0)), ("y", MISSING))
    whole = Table("t", "T", "C.", ("a", "b"), (("x", MISSING),))
    assert table.trim(whole, {"a": "A: first.", "b": "B: second."}).caption == "C. A: first."
