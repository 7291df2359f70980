"""Measure what pretraining on a mixture costs each of its components, and why."""

import importlib
from typing import TYPE_CHECKING

from bottleneck.errors import UserError

if TYPE_CHECKING:
    from bottleneck import analysis, features
    from bottleneck.notebook import components, load, run

__version__ = "0.1.0"
__all__ = ["UserError", "analysis", "components", "features", "load", "run"]


def __getattr__(name: str):
    """What brings NumPy and JAX along, when it is first asked for."""
    if name in ("analysis", "features"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bottleneck import notebook

    return getattr(notebook, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
