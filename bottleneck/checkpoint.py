"""The one module that knows Orbax: checkpoints written asynchronously, sealed when read back, verified on every read.

A checkpoint is a directory written by Orbax (which renames it into place when complete) plus its seal, `manifest.json`.
That is written last, after the whole tree has been read back and compared bit by bit with what was saved. A directory
without a manifest was interrupted and is removed; one whose bytes differ from its manifest, or that holds no readable
tree, is `Damaged` and never loaded (Orbax itself restores flipped bits without noticing). Where several processes
share the directory, the first one writes, seals and removes, and the others wait.
"""

from __future__ import annotations

import contextlib
import json
import logging
import pathlib
import shutil
import sys
from collections.abc import Mapping

import jax
import numpy as np
import orbax.checkpoint as ocp

from bottleneck import atomic, processes, seal
from bottleneck.atomic import Full
from bottleneck.errors import UserError
from bottleneck.seal import MANIFEST, Damaged, is_sealed

_TREE = "_METADATA"  # the file by which Orbax describes a saved tree
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)  # what Orbax raises on trees it cannot read

_OVERHEAD = 2**16  # bytes that a checkpoint takes beyond its arrays, at least


def _said_elsewhere(record: logging.LogRecord) -> bool:
    """Whether a log record is the traceback of a failed write in a thread of Orbax, which is raised here as well."""
    return bool(record.exc_info and ("orbax" in record.pathname or atomic.is_full(record.exc_info[1])))


for _name in ("absl", "asyncio"):
    logging.getLogger(_name).addFilter(lambda record: not _said_elsewhere(record))


def _alone() -> ocp.options.MultiprocessingOptions:
    """Orbax, as if there were no other processes: they are waited for here, or have work of their own."""
    index = processes.index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process {index}"
    )


def _reader() -> ocp.Checkpointer:
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_alone())
    return ocp.Checkpointer(handler, multiprocessing_options=_alone())


class Writer:
    """Writes checkpoints in the background, one at a time; sealed when the next one starts, or by `wait`. Of several
    processes the first one writes, and all wait where it does.

    A write that fails is raised by the next call, as Full where space or quota has run out, and is never sealed.
    """

    def __init__(self):
        _hush()
        handler = ocp.StandardCheckpointHandler(multiprocessing_options=_alone())
        self._orbax = ocp.AsyncCheckpointer(handler, multiprocessing_options=_alone())
        self._pending: tuple[pathlib.Path, dict, dict] | None = None
        self._failed = False

    def save(self, path: pathlib.Path, tree, **meta) -> None:
        """Starts writing `tree` (nested dicts of arrays) to `path`, replacing what is there. Raises Full.

        `meta` becomes part of the manifest.
        """
        self.wait()
        processes.primary(lambda: remove(path))
        copy = jax.tree.map(np.array, tree)  # training goes on in place, and the seal compares with it
        if processes.first():
            with self._writing(path):
                _check_room(path, copy)
                self._orbax.save(path.absolute(), args=ocp.args.StandardSave(copy))
        self._pending = path, copy, meta

    def wait(self) -> None:
        """Blocks until the checkpoint in flight, if any, is on disk, read back and sealed. Raises Full, Damaged."""
        pending, self._pending = self._pending, None  # whatever fails, it is not sealed later
        if pending is None:
            return
        processes.primary(lambda: self._seal(*pending))

    def _seal(self, path: pathlib.Path, copy, meta: dict) -> None:
        with self._writing(path):
            self._orbax.wait_until_finished()
            _read_back(path, copy)
            atomic.write(path / MANIFEST, seal.manifest(path, meta))

    def close(self) -> None:
        try:
            self.wait()
        finally:
            # Orbax raises a failure that we have raised before a second time.
            with contextlib.suppress(Exception) if self._failed else contextlib.nullcontext():
                self._orbax.close()

    @contextlib.contextmanager
    def _writing(self, path: pathlib.Path):
        """Around what writes the checkpoint `path`: if it fails nothing is left of it, and a full disk raises Full."""
        try:
            with atomic.space(path):
                yield
        except Exception:
            self._failed = True
            for part in (path, *path.parent.glob(f"{path.name}.orbax*")):  # Orbax writes beside it first
                remove(part)
            raise


