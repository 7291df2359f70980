"""Which components a network serves, beside others: verdicts over ordered pairs, and what they say in words.

A network serves a component as well as another does when it keeps `margin` of the information that the other's features
hold (analysis.gap.judge, seeds unpaired: they are of different recipes). All ordered pairs and components of an audit
are one family of tests. What another network adds is conditional usable information, I(b and a) - I(b) (Xu et al.
2020), with two controls that it must exceed: b's features twice, and both reduced to as many dimensions as b has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import gap
from bottleneck.analysis.gap import Verdict, signed
from bottleneck.analysis.intervals import Interval, contrast

WORDS = {"retained": "served", "lost": "not served"}  # verdicts of a pair, about the component
NEGLIGIBLE = 0.01  # bits: what is added below that is nothing, whatever its interval


def pairs(
    tables: Mapping[str, Mapping[str, np.ndarray]], entropies: Mapping[str, float], margin: float = gap.FRACTION
) -> dict[tuple[str, str, str], Verdict]:
    """(component, network, other) -> whether the network reaches `margin` of the other's information there.

    `tables`: component -> network -> [S, N] bits; `entropies`: H(y) of every component. One family, Holm's adjustment
    over all of it; pairs whose other surely reads nothing leave it.
    """
    asked = {
        (component, name, other): (read[other], read[name], entropies[component])
        for component, read in tables.items()
        for name in read
        for other in read
        if other != name
    }
    return gap.judge(asked, margin, paired=False)


def itself(table: np.ndarray, entropy: float, margin: float = gap.FRACTION) -> Verdict:
    """The verdict of a network beside itself: served wherever it reads anything at all."""
    return gap.judge({"itself": (table, table, entropy)}, margin)["itself"]


@dataclass(frozen=True)
class Addition:
    """What a network adds to another on one component, in bits."""

    added: Interval  # I(other and network) - I(other)
    matched: Interval  # the same of both reduced to as many dimensions as the other has
    repeated: Interval  # of the other's features twice, in the place of the network's
    restores: bool | None  # whether both together are sure to reach margin of the reference; None: not asked
    joined: Interval  # I(other and network)

    @property
    def real(self) -> bool:
        """Whether it is more than nothing, by its interval, and beyond the same features twice."""
        return self.added.low > 0 and self.added.value > NEGLIGIBLE and self.added.value > self.repeated.high

    @property
    def dimension(self) -> bool:
        """Whether it stays without more dimensions, by the interval."""
        return self.matched.low > 0


def addition(
    joined, alone, matched, repeated, reference=None, margin: float = gap.FRACTION, paired: bool = False
) -> Addition:
    """Tables [S, N] in bits, all on the same items: of both side by side, of the other `alone`, of both reduced, of the
    other twice; and of what a component is held against, `paired` where that is one of the two."""
    restores = None
    if reference is not None:
        restores = bool(contrast([(margin, reference), (-1.0, joined)], paired=paired).high < 0)
    return Addition(
        contrast([(1.0, joined), (-1.0, alone)]),
        contrast([(1.0, matched), (-1.0, alone)]),
        contrast([(1.0, repeated), (-1.0, alone)]),
        restores,
        contrast([(1.0, joined)]),
    )


@dataclass(frozen=True)
class Told:
    """What a sentence about one network and one component is made of."""

    component: str
    network: str
    reference: str  # a network's name, or words such as "direct training"
    best: bool  # whether the reference is there because it read most, on validation
    verdict: Verdict
    points: Interval | None = None  # accuracy, the reference's less the network's
    depth: str = ""  # where it is readable, in words
    restored_by: tuple[tuple[str, Interval], ...] = ()  # networks beside which it is served, and what both read


def sentence(told: Told) -> str:
    """Served or not, by how much, where it is readable, and which addition restores it."""
    verdict = told.verdict
    seeds, items = verdict.mixture.n_seeds, verdict.mixture.n_examples
    scope = f"{seeds} seeds, {items} test items" if seeds > 1 else f"this checkpoint, {items} test items"
    scope += ", provisional" if 1 < seeds < 4 else ""
    direct, ours = verdict.direct, verdict.mixture
    head = f"{told.component} is {word(verdict)} by {told.network}"
    if verdict.verdict == "untestable":
        who = told.reference if told.reference != told.network else told.network
        return (
            f"{told.component} is untestable: {who} itself shows {direct.value:z.2f} bits (upper 95% limit "
            f"{direct.high:z.3f}, needed at least {gap.UNTESTABLE * verdict.entropy:.3f}; {scope})."
        )
    best = ", the best audited" if told.best else ""
    if told.network == told.reference:
        return f"{head}, the {'best audited ' * told.best}reference there: {signed(ours, unit='bits')} ({scope})."
    share = f"{100 * ours.value / direct.value:.0f}%" if direct.value > 0 else "a share that means nothing"
    text = f"{head}: {ours.value:z.2f} bits, {share} of the {direct.value:z.2f} of {told.reference}{best}, a gap of "
    text += signed(verdict.gap, unit="bits")
    if told.points is not None:
        text += f"; {signed(told.points, 1, 'accuracy points')}"
    text += f" ({scope})"
    if verdict.needs:
        itself = f"{told.reference} itself is not clearly above nothing"
        text += f"; {verdict.needs.replace(gap.UNCLEAR, itself)}"
    if verdict.verdict == "lost":
        text += f"; {told.depth}" if told.depth else ""
        text += f"; {restoring(told)}"
    return text + "."


def word(verdict: Verdict) -> str:
    """ "served" or "not served"; where neither is shown, the verdict's own word."""
    return WORDS.get(verdict.verdict, "inconclusive: it is not shown whether it is served")


def restoring(told: Told) -> str:
    """Which networks restore it."""
    if not told.restored_by:
        return "no other audited network beside it is sure to restore it"
    each = [f"{name} beside it ({joined.value:z.2f} bits together)" for name, joined in told.restored_by]
    return f"{' or '.join(each)} restores it"
