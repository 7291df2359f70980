"""The analyses' sections of the report, in reading order."""

from __future__ import annotations

from bottleneck.report import discovery, ladder, learning, recovery, relatedness, seeds, similarity
from bottleneck.report.section import Section

KINDS = (ladder, learning, seeds, similarity, relatedness, recovery, discovery)


def sections(kinds: dict[str, list[dict]]) -> list[Section]:
    """Those that have something to show. `kinds`: the rows of every analysis."""
    return [shown for module in KINDS if (shown := module.section(kinds))]
