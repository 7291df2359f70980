"""Models of timm by name: how they are built, and what they are shown."""

from __future__ import annotations

import functools
from collections.abc import Callable

from bottleneck import signals
from bottleneck.errors import UserError
from bottleneck.features.networks.network import missing, some
from bottleneck.features.networks.preprocessing import FILTERS


def builder(name: str) -> Callable:
    """What makes the model with random weights. Raises UserError where timm is not installed, or knows no such name."""
    return functools.partial(_library().create_model, known(name), pretrained=False)


def _library():
    try:
        with signals.noted():
            import timm
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision of another torch
        raise missing("timm", error) from None
    return timm


def known(name: str) -> str:
    """`name`. Raises UserError where timm has no such model."""
    timm = _library()
    if not timm.is_model(name):
        near = some(tuple(timm.list_models(f"*{name}*")[:8])) or "see timm.list_models()"
        raise UserError("uses", f"timm:{name}", f"a model of timm: {near}")
    return name


@functools.cache
def configuration(name: str) -> dict:
    """What timm says of a model's images, by the fields of InputSpec."""
    said = builder(name)().pretrained_cfg
    how = said.get("interpolation")
    return {
        "size": int(said["input_size"][1]),
        "crop": float(said.get("crop_pct") or 1.0),
        "interpolation": how if how in FILTERS else "bicubic",
        "mean": tuple(map(float, said["mean"])),
        "std": tuple(map(float, said["std"])),
    }
