"""What a thing is, as plain data: fields at their default are left out, so that a new field changes no existing key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import weakref
from collections.abc import Mapping

_PLAIN = {str, int, bool, type(None)}


def field(**kwargs):
    """A dataclass field that is no part of the identity: where data lie, how often a run is saved."""
    return dataclasses.field(metadata={"identity": False}, **kwargs)


def canonical(value):
    """`value` as JSON-able data without dataclass fields at their default or marked by `field`; recursively.

    Numbers that are equal are the same (1 and 1.0). Raises TypeError for what has no canonical form.
    """
    kind = type(value)
    if kind in _PLAIN:  # nearly all of a plan's thousands of identities
        return value
    if kind in (list, tuple):
        return [v if type(v) in _PLAIN else canonical(v) for v in value]
    if dataclasses.is_dataclass(value):
        return _stated(value)
    if isinstance(value, Mapping):
        return {str(k): canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [canonical(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if hasattr(value, "tolist"):
        return canonical(value.tolist())
    raise TypeError(f"no canonical form of {type(value).__name__}")


def digest(value, length: int = 16) -> str:
    """A hash of the canonical form of `value`, in hexadecimal digits."""
    plain = json.dumps(canonical(value), sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(plain.encode()).hexdigest()[:length]


def defaults(cls) -> dict:
    """name -> default of every field of dataclass `cls` that is part of the identity and has one, canonical."""
    fields = [f for f in dataclasses.fields(cls) if f.metadata.get("identity", True)]
    return {f.name: canonical(_default(f)) for f in fields if _default(f) is not dataclasses.MISSING}


def _stated(value) -> dict:
    """The fields of a dataclass that are not at their default, however that is written: 1 for 1.0, or a spec of a
    class that has more fields since."""
    stated = {}
    for name, default, written in _fields(type(value)):
        held = getattr(value, name)
        if type(held) is type(default) and held == default:
            continue
        plain = canonical(held)
        if written is None or written != _text(plain):
            stated[name] = plain
    return stated


def _text(plain) -> str:
    return json.dumps(plain, sort_keys=True)


def _default(spec: dataclasses.Field):
    return spec.default_factory() if spec.default_factory is not dataclasses.MISSING else spec.default


def _fields(cls) -> tuple[tuple[str, object, str | None], ...]:
    """(name, default, its canonical text) of every field that is part of the identity; MISSING and None without one."""
    if cls not in _known:
        fields = [f for f in dataclasses.fields(cls) if f.metadata.get("identity", True)]
        texts = {name: _text(default) for name, default in defaults(cls).items()}
        _known[cls] = tuple((f.name, _default(f), texts.get(f.name)) for f in fields)
    return _known[cls]


_known: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
