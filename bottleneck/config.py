"""Config files to typed data: loading, command-line overrides, and dataclasses built with errors a user can act on.

A config file is Python with `get_config(arg: str = "") -> ml_collections.ConfigDict`. `build` turns a (nested) mapping
into a frozen dataclass, refusing unknown keys and values of the wrong type with a one-line `UserError`.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
import math
import pathlib
import traceback
import types
import typing
from collections.abc import Iterable, Mapping

import ml_collections

from bottleneck.errors import UserError


def parse_arg(arg: str, /, **defaults):
    """Parses a config argument such as `smoke,model=resnet20` against its defaults, which are the schema.

    A bare name sets a boolean default to True. Raises UserError on an unknown name or a value of the wrong type.
    Returns a ConfigDict with the keys of `defaults`.
    """
    values = dict(defaults)
    for item in filter(None, (arg or "").split(",")):
        name, given, text = item.partition("=")
        if name not in defaults:
            raise UserError(f"config argument {name}", item, f"one of {', '.join(sorted(defaults))}")
        if not given and not isinstance(defaults[name], bool):
            raise UserError(f"config argument {name}", item, f"{name}=VALUE")
        values[name] = _convert(f"config argument {name}", text, defaults[name]) if given else True
    return ml_collections.ConfigDict(values)


def load(path_and_arg: str, overrides: Iterable[tuple[str, str]] = ()) -> ml_collections.ConfigDict:
    """Reads `path.py` or `path.py:arg`, applies `("a.b", "text")` overrides in order, and returns the config locked."""
    path, _, arg = path_and_arg.partition(".py:")
    config = get(pathlib.Path(path if path.endswith(".py") else path + ".py"), arg)
    for key, text in overrides:
        override(config, key, text)
    return config.lock()


def get(path: pathlib.Path, arg: str = "") -> ml_collections.ConfigDict:
    """What `get_config(arg)` of the file at `path` returns; a config may build on another's this way."""
    if not path.is_file():
        raise UserError("--config", str(path), "a Python file with get_config()")
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError("--config", str(path), "a file that defines get_config(arg='')")
        config = module.get_config(arg) if arg else module.get_config()
    except UserError:
        raise
    except Exception as error:  # whatever the user's own file does wrong, and where
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path.absolute())]
        where = f"line {lines[-1]}: " if lines else ""
        raise UserError("--config", str(path), f"a file that runs ({where}{type(error).__name__}: {error})") from error
    if isinstance(config, Mapping):
        config = ml_collections.ConfigDict(config)
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError("--config", str(path), f"a ConfigDict from get_config (it returns {type(config).__name__})")
    return config.unlock()


def override(config: ml_collections.ConfigDict, key: str, text: str) -> None:
    """Sets the dotted `key` from command-line `text`: typed by the value it replaces, any literal where there is none.

    Keys the file leaves to their defaults can be set too; `build` refuses those that do not exist.
    """
    *parents, leaf = key.split(".")
    node = config
    for name in parents:
        if name not in node:
            node[name] = ml_collections.ConfigDict()
        node = node[name]
        if not isinstance(node, ml_collections.ConfigDict):
            raise UserError(f"--config.{key}", text, f"an existing key ({name!r} holds {node!r} and no keys)")
    value = _convert(f"--config.{key}", text, node.get(leaf))
    with node.ignore_type():
        node[leaf] = value


def _convert(key, text, default):
    if isinstance(default, str):
        return None if text == "None" else text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = {"true": True, "false": False, "none": None}.get(text.lower(), text)
    if default is None:
        return value
    if isinstance(default, Mapping | ml_collections.ConfigDict):
        try:
            return ml_collections.ConfigDict({**value})
        except (TypeError, ValueError):  # no dictionary, or names that hold dots
            raise UserError(key, text, "a dictionary literal (names without dots), or a key inside it") from None
    if isinstance(default, tuple | list):
        if isinstance(value, str):  # names need no quotes: a,b
            value = [part.strip() for part in value.split(",")]
        value = tuple(value) if isinstance(value, tuple | list) else (value,)
        return value
    if value is None:
        return None  # `build` says whether None is allowed
    kind = type(default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # An int default may stand for "number or text" (durations such as 5epochs): build() has the last word.
    if kind is bool and not isinstance(value, bool) or kind is float and not isinstance(value, float | str):
        raise UserError(key, text, f"a {kind.__name__}")
    return value


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
    hints, values = _hints(cls), {}
    for key, value in mapping.items():
        where = f"{path}.{key}" if path else key
        if key not in hints:
            raise UserError(where, to_dict(value), f"a known key; here: {_fields(cls)}")
        values[key] = check(hints[key], value, where)
    for field in dataclasses.fields(cls):
        absent = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.name not in values and absent and field.init:
            raise UserError(f"{path}.{field.name}" if path else field.name, None, _describe(hints[field.name]))
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
    if origin in (typing.Union, types.UnionType):
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
    raise UserError(where, to_dict(value), _describe(hint))


@functools.cache
def _hints(cls):
    return {k: v for k, v in typing.get_type_hints(cls).items() if k in {f.name for f in dataclasses.fields(cls)}}


def _fields(cls):
    return ", ".join(f.name for f in dataclasses.fields(cls))


def _describe(hint) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(repr, args))
    if origin in (typing.Union, types.UnionType):
        return " or ".join("None" if a is type(None) else _describe(a) for a in args)
    if dataclasses.is_dataclass(hint):
        return f"a dictionary of {_fields(hint)}"
    if origin is tuple:
        return "a sequence of " + " and ".join(_describe(a) for a in args if a is not Ellipsis)
    names = {
        int: "an integer",
        float: "a number",
        bool: "True or False",
        str: "text",
        dict: "a dictionary",
        tuple: "a sequence",
    }
    return names.get(origin or hint, getattr(hint, "__name__", str(hint)))
