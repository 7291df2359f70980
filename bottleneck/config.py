"""Config files: loading, command-line overrides, and where the data lie.

A config file is Python with `get_config(arg: str = "") -> ml_collections.ConfigDict`. `build` turns what it returns
into frozen dataclasses, refusing unknown keys and values of the wrong type with a one-line `UserError`; `override`
reads the text of a command line by the annotations of the same dataclasses, whatever the file happens to hold.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterable, Mapping

import ml_collections

from bottleneck import typed
from bottleneck.errors import UserError, nearest
from bottleneck.features.networks import uses
from bottleneck.typed import build, check, choices, hints_of, read, to_dict  # noqa: F401  (what users of configs need)

PLACES = ("path", "data_dir", "arrays")  # keys that say where data lie: a text, or several in a sequence
NETWORKS = "uses"  # the key that says which network an audit reads: code, weights or features in files
START = "init"  # the study's own key that does; a model's of this name says something else


def parse_arg(arg: str, forms: Mapping[str, dict] | None = None, /, **defaults):
    """Parses a config argument such as `smoke,model=resnet20` against its defaults, which are the schema.

    A bare name sets a boolean default to True. `forms`: by such a name, the defaults of that form of the study in the
    place of the others; what is given wins over both. Raises UserError on an unknown name, a value of the wrong type,
    or two forms at once. Returns a ConfigDict with the keys of `defaults`.
    """
    values = {}
    for item in filter(None, (arg or "").split(",")):
        name, given, text = item.partition("=")
        if name not in defaults:
            raise UserError(
                f"config argument {name}", item, f"one of {', '.join(sorted(defaults))}{nearest(name, defaults)}"
            )
        if not given and not isinstance(defaults[name], bool):
            raise UserError(f"config argument {name}", item, f"{name}=VALUE")
        values[name] = read(_like(defaults[name]), text, f"config argument {name}") if given else True
    if values.get("smoke") and values.get("full"):
        raise UserError("config argument", arg, "smoke or full, not both")
    own = next((held for form, held in (forms or {}).items() if values.get(form)), {})
    return ml_collections.ConfigDict({**defaults, **own, **values})


def load(
    path_and_arg: str,
    overrides: Iterable[tuple[str, str]] = (),
    schema: type | None = None,
    resolve: Callable[[tuple[str, ...], Mapping], type | None] | None = None,
) -> ml_collections.ConfigDict:
    """Reads `path.py` or `path.py:arg`, applies `("a.b", "text")` overrides in order, and returns the config locked.

    `schema` is the dataclass that `build` will make of it; `resolve` as in `override`. Raises UserError, of an override
    that no point of the config's sweep would see, too.
    """
    path, _, arg = path_and_arg.partition(".py:")
    config = get(pathlib.Path(path if path.endswith(".py") else path + ".py").expanduser(), arg)
    return overridden(config, overrides, schema, resolve)


def overridden(
    config: ml_collections.ConfigDict,
    overrides: Iterable[tuple[str, str]] = (),
    schema: type | None = None,
    resolve: Callable[[tuple[str, ...], Mapping], type | None] | None = None,
) -> ml_collections.ConfigDict:
    """`config` itself with these overrides, locked; as `load`, of a config that is no file."""
    overrides = tuple(overrides)
    for key, text in overrides:
        override(config, key, text, schema, resolve)
    _check_seen(config, overrides)
    return config.lock()


def _check_seen(config: ml_collections.ConfigDict, overrides: tuple[tuple[str, str], ...]) -> None:
    """Raises UserError where every point of a sweep, as its axes or points say, sets the key of an override itself."""
    swept = to_dict(config).get("sweep")
    listed = (swept.get("points") or (swept.get("axes"),)) if isinstance(swept, Mapping) else ()
    for key, text in overrides if isinstance(listed, tuple) and listed else ():
        if all(_sets(point, key.split(".")) for point in listed):
            raise UserError(f"--config.{key}", text, "a key that the points of this sweep do not set themselves")


def _sets(node, keys: list[str]) -> bool:
    """Whether the value at `keys`, which is no dictionary, is in `node`."""
    for name in keys:
        if not isinstance(node, Mapping) or name not in node:
            return False
        node = node[name]
    return not isinstance(node, Mapping)


def get(path: pathlib.Path, arg: str = "") -> ml_collections.ConfigDict:
    """What `get_config(arg)` of the file at `path` returns; a config may build on another's this way.

    The file is run anew at every call, and nothing is written beside it.
    """
    if not path.is_file():
        raise UserError("--config", str(path), "a Python file with get_config()")
    try:
        config = _run(path.absolute(), arg)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's own file does wrong, and where
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path.absolute())]
        where = f"line {lines[-1]}: " if lines else ""
        raise UserError("--config", str(path), f"a file that runs ({where}{type(error).__name__}: {error})") from error
    if isinstance(config, Mapping):
        config = ml_collections.ConfigDict(config)
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError("--config", str(path), f"a ConfigDict from get_config (it returns {type(config).__name__})")
    return config.unlock()


def _run(path: pathlib.Path, arg: str):
    """Runs the file as a module of its own, known to `sys.modules` (dataclasses look there) only meanwhile."""
    module = types.ModuleType(f"config {path}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
        if not hasattr(module, "get_config"):
            raise UserError("--config", str(path), "a file that defines get_config(arg='')")
        return module.get_config(arg) if arg else module.get_config()
    finally:
        sys.modules.pop(module.__name__, None)


def override(config: ml_collections.ConfigDict, key: str, text: str, schema=None, resolve=None) -> None:
    """Sets the dotted `key` from command-line `text`, read by the annotations of dataclass `schema`.

    Where these say no more than "a dictionary", `resolve(path, node)` may know the dataclass of the dictionary `node`
    at `path` (a source of that name, say), whose field, or `name`, the next key is. Where nothing is known, the value
    held there is the type, and any literal is taken where there is none. Raises UserError at `--config.key`.
    """
    try:
        _set(config, key.split("."), text, schema or typing.Any, resolve)
    except UserError as error:
        raise UserError(f"--config.{key}", text, error.expected) from None


def _set(node, keys: list[str], text: str, hint, resolve) -> None:
    """As `override`, from `node` annotated `hint` on. Raises UserError whose `expected` alone counts."""
    for depth, name in enumerate(keys[:-1]):
        hint, held = _inside(hint, name, tuple(keys[:depth]), node, resolve), node.get(name)
        if held is None and (name not in node or hint is not typing.Any):
            if not typed.has_keys(hint):
                raise UserError(name, text, f"no key below {name!r}, which is {typed.describe(hint)}")
            with node.ignore_type():
                node[name] = held = ml_collections.ConfigDict()
        if not isinstance(held, ml_collections.ConfigDict):
            raise UserError(name, text, f"an existing key ({name!r} holds {held!r} and no keys)")
        node = held
    hint = _inside(hint, keys[-1], tuple(keys[:-1]), node, resolve)
    value = read(_like(node.get(keys[-1])) if hint is typing.Any else hint, text, keys[-1])
    try:
        with node.ignore_type():
            node[keys[-1]] = ml_collections.ConfigDict(value) if isinstance(value, Mapping) else value
    except (TypeError, ValueError):
        raise UserError(keys[-1], text, "a dictionary literal (names without dots)") from None


def _inside(hint, name: str, path: tuple[str, ...], node, resolve):
    """The annotation of key `name` of the dictionary `node` annotated `hint`; typing.Any where nothing is known."""
    known = None
    for choice in typed.choices(hint):
        values = typing.get_args(choice)[1:] if typing.get_origin(choice) is dict else ()
        if values and values[0] is not typing.Any:
            return values[0]
        known = known or (typed.hints_of(choice) if dataclasses.is_dataclass(choice) else None)
    if known is None and resolve and (cls := resolve(path, node)):
        known = {"name": str} | typed.hints_of(cls) | {"name": str}  # first, and any: another name is another class
    if known and name not in known:
        raise UserError(name, None, f"a known key{nearest(name, known)}; here: {', '.join(known)}")
    return known[name] if known else typing.Any


def _like(value):
    """An annotation for what replaces `value` where no schema knows better; `build` has the last word."""
    if isinstance(value, Mapping | ml_collections.ConfigDict):
        return dict
    if isinstance(value, tuple | list):
        return tuple
    if isinstance(value, int) and not isinstance(value, bool):
        return int | typing.Any  # it may stand for durations such as "5 epochs"
    return typing.Any if value is None else type(value) | None


def written(value, resolve: Callable[[tuple[str, ...], Mapping], type | None], path: tuple[str, ...] = ()):
    """What `build` has made, as plain data with every key, those that the config left out at their default.

    `resolve` as in `override`: the dictionaries it knows have all keys of their dataclass, and a name. Raises UserError
    where one cannot be built.
    """
    if dataclasses.is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {key: written(each, resolve, (*path, key)) for key, each in held.items()}
    if isinstance(value, Mapping) and (cls := resolve(path, value)):
        own = {key: each for key, each in value.items() if key != "name" or "name" in hints_of(cls)}
        return {"name": value.get("name", path[-1]), **written(build(cls, own, ".".join(path)), resolve, path)}
    if isinstance(value, Mapping):
        return {key: written(each, resolve, (*path, key)) for key, each in value.items()}
    return value


def absolute(config, cwd: pathlib.Path | None = None) -> dict:
    """The config as plain data whose places of data hold from anywhere: after `cwd` (default: here), `~` expanded.

    Those are the texts at keys named in PLACES, at any depth, at the study's `init`, and the files of an audit's
    networks, but for empty ones and addresses (gs://...). It is the same as written and made absolute, and what a hash
    of the config is made of.
    """
    cwd = pathlib.Path(cwd or pathlib.Path.cwd()).absolute()
    plain = to_dict(config)
    swept = {key: _listed(value) for key, value in plain.items() if key == "sweep"}
    return _placed({**plain, **swept}, cwd, place=False, top=True)


def _placed(node, cwd: pathlib.Path, place: bool, top: bool):
    """`node` with its places made absolute; `place`: whether the texts in it are places themselves; `top`: whether its
    keys are the study's own, as those of a sweep's axes and points are."""
    if isinstance(node, Mapping):
        return {
            key: _networks(value, cwd)
            if key == NETWORKS
            else _placed(value, cwd, key in PLACES or top and key == START, top and key in ("sweep", "axes", "points"))
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return type(node)(_placed(value, cwd, place, top) for value in node)
    return _from(cwd, node) if place and isinstance(node, str) else node


def _from(cwd: pathlib.Path, text: str) -> str:
    return str(cwd / os.path.expanduser(text)) if text and "://" not in text else text


def _networks(node, cwd: pathlib.Path):
    """What an audit's network `uses`, one text or several, with its file of code, its weights or its directory of
    features absolute; a module's name stays."""
    if isinstance(node, list | tuple):
        return type(node)(_networks(each, cwd) for each in node)
    try:
        made = uses.parse(node)
    except (UserError, AttributeError):  # what `build` refuses
        return node
    if made.kind == "arrays":
        return _from(cwd, made.target)
    module, colon, name = made.target.rpartition(":")
    target = f"{_from(cwd, module) if module.endswith('.py') else module}{colon}{name}"
    return ":".join(filter(None, (made.kind, target, _from(cwd, made.weights))))


def _listed(node, place: bool = False):
    """Axes of a sweep, with the places that the command line gives as a,b in a sequence."""
    if isinstance(node, Mapping):
        return {key: _listed(value, key in PLACES) for key, value in node.items()}
    return read(tuple, node, "sweep.axes") if place and isinstance(node, str) else node
