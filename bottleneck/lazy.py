"""Modules of a package as its attributes, each imported when it is first asked for."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from types import ModuleType


def modules(package: str) -> tuple[Callable[[str], ModuleType], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package by which its modules are there without an import of their own."""
    held = sys.modules[package]
    names = [found.name for found in pkgutil.iter_modules(held.__path__)]

    def attribute(name: str) -> ModuleType:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    return attribute, lambda: sorted({*vars(held), *names})
