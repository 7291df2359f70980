"""Features from elsewhere: arrays that another tool made, and networks that are not ours.

A directory of foreign features holds, for every target and split (probe, val, test, and train where it is wanted),
`<target>-<split>.npy` [n, p] and `<target>-<split>-ids.npy` [n], the ids of the examples its rows belong to. Rows are
matched by id, whatever their order; `component` is one of a study's or an audit's (bottleneck.components):

    for split in foreign.SPLITS:
        examples = component.splits[split]
        batches = np.array_split(np.arange(len(examples)), 1 + len(examples) // 256)
        features = [my_network(examples.fetch(batch)) for batch in batches]  # of uint8 [n, H, W, 3], not normalised
        foreign.save("my_features", component.name, split, np.concatenate(features), examples.ids)

`extract` does that with a network of Flax (Linen or NNX) or PyTorch, or with any function of variables and images.
Nothing here executes a pickle.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pathlib
import re
import sys
from collections.abc import Callable

import numpy as np

from bottleneck import atomic, jobs, typed
from bottleneck.analysis.precision import objection
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.features.batch import padded, size
from bottleneck.features.networks.preprocessing import InputSpec, Preprocessing

SPLITS = ("probe", "val", "test")  # what probes read


def save(directory: str | pathlib.Path, target: str, split: str, features, ids) -> None:
    """Writes `features` [n, p] of `target`'s `split` and the `ids` [n] of their examples, arrays or tensors.

    Raises UserError on what `load` would refuse.
    """
    if split not in ("train", *SPLITS) or not re.fullmatch(r"[\w-]+", target):
        raise UserError("external", f"{target}-{split}", f"a component's name and train, {', '.join(SPLITS)}")
    path, ids_path = _paths(directory, target, split)
    x, ids = _numpy(features), _numpy(ids)
    _check(path, x, ids_path, ids)
    for file, array in ((ids_path, ids), (path, x.astype(np.float32) if x.dtype.name == "bfloat16" else x)):
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        atomic.write(file, content.getvalue())


def load(directory: str | pathlib.Path, component, splits: tuple[str, ...] = SPLITS) -> dict[str, np.ndarray]:
    """split -> features [n, p] of `component`, float32 or float64, in the order of its examples.

    Raises UserError, with counts, where ids are missing, repeated or of no example, and where features are not finite
    or were kept at a precision that erases small signals (analysis.precision). Never loads pickles.
    """
    features: dict[str, np.ndarray] = {}
    for split in splits:
        path, ids_path = _paths(directory, component.name, split)
        x, ids = _array(path), _array(ids_path)
        _check(path, x, ids_path, ids)
        dtype = np.float32 if x.dtype.kind == "f" and x.dtype.itemsize <= 4 else np.float64
        features[split] = x[_order(ids_path, ids, component, split)].astype(dtype, copy=False)
        width = features[splits[0]].shape[1]
        if x.shape[1] != width:
            raise UserError("external", str(path), f"{width} features, as in the {splits[0]} split, not {x.shape[1]}")
    return features


def digest(directory: str | pathlib.Path, target: str, splits: tuple[str, ...] = SPLITS) -> str:
    """SHA-256 of all files of one target's `splits`: what its features are, wherever they lie."""
    whole = hashlib.sha256()
    for split in splits:
        for path in _paths(directory, target, split):
            with contextlib.suppress(OSError), path.open("rb") as file:
                whole.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def extract(
    apply,
    variables,
    component,
    data,
    directory: str | pathlib.Path,
    layer: str = "features",
    splits: tuple[str, ...] = SPLITS,
) -> None:
    """Extracts features of `component` with a network that is not ours, and saves them with ids in `directory`.

    `apply` and its `variables` are one of
    - a Linen module and its variables, or the directory in which Orbax saved them (checkpoint.foreign);
    - an NNX graph definition and its state (nnx.split), or an NNX module and None;
    - a PyTorch module and its state dict, the file of one (safetensors, or torch.save: weights only), or None;
    - any function `f(variables, x)` and whatever it takes, or an Orbax directory.

    `x` are images [B, H, W, 3] (PyTorch: [B, 3, H, W]) normalised by mean and std of the study's `data` (a DataSpec, or
    config.data), float32, in batches of one size. The network returns features, or (logits, features), or (logits,
    taps), or a dictionary; `layer` names the tap. Maps and tokens are average-pooled to [B, p]. All in evaluation mode
    and float32 at highest matmul precision, whatever trained the network. Raises UserError where network and variables
    do not belong together.
    """
    forward = _forward(apply, variables, layer, typed.build(DataSpec, data, "data"))
    for split in splits:
        save(directory, component.name, split, _through(component.splits[split], forward), component.splits[split].ids)


