"""The network that a study's text names, loaded from its weights."""

from __future__ import annotations

import functools
import pathlib
import threading

from bottleneck import signals
from bottleneck.errors import UserError
from bottleneck.features.networks.network import Network, missing
from bottleneck.features.networks.uses import Uses

HELD = 4  # networks in memory
ONE = threading.Lock()  # one pass at a time: each has all cores, and the memory of one batch


def load(made_by: Uses, features: str, shape: tuple[int, ...], channels_last: bool = False) -> Network:
    """The network; `features` names the layer that is "features" ("": found), `shape` is that of one input. Raises
    UserError. One whose weights are in a file is held a while; what a function makes of its own is made anew."""
    if not made_by.weights:
        return _load(made_by, features, shape, channels_last)
    return _held(made_by, features, shape, channels_last, stamp(made_by))


@functools.lru_cache(maxsize=HELD)
def _held(made_by: Uses, features: str, shape, channels_last: bool, stamp: tuple) -> Network:
    return _load(made_by, features, shape, channels_last)


def _load(made_by: Uses, features: str, shape, channels_last: bool) -> Network:
    if made_by.kind in ("torch", "timm"):
        try:
            with signals.noted():
                from bottleneck.features.networks import torch
        except ImportError as error:
            raise missing(made_by.kind, error) from None
        return torch.load(made_by, features, shape, channels_last)
    from bottleneck.features.networks import flax

    return flax.load(made_by, features, shape)


def stamp(made_by: Uses) -> tuple:
    """(path, size, time) of the weights' files and of the code. Raises UserError where the weights are missing."""
    path = pathlib.Path(made_by.weights).expanduser()
    if not path.exists():
        raise UserError("uses", made_by.weights, "weights that are there")
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    stamps = sorted((str(each), each.stat().st_size, each.stat().st_mtime_ns) for each in files)
    return (*stamps, made_by.code)