def _hush() -> None:
    """What Orbax has in flight when a write fails finds its event loop gone: no news beside the error raised."""
    shown = sys.unraisablehook
    if getattr(shown, "hushed", False):
        return

    def hook(ignored):
        if not (ignored.exc_type is RuntimeError and str(ignored.exc_value) == "Event loop is closed"):
            shown(ignored)

    hook.hushed = True
    sys.unraisablehook = hook


def verify(path: pathlib.Path) -> dict:
    """The manifest of `path`, after comparing every file with it and looking for a tree. Raises Damaged."""
    manifest = seal.verify(path)
    _described(path)
    return manifest


def load(path: pathlib.Path):
    """The verified tree at `path` as nested dicts of NumPy arrays, whatever devices wrote it. Raises Damaged."""
    verify(path)
    return _read(path)


def _described(path: pathlib.Path) -> dict:
    """The names of the tree at `path`, with nothing at its leaves. Raises Damaged where it has none.

    Read here and not by Orbax, which opens every array for that, takes many times as long and never gives back about
    1/10 MiB that this costs in TensorStore (measured on the tests' study: 1.2 MiB a point of a sweep, now 0.2).
    """
    tree: dict = {}
    try:
        for entry in json.loads((path / _TREE).read_text())["tree_metadata"].values():
            *above, last = (key["key"] for key in entry["key_metadata"])
            node = tree
            for name in above:
                node = node.setdefault(name, {})
            node[last] = 0
    except _UNREADABLE as error:
        raise Damaged(path, _TREE, "describes no tree") from error
    if not tree:
        raise Damaged(path, _TREE, "describes no tree")
    return tree


def _read(path: pathlib.Path):
    with _reader() as reader:
        arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), _described(path))
        try:
            return reader.restore(path.absolute(), args=ocp.args.PyTreeRestore(restore_args=arguments))
        except _UNREADABLE as error:
            raise Damaged(path, _TREE, f"describes a tree that cannot be read ({str(error)[:200]})") from error


def foreign(path: pathlib.Path, where: Mapping[str, str] | None = None) -> dict:
    """Variables from a checkpoint that somebody else wrote with Orbax: collection -> nested dicts of NumPy arrays.

    `path` holds one saved tree, or is a step of a CheckpointManager with one in it: variables, a TrainState, a tree
    with either inside, or bare parameters. `where` gives collections their places in it ({"params": "ema/params",
    "batch_stats": "state/batch_stats"}); by default they are the one `params` nearest to the top and the
    `batch_stats` beside it. Nothing else is read (no optimiser state), whatever devices wrote it. Raises UserError.
    """
    place = _saved_tree(pathlib.Path(path))
    try:
        with _reader() as reader:
            described = reader.metadata(place.absolute()).item_metadata
            if described is None:
                raise ValueError("its metadata are incomplete")
            tree = described.tree
            where = {c: tuple(p.split("/")) for c, p in where.items()} if where else _collections(path, tree)
            item = _pruned(path, tree, where)
            arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
            restored = reader.restore(
                place.absolute(), args=ocp.args.PyTreeRestore(item, restore_args=arguments, partial_restore=True)
            )
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError("checkpoint", str(path), f"what Orbax can read ({str(error).splitlines()[0]})") from error
    return {collection: _at(restored, keys) for collection, keys in where.items()}


def _saved_tree(path: pathlib.Path) -> pathlib.Path:
    """`path` or the one directory in it that holds a tree Orbax saved. Raises UserError naming those further down."""
    if (path / _TREE).is_file():
        return path
    inside = sorted(path.glob(f"*/{_TREE}"))
    if len(inside) == 1:
        return inside[0].parent
    below = [str(p.parent.relative_to(path)) for p in (*inside, *sorted(path.glob(f"*/*/{_TREE}")))]
    raise UserError(
        "checkpoint",
        str(path),
        "a directory of one tree saved by Orbax" + (f"; below it are {', '.join(below[:8])}" if below else ""),
    )


