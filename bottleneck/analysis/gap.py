"""The transfer gap of a mixture, with intervals and verdicts.

Every quantity is a table [S, N]: S pretraining seeds, N test items, here information in bits (or R2, or correctness).
`judge` turns them into verdicts; `gap` does all of it from plain arrays of features; `bound` says how large a
component's gap can be at most, given what its pretrained head reads.
"""

from __future__ import annotations

import bisect
import dataclasses
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import given
from bottleneck.analysis.intervals import Interval, contrast, holm, two_way
from bottleneck.analysis.probes import Probe, linear_probe

FRACTION = 0.9  # a target is retained when the mixture keeps this share of direct training's information
UNTESTABLE = 0.02  # of H(y): a target of which direct training surely shows less has nothing to lose
CONSTANT = 1e-6  # bits: a label of less entropy has one class
MIXTURE, DIRECT = "the mixture", "direct training"


def unclear(reference: str) -> str:
    return f"{reference} itself is not clearly above nothing"


UNCLEAR = unclear(DIRECT)


@dataclass(frozen=True)
class Verdict:
    """What a contrast of direct training and the mixture says about one target."""

    verdict: str  # "lost" | "retained" | "inconclusive" | "untestable"
    direct: Interval  # I_direct
    mixture: Interval  # I_mixture
    gap: Interval  # I_direct - I_mixture
    margin: Interval  # D = fraction * I_direct - I_mixture: above 0 lost, below 0 retained
    entropy: float  # H(y), bits
    testability: str  # "testable" | "unclear" | "untestable", see `testability`
    p: float  # two-sided, of D = 0
    adjusted_p: float  # Holm over the family; 1 if unclear, nan if untestable
    provisional: bool  # fewer than 4 seeds
    scope: str  # "this recipe", or "this checkpoint" with one seed
    needs: str  # inconclusive: what would decide
    needs_examples: int | None  # test items that would decide at these seeds, if any number would
    needs_seeds: int | None  # seeds that would decide at these items, if any number would


def testability(direct, entropy: float, level: float = 0.95) -> str:
    """Whether there is anything to lose: `direct` [S, N] bits of direct training, `entropy` H(y) in bits (1 for R2).

    "untestable": the upper limit of its mean is below `UNTESTABLE` of H(y), or the label has but one class; "unclear":
    the lower limit is not above it, so that direct training may show nothing; else "testable".
    """
    return _testability(two_way(direct, level), entropy)


def _testability(direct: Interval, entropy: float) -> str:
    if entropy < CONSTANT or direct.high < UNTESTABLE * entropy:
        return "untestable"
    return "testable" if direct.low > UNTESTABLE * entropy else "unclear"


def judge(
    targets, fraction: float = FRACTION, level: float = 0.95, paired: bool = True, looks: int = 1
) -> dict[str, Verdict]:
    """Verdicts for one family of targets: name -> (I_direct [S, N], I_mixture [S', N], entropy in bits).

    Untestable targets leave the family before Holm's adjustment. Unclear ones get no verdict but stay in it, with p =
    1: leaving them out would let those that noise lifts above the limit be tested as if they had been the only ones.
    Call it once for the mixture's own components and once for targets outside it: they are separate families. Planned
    `looks` at growing numbers of seeds share the error: each tests at `(1 - level) / looks`, and what one has decided
    is not given to the next. So far out in the tails, with few seeds, p values that are right to second order are still
    small too often: several looks take conservative ones. Intervals keep `level`.
    """
    contrasts, kinds = {}, {}
    for name, (direct, mixture, entropy) in targets.items():
        contrasts[name] = dict(
            direct=two_way(direct, level),
            mixture=two_way(mixture, level),
            gap=contrast([(1.0, direct), (-1.0, mixture)], level, paired),
            margin=contrast([(fraction, direct), (-1.0, mixture)], level, paired),
        )
        kinds[name] = _testability(contrasts[name]["direct"], entropy)
    family = [name for name, kind in kinds.items() if kind != "untestable"]
    p_values = {name: each["margin"].p(conservative=looks > 1) for name, each in contrasts.items()}
    tested = {name: p_values[name] if kinds[name] == "testable" else 1.0 for name in family}
    adjusted = dict(zip(family, holm(list(tested.values()))))
    alpha = (1.0 - level) / looks
    open_share = alpha / max(1, sum(not p < alpha for p in adjusted.values()))  # what the smallest of these is held to
    verdicts = {}
    for name, intervals in contrasts.items():
        p = p_values[name], float(adjusted.get(name, np.nan))
        verdicts[name] = _verdict(intervals, float(targets[name][2]), kinds[name], p, alpha, open_share, looks > 1)
    return verdicts


