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
class Section:
    """One part of the answer or one analysis. `methods` says how it was done."""

    name: str
    title: str
    sentence: str
    parts: tuple[Figure | Table, ...]
    methods: str = ""