def _through(examples, forward: Callable) -> np.ndarray:
    """`forward` of every item, in batches of one shape: [n, ...]."""
    batches = padded(examples, size(examples))
    return np.concatenate([np.asarray(forward(x), np.float32)[: len(rows)] for x, rows in batches])


def _forward(apply, variables, layer: str, data: DataSpec) -> Callable:
    """uint8 images [B, H, W, 3] (or vectors [B, d]) -> features [B, p]."""
    prepare = Preprocessing(InputSpec(), data.mean, data.std)
    torch = sys.modules.get("torch")  # not loaded: nothing is one of its modules
    if torch and isinstance(apply, torch.nn.Module):
        from bottleneck.features.networks import torch as networks
    else:
        from bottleneck.features.networks import flax as networks
    read = networks.returned(apply, variables, layer)
    return lambda x: read(prepare(x))


def _numpy(x) -> np.ndarray:
    try:
        if hasattr(x, "detach"):  # a tensor of PyTorch; NumPy has no bfloat16
            x = x.detach().cpu()
            x = x.float() if str(x.dtype) == "torch.bfloat16" else x
        return np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError("external", type(x).__name__, f"an array or tensor ({error})") from None


def _paths(directory, target: str, split: str) -> tuple[pathlib.Path, pathlib.Path]:
    directory = pathlib.Path(directory).expanduser()
    return directory / f"{target}-{split}.npy", directory / f"{target}-{split}-ids.npy"


def _array(path: pathlib.Path) -> np.ndarray:
    try:
        with jobs.PARSING:
            array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError("external", str(path), f"a .npy array ({getattr(error, 'strerror', None) or error})") from None
    if not isinstance(array, np.ndarray):
        raise UserError("external", str(path), "one .npy array")
    return array


def _check(path, x, ids_path, ids) -> None:
    """Raises UserError unless `x` is numbers [n, p] that can be trusted and `ids` whole numbers [n]."""
    whole = x.dtype.kind in "biu"
    if not whole and x.dtype.name not in ("float16", "float32", "float64", "bfloat16"):
        hint = " (as which NumPy saves bfloat16)" if x.dtype.kind == "V" else ""
        raise UserError("external", str(path), f"numbers, best as float32, not {x.dtype}{hint}")
    if x.ndim != 2 or not x.size:
        raise UserError("external", str(path), f"an array [examples, features], not one of shape {list(x.shape)}")
    if not whole and (reason := objection(x)):
        raise UserError("external", str(path), f"features that can be trusted: {reason}")
    if ids.dtype.kind not in "iu" or ids.shape != x.shape[:1]:
        raise UserError(
            "external",
            str(ids_path),
            f"a whole-number id for each of the {len(x):,} rows of {path.name}, not {ids.dtype} {list(ids.shape)}",
        )


def _order(path, ids, component, split: str) -> np.ndarray:
    """Rows [n] that put `ids` into the order of the split's examples. Raises UserError unless each is there once."""
    wanted, ids = component.splits[split].ids, ids.astype(np.int64)
    known, counts = np.unique(ids, return_counts=True)
    odd = {
        "missing": np.setdiff1d(wanted, known),
        "repeated": known[counts > 1],
        "of no example": np.setdiff1d(known, wanted),
    }
    if any(map(len, odd.values())):
        said = ", ".join(f"{len(which):,} {how} (such as {which[0]})" for how, which in odd.items() if len(which))
        raise UserError(
            "external",
            str(path),
            f"each of the {len(wanted):,} {split} examples of {component.name!r} once; ids: {said}",
        )
    order = np.argsort(ids)
    return order[np.searchsorted(ids, wanted, sorter=order)]
