"""Features from elsewhere: arrays that another tool made, and a network of one's own with its Orbax checkpoint.

A directory of external features holds, for every target and split (probe, val, test), `<target>-<split>.npy` [n, p] and
`<target>-<split>-ids.npy` [n], the ids of the examples its rows belong to. Rows are matched by id, whatever their order:

    examples = component.splits[split]
    external.save(directory, component.name, split, my_features(examples.fetch(np.arange(len(examples)))), examples.ids)
"""

from __future__ import annotations

import hashlib
import inspect
import io
import pathlib
from collections.abc import Callable, Mapping

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from bottleneck import atomic
from bottleneck import checkpoint as checkpoints
from bottleneck.analysis import features
from bottleneck.data.component import Component
from bottleneck.data.resident import normalise
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError

# What the arguments that switch Flax modules between training and evaluation are called, and their value for evaluation.
EVALUATION = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
}


def load(directory: pathlib.Path, component: Component) -> dict[str, np.ndarray]:
    """split -> features [n, p] of `component`, float32 or float64, in the order of its examples.

    Raises UserError, with counts, where ids are missing, repeated or of no example, and where features are not finite or
    were kept at a precision that erases small signals (features.objection). Never loads pickles.
    """
    found = {}
    for split in features.SPLITS:
        path, ids_path = _paths(directory, component.name, split)
        x, ids = _array(path), _array(ids_path)
        _check(path, x, ids_path, ids)
        single = x.dtype.kind == "f" and x.dtype.itemsize <= 4
        found[split] = x[_order(ids_path, ids, component, split)].astype(
            np.float32 if single else np.float64, copy=False
        )
        if x.shape[1] != found["probe"].shape[1]:
            raise UserError(
                "external", str(path), f"{found['probe'].shape[1]} features, as in the probe split, not {x.shape[1]}"
            )
    return found


def save(directory: pathlib.Path, target: str, split: str, features, ids) -> None:
    """Writes `features` [n, p] and the `ids` [n] of their examples. Raises UserError on what `load` would refuse."""
    path, ids_path = _paths(directory, target, split)
    x, ids = np.asarray(features), np.asarray(ids)
    _check(path, x, ids_path, ids)
    for file, array in ((ids_path, ids), (path, x.astype(np.float32) if x.dtype.name == "bfloat16" else x)):
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        atomic.write(file, content.getbuffer())


def digest(directory: pathlib.Path, target: str) -> str:
    """SHA-256 of all files of one target: what its features are, wherever they lie."""
    found = hashlib.sha256()
    for split in features.SPLITS:
        for path in _paths(directory, target, split):
            found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def evaluate(module: nn.Module, variables: Mapping, x):
    """Features of normalised images `x` [B, H, W, 3] from `module.apply`, with the switches of EVALUATION it knows.

    The module returns features, or (logits, features), or (logits, taps) with "features" among the taps.
    """
    known = inspect.signature(type(module).__call__).parameters
    found = module.apply(variables, x, **{name: value for name, value in EVALUATION.items() if name in known})
    found = found[1] if isinstance(found, tuple) else found
    if isinstance(found, Mapping):
        if "features" not in found:
            raise UserError(
                "apply", sorted(found), "a function that picks the features: the module returns no 'features'"
            )
        return found["features"]
    return found


def from_module(
    module: nn.Module,
    checkpoint: pathlib.Path,
    component: Component,
    data: DataSpec,
    directory: pathlib.Path,
    *,
    apply: Callable = evaluate,
    where: Mapping[str, str] | None = None,
) -> None:
    """Extracts features of `component` with a Flax module of one's own, and saves them with ids in `directory`.

    checkpoint: what Orbax saved, a directory of StandardCheckpointer or PyTreeCheckpointer or a step of a
    CheckpointManager, holding variables, a TrainState or bare parameters; `where` says which of several trees to use
    (checkpoint.foreign). Images are normalised by data.mean and data.std. `apply(module, variables, x)` gives features
    [B, p], or maps or tokens, which are average-pooled; it must leave the module in evaluation mode (Flax refuses to
    update statistics or to draw dropout here). All in float32 at highest matmul precision: a field `dtype` of the module
    is set to float32. Raises UserError where module and checkpoint do not belong together.
    """
    if hasattr(module, "dtype"):
        module = module.clone(dtype=jnp.float32)
    variables = jax.device_put(jax.tree.map(_widened, checkpoints.foreign(checkpoint, where)))
    mean, std = np.float32(data.mean), np.float32(data.std)

    @jax.jit
    def forward(variables, x):
        with jax.default_matmul_precision("highest"):
            return features.spatial(apply(module, variables, normalise(x, mean, std)), features.POOLED)

    for split in features.SPLITS:
        examples = component.splits[split]
        try:
            (found,) = features.through(examples, lambda x: {"features": forward(variables, x)}).values()
        except flax.errors.FlaxError as error:
            raise UserError(
                "checkpoint",
                str(checkpoint),
                f"variables of {type(module).__name__} in evaluation mode ({str(error).splitlines()[0]})",
            ) from error
        save(directory, component.name, split, found, examples.ids)


def _paths(directory, target, split):
    return directory / f"{target}-{split}.npy", directory / f"{target}-{split}-ids.npy"


def _array(path):
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError("external", str(path), f"a .npy array ({error})") from None
    if not isinstance(found, np.ndarray):
        raise UserError("external", str(path), "one .npy array")
    return found


def _check(path, x, ids_path, ids):
    """Raises UserError unless `x` is numbers [n, p] that can be trusted and `ids` whole numbers [n]."""
    whole = x.dtype.kind in "biu"
    if not whole and x.dtype.name not in ("float16", "float32", "float64", "bfloat16"):
        hint = " (as which NumPy saves bfloat16)" if x.dtype.kind == "V" else ""
        raise UserError("external", str(path), f"numbers, best as float32, not {x.dtype}{hint}")
    if x.ndim != 2 or not x.size:
        raise UserError("external", str(path), f"an array [examples, features], not one of shape {list(x.shape)}")
    if not whole and (reason := features.objection(x)):
        raise UserError("external", str(path), f"features that can be trusted: {reason}")
    if ids.dtype.kind not in "iu" or ids.shape != x.shape[:1]:
        raise UserError(
            "external",
            str(ids_path),
            f"a whole-number id for each of the {len(x)} rows of {path.name}, not {ids.dtype} {list(ids.shape)}",
        )


def _order(path, ids, component, split):
    """Rows [n] that put `ids` into the order of the split's examples. Raises UserError unless each is there once."""
    wanted, ids = component.splits[split].ids, ids.astype(np.int64)
    known, counts = np.unique(ids, return_counts=True)
    odd = {
        "missing": np.setdiff1d(wanted, known),
        "repeated": known[counts > 1],
        "of no example": np.setdiff1d(known, wanted),
    }
    if any(map(len, odd.values())):
        said = ", ".join(f"{len(which)} {how} (such as {which[0]})" for how, which in odd.items() if len(which))
        raise UserError(
            "external", str(path), f"each of the {len(wanted)} {split} examples of {component.name!r} once; ids: {said}"
        )
    order = np.argsort(ids)
    return order[np.searchsorted(ids, wanted, sorter=order)]


def _widened(leaf):
    return leaf.astype(np.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
