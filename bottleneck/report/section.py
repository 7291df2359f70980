"""What a section of the report holds: a sentence of what it says, then figures and tables."""

from __future__ import annotations

from dataclasses import dataclass

from bottleneck.report.svg import compose, key
from bottleneck.report.table import Table


@dataclass(frozen=True)
class Figure:
    """SVG panels under one caption. `key` names the colours of lines: (label, colour, dashed). Panels that are `fixed`
    hold text which must not shrink; the others take the width they are given."""

    name: str
    title: str
    caption: str
    panels: tuple[str, ...]
    key: tuple[tuple[str, str, bool], ...] = ()
    fixed: bool = False

    def svg(self) -> str:
        """All panels and the key as one figure."""
        if len(self.panels) == 1 and not self.key:
            return self.panels[0] + "\n"
        return compose(list(self.panels), key(self.key) if self.key else "")


@dataclass(frozen=True)
class Choice:
    """Figures of which one is seen at a time: the reader chooses an option of every axis. `axes`: what is chosen, and
    its options; `figures`: one for each combination, the last axis fastest."""

    name: str
    title: str
    caption: str
    axes: tuple[tuple[str, tuple[str, ...]], ...]
    figures: tuple[Figure, ...]
    key: tuple[tuple[str, str, bool], ...] = ()


@dataclass(frozen=True)
class Section:
    """One part of the answer or one analysis. `points` say what its sentence says one by one, `methods` how it was
    done."""

    name: str
    title: str
    sentence: str
    parts: tuple[Figure | Choice | Table, ...]
    methods: str = ""
    points: tuple[str, ...] = ()

    @property
    def figures(self) -> list[Figure]:
        """All there are, those to choose from included."""
        each = [part.figures if isinstance(part, Choice) else (part,) for part in self.parts]
        return [figure for figures in each for figure in figures if isinstance(figure, Figure)]

    @property
    def tables(self) -> list[Table]:
        return [part for part in self.parts if isinstance(part, Table)]