def _verdict(intervals: dict[str, Interval], entropy: float, kind: str, p, alpha, share, conservative) -> Verdict:
    """The verdict of one target. `p`: its own and the adjusted one, which is held against the family's error `alpha`;
    `share`: what of that its own would be held against if it were to be decided next."""
    direct, margin = intervals["direct"], intervals["margin"]
    seeds, needs, verdict = min(direct.n_seeds, intervals["mixture"].n_seeds), ("", None, None), "inconclusive"
    if kind == "untestable":
        verdict = "untestable"
    elif kind == "unclear":
        above = dataclasses.replace(direct, value=direct.value - UNTESTABLE * entropy)
        text, *numbers = _needs(above, 1.0 - direct.level)
        needs = (f"{UNCLEAR}; {text}", *numbers)
    elif p[1] < alpha:
        verdict = "lost" if margin.value > 0 else "retained"
    else:
        needs = _needs(margin, share, conservative)
    return Verdict(
        verdict,
        **intervals,
        entropy=entropy,
        testability=kind,
        p=p[0],
        adjusted_p=p[1],
        provisional=seeds < 4,
        scope="this checkpoint" if seeds == 1 else "this recipe",
        needs=needs[0],
        needs_examples=needs[1],
        needs_seeds=needs[2],
    )


def _needs(margin: Interval, alpha: float, conservative: bool = False) -> tuple[str, int | None, int | None]:
    """What would decide an inconclusive contrast if its estimate and variances stayed: (text, test items, seeds)."""
    seed_part, item_part = margin.parts
    if abs(margin.value) < 0.1 * margin.se or not np.isfinite(margin.se):
        return "the estimate sits on the margin: no realistic number of seeds or test items decides", None, None

    def least(most: int, now: int, resized) -> int | None:
        counts = range(now + 1, most + 1)
        at = bisect.bisect_left(counts, True, key=lambda count: resized(count).p(conservative=conservative) < alpha)
        return counts[at] if at < len(counts) else None

    examples = least(1000 * margin.n_examples, margin.n_examples, lambda n: _resized(margin, margin.n_seeds, n))
    seeds = least(200, margin.n_seeds, lambda s: _resized(margin, s, margin.n_examples)) if margin.n_seeds > 1 else None
    dominant = "seeds" if seed_part > item_part else "test items"
    if margin.n_seeds == 1 and examples:
        text = f"about {examples:,} test items would decide for {'these networks' if seed_part else 'this checkpoint'}"
    elif dominant == "seeds" and seeds:
        text = f"seeds dominate the uncertainty: about {seeds} seeds would decide"
    elif dominant == "test items" and examples:
        text = f"test items dominate the uncertainty: about {examples:,} would decide"
    elif seeds or examples:
        text = f"about {seeds} seeds would decide" if seeds else f"about {examples:,} test items would decide"
    else:
        text = f"{dominant} dominate the uncertainty: more seeds and more test items are needed"
    return text, examples, seeds


def _resized(interval: Interval, seeds: int, examples: int) -> Interval:
    """The same estimate from other numbers of seeds and test items, for its p value."""
    by_seeds, by_items = interval.n_seeds / seeds, interval.n_examples / examples
    if not interval.estimates:
        return dataclasses.replace(interval, se=interval.se * np.sqrt(by_items), dof=examples - 1)
    (of_seeds, dof), (of_items, _) = interval.estimates
    residual = of_seeds - interval.parts[0]  # of seeds and items together
    of_seeds = by_seeds * (interval.parts[0] + by_items * residual)
    dof *= (seeds - 1) / (interval.n_seeds - 1) if interval.n_seeds > 1 else 1
    return dataclasses.replace(interval, estimates=((of_seeds, dof), (by_items * of_items, examples - 1)))


