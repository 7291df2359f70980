"""Whether numbers were kept at a precision and on a scale that let small signals survive."""

from __future__ import annotations

import numpy as np

BFLOAT16_BITS, FLOAT32_BITS = 8, 24  # significant bits, the implicit one included
COARSE_LIMIT, LIMIT = 0.1, 0.5  # of |mean|/std times the unit roundoff, for bfloat16 and for what lies above it
LARGEST, SMALLEST = 1e100, 1e-100  # beyond these, sums of squares leave float64
ROWS = 500  # of a block


def objection(x) -> str:
    """Why features `x` [..., p] cannot be trusted, or "".

    They are not finite, so large or small that their squares are not, or kept at a precision that erases small signals.
    Rounding to b significant bits moves values by up to 2**-b |mean|. Where that exceeds a tenth of a unit's standard
    deviation in bfloat16 (half of it in float16 and between), or a unit other than 0 has become constant, what the unit
    said may be gone: 5 plus or minus 0.01 is the number 5 in bfloat16. Whole numbers below 2**b (counts, codes, one-hot
    features) are exact at any precision.
    """
    x = _floats(x)
    ends = np.array([x.min(initial=0.0), x.max(initial=0.0)])  # NaN, where there is one
    if not np.isfinite(ends).all():
        return "NaN or infinity among the numbers"
    largest = float(np.abs(ends).max())
    if largest > LARGEST or 0.0 < largest < SMALLEST:
        return f"numbers of size {largest:.0e}, whose squares leave the range of float64"
    bits = max(significant_bits(x), BFLOAT16_BITS)  # numbers with fewer bits are codes, not a still shorter format
    if bits >= FLOAT32_BITS:
        return ""
    mean, std = moments(x)
    if std.any() and largest < 2.0**bits and all(np.array_equal(some, np.rint(some)) for some in _blocks(x)):
        return ""
    lost = np.divide(np.abs(mean) * 2.0**-bits, std, out=np.where(mean != 0, np.inf, 0.0), where=std > 0)
    if lost.max(initial=0.0) <= (COARSE_LIMIT if bits == BFLOAT16_BITS else LIMIT):
        return ""
    worst = lost == lost.max()
    ratio = lost.max() * 2.0**bits
    where = "constant, but not 0" if np.isinf(ratio) else f"on average {ratio:.3g} standard deviations from 0"
    return (
        f"numbers of {bits} significant bits round small signals away: {worst.sum()} of {len(worst)} units are {where}"
    )


def significant_bits(x) -> int:
    """Significant bits of the numbers `x`: 53 for float64, 24 for float32, 11 for float16, 8 for bfloat16.

    Numbers that were shorter once are recognised by the zeros all their mantissas end in, which survive a conversion:
    float32 numbers that went through bfloat16 have 8 significant bits, not 24. 0 and powers of two need one.
    """
    x = _floats(x)
    mantissa = np.finfo(x.dtype).nmant
    used = int(np.bitwise_or.reduce(x.view(f"u{x.dtype.itemsize}"), axis=None)) & ((1 << mantissa) - 1)
    return 1 + (mantissa - ((used & -used).bit_length() - 1) if used else 0)


def offset(x) -> float:
    """Largest |mean| / std over units that vary: how much of a float's precision a constant offset takes."""
    mean, std = moments(_floats(x))
    return np.max(np.abs(mean[std > 0]) / std[std > 0], initial=0.0)


def moments(x) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every unit [p] of `x` [..., p], in float64 a block of rows at a time."""
    x = x.reshape(-1, x.shape[-1])
    mean = x.mean(0, dtype=np.float64)
    squares = sum(((some - mean) ** 2).sum(0) for some in _blocks(x))
    return mean, np.sqrt(squares / len(x))


def _blocks(x):
    return (x[start : start + ROWS] for start in range(0, len(x), ROWS))


def _floats(x) -> np.ndarray:
    """`x` as a contiguous float16, float32 or float64 that holds it: bfloat16 as float32, integers as float64."""
    x = np.asarray(x)
    if x.dtype.kind == "f":
        kept = x.dtype.newbyteorder("=") if x.dtype.itemsize <= 8 else np.dtype(np.float64)
    else:
        kept = np.dtype(np.float32 if x.dtype.name == "bfloat16" else np.float64)
    return np.ascontiguousarray(x, kept)
