"""Feature extraction, once per (run, step, target): float32 at highest matmul precision, whatever trained the network.

A layer is a tap of the model or "logits", and how its space is read, a named spatial mode: `stage2` is average-pooled
over maps [B, H, W, C] or tokens [B, T, C] (class token included) to [B, C], `stage2.flattened` is [B, H W C], and
`stage2.positions` keeps [B, H W, C], which `samples` turns into one sample per position. A tap without space [B, C] is
the same pooled and flattened, and has no positions. Flattened and positions cost 4 H W C bytes per image (5,000 images
of a 16 x 16 x 32 map: 164 MB), held for all layers and splits of one target at a time.

A feature directory holds one `.npy` per layer and split and a manifest with the example ids, the source run and step,
how the pass was made and, for every file, its digest, spatial mode, dtype and largest |mean|/std over units. Reading
checks them: a cache whose rows are in another order, that was cut short, or whose precision erases small signals is
refused and made again, never used.
"""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bottleneck import atomic
from bottleneck.data.component import Component
from bottleneck.data.resident import normalise
from bottleneck.data.source import Examples
from bottleneck.errors import UserError
from bottleneck.models import statistics
from bottleneck.training.run import Run

BATCH = 500
SPLITS = ("probe", "val", "test")
LOGITS = "logits"
POOLED, FLATTENED, POSITIONS = ("pooled", "flattened", "positions")
PASS = {"compute": "float32", "mode": "evaluation"}  # of every pass: BatchNorm uses stored statistics, dropout is off

BFLOAT16_BITS, FLOAT32_BITS = 8, 24  # significant bits, the implicit one included
COARSE_LIMIT, LIMIT = 0.1, 0.5  # of |mean|/std times the unit roundoff, for bfloat16 and for what lies above it


class Stale(RuntimeError):
    """A cached feature file that does not belong to the examples or the checkpoint asked for, or cannot be trusted."""


def tap_and_mode(layer: str) -> tuple[str, str]:
    """`layer` as (tap, spatial mode): "stage2" is ("stage2", "pooled"). Raises UserError on an unknown mode."""
    tap, dot, mode = layer.partition(".")
    if dot and mode not in (FLATTENED, POSITIONS):
        raise UserError("layer", layer, f"{tap} (average-pooled), {tap}.{FLATTENED} or {tap}.{POSITIONS}")
    return tap, mode or POOLED


def spatial(tap, mode: str):
    """A tap [B, ..., C] pooled to [B, C], flattened to [B, size of the rest] or as positions [B, number of them, C]."""
    if mode == POOLED:
        return tap.mean(tuple(range(1, tap.ndim - 1))) if tap.ndim > 2 else tap
    if mode == FLATTENED:
        return tap.reshape(len(tap), -1)
    if tap.ndim < 3:
        raise UserError("layer", POSITIONS, "maps or tokens; this layer is a vector per image, which has no positions")
    return tap.reshape(len(tap), -1, tap.shape[-1])


def samples(x: np.ndarray, *items: np.ndarray) -> tuple[np.ndarray, ...]:
    """Positions as samples: `x` [n, m, C] to [n m, C], and every array of `items` [n, ...] (labels, ids, factors) with it.

    The m samples of an image stand next to each other. They are not independent: intervals are over images.
    """
    count, positions, channels = x.shape
    return x.reshape(count * positions, channels), *(np.repeat(item, positions, axis=0) for item in items)


def extract(
    run: Run, variables: dict, component: Component, mean, std, layers: tuple[str, ...], *, adapt: bool = False
) -> dict[tuple[str, str], np.ndarray]:
    """One pass over the probe, val and test splits for all `layers`: (layer, split) -> float32 [n, p] or [n, m, C].

    `adapt` re-estimates the BatchNorm statistics on the probe split first. Raises UserError on an unknown spatial mode,
    and where features are not finite.
    """
    model, variables = run.module().clone(dtype=jnp.dtype("float32")), jax.device_put(variables)
    if adapt and "batch_stats" in variables:
        variables = {**variables, "batch_stats": _statistics(model, variables, component, mean, std)}
    found = {}
    for split in SPLITS:
        rows = through(component.splits[split], lambda x: forward(model, variables, x, mean, std, layers))
        found.update({(layer, split): x for layer, x in rows.items()})
    for (layer, split), x in found.items():
        if not np.isfinite(x).all():
            raise UserError("layer", layer, f"finite numbers: {split} features of {run.folder} hold NaN or infinity")
    return found


@partial(jax.jit, static_argnames=("model", "layers"))
def forward(model, variables, x, mean, std, layers):
    """`layers` of `model` at the uint8 images (or vectors) `x`, float32, in their spatial modes."""
    with jax.default_matmul_precision("highest"):
        logits, taps = model.apply(variables, normalise(x, mean, std), train=False)
        taps, read = {**taps, LOGITS: logits}, {layer: tap_and_mode(layer) for layer in layers}
        return {layer: spatial(taps[tap], mode).astype(jnp.float32) for layer, (tap, mode) in read.items()}


def through(examples: Examples, forward) -> dict[str, np.ndarray]:
    """One pass over `examples`: `forward(x)` gives name -> [BATCH, ...] for a batch; name -> float32 [n, ...] for all."""
    found: dict[str, np.ndarray] = {}
    for x, rows in _batches(examples):
        for name, values in forward(x).items():
            if name not in found:
                found[name] = np.empty((len(examples), *values.shape[1:]), np.float32)
            found[name][rows] = np.asarray(values)[: len(rows)]
    return found


