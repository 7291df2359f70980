"""The report's section on published results: what was claimed, what was found here, and whether the two agree.

Rows of kind claims: metric `claim`, one a claim, in points; `extra` holds the claim as the config says it, its `band`
(two ends, null where open), its `status` and its `sentence`.
"""

from __future__ import annotations

import collections

from bottleneck.analysis.claims import MEASURED, POINTS, SDS, STATUSES
from bottleneck.report.lookup import extra, number, several, whole
from bottleneck.report.section import Section
from bottleneck.report.table import MISSING, Cell, Number, Table, trim
from bottleneck.rows import select

KIND = "claims"


def section(kinds: dict) -> Section | None:
    """The section; None without a claim."""
    rows = claimed(kinds)
    return Section(KIND, "Published results", summary(rows), tuple(tables(kinds)), methods()) if rows else None


def claimed(kinds: dict) -> list[dict]:
    return select(kinds.get(KIND, []), metric="claim")


def summary(rows: list[dict]) -> str:
    """How many claims have which status."""
    counts = collections.Counter(extra(r)["status"] for r in rows)
    said = several([f"{counts[status]} {status}" for status in STATUSES if counts[status]], most=len(STATUSES))
    return f"Of {len(rows)} claims: {said}." if rows else ""


def sentences(kinds: dict) -> list[str]:
    """What every claim says, and of how many."""
    rows = claimed(kinds)
    return [*(extra(r)["sentence"] for r in rows), *filter(None, [summary(rows)])]


def tables(kinds: dict) -> list[Table]:
    """What was judged, and what nobody had said what to expect of."""
    rows = claimed(kinds)
    measured = [r for r in rows if extra(r)["status"] == MEASURED]
    judged = [r for r in rows if r not in measured]
    made = ((KIND, "Published results", judged), ("measured", "Questions that nobody answered before", measured))
    return [table(name, title, of) for name, title, of in made if of]


def table(name: str, title: str, rows: list[dict]) -> Table:
    """One line a claim."""
    lines = tuple(
        (
            extra(r)["says"],
            asked(extra(r)),
            number(r),
            whole(extra(r)["networks"]),
            extra(r)["status"],
            extra(r)["reduced"] or MISSING,
            extra(r)["source"] or MISSING,
        )
        for r in rows
    )
    caption = (
        "In percent, or points of a difference; 95% intervals, not adjusted for multiplicity. Networks: all that were "
        "trained for a line, both sides of a difference together; of one, the interval is of items alone."
    )
    caption += f" {rule()}" if name == KIND else ""
    header = ("claim", "published", "here", "networks", "status", "reduced", "source")
    return trim(Table(name, title, caption, header, lines))


def asked(claim: dict) -> Cell:
    """What a claim is held against."""
    ends = [f"{sign} {claim[side]:g}" for sign, side in ((">", "above"), ("<", "below")) if claim[side] is not None]
    if claim["published"] is None:
        return ", ".join(ends) or MISSING
    sd = f" \u00b1 {claim['sd']:g}" if claim["sd"] is not None else ""
    if not sd and not ends:
        return Number(claim["published"], digits=1)
    return f"{claim['published']:g}{sd}" + (f" ({', '.join(ends)})" if ends else "")


def rule() -> str:
    """How claims are judged, in words."""
    return (
        f"Reproduced: the interval lies within the published number +- max({SDS:g} sd, {POINTS:g} points); not "
        "reproduced: disjoint from that; else undecided. Without a number, or with a reduced protocol, the interval "
        "has to lie on the named side of a threshold of ours: the same direction at best, beyond it the other "
        "direction. One network alone decides nothing; measured: nobody said what to expect."
    )


def methods() -> str:
    return "Published results are judged by a rule that stood before the first run; their table says it."
