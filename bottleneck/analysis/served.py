"""Which components a network serves, beside others: verdicts over ordered pairs, and what they say in words.

A network serves a component as well as another does when it keeps `margin` of the information that the other's features
hold (analysis.gap.judge, seeds unpaired: they are of different recipes). All ordered pairs and components of an audit
are one family of tests. What another network adds is conditional usable information, I(b and a) - I(b) (Xu et al.
2020), with two controls: b's features twice, and as many dimensions of both as of b's features twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import gap
from bottleneck.analysis.gap import Verdict, signed
from bottleneck.analysis.intervals import Interval, contrast, holm

WORDS = {"retained": "served", "lost": "not served"}  # verdicts of a pair, about the component
NEGLIGIBLE = 0.01  # bits: what is added below that is nothing, whatever its interval
LEVEL = 0.05


def pairs(
    tables: Mapping[str, Mapping[str, np.ndarray]],
    entropies: Mapping[str, float],
    margin: float = gap.FRACTION,
    references: tuple[str, ...] = (),
) -> dict[tuple[str, str, str], Verdict]:
    """(component, network, other) -> whether the network reaches `margin` of the other's information there.

    `tables`: component -> network -> [S, N] bits; `entropies`: H(y) of every component. One family, Holm's adjustment
    over all of it; pairs whose other surely reads nothing leave it. `references` are held against, never judged.
    """
    asked = {
        (component, name, other): (read[other], read[name], entropies[component])
        for component, read in tables.items()
        for name in read
        for other in read
        if other != name and name not in references
    }
    return gap.judge(asked, margin, paired=False)


def itself(table: np.ndarray, entropy: float, margin: float = gap.FRACTION) -> Verdict:
    """The verdict of a network beside itself, seed by seed: no test of anything, but whether it reads anything."""
    return gap.judge({"itself": (table, table, entropy)}, margin)["itself"]


@dataclass(frozen=True)
class Addition:
    """What a network adds to another on one component, in bits."""

    added: Interval  # I(other and network) - I(other)
    beyond: Interval  # I(other and network) - I(other twice)
    repeated: Interval  # I(other twice) - I(other)
    matched: Interval  # as `beyond`, both sides reduced to the same few dimensions
    joined: Interval  # I(other and network)

    @property
    def p(self) -> float:
        """Of its being nothing, or no more than the same features twice: the greater of both tests' p values."""
        return max(self.added.p(), self.beyond.p())

    @property
    def dimension(self) -> bool:
        """Whether something of it is there in equal dimensions, by the interval."""
        return self.matched.low > 0


def addition(joined, alone, repeated, matched, reduced) -> Addition:
    """Tables [S, N] in bits, all on the same items: of both side by side, of the other `alone`, of the other
    twice; of both reduced (`matched`), and of the other twice reduced as they are."""
    return Addition(
        contrast([(1.0, joined), (-1.0, alone)]),
        contrast([(1.0, joined), (-1.0, repeated)]),
        contrast([(1.0, repeated), (-1.0, alone)]),
        contrast([(1.0, matched), (-1.0, reduced)]),
        contrast([(1.0, joined)]),
    )


def real(additions: Mapping, level: float = LEVEL) -> dict:
    """Which additions are surely more than nothing, and more than the same features twice: one family, Holm's
    adjustment over all of it."""
    adjusted = dict(zip(additions, holm([each.p for each in additions.values()])))
    return {
        key: each.added.value > NEGLIGIBLE and each.beyond.value > 0 and adjusted[key] < level
        for key, each in additions.items()
    }


def restored(asked: Mapping, margin: float = gap.FRACTION, level: float = LEVEL) -> dict:
    """Whether two networks together surely reach `margin` of a reference: one family, Holm's adjustment over it.

    `asked`: key -> (the reference's table [S, N], theirs, whether the reference is one of the two).
    """
    held = {k: contrast([(margin, r), (-1.0, joined)], paired=paired) for k, (r, joined, paired) in asked.items()}
    adjusted = dict(zip(held, holm([interval.p() for interval in held.values()])))
    return {key: interval.value < 0 and adjusted[key] < level for key, interval in held.items()}


