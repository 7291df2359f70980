"""Procedural images of four independent factors: shape, colour, texture, background.

A component is a *reliability* per factor: r = P(factor's value = label), else uniform over the other values;
a factor without one is independent of the label. Nuisances: position, size, orientation, brightness, phase of
the texture, pixel noise. After the trifeature images of Hermann and Lampinen (arXiv:2006.12433), small enough
for 16 pixels.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import statistics
from collections.abc import Mapping

import numpy as np

from bottleneck.data import keyed
from bottleneck.data.source import SPLITS, DataSpec, Examples, Source
from bottleneck.errors import UserError

FACTORS = ("shape", "colour", "texture", "background")
# Their values, from 0 on: disc, cross, triangle, square, ring, bar, tee, pair; red, green, blue, yellow, magenta, cyan,
# orange, white; horizontal, vertical, diagonal, antidiagonal, checks, dots, rings, plain; and for the background the
# side on which it is brighter: right, left, down, up, down right, up left, down left, up right.

_RGB = np.array(
    [
        (0.85, 0.30, 0.25),
        (0.25, 0.65, 0.30),
        (0.30, 0.40, 0.90),
        (0.80, 0.75, 0.20),
        (0.80, 0.30, 0.80),
        (0.20, 0.70, 0.75),
        (0.90, 0.55, 0.20),
        (0.75, 0.75, 0.75),
    ],
    np.float32,
)
_RAMPS = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, -0.7), (-0.7, 0.7), (0.7, -0.7)], np.float32)
_PERIOD = 0.25  # of the texture, in image sides
_CHUNK_PIXELS = 2**16  # rendered at once: arrays that stay in the cache


@dataclasses.dataclass(frozen=True)
class FactorsSpec:
    """One component of procedural images with `values` balanced classes.

    reliability: factor -> P(value = label), 1 / values being independence. relief: relative depth of the
    texture. shading: brightness the background gains from the centre to the edge, in [0, 1] units. noise:
    standard deviation of the pixel noise, same units. position: largest shift of the object, in image sides.
    size: range of the object's side, in image sides. orientation: largest rotation, in degrees. seed: another
    seed, other images.
    """

    reliability: dict[str, float] = dataclasses.field(default_factory=dict)
    values: int = 2
    relief: float = 0.2
    shading: float = 0.035
    noise: float = 0.08
    position: float = 0.1
    size: tuple[float, float] = (0.45, 0.6)
    orientation: float = 20.0
    seed: int = 0

    randomisable = FACTORS

    def __post_init__(self):
        for factor, reliability in self.reliability.items():
            if factor not in FACTORS:
                known = ", ".join(FACTORS)
                raise UserError(f"reliability.{factor}", reliability, f"one of the factors {known}")
            if not 0 <= reliability <= 1:
                raise UserError(f"reliability.{factor}", reliability, "a probability")
        if not 2 <= self.values <= len(_SHAPES):
            raise UserError("values", self.values, f"2 to {len(_SHAPES)}")
        for field in ("relief", "shading", "noise"):
            if not 0 <= getattr(self, field) <= 1:
                raise UserError(field, getattr(self, field), "a number from 0 to 1")
        if not 0 <= self.position <= 0.5:
            raise UserError("position", self.position, "a shift of 0 to 0.5 image sides")
        if not 0 < self.size[0] <= self.size[1] <= 1:
            raise UserError("size", self.size, "a range (low, high) within 0 to 1 image sides")


def load(spec: FactorsSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """The four splits. A factor in `randomise` is independent of the label; nothing else changes."""
    splits = {}
    for position, split in enumerate(SPLITS):
        count = data.generated_sizes()[split]
        # An item's id fixes all of it, so a larger split only adds items.
        ids = np.arange(count, dtype=np.int32) + np.int32(position << 28)
        key = ("factors", data.split_seed, spec.seed)
        labels = keyed.integers((*key, "label"), ids, spec.values)
        factors = {}
        for factor in FACTORS:
            reliability = spec.reliability.get(factor, 1 / spec.values)
            reliability = 1 / spec.values if factor in randomise else reliability
            factors[factor] = keyed.announce((*key, factor), ids, labels, reliability, spec.values)
        fetch = functools.partial(_fetch, spec, key, data.shape, ids, factors)
        splits[split] = Examples(labels, ids, factors, fetch)
    return Source(splits, tuple(str(value) for value in range(spec.values)))


def _fetch(spec, key, shape, ids, factors, indices):
    chunk = max(1, _CHUNK_PIXELS // (shape[0] * shape[1]))
    images = np.empty((len(indices), *shape, 3), np.uint8)
    for start in range(0, len(indices), chunk):
        rows = indices[start : start + chunk]
        chosen = {factor: values[rows] for factor, values in factors.items()}
        images[start : start + chunk] = _render(spec, key, shape, ids[rows], chosen)
    return images


def _render(spec, key, shape, ids, factors):
    """uint8 [n, H, W, 3]. Coordinates run from -1 to 1 along the shorter side, y downwards; arrays are [n, H,
    W].
    """

    def nuisance(name, low, high):
        return (low + (high - low) * keyed.uniform((*key, name), ids)).astype(np.float32)[:, None, None]

    height, width = shape
    half = min(shape) / 2
    y = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) / half).astype(np.float32)[None, :, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / half).astype(np.float32)[None, None, :]
    px = x - nuisance("x", -2 * spec.position, 2 * spec.position)
    py = y - nuisance("y", -2 * spec.position, 2 * spec.position)
    angle = nuisance("orientation", -1, 1) * np.float32(np.deg2rad(spec.orientation))
    scale = 2 * nuisance("size", *spec.size)  # a square of unit area becomes one of side `size` image sides
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    distance = _distance(factors["shape"], px * cosine + py * sine, py * cosine - px * sine)
    coverage = np.clip(0.5 - distance * (scale * np.float32(half)), 0, 1)  # one pixel of soft edge
    period = np.float32(np.pi / _PERIOD)
    phase = (nuisance("phase x", 0, 2 * np.pi), nuisance("phase y", 0, 2 * np.pi))
    relief = 1 + np.float32(spec.relief) * _pattern(factors["texture"], px * period, py * period, phase)
    ramp = _RAMPS[factors["background"]] * np.float32(spec.shading)
    ground = nuisance("brightness", 0.25, 0.45) + ramp[:, 0, None, None] * x + ramp[:, 1, None, None] * y
    relief *= coverage
    ground *= 1 - coverage
    colour = _RGB[factors["colour"]][:, None, None, :]
    image = relief[..., None] * colour
    image += ground[..., None]
    image *= 255
    image += 0.5
    if spec.noise:
        levels = keyed.octets((*key, "pixels"), ids, image[0].size)
        image += np.take(_normal_levels(spec.noise), levels).reshape(image.shape)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


@functools.cache
def _normal_levels(noise):
    """float32 [256]: midpoint quantiles of a normal of standard deviation 255 * noise, so noise costs a
    look-up.
    """
    normal = statistics.NormalDist(0, 255 * noise)
    return np.array([normal.inv_cdf((level + 0.5) / 256) for level in range(256)], np.float32)


def _distance(values, x, y):
    """Roughly the signed distance to the outline of each image's shape, negative inside; every shape has area
    1.
    """
    distance = np.empty_like(x)
    for value in np.unique(values):
        rows = values == value
        distance[rows] = _SHAPES[value](x[rows], y[rows])
    return distance


def _box(x, y, half_width, half_height):
    return np.maximum(np.abs(x) - np.float32(half_width), np.abs(y) - np.float32(half_height))


def _triangle(x, y):
    return np.maximum(y, np.float32(0.866) * np.abs(x) - np.float32(0.5) * y) - np.float32(0.4387)


def _tee(x, y):
    return np.minimum(_box(x, y + np.float32(0.45), 0.68, 0.2), _box(x, y - np.float32(0.2), 0.22, 0.6))


_SHAPES = (
    lambda x, y: np.sqrt(x * x + y * y) - np.float32(0.564),
    lambda x, y: np.minimum(_box(x, y, 0.68, 0.22), _box(x, y, 0.22, 0.68)),
    _triangle,
    lambda x, y: _box(x, y, 0.5, 0.5),
    lambda x, y: np.abs(np.sqrt(x * x + y * y) - np.float32(0.53)) - np.float32(0.15),
    lambda x, y: _box(x, y, 0.85, 0.294),
    _tee,
    lambda x, y: np.sqrt(np.square(np.abs(x) - np.float32(0.5)) + y * y) - np.float32(0.4),
)


def _pattern(values, x, y, phase):
    """float32 [n, H, W] in -1..1 with mean about 0: the texture of each image, at a random phase."""
    pattern = np.zeros_like(x + y)
    for value in np.unique(values):
        rows = values == value
        pattern[rows] = _TEXTURES[value](x[rows], y[rows], phase[0][rows], phase[1][rows])
    return pattern


_TEXTURES = (
    lambda x, y, p, q: np.sin(y + q) + 0 * x,
    lambda x, y, p, q: np.sin(x + p) + 0 * y,
    lambda x, y, p, q: np.sin((x - y) * np.float32(0.707) + p),
    lambda x, y, p, q: np.sin((x + y) * np.float32(0.707) + p),
    lambda x, y, p, q: np.sign(np.sin(x + p) * np.sin(y + q)),
    lambda x, y, p, q: np.clip(2 * (np.cos(x + p) + np.cos(y + q)) - 2, -0.6, 1),
    lambda x, y, p, q: np.sin(np.sqrt(x * x + y * y) + p),
    lambda x, y, p, q: np.float32(0) * (x + y),
)


def bayes(
    reliabilities: Mapping[str, Mapping[str, float]], weights: Mapping[str, float], values: int = 2
) -> dict[str, dict]:
    """Exact optima for components of `values` balanced classes whose images reveal every factor.

    Returns component -> {"direct", "shared", "heads"} -> {"accuracy", "bits"}: training on the component
    alone, on the mixture with one label set, and on the mixture with the component known. Bits are E[log2
    q(y|x) - log2 p(y)] under the component, -inf where q excludes what happens. A tie counts as a guess among
    the tied classes.
    """
    factors = [f for f in FACTORS if any(f in r for r in reliabilities.values())]
    cells = np.array(list(itertools.product(range(values), repeat=len(factors))), int)  # [cells, factors]
    joint = {}  # component -> P(label, factor values), [K, cells]
    for name, reliability in reliabilities.items():
        joint[name] = np.full((values, len(cells)), 1 / values)
        for column, factor in enumerate(factors):
            r = reliability.get(factor, 1 / values)
            hit = cells[:, column] == np.arange(values)[:, None]
            joint[name] *= np.where(hit, r, (1 - r) / (values - 1))
    mixed = sum(weights.get(name, 0) * table for name, table in joint.items())
    answers = {}
    for name, table in joint.items():
        alone = _optimum(table, table, values)
        answers[name] = {"direct": alone, "shared": _optimum(table, mixed, values), "heads": dict(alone)}
    return answers


def _optimum(table, seen, values):
    """Accuracy and bits, under `table`, of the posterior of `seen` (both [K, cells], `seen` up to a factor)."""
    total = seen.sum(axis=0)
    posterior = np.where(total > 0, seen / np.where(total > 0, total, 1), 1 / values)
    best = np.isclose(posterior, posterior.max(axis=0), rtol=1e-12, atol=0)
    accuracy = float(np.sum(table * best / best.sum(axis=0)))
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(table > 0, table * np.log2(posterior * values), 0)
    return {"accuracy": accuracy, "bits": float(terms.sum())}
