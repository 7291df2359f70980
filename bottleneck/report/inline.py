"""The report, its tables and its figures inside another page, a notebook's: nothing of their style reaches that page,
and their ink is its own."""

from __future__ import annotations

from markupsafe import Markup

from bottleneck.report import page
from bottleneck.report.section import Figure
from bottleneck.report.table import Table, text

HEIGHT = "44rem"  # of a report, which scrolls inside and may be drawn larger at its corner


class InlineTable(Table):
    """A table of the report as a notebook shows it; printed, the text that it has in a terminal."""

    @classmethod
    def of(cls, table: Table) -> InlineTable:
        return cls(**vars(table))

    def _repr_html_(self) -> str:
        return page.fill("inline.html", part=page.table(self))

    def __str__(self):
        return text(self)

    def __repr__(self):
        return f"<table {self.name!r}: {self.title}, {len(self.rows)} lines>"


class InlineFigure(Figure):
    """A figure of the report as a notebook shows it."""

    @classmethod
    def of(cls, figure: Figure) -> InlineFigure:
        return cls(**vars(figure))

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        """Preferred by notebooks: what is in a page has its ink, which an image by itself has not."""
        return page.fill("inline.html", part={**page.figure(self), "svg": Markup(self.svg())})

    def __repr__(self):
        return f"<figure {self.name!r}: {self.title}>"


def frame(source: str, title: str) -> str:
    """An <iframe> that holds the whole page `source`, in which nothing is run."""
    inside = source.replace("<head>", '<head>\n<base href="about:srcdoc">', 1)  # links to its own headings stay in it
    shape = f"display: block; width: 100%; height: {HEIGHT}; border: 0; overflow: auto; resize: vertical"
    return Markup('<iframe title="{}" sandbox style="{}" srcdoc="{}"></iframe>').format(title, shape, inside)
