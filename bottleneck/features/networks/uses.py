"""Which network, in text: `kind:MODULE:FUNCTION:WEIGHTS`, or a directory of features.

    timm:NAME:WEIGHTS               a model of timm, its own preprocessing
    torch:MODULE:FUNCTION[:WEIGHTS] FUNCTION() returns a torch.nn.Module
    flax:MODULE:FUNCTION[:WEIGHTS]  FUNCTION() returns a Linen module, or (module, variables)
    nnx:MODULE:FUNCTION[:WEIGHTS]   FUNCTION() returns an nnx.Module
    apply:MODULE:FUNCTION:WEIGHTS   FUNCTION(variables, images) returns features, (logits, features) or (logits, taps)
    DIRECTORY                       features that were saved (features.foreign)

MODULE is a module's name (`mymodule`, found beside the current directory too) or a file (`my/networks.py`). WEIGHTS are
a file of PyTorch (.safetensors, or a state dict read as weights alone), an Orbax directory, or .msgpack or .safetensors
of Flax.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pathlib
import sys
from collections.abc import Callable, Iterable

from bottleneck.errors import UserError, reason

LIBRARIES = ("torch", "torchvision", "timm", "flax", "jax", "numpy", "builtins", "collections")
CALLABLES = ("torch", "flax", "nnx", "apply")  # kinds that are made by a function of the user's
KINDS = ("timm", *CALLABLES)
EXPECTED = "timm:NAME:WEIGHTS, one of torch, flax, nnx or apply:MODULE:FUNCTION[:WEIGHTS], or a directory of features"


@dataclasses.dataclass(frozen=True)
class Uses:
    """A network, or features, by what makes it."""

    kind: str  # one of KINDS, or "arrays"
    target: str  # timm's name, MODULE:FUNCTION, or the directory
    weights: str = ""

    def function(self) -> Callable:
        """The user's function. Raises UserError where there is none."""
        module, _, name = self.target.rpartition(":")
        return function(module, name)

    @property
    def code(self) -> str:
        """A digest of the user's code, "" of a library's."""
        return code([self.function()]) if self.kind in CALLABLES else ""


def parse(text: str) -> Uses:
    """Raises UserError on what is none of the forms above."""
    kind, colon, rest = text.partition(":")
    if kind == "timm" and rest:
        name, _, weights = rest.partition(":")
        return Uses(kind, name, weights)
    if kind in CALLABLES:
        module, _, rest = rest.partition(":")
        name, _, weights = rest.partition(":")
        if not (module and name):
            raise UserError("uses", text, EXPECTED)
        return Uses(kind, f"{module}:{name}", weights)
    if colon or not text:
        raise UserError("uses", text, EXPECTED)
    return Uses("arrays", text)


def code(objects: Iterable) -> str:
    """A digest of the source that defines functions and classes: of the files that hold them, or where there is none,
    of their own text; libraries (LIBRARIES) are left out, as their versions are no identity."""
    texts: dict[str, bytes] = {}
    for each in objects:
        module = getattr(each, "__module__", "") or ""
        if module.partition(".")[0] in LIBRARIES:
            continue
        try:
            texts[module] = pathlib.Path(inspect.getsourcefile(each)).read_bytes()
        except (OSError, TypeError):  # of a notebook's cell, or made while running
            texts[f"{module}.{getattr(each, '__qualname__', '')}"] = _source(each)
    return hashlib.sha256(b"".join(texts[name] for name in sorted(texts))).hexdigest() if texts else ""


def _source(each) -> bytes:
    try:
        return inspect.getsource(each).encode()
    except (OSError, TypeError):
        held = getattr(each, "__code__", None)
        return held.co_code + repr(held.co_consts).encode() if held else repr(each).encode()


def function(module: str, name: str) -> Callable:
    """What `name` is in a module, by its name or its file. Raises UserError with the reason."""
    try:
        found = getattr(_imported(module), name, None)
    except UserError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise UserError("uses", f"{module}:{name}", f"a module that can be imported ({reason(error)})") from error
    if not callable(found):
        known = ", ".join(n for n, each in vars(_imported(module)).items() if callable(each) and n[0] != "_")
        raise UserError("uses", f"{module}:{name}", f"a function of that module: {known or 'it has none'}")
    return found


def _imported(module: str):
    """A module by name, from the current directory too; of a file, once, under a name of its own."""
    path = pathlib.Path(module).expanduser()
    if path.suffix != ".py":
        before = list(sys.path)
        sys.path.insert(0, str(pathlib.Path.cwd()))
        try:
            return importlib.import_module(module)
        finally:
            sys.path[:] = before
    if not path.is_file():
        raise UserError("uses", module, "a file that is there")
    name = f"bottleneck_network_{path.resolve()}_{path.stat().st_mtime_ns}"  # edited, it is another one
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = made = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(made)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
