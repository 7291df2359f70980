"""Feature extraction, once per (run, step, target): float32 at highest matmul precision, whatever trained the network.

A feature directory holds one `.npy` per layer and split and a manifest with the example ids, the source run and step,
the digest of every file and the largest |mean|/std over units. Reading checks ids and digests: a cache whose rows are
in another order, or that was cut short, is refused and made again, never used.
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
from bottleneck.models import statistics
from bottleneck.training.run import Run

BATCH = 500
SPLITS = ("probe", "val", "test")
LOGITS = "logits"


class Stale(RuntimeError):
    """A cached feature file that does not belong to the examples or the checkpoint asked for."""


def extract(run: Run, variables: dict, component: Component, mean, std, layers: tuple[str, ...], *,
            adapt: bool = False) -> dict[tuple[str, str], np.ndarray]:
    """One pass over the probe, val and test splits: (layer, split) -> float32 [n, p] (maps are average-pooled).

    `layers` are taps of the model or "logits". `adapt` re-estimates the BatchNorm statistics on the probe split first.
    """
    model = run.module().clone(dtype=jnp.dtype("float32"))
    if adapt and "batch_stats" in variables:
        variables = {**variables, "batch_stats": _statistics(model, variables, component, mean, std)}
    found = {}
    for split in SPLITS:
        pieces = [(jax.device_get(forward(model, variables, x, mean, std, layers)), valid)
                  for x, valid in _batches(component.splits[split])]
        for layer in layers:
            found[layer, split] = np.concatenate([piece[layer][:valid] for piece, valid in pieces])
    return found


@partial(jax.jit, static_argnames=("model", "layers"))
def forward(model, variables, x, mean, std, layers):
    """`layers` of `model` at the uint8 images (or vectors) `x`, maps pooled to [B, C]."""
    with jax.default_matmul_precision("highest"):
        logits, taps = model.apply(variables, normalise(x, mean, std), train=False)
        taps = {**taps, LOGITS: logits}
        return {name: pool(taps[name]).astype(jnp.float32) for name in layers}


def pool(tap):
    """Averages every axis between the first and the last: maps [B, H, W, C] and tokens [B, T, C] to [B, C]."""
    return tap.mean(tuple(range(1, tap.ndim - 1))) if tap.ndim > 2 else tap


def _batches(examples):
    """Batches of one shape, the last one padded by repeating its first item: (x, number of valid rows)."""
    for start in range(0, len(examples), BATCH):
        rows = np.arange(start, min(start + BATCH, len(examples)))
        yield examples.fetch(np.concatenate([rows, np.full(BATCH - len(rows), start)])), len(rows)


def _statistics(model, variables, component, mean, std):
    """BatchNorm statistics averaged over the whole batches of the probe split."""
    whole = [x for x, valid in _batches(component.splits["probe"]) if valid == BATCH]
    whole = whole or [component.splits["probe"].fetch(np.arange(len(component.splits["probe"])))]
    return statistics.mean(model, variables, (normalise(x, mean, std) for x in whole))


def write(directory: pathlib.Path, features: dict[tuple[str, str], np.ndarray], component: Component, source: dict) -> None:
    """Writes features and then the manifest that makes them valid; other layers of the same pass stay valid.

    Every file appears by atomic rename: two jobs may meet here, and each then writes the whole file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stated = {"ids": {split: _ids(component, split) for split in SPLITS}, **source}
    try:
        before = _manifest(directory)
    except Stale:
        before = {}
    files = before["files"] if all(before.get(k) == v for k, v in stated.items()) else {}
    for (layer, split), x in features.items():
        path, content = directory / f"{layer}-{split}.npy", io.BytesIO()
        np.save(content, x, allow_pickle=False)
        atomic.write(path, content.getbuffer())
        files[path.name] = {"sha256": hashlib.sha256(content.getbuffer()).hexdigest(), "shape": x.shape, "offset": float(offset(x))}
    atomic.write(directory / "manifest.json", json.dumps({"files": files, **stated}, indent=1))


def read(directory: pathlib.Path, layer: str, component: Component, source: dict) -> dict[str, np.ndarray]:
    """split -> float32 [n, p] of one layer. Raises Stale with the reason when the cache is not what was asked for."""
    manifest = _manifest(directory)
    if any(manifest.get(k) != v for k, v in source.items()):
        raise Stale(f"{directory} was made from another run, step or variant")
    found = {}
    for split in SPLITS:
        if manifest["ids"][split] != _ids(component, split):
            raise Stale(f"{directory}: the examples of {split} are others, or in another order")
        path = directory / f"{layer}-{split}.npy"
        record = manifest["files"].get(path.name)
        if record is None or not path.is_file():
            raise Stale(f"{path} is missing")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != record["sha256"]:
                raise Stale(f"{path} is damaged")
            file.seek(0)
            found[split] = np.load(file, allow_pickle=False)
    return found


def offset(x: np.ndarray) -> float:
    """Largest |mean| / std over units that vary: how much of a float's precision a constant offset takes."""
    mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    return np.max(np.abs(mean[std > 0]) / std[std > 0], initial=0.0)


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
