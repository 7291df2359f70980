import html as markup
import re

from bottleneck.report import html, inline, tables
from tests.report.html_test import Parsed, words


def test_a_table_is_html_in_a_notebook_and_text_where_it_is_printed(study):
    answer = tables.answer(study())
    shown = inline.InlineTable.of(answer)
    assert str(shown) == tables.text(answer) and "\n" not in repr(shown)
    source = shown._repr_html_()
    assert "style" not in Parsed(source).tags and Parsed(source).tags.count("tr") == 1 + len(answer.rows)
    assert all(head in words(source) for head in answer.header) and "0.80 [0.76, 0.84]" in words(source)


def test_a_figure_has_the_ink_of_the_page_it_is_in(study):
    for figure in html.read(study()).figures:
        shown = inline.InlineFigure.of(figure)
        assert shown._repr_svg_() == figure.svg() and len(repr(shown)) < 120
        source = shown._repr_html_()
        assert figure.svg() in source and "currentColor" in source
        assert "<style" not in source  # which would be of the whole page


def test_a_page_in_a_frame_is_the_page(study):
    page = html.render(html.read(study()), {"note": '"quoted" & <marked>'})
    shown = inline.frame(page, 'of "mine"')
    assert Parsed(shown).tags == ["iframe"] and 'title="of &#34;mine&#34;"' in shown and " sandbox " in shown
    inside = markup.unescape(re.search(r'srcdoc="([^"]*)"', shown)[1])
    assert inside.replace('<base href="about:srcdoc">\n', "") == page and inside != page
