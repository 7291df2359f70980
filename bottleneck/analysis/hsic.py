"""Linear and Gaussian CKA (Kornblith et al. 2019) over all examples, without the bias.

HSIC is the unbiased estimator of Song et al. 2012, in the U-centred form of Szekely & Rizzo 2014 or, without any Gram,
from products of units. Columns are centred before any product, so that an offset costs no digits. A similarity to
something that does not vary, or whose variation is a single example, is undefined: nan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from bottleneck.errors import UserError

WIDTH = 2048  # units of the representations multiplied at a time
CHUNK = 2**22  # numbers in a chunk of rows


def matrix(key: str, x, rows: int | None = None) -> np.ndarray:
    """`x` as an array [n, p], unchanged. Raises UserError, naming `key`, for anything that is no representation.

    It has to be numeric and finite, with at least 4 rows (`rows` of them if given) and a unit.
    """
    x = np.asarray(x)
    if x.ndim != 2 or x.dtype.kind not in "fiub" or x.shape[1] == 0:
        raise UserError(key, (x.shape, str(x.dtype)), "a numeric array [n, p]")
    if rows is not None and len(x) != rows:
        raise UserError(key, x.shape, f"{rows} rows: the same examples in every representation")
    if len(x) < 4:
        raise UserError(key, x.shape, "at least 4 examples")
    if not np.isfinite(x.sum(0, dtype=np.float64)).all():
        raise UserError(
            key,
            f"{int((~np.isfinite(x)).any(1).sum())} of {len(x)} rows with NaN or infinite values",
            "finite features",
        )
    return x


def centred(x, groups=None) -> np.ndarray:
    """float64 copy of `x` [n, p] without its column means, or without those of every group of `groups` int [n].

    A unit that is constant (in a group) becomes exactly 0.
    """
    x = np.asarray(x)
    if groups is not None:
        z = np.empty(x.shape)
        for group in np.unique(groups):
            z[groups == group] = centred(x[groups == group])
        return z
    z = np.subtract(x, x[:1], dtype=np.float64)
    z -= z.mean(0)
    return z


def linear_cka(x, y, *, debiased: bool = True) -> float:
    """Linear CKA of `x` [n, p1] and `y` [n, p2] over all n examples, in float64, in chunks of rows.

    Debiased (the default) it is 0 for independent representations and may be negative; biased it reads
    `sqrt(p1 p2 / ((n + p1)(n + p2)))` for them. nan if one of them does not vary. Raises UserError for fewer than 4
    examples, different numbers of rows, or values that are not finite.
    """
    return float(_cosines([matrix("x", x), matrix("y", y, len(x))], np.float64, debiased)[0, 1])


def pairwise(representations: Mapping[str, np.ndarray], *, debiased: bool = True) -> np.ndarray:
    """Linear CKA [L, L] between all `representations`, name -> [n, p], in their order, over all n examples.

    Every self term and every pair is computed once, a chunk of rows at a time, by whichever of the p x p products and
    the n x n Grams is cheaper for the whole set. Where everything is float32, products are made in float32 and summed
    over chunks in float64 (the result is about 1e-7 from float64's), unless most of a self term is bias. nan and errors
    as in `linear_cka`.
    """
    arrays = matrices(representations)
    return _cosines(arrays, np.float32 if all(x.dtype == np.float32 for x in arrays) else np.float64, debiased)


def matrices(representations) -> list[np.ndarray]:
    """The checked arrays of name -> [n, p], n the same for all."""
    arrays = []
    for name, x in representations.items():
        arrays.append(matrix(name, x, len(arrays[0]) if arrays else None))
    if not arrays:
        raise UserError("representations", {}, "at least one representation")
    return arrays


class _Centred:
    """Rows of `x`, columns centred and mean square length 1, a chunk at a time; `norms` [n] are the squared lengths."""

    def __init__(self, x, dtype):
        self.x, self.dtype, self.scale, self.norms = x, dtype, 1.0, np.empty(len(x))
        chunks, first = _chunks(*x.shape), np.asarray(x[0], np.float64)
        self.offset = first + sum(np.subtract(x[rows], first, dtype=np.float64).sum(0) for rows in chunks) / len(x)
        for rows in chunks:
            z = np.subtract(x[rows], self.offset, dtype=np.float64)
            self.norms[rows] = np.einsum("ij,ij->i", z, z)
        self.scale = np.sqrt(self.norms.mean()) or 1.0
        self.norms /= self.scale**2

    def __getitem__(self, rows):
        z = np.subtract(self.x[rows], self.offset, dtype=np.float64)
        return np.divide(z, self.scale, out=z).astype(self.dtype, copy=False)


def _chunks(n: int, width: int) -> list[slice]:
    """Slices of n rows of which each holds about CHUNK numbers of `width` a row."""
    step = max(CHUNK // width, 16)
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _cosines(arrays, dtype, debiased):
    """CKA [L, L] from `|Xa^T Xb|^2` and, for the unbiased HSIC, the squared lengths of the examples."""
    n, widths = len(arrays[0]), np.array([x.shape[1] for x in arrays])
    columns = [_Centred(x, dtype) for x in arrays]
    cheaper = _by_examples if n * (widths.sum() + len(arrays) ** 2) < widths.sum() ** 2 else _by_features
    products = cheaper(columns, widths)
    hsic = products = (products + products.T) / 2.0  # to the last bit
    if debiased:
        norms = np.stack([z.norms for z in columns])
        totals = norms.sum(1)
        hsic = products - n / (n - 2) * norms @ norms.T + np.outer(totals, totals) / ((n - 1) * (n - 2))
    diagonal, biased = np.diag(hsic), np.diag(products)
    if dtype == np.float32 and (diagonal < 0.1 * biased).any():  # too few digits would survive the subtraction
        return _cosines(arrays, np.float64, debiased)
    diagonal = np.where(diagonal > 50 * np.finfo(dtype).eps * biased, diagonal, np.nan)
    return hsic / np.sqrt(np.outer(diagonal, diagonal))


def _by_features(columns, widths):
    """`|Xa^T Xb|^2` [L, L] by products of units; about WIDTH units of several representations side by side."""
    blocks = np.split(np.arange(len(widths)), np.flatnonzero(np.diff((np.cumsum(widths) - 1) // WIDTH)) + 1)
    matrix = np.empty((len(widths), len(widths)))
    for i, a in enumerate(blocks):
        for b in blocks[i:]:
            products = np.zeros((widths[a].sum(), widths[b].sum()))
            for rows in _chunks(len(columns[0].x), widths[a].sum() + widths[b].sum()):
                left = np.hstack([columns[k][rows] for k in a])
                right = left if b is a else np.hstack([columns[k][rows] for k in b])
                products += left.T @ right
            starts = [np.cumsum(widths[k]) - widths[k] for k in (a, b)]
            products = np.add.reduceat(np.add.reduceat(np.square(products, out=products), starts[0], 0), starts[1], 1)
            matrix[np.ix_(a, b)], matrix[np.ix_(b, a)] = products, products.T
    return matrix


def _by_examples(columns, widths):
    """`|Xa^T Xb|^2 = sum_ij K_a[i, j] K_b[i, j]` [L, L], by square tiles of the Grams that together are a chunk."""
    tiles = _chunks(len(columns[0].x), max(widths.max(), CHUNK // math.isqrt(CHUNK // len(columns))))
    matrix = np.zeros((len(columns), len(columns)))
    for i, rows in enumerate(tiles):
        for others in tiles[i:]:
            grams = np.empty((rows.stop - rows.start, len(columns), others.stop - others.start), columns[0].dtype)
            for k, z in enumerate(columns):
                grams[:, k] = z[rows] @ z[others].T
            products = (grams @ grams.swapaxes(1, 2)).sum(0, dtype=np.float64)
            matrix += products if others is rows else 2.0 * products
    return matrix


def rbf_cka(x, y, *, bandwidth: float = 0.5, debiased: bool = True) -> float:
    """CKA with Gaussian kernels `exp(-d^2 / (2 s^2))`, s = `bandwidth` times the median distance, for [n, p1], [n, p2].

    The median is over all n^2 distances, the n zeros of the diagonal among them, as in the authors' code. Holds two
    n x n Grams in float64. nan if that median is 0. Raises like `linear_cka`, and for a bandwidth not above 0.
    """
    if not bandwidth > 0:
        raise UserError("bandwidth", bandwidth, "a positive number of median distances")
    grams = [_gaussian(centred(z), bandwidth) for z in (matrix("x", x), matrix("y", y, len(x)))]
    if grams[0] is None or grams[1] is None:
        return float("nan")
    grams = [u_centre(k) if debiased else k - k.mean(0) - k.mean(0)[:, None] + k.mean() for k in grams]
    products = [np.vdot(grams[i], grams[j]) for i, j in ((0, 1), (0, 0), (1, 1))]
    return float(ratio(*products))


def _gaussian(z, bandwidth):
    norms = np.einsum("ij,ij->i", z, z)
    squared = np.maximum(norms + norms[:, None] - 2.0 * z @ z.T, 0.0)
    np.fill_diagonal(squared, 0.0)
    median = np.median(squared)
    return np.exp(squared / (-2.0 * bandwidth**2 * median)) if median > 0 else None


def u_centre(gram) -> np.ndarray:
    """Grams [..., n, n] with zero diagonals and off-diagonal rows that sum to 0 (Szekely & Rizzo 2014, eq. 2.1), n > 3.

    `sum_ij A[i, j] B[i, j] / (n (n - 3))` of two of them is the unbiased HSIC.
    """
    gram = np.array(gram, np.float64)
    n = gram.shape[-1]
    diagonal = (..., np.arange(n), np.arange(n))
    gram[diagonal] = 0.0
    rows = gram.sum(-1) / (n - 2)
    gram -= rows[..., None]
    gram -= (rows - rows.sum(-1, keepdims=True) / (n - 1))[..., None, :]
    gram[diagonal] = 0.0
    return gram


def ratio(ab, aa, bb):
    """ab / sqrt(aa bb), nan unless both are positive."""
    scale = np.sqrt(np.maximum(aa * bb, 0.0))
    return np.where(scale > 0, ab / np.where(scale > 0, scale, 1.0), np.nan)[()]
