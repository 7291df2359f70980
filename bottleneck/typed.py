"""Plain values and text as what annotations say: dataclasses built with errors a user can act on.

`build` and `check` take the values of a config, `read` the text of a command line; both accept the same.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping

import ml_collections

from bottleneck.errors import UserError, nearest

_UNIONS = (typing.Union, types.UnionType)


def to_dict(node):
    """ConfigDicts and mappings to plain dicts, lists to tuples, recursively."""
    if isinstance(node, ml_collections.ConfigDict | Mapping):
        return {k: to_dict(v) for k, v in node.items()}
    return tuple(map(to_dict, node)) if isinstance(node, list | tuple) else node


def build(cls, mapping, path: str = ""):
    """Builds dataclass `cls` from `mapping`, recursively and strictly.

    Raises UserError with the dotted path on an unknown key, a missing one, or a value of another type than annotated.
    """
    if isinstance(mapping, cls):
        return mapping
    if not isinstance(mapping, ml_collections.ConfigDict | Mapping):
        raise UserError(path, mapping, f"a dictionary of {_fields(cls)}")
    hints, values = hints_of(cls), {}
    for key, value in mapping.items():
        where = f"{path}.{key}" if path else key
        if key not in hints:
            raise UserError(where, to_dict(value), f"a known key{nearest(key, hints)}; here: {_fields(cls)}")
        values[key] = check(hints[key], value, where)
    for field in dataclasses.fields(cls):
        absent = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.name not in values and absent and field.init:
            raise UserError(f"{path}.{field.name}" if path else field.name, None, describe(hints[field.name]))
    try:
        return cls(**values)
    except UserError as error:
        raise error.under(path) from None


def check(hint, value, where: str):
    """`value` as annotation `hint`; raises UserError at `where` if it is of another type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Any:
        return to_dict(value)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    if origin in _UNIONS:
        if value is None and type(None) in args:
            return None
        choices = [a for a in args if a is not type(None)]
        for choice in choices:
            try:
                return check(choice, value, where)
            except UserError as error:
                if len(choices) == 1 and error.key != where:  # the mistake lies deeper
                    raise
    elif origin is typing.Literal:
        if value in args:
            return value
    elif origin is dict or hint is dict:
        if isinstance(value, ml_collections.ConfigDict | Mapping):
            if bad := [k for k in value if not isinstance(k, str)]:
                raise UserError(where, bad[0], "keys that are text")
            inner = args[1] if args else typing.Any
            return {k: check(inner, v, f"{where}.{k}") for k, v in value.items()}
    elif origin is tuple or hint is tuple:
        if isinstance(value, list | tuple):
            if not args or args[-1] is Ellipsis:
                return tuple(check(args[0] if args else typing.Any, v, where) for v in value)
            if len(value) == len(args):
                return tuple(check(a, v, where) for a, v in zip(args, value, strict=True))
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif isinstance(value, hint):
        return value
    raise UserError(where, to_dict(value), describe(hint))


@functools.cache
def hints_of(cls) -> dict:
    """The annotation of every field of dataclass `cls`."""
    return {k: v for k, v in typing.get_type_hints(cls).items() if k in {f.name for f in dataclasses.fields(cls)}}


def _fields(cls):
    return ", ".join(f.name for f in dataclasses.fields(cls))


_NAMES = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("True or False", "True or False"),
    str: ("text", "texts"),
    dict: ("a dictionary", "dictionaries"),
    tuple: ("a sequence", "sequences"),
}


def describe(hint) -> str:
    """An annotation in words, as in "expected an integer or None"."""
    return _described(hint, many=False)


def _described(hint, many: bool) -> str:
    """As `describe`, of one value or of `many`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return ("any of " if many else "one of ") + ", ".join(map(repr, args))
    if origin in _UNIONS:
        return " or ".join("None" if a is type(None) else _described(a, many) for a in args)
    if dataclasses.is_dataclass(hint):
        return f"{_NAMES[dict][many]} of {_fields(hint)}"
    if origin is tuple:
        return f"{_NAMES[tuple][many]} of {_items_of(args)}"
    if (origin or hint) in _NAMES:
        return _NAMES[origin or hint][many]
    return getattr(hint, "__name__", str(hint))


def _items_of(args: tuple) -> str:
    """What a sequence is of, from its annotation: any number of a kind, so many of it, or one after the other."""
    if args[-1] is Ellipsis:
        return _described(args[0], many=True)
    if len(args) > 1 and len(set(args)) == 1:
        return f"{len(args)} {_described(args[0], many=True)}"
    *firsts, last = map(describe, args)
    return " and ".join(filter(None, (", ".join(firsts), last)))


def read(hint, text: str, where: str):
    """Command-line `text` as annotation `hint`, by what `check` accepts; sequences need no quotes (a,b).

    Dictionaries are literals whose values are left to `check`. Raises UserError at `where`.
    """
    try:
        return _read(hint, text)
    except ValueError:
        expected = describe(hint) + (" literal, or a key inside it" if has_keys(hint) else "")
        raise UserError(where, text, expected) from None


def _read(hint, text: str):
    """As `read`; raises ValueError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        for choice in sorted(args, key=lambda choice: _rank(choice, text)):
            try:
                return _read(choice, text)
            except ValueError:
                continue
    elif hint is typing.Any:
        return _literal(text)
    elif hint is str:
        return text
    elif origin is tuple or hint is tuple:
        items = _items(text)
        hints = args if args and args[-1] is not Ellipsis else (args[0] if args else typing.Any,) * len(items)
        if len(hints) == len(items):
            return tuple(_read(h, item if isinstance(item, str) else repr(item)) for h, item in zip(hints, items))
    elif hint is int:
        number = float(text) if set("eE.") & set(text) else int(text)  # 1e2 is a whole number
        if isinstance(number, int) or number.is_integer():
            return int(number)
    elif hint is float:
        if math.isfinite(float(text)):
            return float(text)
    elif has_keys(hint):
        if isinstance(value := _literal(text), Mapping):
            return value
    else:
        by_text = {str(value): value for value in {type(None): (None,), bool: (True, False)}.get(hint, args)}
        alias = {"true": "True", "false": "False"}.get(text, text) if hint is bool else text
        if alias in by_text:
            return by_text[alias]
    raise ValueError(text)


def _rank(hint, text: str) -> int:
    """In which order the members of a union are tried: from narrow to wide; sequences first if they look it."""
    if (typing.get_origin(hint) or hint) is tuple:
        return 1 if set(",[(") & set(text) else 5
    return {type(None): 0, bool: 0, int: 2, float: 3, str: 4, typing.Any: 6}.get(hint, 1)


def _literal(text: str):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _items(text: str) -> list:
    """The items of a sequence: a literal's, or what stands between commas."""
    value = _literal(text)
    if isinstance(value, tuple | list):
        return list(value)
    if not isinstance(value, str):
        return [value]
    inner = value.strip()
    inner = inner[1:-1] if inner[:1] + inner[-1:] in ("[]", "()") else inner
    return [part.strip() for part in inner.split(",") if part.strip()]


def has_keys(hint) -> bool:
    """Whether a value annotated `hint` may be a dictionary."""
    dictionary = (typing.Any, dict)
    return any(c in dictionary or typing.get_origin(c) is dict or dataclasses.is_dataclass(c) for c in choices(hint))


def choices(hint) -> tuple:
    """The members of a union, None left out; of anything else, itself."""
    args = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)
    return tuple(arg for arg in args if arg is not type(None))
