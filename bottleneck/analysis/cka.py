"""CKA over minibatches, inside the components of a mixture, and what has to stand beside every value of it.

CKA is context, never a verdict: losing feature j costs `1 - sqrt(1 - l_j^2 / sum l^2)`, l the variances, which for a
small feature is nothing. Over minibatches it is a ratio of sums of unbiased HSIC (Nguyen et al. 2021); one matrix
product of the U-centred, flattened Grams serves all pairs, and the sums of each batch give the jackknife. Batches drawn
inside the components of a mixture leave out what only the components' means share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from bottleneck.analysis.alignment import companions
from bottleneck.analysis.hsic import (  # noqa: F401
    centred,
    linear_cka,
    matrices,
    pairwise,
    ratio,
    rbf_cka,
    u_centre,
)
from bottleneck.analysis.intervals import Interval
from bottleneck.errors import UserError

BATCH = 64
SEED = 0  # of the one shuffle that draws minibatches
TOP = 0.01  # of the examples: the most influential ones, left out as a check
ESTIMATOR = "debiased linear CKA, ratio of sums over minibatches within components"


@dataclass(frozen=True)
class Similarities:
    """Debiased CKA of every pair of L representations from B minibatches.

    A batch counts with its n_b examples: the numerator `sum_b n_b HSIC_b` is on average the mean HSIC of the groups,
    weighted by their size, however they were cut into batches. nan where a representation does not vary.
    """

    names: tuple[str, ...]
    hsic: np.ndarray  # [B, L, L], unbiased
    sizes: np.ndarray  # [B] examples
    groups: np.ndarray  # [B] the group each batch was drawn from

    def value(self, a: str, b: str) -> float:
        return float(ratio(*self._terms(a, b).sum(0)))

    def matrix(self) -> np.ndarray:
        """All pairs [L, L]."""
        total = np.tensordot(self.sizes, self.hsic, 1)
        return ratio(total, np.diag(total)[:, None], np.diag(total))

    def within(self, group) -> Similarities:
        """The batches of one group."""
        of_group = self.groups == group
        return Similarities(self.names, self.hsic[of_group], self.sizes[of_group], self.groups[of_group])

    def interval(self, a: str, b: str, level: float = 0.95) -> Interval:
        """t interval by the jackknife: batches are left out one at a time, the others of their group scaled up for it.

        Variances add over groups, whose number and sizes are not random, with Satterthwaite's degrees of freedom.
        Covers the sampling of examples, not of seeds. Infinite if a group has a single batch.
        """
        terms = self._terms(a, b)
        total, variances, dofs = terms.sum(0), [], []
        for group in np.unique(self.groups):
            of_group, sizes = terms[self.groups == group], self.sizes[self.groups == group]
            if len(of_group) < 2:
                variances, dofs = [np.inf], [1]
                break
            scale = sizes.sum() / (sizes.sum() - sizes)
            left = ratio(*(total - of_group.sum(0) + (of_group.sum(0) - of_group) * scale[:, None]).T)
            dofs.append(len(of_group) - 1)
            variances.append(dofs[-1] / len(of_group) * ((left - left.mean()) ** 2).sum())
        value, variance = float(ratio(*total)), float(np.sum(variances))
        spread = float((np.square(variances) / dofs).sum())
        dof = variance**2 / spread if 0 < spread < np.inf else float(np.sum(dofs))
        se = float(np.sqrt(variance))
        half = float(special.stdtrit(dof, 0.5 + level / 2.0)) * se if se > 0 else se
        return Interval(value, value - half, value + half, se, dof, "minibatches", 1, int(self.sizes.sum()), level)

    def null_sd(self, a: str, b: str) -> float:
        """Standard deviation of the value over all re-pairings of the examples of each batch; its mean is exactly 0.

        U-centred Grams span an irreducible representation of the permutations, of dimension n (n - 3) / 2; so, by
        Schur's lemma, `<A, B>^2 / (|A|^2 |B|^2)` is on average over them 2 / (n (n - 3)), whatever A and B are.
        """
        aa, bb = self._terms(a, b).T[1:]
        variance = (2.0 * aa * bb / (self.sizes * (self.sizes - 3))).sum()
        return float(ratio(np.sqrt(variance), aa.sum(), bb.sum()))

    def _terms(self, a, b):
        """n_b HSIC_b of (a, b), (a, a) and (b, b): [B, 3]."""
        a, b = self.names.index(a), self.names.index(b)
        return self.sizes[:, None] * self.hsic[:, [a, a, b], [b, a, b]]


class Minibatches:
    """Debiased CKA of many representations fed batch by batch; of a batch only its L x L HSICs are kept."""

    def __init__(self):
        self._names: tuple[str, ...] = ()
        self._kept: list[tuple] = []

    def add(self, block: Mapping[str, np.ndarray], group=0) -> None:
        """Takes one batch, name -> [b, p], of the same b >= 4 examples; p may differ between names.

        Batches may differ in size. Raises UserError for fewer than 4 examples, other names than before or bad values.
        """
        self._names = self._names or tuple(block)
        if set(block) != set(self._names):
            raise UserError("block", sorted(block), f"the representations of the first batch, {sorted(self._names)}")
        grams = np.stack([z @ z.T for z in map(centred, matrices({name: block[name] for name in self._names}))])
        flat, n = u_centre(grams).reshape(len(grams), -1), grams.shape[-1]
        flat[(flat**2).sum(1) <= 1e-20 * (grams**2).sum((1, 2))] = 0.0  # rounding is all that is left
        self._kept.append((flat @ flat.T / (n * (n - 3)), n, group))

    def similarities(self) -> Similarities:
        """Of all batches so far."""
        if not self._kept:
            raise UserError("batches", 0, "at least one batch")
        hsic, sizes, groups = map(np.array, zip(*self._kept))
        return Similarities(self._names, hsic, sizes, groups)


def minibatch(representations: Mapping[str, np.ndarray], groups=None, batch: int = BATCH) -> Similarities:
    """Debiased CKA of `representations`, name -> [n, p], from minibatches of about `batch` examples of one group.

    `groups` [n]: the component of every example (pooled over everything if None). The examples of a group are shuffled
    by a fixed seed and cut into parts that differ by at most one, at least two where it has 8 examples: none is left
    out. Rows are taken to be independent: with the positions of a map as rows, intervals are too narrow. Raises
    UserError for a batch or a group of fewer than 4 examples.
    """
    arrays = dict(zip(representations, matrices(representations)))
    return _similarities(arrays, _draw(_groups(groups, len(next(iter(arrays.values())))), batch))


def _groups(groups, n):
    groups = np.zeros(n, np.int64) if groups is None else np.asarray(groups)
    if groups.shape != (n,):
        raise UserError("groups", groups.shape, f"{n} entries, one per example")
    return groups


def _draw(groups, batch):
    """(group, rows) of every minibatch."""
    if batch < 4:
        raise UserError("batch", batch, "at least 4 examples")
    rng, drawn = np.random.default_rng(SEED), []
    for group in np.unique(groups):
        rows = rng.permutation(np.flatnonzero(groups == group))
        if len(rows) < 4:
            raise UserError("groups", f"{len(rows)} examples of {group}", "at least 4 examples in every group")
        count = min(max(round(len(rows) / batch), 2), len(rows) // 4)
        drawn += [(group, np.sort(part)) for part in np.array_split(rows, count)]
    return drawn


def _similarities(arrays, drawn):
    batches = Minibatches()
    for group, rows in drawn:
        batches.add({name: x[rows] for name, x in arrays.items()}, group)
    return batches.similarities()


@dataclass(frozen=True)
class Pair:
    """Two representations to compare, and the others, by name, that tell how to read the value."""

    a: str
    b: str
    floors: Mapping[str, str] = field(default_factory=dict)  # "raw input" -> the representation that shows it
    ceiling: tuple[str, str] | None = None  # the same representation of two seeds of one recipe


@dataclass(frozen=True)
class Record:
    """A CKA with everything it must not be printed without. Pairs of numbers are of a and of b."""

    a: str
    b: str
    value: float  # debiased, within components; nan if a or b does not vary there
    one_minus: float
    ci95: tuple[float, float]  # jackknife over minibatches
    se: float
    dof: float
    estimator: str
    n: int
    p1: int
    p2: int
    batch_size: int  # asked for
    batches: int
    pooled: float  # the same with batches from all components together
    null_mean: float  # over all re-pairings of examples within the batches: exact
    null_sd: float
    z: float  # (value - null_mean) / null_sd
    floors: dict[str, float]  # the larger of its similarities to a and to b
    ceiling: float | None
    lambda1_share: tuple[float, float]  # l_1^2 / sum l^2, l the variances within components
    effective_dims: tuple[float, float]  # (sum l^2)^2 / sum l^4
    max_example_share: tuple[float, float]  # of the squared norm of the centred Gram
    without_top: float  # without the 1 % of examples with the largest shares, same batches
    r2_ab: float  # of b from a: ridge, held out, component means taken out
    r2_ba: float
    procrustes: float  # cosine, held out, component means taken out
    detection_limit: float  # smallest l_j / sqrt(sum l^2) whose loss would move CKA by 2 SE
    ids_sha256: str
    dtype: tuple[str, str]
    eval_mode: bool
    spatial: str  # what was done with maps


def records(
    representations: Mapping[str, np.ndarray], groups, pairs, *, ids, eval_mode: bool, spatial: str, batch: int = BATCH
) -> list[Record]:
    """The full record of every one of `pairs` (`Pair`s), in order; what concerns one representation is computed once.

    `representations`: name -> [n, p], also those that are only a floor or a ceiling; `groups` [n]: component of every
    example (None: one). `ids` [n] identify the examples, in order; `eval_mode`: whether normalisation and dropout were
    those of evaluation; `spatial`: how maps became vectors. Raises like `minibatch`, and for names it does not know.
    """
    arrays = dict(zip(representations, matrices(representations)))
    n = len(next(iter(arrays.values())))
    groups = np.unique(_groups(groups, n), return_inverse=True)[1]
    if len(ids) != n:
        raise UserError("ids", len(ids), f"{n} entries, one per example")
    _check_known(pairs, arrays)
    drawn = _draw(groups, batch)
    within = _similarities(arrays, drawn)
    compared = {name: arrays[name] for pair in pairs for name in (pair.a, pair.b)}
    pooled = within if groups.max() == 0 else minibatch(compared, None, batch)
    weights = {name: _weight(x, groups) for name, x in compared.items()}
    measured = _Measured(arrays, groups, drawn, within, pooled, weights)
    digest = hashlib.sha256(np.ascontiguousarray(ids).tobytes()).hexdigest()
    common = dict(batch_size=batch, ids_sha256=digest, eval_mode=eval_mode, spatial=spatial)
    return [Record(**_similarity(measured, pair), **_context(measured, pair), **common) for pair in pairs]


def _check_known(pairs, arrays) -> None:
    for name in {name for pair in pairs for name in (pair.a, pair.b, *pair.floors.values(), *(pair.ceiling or ()))}:
        if name not in arrays:
            raise UserError("pairs", name, f"one of the representations {sorted(arrays)}")


@dataclass(frozen=True)
class _Measured:
    """The representations, name -> [n, p], and what is computed once for all pairs of them."""

    arrays: dict[str, np.ndarray]
    groups: np.ndarray  # [n]
    drawn: list[tuple]  # (group, rows) of every minibatch
    within: Similarities  # of minibatches drawn within groups
    pooled: Similarities  # of minibatches drawn from everything
    weights: dict[str, _Weight]


def _similarity(measured: _Measured, pair: Pair) -> dict:
    """The value of a pair, its interval and null, and the values beside it, as fields of its Record."""
    a, b, within = pair.a, pair.b, measured.within
    interval, null_sd = within.interval(a, b), within.null_sd(a, b)
    floors = {label: np.fmax(within.value(a, name), within.value(b, name)) for label, name in pair.floors.items()}
    return dict(
        value=interval.value,
        one_minus=1.0 - interval.value,
        ci95=(interval.low, interval.high),
        se=interval.se,
        dof=interval.dof,
        estimator=ESTIMATOR,
        batches=len(measured.drawn),
        pooled=measured.pooled.value(a, b),
        null_mean=0.0,
        null_sd=null_sd,
        z=interval.value / null_sd,
        floors={label: float(floor) for label, floor in floors.items()},
        ceiling=within.value(*pair.ceiling) if pair.ceiling else None,
        without_top=_without_top(measured, a, b),
        detection_limit=detection_limit(interval.se),
    )


def _context(measured: _Measured, pair: Pair) -> dict:
    """What was compared, what dominates it, and how else the two are alike, as fields of the Record of a pair."""
    x, y = measured.arrays[pair.a], measured.arrays[pair.b]
    weights = measured.weights[pair.a], measured.weights[pair.b]
    companion = companions(x, y, groups=measured.groups)
    return dict(
        a=pair.a,
        b=pair.b,
        n=len(x),
        p1=x.shape[1],
        p2=y.shape[1],
        dtype=(str(x.dtype), str(y.dtype)),
        lambda1_share=tuple(weight.lambda1_share for weight in weights),
        effective_dims=tuple(weight.effective_dims for weight in weights),
        max_example_share=tuple(float(weight.shares.max()) for weight in weights),
        r2_ab=companion.r2_xy,
        r2_ba=companion.r2_yx,
        procrustes=companion.procrustes,
    )


def _without_top(measured: _Measured, a: str, b: str) -> float:
    """CKA of a and b without the `TOP` of examples with the largest shares; nan if no minibatch keeps 4."""
    shares = np.maximum(measured.weights[a].shares, measured.weights[b].shares)
    keep = np.ones(len(shares), bool)
    keep[np.argsort(-shares, kind="stable")[: int(np.ceil(TOP * len(shares)))]] = False
    rest = [(group, rows[keep[rows]]) for group, rows in measured.drawn if keep[rows].sum() >= 4]
    if not rest:
        return float("nan")
    return _similarities({name: measured.arrays[name] for name in (a, b)}, rest).value(a, b)


def detection_limit(se: float) -> float:
    """Smallest share `l_j / sqrt(sum l^2)` of a feature whose loss lowers a CKA of 1 by two standard errors.

    The loss costs `1 - sqrt(1 - share^2)`; 1 if not even the loss of everything would show.
    """
    return float(np.sqrt(1.0 - max(1.0 - 2.0 * se, 0.0) ** 2))


@dataclass(frozen=True)
class _Weight:
    """What dominates the Gram of one representation within groups."""

    lambda1_share: float
    effective_dims: float
    shares: np.ndarray  # [n] of |K|^2, per example


def _weight(x, groups) -> _Weight:
    z = centred(x, groups)
    squares = np.maximum(np.linalg.eigvalsh(z.T @ z if z.shape[1] <= len(z) else z @ z.T), 0.0) ** 2
    shares = np.empty(len(z))
    for group in np.unique(groups):
        of_group = z[groups == group]
        if of_group.shape[1] <= len(of_group):
            shares[groups == group] = ((of_group @ (of_group.T @ of_group)) * of_group).sum(1)
        else:
            shares[groups == group] = ((of_group @ of_group.T) ** 2).sum(1)
    if not shares.sum() > 0:
        return _Weight(float("nan"), float("nan"), np.full(len(z), np.nan))
    squares /= squares.sum()
    return _Weight(float(squares.max()), float(1.0 / (squares**2).sum()), shares / shares.sum())