def signed(interval: Interval, digits: int = 2, unit: str = "") -> str:
    """`0.86 bits, 0.80 to 0.92`."""
    unit = f" {unit}" if unit else ""
    return f"{interval.value:z.{digits}f}{unit}, {interval.low:z.{digits}f} to {interval.high:z.{digits}f}"


def describe(
    name: str,
    verdict: Verdict,
    points: Interval | None = None,
    unit: str = "bits",
    of: str = MIXTURE,
    against: str = DIRECT,
) -> str:
    """The verdict on one target as a clause without a full stop; intervals are unadjusted for multiplicity. `of` whose
    features, and what they are held `against`."""
    direct, mixture, level = verdict.direct, verdict.mixture, f"{100 * verdict.gap.level:g}%"
    scope = f"{verdict.scope}, {direct.n_examples:,} test items"
    if verdict.scope == "this recipe":
        least, most = sorted((direct.n_seeds, mixture.n_seeds))
        scope = f"{least if least == most else f'{least} and {most}'} seeds, {direct.n_examples:,} test items"
        scope += ", provisional" if verdict.provisional else ""
    if verdict.verdict == "untestable":
        if verdict.entropy < CONSTANT:
            return f"{name} is untestable: its label has one class ({scope})"
        return (
            f"{name} is untestable: {against} itself shows {direct.value:z.2f} {unit} (upper {level} limit "
            f"{direct.high:z.3f}, needed at least {UNTESTABLE * verdict.entropy:.3f}; {scope})"
        )
    size = f"{level} interval {verdict.gap.low:z.2f} to {verdict.gap.high:z.2f}"
    if points is not None:
        size += f"; {points.value:z.1f} accuracy points, {points.low:z.1f} to {points.high:z.1f}"
    where = "this checkpoint" if (of, verdict.scope) == (MIXTURE, "this checkpoint") else of
    text = (
        f"{name} is {verdict.verdict}: {mixture.value:z.2f} {unit} in the features of {where} against "
        f"{direct.value:z.2f} from {against}, a gap of {verdict.gap.value:z.2f} {unit} ({size}; {scope})"
    )
    return f"{text}; {verdict.needs.replace(UNCLEAR, unclear(against))}" if verdict.needs else text


@dataclass(frozen=True)
class Subset:
    """The gap on the test items of one group, or on all of them. Exploratory: intervals, no verdict."""

    group: str
    n_examples: int
    direct: Interval  # bits (R2)
    mixture: Interval
    gap: Interval
    direct_accuracy: Interval | None  # percent; None for regression
    mixture_accuracy: Interval | None
    points: Interval | None  # difference of accuracies, percent

    def row(self) -> dict:
        row = {
            "group": self.group,
            "n_examples": self.n_examples,
            "n_seeds": self.gap.n_seeds,
            "ci_unit": self.gap.unit,
        }
        for key in ("direct", "mixture", "gap", "direct_accuracy", "mixture_accuracy", "points"):
            interval = getattr(self, key)
            if interval is not None:
                row |= {key: interval.value, f"{key}_low": interval.low, f"{key}_high": interval.high}
        return row


@dataclass(frozen=True)
class Gap:
    """Direct training against the mixture for one target, from features alone."""

    verdict: Verdict
    everything: Subset
    groups: tuple[Subset, ...]  # sorted by group name; empty without groups
    worst: Subset | None  # the group on which the mixture's features score lowest
    paired: bool  # seeds paired by name or order
    unit: str  # "bits" or "R2"
    probes: dict[str, tuple[Probe, ...]]  # "mixture", "direct": one probe per seed

    @property
    def points(self) -> Interval | None:
        return self.everything.points

    @property
    def sentence(self) -> str:
        text = describe("the target", self.verdict, self.points, self.unit)
        text = text[0].upper() + text[1:]
        if self.worst is not None:
            size = self.worst.points or self.worst.gap
            text += (
                f"; on the mixture's worst group ({self.worst.group}, {self.worst.n_examples} items) the gap is "
                + signed(size, *((1, "points") if self.worst.points else (2, self.unit)))
            )
        return text + "."

    def table(self) -> list[dict]:
        """Rows as dicts: all test items first, then every group."""
        first = self.everything.row() | {"verdict": self.verdict.verdict, "adjusted_p": self.verdict.adjusted_p}
        return [first, *(group.row() for group in self.groups)]


