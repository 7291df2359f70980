"""Non-linear probes that are solved, not trained: logistic regression on quadratic and radial features.

Three families of feature maps, made from the probe split:
- radial: a Gaussian kernel on the standardised features, or on their leading whitened components, in the span of some
  landmarks (Williams and Seeger 2001, "Using the Nyström method to speed up kernel machines"), so that memory stays
  linear in the number of items;
- quadratic: squares and products of the leading whitened components;
- directions: squares and products of a few whitened directions along which classes differ in mean (sliced inverse
  regression, Li 1991) or in second moments (sliced average variance estimation, Cook and Weisberg 1991). An isotropic
  kernel weighs all 8,256 products of 128 units alike and from 2,000 items reads 0.58 of a label that is the sign of one
  of them; the directions find the two units and read 0.81.

Within a family the map of the least ridge validation error is taken, one eigendecomposition per map serving all
penalties and targets. On each of the three a logistic probe is solved, its penalty followed downhill from there, and
the lowest calibrated log-loss on val wins. Squared error would not do for that, as it punishes the large values of
quadratic logits: it left a third of the bits of a product unread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import information, screen
from bottleneck.analysis.eigenbasis import Basis, basis
from bottleneck.analysis.logistic import Fit
from bottleneck.analysis.probes import search
from bottleneck.analysis.ridge import GRID, ridge, squared_errors

WIDTHS = (0.3, 1.0, 3.0)  # squared widths of the Gaussian, in medians of the squared distance
LANDMARKS = 512
LEADING = 16  # whitened components of the radial and quadratic maps
DIRECTIONS = (2, 4, 8, 16)  # numbers of directions by second moments
MEANS = 4  # most directions by means that are added to them
ITEMS_PER_COMPONENT = 8  # of the probe split, for second moments to be estimated at all
FLOOR = 1e-10  # of the largest eigenvalue: below is rounding, in features the one of float32


@dataclass(frozen=True)
class Map:
    """Features of standardised components [n, r] -> [n, q], their eigenbasis and their coordinates on val."""

    name: str
    of: Callable[[np.ndarray], np.ndarray]
    basis: Basis
    val: np.ndarray


@dataclass(frozen=True)
class Components:
    """Principal components of the standardised features, strongest first, and what whitens them."""

    splits: dict[str, np.ndarray]  # split -> [n, r]
    inverse_sd: np.ndarray  # [<= r], without those that are rounding

    @property
    def leading(self) -> np.ndarray:
        """Axes [d, d] of the leading components, white."""
        return np.diag(self.inverse_sd[:LEADING])

    @property
    def estimated(self) -> np.ndarray:
        """`inverse_sd` of the components whose second moments the probe split can tell."""
        return self.inverse_sd[: max(len(self.splits["probe"]) // ITEMS_PER_COMPONENT, 1)]

    def map(self, name: str, of) -> Map:
        space = basis(of(self.splits["probe"]))
        return Map(name, of, space, space.project(of(self.splits["val"])))

    def quadratic(self, name: str, axes) -> Map:
        """Squares and products along `axes` [d, q] of the first d components."""
        return self.map(f"quadratic, {axes.shape[1]} {name}", lambda z: products(z[:, : len(axes)] @ axes))


def probe(x, targets) -> dict:
    """Non-linear readings of `x` for every target: name -> Reading, whose `scaling` names the feature map.

    `x`: split -> [n, p]; `targets`: name -> (split -> int [n], number of classes).
    """
    base = basis(x["probe"], "standardised")
    if not len(base.variances):
        return screen.screen(x, targets)  # no feature varies: there is nothing to map
    varying = base.variances[base.variances > FLOOR * base.variances[0]]
    splits = {"probe": base.coordinates, "val": base.project(x["val"]), "test": base.project(x["test"])}
    components = Components(splits, 1.0 / np.sqrt(varying))
    encoded, columns = screen.one_hots(targets)
    shared = [
        [(made, _squared_errors(made, encoded)) for made in family]
        for family in (_radial_maps(components), [components.quadratic("leading", components.leading)])
    ]

    def read(name):
        (y, classes), column = targets[name], columns[name]
        one_hots = {split: encoded[split][:, column] for split in encoded}
        families = [[(made, squared[:, column]) for made, squared in family] for family in shared]
        directed = _direction_maps(components, y["probe"], classes)
        families.append([(made, _squared_errors(made, one_hots)) for made in directed])
        prior = information.prior(y["probe"], classes)
        best = min((_solve(family, y, prior) for family in families), key=lambda solved: solved.log_loss)
        test = best.map.basis.project(best.map.of(splits["test"])) @ best.fit.weights + best.fit.intercept
        return screen.reading(
            {"val": best.logits, "test": test}, y, prior, best.slope, best.lam, best.at_edge, best.map.name
        )

    return {name: read(name) for name in targets}


def _radial_maps(components: Components) -> list[Map]:
    items, leading = components.splits["probe"], components.leading
    white = _radial(items[:, : len(leading)] @ leading, WIDTHS[:1])[0]
    maps = [components.map(f"radial, width {width:g}", of) for width, of in zip(WIDTHS, _radial(items, WIDTHS))]
    return [*maps, components.map(f"radial, {len(leading)} leading", lambda z: white(z[:, : len(leading)] @ leading))]


def _direction_maps(components: Components, labels, num_classes: int) -> list[Map]:
    """Quadratic maps of the directions by means and, of those by second moments, ever more."""
    scale = components.estimated
    means, moments = directions(components.splits["probe"][:, : len(scale)] * scale, labels, num_classes)
    axes = [np.linalg.qr(np.hstack([means, moments[:, :count]]))[0] for count in DIRECTIONS]
    return [components.quadratic("directions", scale[:, None] * each) for each in axes]


def _squared_errors(made: Map, one_hots) -> np.ndarray:
    """Validation squared errors [len(GRID), m] of ridge on the features of a map; `one_hots`: split -> [n, m]."""
    weights, intercept = ridge(made.basis, one_hots["probe"])
    return squared_errors(weights, made.val, one_hots["val"] - intercept)


@dataclass(frozen=True)
class _Solved:
    """The logistic probe of one family, calibrated on val."""

    map: Map
    fit: Fit
    lam: float
    at_edge: str
    logits: np.ndarray  # [n_val, K]
    slope: float
    log_loss: float


def _solve(family, y, prior) -> _Solved:
    """Solved on the map of the least squared error: `family` is maps with theirs on val, [len(GRID), K]."""
    made, squared = min(family, key=lambda member: member[1].sum(1).min())
    fit, lam, at_edge, _, _ = search(
        made.basis, made.val, y["probe"], y["val"], len(prior), np.array(GRID), GRID[squared.sum(1).argmin()]
    )
    logits = made.val @ fit.weights + fit.intercept
    return _Solved(made, fit, lam, at_edge, logits, *screen.calibrate(logits, y["val"], prior))


def products(z) -> np.ndarray:
    """`z` [n, d] and all its squares and products [n, d + d (d + 1) / 2]."""
    left, right = np.triu_indices(z.shape[1])
    return np.hstack([z, z[:, left] * z[:, right]])


def directions(z, labels, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions, strongest first, along which classes differ: in mean [r, <= MEANS], in second moments [r, r].

    `z` [n, r] is white. With S_k the second moments of class k and p_k its frequency, the latter are the eigenvectors
    of `sum_k p_k (S_k - 1)^2`, the former the principal axes of the class means.
    """
    means, spread = [], np.zeros((z.shape[1], z.shape[1]))
    for label in range(num_classes):
        members = z[labels == label]
        if len(members):
            frequency = len(members) / len(z)
            excess = members.T @ members / len(members) - np.eye(z.shape[1])
            spread += frequency * excess @ excess
            means.append(np.sqrt(frequency) * members.mean(0))
    axes = np.linalg.svd(np.stack(means), full_matrices=False)[2]
    return axes[: min(num_classes - 1, MEANS)].T, np.linalg.eigh(spread)[1][:, ::-1]


def _radial(z, widths) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Per width, features whose products are a Gaussian kernel's, in the span of LANDMARKS of the items `z` [n, d]."""
    marks = z[np.random.default_rng(0).permutation(len(z))[:LANDMARKS]]
    distances = _squared_distances(marks, marks)
    median = np.median(distances[np.triu_indices(len(marks), 1)]) or 1.0

    def features(scale):
        values, vectors = np.linalg.eigh(np.exp(-distances / scale))
        kept = values > FLOOR * values[-1]
        root = vectors[:, kept] / np.sqrt(values[kept])
        return lambda items: np.exp(-_squared_distances(items, marks) / scale) @ root

    return [features(width * median) for width in widths]


def _squared_distances(a, b) -> np.ndarray:
    return np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2.0 * a @ b.T, 0.0)
