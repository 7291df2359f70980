"""What a thing is, as plain data: fields at their default are left out, so that a new field changes no existing key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping


def field(**kwargs):
    """A dataclass field that is no part of the identity: where data lie, how often a run is saved."""
    return dataclasses.field(metadata={"identity": False}, **kwargs)


def canonical(value):
    """`value` as JSON-able data without dataclass fields at their default or marked by `field`; recursively.

    Numbers that are equal are the same (1 and 1.0). Raises TypeError for what has no canonical form.
    """
    if dataclasses.is_dataclass(value):
        plain = {}
        for spec in dataclasses.fields(value):
            held = getattr(value, spec.name)
            if spec.metadata.get("identity", True) and not _is_default(spec, held):
                plain[spec.name] = canonical(held)
        return plain
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


def _default(spec: dataclasses.Field):
    return spec.default_factory() if spec.default_factory is not dataclasses.MISSING else spec.default


def _is_default(spec: dataclasses.Field, held) -> bool:
    default = _default(spec)
    return default is not dataclasses.MISSING and type(default) is type(held) and default == held