def gap(
    mixture, direct, labels, splits=None, *, groups=None, seeds=None, fraction: float = FRACTION, level: float = 0.95
) -> Gap:
    """Does a linear probe on the mixture's features reach what direct training's features give?

    `mixture`, `direct`: lists of features [n, p_s], one array per pretraining seed, all with the same rows. `labels`
    [n]: classes of any kind (whole-numbered floats too), or other floats [n, m] for regression (then R2 in place of
    bits). `splits` [n]: "probe" (probes are fitted), "val" (choices are made), "test" (read once); by default those of
    `given.split_items`. `groups` [n]: optional; adds a table per group and the worst group. `seeds`: optional names for
    pairing, one list for both arms or a pair of lists (mixture's, direct's). Without names, equal counts are paired in
    order. Arms with other names or counts are compared unpaired (Welch). Raises UserError for anything inconsistent,
    missing, or that cannot be trusted (`given`).
    """
    arms = {"mixture": given.features("mixture", mixture), "direct": given.features("direct", direct)}
    targets, num_classes, names = given.targets(labels)
    n = len(targets)
    items = given.where(given.split_items(labels) if splits is None else splits, n)
    given.learnable(targets, num_classes, names, items)
    for key, members in arms.items():
        given.rows(key, members, n, items["probe"])
    test_groups = np.array([]) if groups is None else given.groups(groups, n)[items["test"]]
    arms["direct"], paired = given.pairs(arms["mixture"], arms["direct"], seeds)

    y = {split: targets[chosen] for split, chosen in items.items()}
    task = "classification" if num_classes else "regression"
    probes = {
        key: tuple(
            linear_probe({split: x[chosen] for split, chosen in items.items()}, y, num_classes, task=task)
            for x in members
        )
        for key, members in arms.items()
    }
    bits = {key: np.stack([probe.bits for probe in each]) for key, each in probes.items()}
    correct = {key: np.stack([100.0 * probe.correct for probe in each]) for key, each in probes.items() if num_classes}
    target = (bits["direct"], bits["mixture"], probes["direct"][0].entropy)
    verdict = judge({"target": target}, fraction, level, paired)["target"]
    everything = _subset("all", np.ones(len(items["test"]), bool), bits, correct, level, paired)
    subsets = tuple(_subset(name, test_groups == name, bits, correct, level, paired) for name in np.unique(test_groups))
    worst = min(subsets, key=lambda s: (s.mixture_accuracy or s.mixture).value, default=None)
    return Gap(verdict, everything, subsets, worst, paired, "bits" if num_classes else "R2", probes)


def _subset(name, chosen, bits, correct, level: float, paired: bool) -> Subset:
    """The gap on the `chosen` [N] test items, in bits and, where there are classes, in points."""

    def three(tables):
        direct, mixture = tables["direct"][:, chosen], tables["mixture"][:, chosen]
        return (
            two_way(direct, level),
            two_way(mixture, level),
            contrast([(1.0, direct), (-1.0, mixture)], level, paired),
        )

    return Subset(str(name), int(chosen.sum()), *three(bits), *(three(correct) if correct else (None,) * 3))


@dataclass(frozen=True)
class Bound:
    """An upper bound on a component's gap: its interval, and why it says nothing ("" where it does)."""

    interval: Interval
    reason: str


def bound(direct, head, level: float = 0.95, paired: bool = True) -> Bound:
    """`gap_j <= L_j(head of the mixture) - L_j(probe on direct features)`: the pretrained head is itself a linear
    probe.

    `direct` [S, N] is the information of the probe on direct training's features, `head` [S', N] that of the mixture's
    head: the component's own classes renormalised, calibrated on val, with the same prior and test items. The prior
    cancels, so the bound is `I_direct - I_head`. A probe can always ignore the features: at or above I_direct, where
    the head reads nothing, it says nothing. It holds for the population; finite probes and test sets can exceed it.
    There is none for targets outside the mixture.
    """
    interval = contrast([(1.0, direct), (-1.0, head)], level, paired)
    nothing = interval.value >= float(np.mean(direct))
    return Bound(interval, "the head reads nothing of this component" if nothing else "")