def _batches(examples):
    """Batches of one shape, the last one padded by repeating its first item: (x, the rows it holds)."""
    for start in range(0, len(examples), BATCH):
        rows = np.arange(start, min(start + BATCH, len(examples)))
        yield examples.fetch(np.concatenate([rows, np.full(BATCH - len(rows), start)])), rows


def _statistics(model, variables, component, mean, std):
    """BatchNorm statistics averaged over the whole batches of the probe split."""
    whole = [x for x, rows in _batches(component.splits["probe"]) if len(rows) == BATCH]
    whole = whole or [component.splits["probe"].fetch(np.arange(len(component.splits["probe"])))]
    return statistics.mean(model, variables, (normalise(x, mean, std) for x in whole))


def write(
    directory: pathlib.Path, features: dict[tuple[str, str], np.ndarray], component: Component, source: dict
) -> None:
    """Writes features and then the manifest that makes them valid; other layers of the same pass stay valid.

    `source` says where they come from: run, step, target, and whether BatchNorm's statistics were adapted to the target.
    Every file appears by atomic rename: two jobs may meet here, and each then writes the whole file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stated = {"ids": {split: _ids(component, split) for split in SPLITS}, **PASS, **source}
    try:
        before = _manifest(directory)
    except Stale:
        before = {}
    files = before["files"] if all(before.get(k) == v for k, v in stated.items()) else {}
    for (layer, split), x in features.items():
        path, content = directory / f"{layer}-{split}.npy", io.BytesIO()
        np.save(content, x, allow_pickle=False)
        atomic.write(path, content.getbuffer())
        files[path.name] = {
            "sha256": hashlib.sha256(content.getbuffer()).hexdigest(),
            "spatial": tap_and_mode(layer)[1],
            "shape": x.shape,
            "dtype": x.dtype.name,
            "offset": float(offset(x)),
            "objection": objection(x),
        }
    atomic.write(directory / "manifest.json", json.dumps({"files": files, **stated}, indent=1))


def read(directory: pathlib.Path, layer: str, component: Component, source: dict) -> dict[str, np.ndarray]:
    """split -> float32 [n, ...] of one layer. Raises Stale with the reason when the cache is not what was asked for."""
    manifest = _manifest(directory)
    if any(manifest.get(k) != v for k, v in {**PASS, **source}.items()):
        raise Stale(f"{directory} was made from another run, step or variant")
    found = {}
    for split in SPLITS:
        if manifest["ids"][split] != _ids(component, split):
            raise Stale(f"{directory}: the examples of {split} are others, or in another order")
        path = directory / f"{layer}-{split}.npy"
        record = manifest["files"].get(path.name)
        if record is None or not path.is_file():
            raise Stale(f"{path} is missing")
        if record["objection"]:
            raise Stale(f"{path}: {record['objection']}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != record["sha256"]:
                raise Stale(f"{path} is damaged")
            file.seek(0)
            found[split] = np.load(file, allow_pickle=False)
    return found


def offset(x: np.ndarray) -> float:
    """Largest |mean| / std over units that vary: how much of a float's precision a constant offset takes."""
    mean, std = _moments(x)
    return np.max(np.abs(mean[std > 0]) / std[std > 0], initial=0.0)


def objection(x: np.ndarray) -> str:
    """Why features `x` [..., p] cannot be trusted, or "": not finite, or kept at a precision that erases small signals.

    Rounding to b significant bits moves values by up to 2**-b |mean|. Where that exceeds a tenth of a unit's standard
    deviation in bfloat16 (half of it in float16 and between), or a unit other than 0 has become constant, what the unit
    said may be gone: 5 plus or minus 0.01 is the number 5 in bfloat16. Whole numbers below 2**b (counts, codes, one-hot
    features) are exact at any precision.
    """
    if not np.isfinite(x).all():
        return "NaN or infinity among the numbers"
    bits = max(significant_bits(x), BFLOAT16_BITS)  # numbers with fewer bits are codes, not a still shorter format
    if bits >= FLOAT32_BITS:
        return ""
    mean, std = _moments(x)
    if std.any() and np.abs(x).max() < 2.0**bits and np.array_equal(x, np.rint(x)):
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


def significant_bits(x: np.ndarray) -> int:
    """Significant bits of the numbers `x`: 53 for float64, 24 for float32, 11 for float16, 8 for bfloat16.

    Numbers that were shorter once are recognised by the zeros all their mantissas end in, which survive a conversion:
    float32 numbers that went through bfloat16 have 8 significant bits, not 24. 0 and powers of two need one.
    """
    x = np.ascontiguousarray(x, x.dtype.newbyteorder("="))
    mantissa = jnp.finfo(x.dtype).nmant
    used = int(np.bitwise_or.reduce(x.view(f"u{x.dtype.itemsize}"), axis=None)) & ((1 << mantissa) - 1)
    return 1 + (mantissa - ((used & -used).bit_length() - 1) if used else 0)


def _moments(x):
    """Mean and standard deviation of every unit [p], over images and positions, in float64 a block of rows at a time."""
    x = x.reshape(-1, x.shape[-1])
    mean = x.mean(0, dtype=np.float64)
    squares = sum(((x[start : start + BATCH] - mean) ** 2).sum(0) for start in range(0, len(x), BATCH))
    return mean, np.sqrt(squares / len(x))


def _ids(component: Component, split: str) -> str:
    return hashlib.sha256(np.ascontiguousarray(component.splits[split].ids)).hexdigest()


def _manifest(directory: pathlib.Path) -> dict:
    try:
        manifest = json.loads((directory / "manifest.json").read_text())
        if isinstance(manifest["files"], dict) and isinstance(manifest["ids"], dict):
            return manifest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Stale(f"{directory} has no readable manifest") from error
    raise Stale(f"{directory} has no readable manifest")
