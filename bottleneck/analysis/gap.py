"""The transfer gap of a mixture, with intervals and verdicts.

Every quantity is a table [S, N]: S pretraining seeds, N test items, here information in bits (or R2, or correctness).
`judge` turns them into verdicts; `gap` does all of it from plain arrays of features; `population_bound` says how large
the gap of a component can be at most, in the population, given the losses of the pretrained head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from bottleneck.analysis.intervals import Interval, across, contrast, holm, two_way, welch  # noqa: F401
from bottleneck.analysis.probes import Probe, linear_probe
from bottleneck.errors import UserError

FRACTION = 0.9  # a target is retained when the mixture keeps this share of direct training's information
UNTESTABLE = 0.02  # of H(y): direct training itself must show more than this
SPLITS = ("probe", "val", "test")


@dataclass(frozen=True)
class Verdict:
    """What a contrast of direct training and the mixture says about one target."""

    verdict: str  # "lost" | "retained" | "inconclusive" | "untestable"
    direct: Interval  # I_direct
    mixture: Interval  # I_mixture
    gap: Interval  # I_direct - I_mixture
    margin: Interval  # D = fraction * I_direct - I_mixture: above 0 lost, below 0 retained
    entropy: float  # H(y), bits
    p: float  # two-sided, of D = 0
    adjusted_p: float  # Holm over the testable targets of the family; nan if untestable
    provisional: bool  # fewer than 4 seeds
    scope: str  # "this recipe", or "this checkpoint" with one seed
    needs: str  # inconclusive: what would decide
    needs_examples: int | None  # test items that would decide at these seeds, if any number would
    needs_seeds: int | None  # seeds that would decide at these items, if any number would


def judge(targets, fraction: float = FRACTION, level: float = 0.95, paired: bool = True) -> dict[str, Verdict]:
    """Verdicts for one family of targets: name -> (I_direct [S, N], I_mixture [S', N], entropy in bits).

    Targets whose direct training shows nothing are untestable and leave the family before Holm's adjustment.
    Call it once for the mixture's own components and once for targets outside it: they are separate families.
    """
    measured = {}
    for name, (direct, mixture, entropy) in targets.items():
        intervals = (
            two_way(direct, level),
            two_way(mixture, level),
            contrast([(1.0, direct), (-1.0, mixture)], level, paired),
            contrast([(fraction, direct), (-1.0, mixture)], level, paired),
        )
        measured[name] = (intervals, float(entropy), intervals[0].low > UNTESTABLE * entropy)
    family = [name for name, (_, _, testable) in measured.items() if testable]
    adjusted = dict(zip(family, holm([measured[name][0][3].p() for name in family])))
    verdicts = {}
    for name, ((direct, mixture, gap_, margin), entropy, testable) in measured.items():
        p = margin.p()
        seeds, needs = min(direct.n_seeds, mixture.n_seeds), ("", None, None)
        if not testable:
            verdict = "untestable"
        elif adjusted[name] < 1.0 - level:
            verdict = "lost" if margin.value > 0 else "retained"
        else:
            verdict = "inconclusive"
            rank = sorted(family, key=lambda other: measured[other][0][3].p()).index(name)
            needs = _needs(margin, (1.0 - level) / (len(family) - rank))
        verdicts[name] = Verdict(
            verdict,
            direct,
            mixture,
            gap_,
            margin,
            entropy,
            p,
            float(adjusted.get(name, np.nan)),
            seeds < 4,
            "this checkpoint" if seeds == 1 else "this recipe",
            *needs,
        )
    return verdicts


def _needs(margin: Interval, alpha: float) -> tuple[str, int | None, int | None]:
    """What would decide an inconclusive contrast if its estimate stayed put: (text, test items, seeds)."""
    seed_part, item_part = margin.parts
    size = abs(margin.value)
    if size < 0.1 * margin.se or not np.isfinite(margin.se):
        return "the estimate sits on the margin: no realistic number of seeds or test items decides", None, None

    def allowed(dof):  # the variance at which |D| is just significant
        return (size / special.stdtrit(dof, 1.0 - alpha / 2.0)) ** 2

    examples = seeds = None
    room = allowed(margin.dof) - seed_part
    if room > 0:
        wanted = int(np.ceil(margin.n_examples * item_part / room))
        examples = wanted if wanted <= 1000 * margin.n_examples else None
    if margin.n_seeds > 1:
        for count in range(margin.n_seeds + 1, 201):
            # items' own variance does not shrink with seeds; counting all of item_part as such is conservative
            if seed_part * margin.n_seeds / count + item_part <= allowed(count - 1):
                seeds = count
                break
    dominant = "seeds" if seed_part > item_part else "test items"
    if margin.n_seeds == 1 and examples:
        text = f"about {examples} test items would decide for this checkpoint"
    elif dominant == "seeds" and seeds:
        text = f"seeds dominate the uncertainty: about {seeds} seeds would decide"
    elif dominant == "test items" and examples:
        text = f"test items dominate the uncertainty: about {examples} would decide"
    elif seeds or examples:
        text = f"about {seeds} seeds would decide" if seeds else f"about {examples} test items would decide"
    else:
        text = f"{dominant} dominate the uncertainty: more seeds and more test items are needed"
    return text, examples, seeds


def signed(interval: Interval, digits: int = 2, unit: str = "") -> str:
    """`0.86 bits, 0.80 to 0.92`."""
    unit = f" {unit}" if unit else ""
    return f"{interval.value:z.{digits}f}{unit}, {interval.low:z.{digits}f} to {interval.high:z.{digits}f}"


def describe(name: str, verdict: Verdict, points: Interval | None = None, unit: str = "bits") -> str:
    """The verdict on one target as a clause without a full stop; intervals are unadjusted for multiplicity."""
    direct, mixture, level = verdict.direct, verdict.mixture, f"{100 * verdict.gap.level:g}%"
    scope = f"{verdict.scope}, {direct.n_examples} test items"
    if verdict.scope == "this recipe":
        least, most = sorted((direct.n_seeds, mixture.n_seeds))
        scope = f"{least if least == most else f'{least} and {most}'} seeds, {direct.n_examples} test items"
        scope += ", provisional" if verdict.provisional else ""
    if verdict.verdict == "untestable":
        return (
            f"{name} is untestable: direct training itself shows {direct.value:z.2f} {unit} (lower {level} limit "
            f"{direct.low:z.3f}, needed more than {UNTESTABLE * verdict.entropy:.3f}; {scope})"
        )
    size = f"{level} interval {verdict.gap.low:z.2f} to {verdict.gap.high:z.2f}"
    if points is not None:
        size += f"; {points.value:z.1f} accuracy points, {points.low:z.1f} to {points.high:z.1f}"
    where = "this checkpoint" if verdict.scope == "this checkpoint" else "the mixture"
    found = f"{mixture.value:z.2f} {unit} in the features of {where} against {direct.value:z.2f} from direct training, "
    text = f"{name} is {verdict.verdict}: {found}a gap of {verdict.gap.value:z.2f} {unit} ({size}; {scope})"
    return f"{text}; {verdict.needs}" if verdict.needs else text


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


def split_items(labels, seed: int = 0, shares=(0.5, 0.2, 0.3)) -> np.ndarray:
    """Names of splits [n] for items without any: probe, val, test in these shares, stratified by (discrete) label."""
    labels = np.asarray(labels)
    order = np.random.default_rng(seed).permutation(len(labels))
    if labels.ndim == 1 and len(np.unique(labels)) * 4 <= len(labels):
        order = order[np.argsort(labels[order], kind="stable")]
    # a low-discrepancy sequence along the sorted items gives every class its shares
    place = (np.arange(len(labels)) * 0.6180339887498949 + 0.5) % 1.0
    splits = np.empty(len(labels), dtype="<U5")
    splits[order] = np.array(SPLITS)[np.searchsorted(np.cumsum(shares)[:-1], place, side="right")]
    return splits


def gap(
    mixture, direct, labels, splits, *, groups=None, seeds=None, fraction: float = FRACTION, level: float = 0.95
) -> Gap:
    """Does a linear probe on the mixture's features reach what direct training's features give?

    `mixture`, `direct`: lists of features [n, p_s], one array per pretraining seed, all with the same rows.
    `labels` [n]: classes of any kind, or floats [n, m] for regression (then R2 in place of bits).
    `splits` [n]: "probe" (probes are fitted), "val" (choices are made), "test" (read once).
    `groups` [n]: optional; adds a table per group and the worst group.
    `seeds`: optional names for pairing, one list for both arms or a pair of lists (mixture's, direct's). Without
    names, equal counts are paired in order. Arms with other names or counts are compared unpaired (Welch).
    Raises UserError for anything inconsistent.
    """
    arms = {"mixture": _features("mixture", mixture), "direct": _features("direct", direct)}
    n = len(np.asarray(labels))
    for key, members in arms.items():
        for member in members:
            if len(member) != n:
                raise UserError(key, member.shape, f"{n} rows, one per label")
    targets, num_classes = _targets(labels)
    splits = np.asarray(splits).astype(str)
    if splits.shape != (n,) or not set(np.unique(splits)) <= set(SPLITS):
        raise UserError(
            "splits",
            splits.shape if splits.shape != (n,) else sorted(set(splits) - set(SPLITS)),
            f"{n} entries, each probe, val or test",
        )
    where = {split: np.flatnonzero(splits == split) for split in SPLITS}
    for split, items in where.items():
        if len(items) < 2:
            raise UserError("splits", f"{len(items)} items of {split}", "at least 2 items in each of probe, val, test")
    if num_classes:
        absent = np.setdiff1d(np.arange(num_classes), targets[where["probe"]])
        if len(absent):
            raise UserError("labels", np.unique(labels)[absent].tolist(), "every class to occur in the probe split")
    if groups is not None and np.shape(groups) != (n,):
        raise UserError("groups", np.shape(groups), f"{n} entries, one per label")
    arms["direct"], paired = _pair(arms["mixture"], arms["direct"], seeds)

    y = {split: targets[items] for split, items in where.items()}
    task = "classification" if num_classes else "regression"
    probes = {
        key: tuple(
            linear_probe({split: member[items] for split, items in where.items()}, y, num_classes, task=task)
            for member in members
        )
        for key, members in arms.items()
    }
    bits = {key: np.stack([probe.bits for probe in found]) for key, found in probes.items()}
    correct = (
        {key: np.stack([100.0 * probe.correct for probe in found]) for key, found in probes.items()}
        if num_classes
        else None
    )
    target = (bits["direct"], bits["mixture"], probes["direct"][0].entropy)
    verdict = judge({"target": target}, fraction, level, paired)["target"]

    def subset(name, chosen):
        def three(tables):
            d, m = tables["direct"][:, chosen], tables["mixture"][:, chosen]
            return two_way(d, level), two_way(m, level), contrast([(1.0, d), (-1.0, m)], level, paired)

        return Subset(str(name), int(chosen.sum()), *three(bits), *(three(correct) if correct else (None,) * 3))

    everything = subset("all", np.ones(len(where["test"]), bool))
    test_groups = np.asarray(groups)[where["test"]] if groups is not None else np.array([])
    subsets = tuple(subset(name, test_groups == name) for name in np.unique(test_groups))
    worst = min(subsets, key=lambda s: (s.mixture_accuracy or s.mixture).value, default=None)
    return Gap(verdict, everything, subsets, worst, paired, "bits" if num_classes else "R2", probes)


def _features(key, members):
    members = [members] if isinstance(members, np.ndarray) and members.ndim == 2 else list(members)
    if not members:
        raise UserError(key, [], "at least one array [n, p]")
    members = [np.asarray(member) for member in members]
    for member in members:
        if member.ndim != 2 or member.dtype.kind not in "fiub" or 0 in member.shape:
            raise UserError(key, (member.shape, str(member.dtype)), "numeric arrays [n, p], one per seed")
        if not np.isfinite(member).all():
            raise UserError(key, "NaN or infinite values", "finite features")
    return members


def _targets(labels):
    """Class indices and their number, or floats [n, m] and 0."""
    labels = np.asarray(labels)
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise UserError("labels", "NaN or infinite values", "finite labels")
    if labels.dtype.kind == "f" and (labels.ndim == 2 or (labels.ndim == 1 and (labels % 1 != 0).any())):
        return labels.reshape(len(labels), -1).astype(np.float64), 0
    if labels.ndim != 1 or labels.dtype.kind not in "fiubSU":
        raise UserError("labels", (labels.shape, str(labels.dtype)), "classes [n] (or floats [n, m] for regression)")
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise UserError("labels", classes.tolist(), "at least two classes")
    return targets, len(classes)


def _pair(mixture, direct, seeds):
    """Direct members in the order of the mixture's seeds, and whether they pair."""
    if seeds is None:
        return direct, len(mixture) == len(direct)
    seeds = list(seeds)
    nested = len(seeds) == 2 and all(isinstance(names, (list, tuple, np.ndarray)) for names in seeds)
    ours, theirs = (list(seeds[0]), list(seeds[1])) if nested else (seeds, seeds)
    for names, members, key in ((ours, mixture, "mixture"), (theirs, direct, "direct")):
        if len(names) != len(members) or len(set(names)) != len(names):
            raise UserError("seeds", names, f"{len(members)} different names, one per {key} array")
    if set(ours) != set(theirs):
        return direct, False
    return [direct[theirs.index(name)] for name in ours], True


def population_bound(head, direct, weights, level: float = 0.95) -> dict[str, Interval]:
    """Upper bound on each component's gap, in the units of the losses, from the pretrained head being a linear probe.

    `gap_j <= (L_mix(head) - sum_i w_i min(L_i(direct), L_i(head))) / w_j`: a component can only be worse off than
    direct training by what the head leaves unused over the whole mixture. `head`, `direct`: component ->
    log-losses [S, N] of the mixture's head and of direct training on the same items (or a number: no interval);
    `weights`: component -> weight (their scale does not matter); components of weight 0 have no bound. The bound is
    for the population: finite probes and test sets can exceed it.
    """
    excess = {}
    for name in head:
        ours = np.atleast_2d(np.asarray(head[name], np.float64))
        theirs = np.atleast_2d(np.asarray(direct[name], np.float64))
        theirs = theirs if len(theirs) == len(ours) else theirs.mean(0, keepdims=True)
        excess[name] = ours - theirs if theirs.mean() < ours.mean() else np.zeros_like(ours)
    bounds = {}
    for name, weight in weights.items():
        if weight <= 0:
            continue
        terms = [(weights[other] / weight, table) for other, table in excess.items() if weights[other] > 0]
        if min(table.shape[1] for _, table in terms) > 1:
            bounds[name] = across(terms, level)
        else:
            value, nan = float(sum(w * table.mean() for w, table in terms)), float("nan")
            bounds[name] = Interval(value, nan, nan, nan, nan, "none", len(terms[0][1]), 0, level)
    return bounds