@dataclass(frozen=True)
class Told:
    """What a sentence about one network and one component is made of."""

    component: str
    network: str
    reference: str  # a network's name, or words such as "direct training"
    best: bool  # whether the reference is there because it read most, on validation
    verdict: Verdict
    alone: bool = False  # whether there is no other network
    floors: tuple[tuple[str, float], ...] = ()  # what else reads so many bits, in words
    points: Interval | None = None  # accuracy, the reference's less the network's
    depth: str = ""  # where it is readable, in words
    restored_by: tuple[tuple[str, Interval], ...] | None = None  # networks beside which it is served; None: not asked


def sentence(told: Told) -> str:
    """Served or not, by how much, where it is readable, and which addition restores it."""
    verdict = told.verdict
    if verdict.verdict == "untestable":
        return untestable(told)
    if told.network == told.reference:
        return reference(told)
    direct, ours = verdict.direct, verdict.mixture
    best = ", the best audited" + " on validation" * (ours.value > direct.value) if told.best else ""
    share = f"{100 * ours.value / direct.value:z.0f}%" if direct.value > 0 else "a share that means nothing"
    text = f"{told.component} is {word(verdict)} by {told.network}: {ours.value:z.2f} bits, {share} of the "
    text += f"{direct.value:z.2f} of {told.reference}{best}, a gap of {signed(verdict.gap, unit='bits')}"
    if told.points is not None:
        text += f"; {signed(told.points, 1, 'accuracy points')}"
    text += f" ({scope(verdict)})"
    if verdict.needs:
        text += f"; {verdict.needs.replace(gap.UNCLEAR, gap.unclear(told.reference))}"
    if verdict.verdict == "lost":
        text = "; ".join(filter(None, (text, told.depth, restoring(told))))
    return text + "."


def untestable(told: Told) -> str:
    """Of a component of which the reference itself surely reads nothing: that, and what the network reads."""
    direct, least = told.verdict.direct, gap.UNTESTABLE * told.verdict.entropy
    shows = f"{told.reference} itself shows {direct.value:z.2f} bits (upper 95% limit {direct.high:z.3f}, needed at "
    if told.network == told.reference:
        return f"{told.component} is untestable: {shows}least {least:.3f}; {scope(told.verdict)})."
    reads = f"{told.network} reads {of_label(told.verdict)} ({scope(told.verdict)})"
    return f"{told.component} is untestable beside {told.reference}: {shows}least {least:.3f}); {reads}."


def of_label(verdict: Verdict) -> str:
    """A network's bits, and their share of the label's."""
    ours, entropy = verdict.mixture, verdict.entropy
    return f"{signed(ours, unit='bits')}, {100 * ours.value / entropy:z.0f}% of the label's {entropy:.2f}"


def reference(told: Told) -> str:
    """Of the reference itself, which nothing is tested of: what it reads of all there is, and what floors read."""
    role = "the best of the audited networks" if told.best else "the declared reference"
    if told.alone:
        role = "the one network, with nothing to hold it against"
    floors = "".join(f"; {words} {bits:z.2f}" for words, bits in told.floors)
    return (
        f"{told.component} is read by {told.network}, {role}: {of_label(told.verdict)}{floors} ({scope(told.verdict)})."
    )


def scope(verdict: Verdict) -> str:
    """What an interval is of: this checkpoint, or the seeds of both sides."""
    items, least, most = verdict.mixture.n_examples, *sorted((verdict.direct.n_seeds, verdict.mixture.n_seeds))
    if most == 1:
        return f"this checkpoint, {items:,} test items"
    seeds = f"{most} seeds" if least == most else f"{least} and {most} seeds"
    return f"{seeds}, {items:,} test items" + ", provisional" * verdict.provisional


def word(verdict: Verdict) -> str:
    """ "served" or "not served"; where neither is shown, the verdict's own word."""
    return WORDS.get(verdict.verdict, "inconclusive: it is not shown whether it is served")


def restoring(told: Told) -> str:
    """Which networks restore it; "" where nobody asked."""
    if told.restored_by is None:
        return ""
    if not told.restored_by:
        return "no other audited network beside it surely restores it"
    each = [
        f"{name}{' (the reference)' if name == told.reference else ''} beside it ({joined.value:z.2f} bits together)"
        for name, joined in told.restored_by
    ]
    return f"{' or '.join(each)} restores it"