def _collections(path: pathlib.Path, tree) -> dict[str, tuple[str, ...]]:
    """Where `tree` has `params`, nearest to its top, and `batch_stats` beside them; bare parameters are all of it."""
    level = {(): tree}
    while level := {keys: node for keys, node in level.items() if isinstance(node, Mapping)}:
        nearest = [keys for keys, node in level.items() if isinstance(node.get("params"), Mapping)]
        if len(nearest) > 1:
            places = ", ".join(map("/".join, nearest))
            raise UserError("checkpoint", str(path), f"to be told `where` the parameters are: under {places}")
        if nearest:
            (keys,), node = nearest, level[nearest[0]]
            if "params" in node["params"]:  # a TrainState whose params are all variables
                keys, node = (*keys, "params"), node["params"]
            return {collection: (*keys, collection) for collection in ("params", "batch_stats") if node.get(collection)}
        level = {(*keys, key): child for keys, node in level.items() for key, child in node.items()}
    return {"params": ()}


def _pruned(path: pathlib.Path, tree, where: dict) -> dict:
    """`tree` with nothing but the subtrees at the places of `where`."""
    kept: dict = {}
    for keys in where.values():
        try:
            subtree = _at(tree, keys)
        except (KeyError, TypeError):
            top = ", ".join(map(str, tree))
            raise UserError("checkpoint", str(path), f"a tree at {'/'.join(keys)!r}; at the top it has {top}") from None
        if not keys:
            return subtree
        inner = kept
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = subtree
    return kept


def _at(tree, keys: tuple[str, ...]):
    for key in keys:
        tree = tree[key]
    return tree


def steps(directory: pathlib.Path) -> list[int]:
    """Sealed steps in `directory`, ascending, without those whose seal is damaged or of nothing."""
    return [int(path.name) for path in _sealed(directory) if _whole_seal(path)]


def damaged(directory: pathlib.Path) -> list[Damaged]:
    """What `verify` says of the sealed steps in `directory` that are not what was written, ascending."""
    errors = []
    for path in _sealed(directory):
        try:
            verify(path)
        except Damaged as error:
            errors.append(error)
    return errors


def _sealed(directory: pathlib.Path) -> list[pathlib.Path]:
    sealed = [p for p in directory.glob("[0-9]*") if p.name.isdigit() and is_sealed(p)]
    return sorted(sealed, key=lambda path: int(path.name))


def _whole_seal(path: pathlib.Path) -> bool:
    try:
        return bool(seal.read(path))
    except Damaged:
        return False


def remove(path: pathlib.Path) -> None:
    """Removes a checkpoint, if it is there: the manifest first, so that a kill leaves nothing that looks complete."""
    (path / MANIFEST).unlink(missing_ok=True)
    if path.exists():
        shutil.rmtree(path)


def remove_partial(directory: pathlib.Path) -> None:
    """Removes what an interrupted write left behind, and what has lost its seal."""
    for path in directory.glob("*"):
        if path.is_dir() and not is_sealed(path):
            print(f"{path} has no {MANIFEST}: it was cut short, or damaged since; removed", flush=True)
            shutil.rmtree(path)


def _check_room(path: pathlib.Path, tree) -> None:
    """Raises Full where there is no room for `tree`: a write that fails half-way is cleaned up, but not as quietly."""
    if atomic.free(path) < sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) + _OVERHEAD:
        raise Full(path)


def _read_back(path: pathlib.Path, copy) -> None:
    """Raises Damaged, or Full, unless the whole tree at `path` is `copy`, bit for bit."""
    try:
        back = _read(path)
    except Damaged:
        _check_room(path, copy)  # a full disk that nobody reported
        raise
    if jax.tree.structure(back) != jax.tree.structure(copy):
        raise Damaged(path, _TREE, "describes another tree than was saved")
    for (where, new), old in zip(jax.tree_util.tree_leaves_with_path(back), jax.tree.leaves(copy), strict=True):
        if new.dtype != old.dtype or new.shape != old.shape or new.tobytes() != old.tobytes():
            raise Damaged(path, jax.tree_util.keystr(where), "was not read back as it was saved")
