"""The one module that knows Orbax: checkpoints written asynchronously, sealed when read back, verified on every read.

A checkpoint is a directory written by Orbax (which renames it into place when complete) plus `manifest.json`, the seal,
with the SHA-256 of every file and of itself. It is written last, after the whole tree has been read back and compared
bit by bit with what was saved. A directory without a manifest was interrupted and is removed; one whose bytes differ
from its manifest, or that holds no readable tree, is `Damaged` and never loaded (Orbax itself restores flipped bits
without noticing). Where several processes share the directory, the first one seals and removes, and the others wait.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import pathlib
import shutil
from collections.abc import Callable, Mapping

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from bottleneck import atomic
from bottleneck.atomic import Full
from bottleneck.errors import UserError

MANIFEST = "manifest.json"
_TREE = "_METADATA"  # the file by which Orbax describes a saved tree
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)  # what Orbax raises on trees it cannot read

# Orbax prints the traceback of a failed write from its own thread, and raises the error here as well.
logging.getLogger("absl").addFilter(lambda record: not (record.exc_info and "orbax" in record.pathname))


class Damaged(RuntimeError):
    """A checkpoint that is not what was written. `path` is the checkpoint, `file` the first bad file."""

    def __init__(self, path, file, reason: str = "does not match its SHA-256"):
        super().__init__(f"{path} is damaged: {file} {reason}")
        self.path, self.file = pathlib.Path(path), file


def primary(action: Callable[[], None]) -> None:
    """Runs `action` on the first process, after all have come here (what they read before is as it was); all wait."""

    def meet(point):
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"bottleneck.checkpoint {point}")

    meet("before")
    if jax.process_index() == 0:
        action()
    meet("after")


class Writer:
    """Writes checkpoints in the background, one at a time; sealed when the next one starts, or by `wait`.

    A write that fails is raised by the next call, as Full where space or quota has run out, and is never sealed.
    """

    def __init__(self):
        self._orbax = ocp.AsyncCheckpointer(ocp.StandardCheckpointHandler())
        self._pending: tuple[pathlib.Path, dict, dict] | None = None

    def save(self, path: pathlib.Path, tree, **meta) -> None:
        """Starts writing `tree` (nested dicts of arrays) to `path`, replacing what is there. Raises Full.

        `meta` becomes part of the manifest.
        """
        self.wait()
        primary(lambda: remove(path))
        copy = jax.tree.map(np.array, tree)  # training goes on in place, and the seal compares with it
        with _written(path):
            self._orbax.save(path.absolute(), args=ocp.args.StandardSave(copy))
        self._pending = path, copy, meta

    def wait(self) -> None:
        """Blocks until the checkpoint in flight, if any, is on disk, read back and sealed. Raises Full, Damaged."""
        pending, self._pending = self._pending, None  # whatever fails, it is not sealed later
        if pending is None:
            return
        path, copy, meta = pending
        with _written(path):
            self._orbax.wait_until_finished()
            _read_back(path, copy)  # on all processes: Orbax reads together
            primary(lambda: _seal(path, meta))

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._orbax.close()


@contextlib.contextmanager
def _written(path: pathlib.Path):
    """Around what writes the checkpoint `path`: if it fails nothing is left of it, and a full disk raises Full."""
    try:
        with atomic.space(path):
            yield
    except Exception:
        if jax.process_index() == 0:
            for part in (path, *path.parent.glob(f"{path.name}.orbax*")):  # Orbax writes beside it first
                remove(part)
        raise


def is_sealed(path: pathlib.Path) -> bool:
    """Whether `path` has been sealed: written and read back. What has happened to it since, `verify` says."""
    return (path / MANIFEST).is_file()


def verify(path: pathlib.Path) -> dict:
    """The manifest of `path`, after comparing every file with it and looking for a tree. Raises Damaged."""
    manifest = _manifest(path)
    expected, present = manifest["files"], _digests(path)
    for name in sorted({*expected, *present}):
        if expected.get(name) != present.get(name):
            raise Damaged(path, name)
    with ocp.PyTreeCheckpointer() as reader:
        _described(reader, path)
    return manifest


def load(path: pathlib.Path):
    """The verified tree at `path` as nested dicts of NumPy arrays, whatever devices wrote it. Raises Damaged."""
    verify(path)
    return _read(path)


def _manifest(path: pathlib.Path) -> dict:
    """The manifest of `path`, whole and of at least one file. Raises Damaged."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        seal, files = manifest.pop("seal"), manifest["files"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(path, MANIFEST) from error
    if seal != _digest_of(manifest):
        raise Damaged(path, MANIFEST)
    if not files:
        raise Damaged(path, MANIFEST, "lists no files")
    return manifest


def _described(reader: ocp.PyTreeCheckpointer, path: pathlib.Path):
    """The shapes and dtypes of the tree at `path`. Raises Damaged where there is none."""
    try:
        return reader.metadata(path.absolute()).item_metadata.tree
    except _UNREADABLE as error:
        raise Damaged(path, _TREE, "describes no tree") from error


def _read(path: pathlib.Path):
    with ocp.PyTreeCheckpointer() as reader:
        described = _described(reader, path)
        arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), described)
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
        with ocp.PyTreeCheckpointer() as reader:
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
        return bool(_manifest(path))
    except Damaged:
        return False


def remove(path: pathlib.Path) -> None:
    """Removes a checkpoint, if it is there: the manifest first, so that a kill leaves nothing that looks complete."""
    (path / MANIFEST).unlink(missing_ok=True)
    if path.exists():
        shutil.rmtree(path)


def remove_partial(directory: pathlib.Path) -> None:
    """Removes what an interrupted write left behind."""
    for path in directory.glob("*"):
        if path.is_dir() and not is_sealed(path):
            shutil.rmtree(path)


def _read_back(path: pathlib.Path, copy) -> None:
    """Raises Damaged, or Full, unless the whole tree at `path` is `copy`, bit for bit."""
    try:
        back = _read(path)
    except Damaged:
        if shutil.disk_usage(path.parent).free < sum(leaf.nbytes for leaf in jax.tree.leaves(copy)):
            raise Full(path) from None  # a full disk that nobody reported
        raise
    if jax.tree.structure(back) != jax.tree.structure(copy):
        raise Damaged(path, _TREE, "describes another tree than was saved")
    for (where, new), old in zip(jax.tree_util.tree_leaves_with_path(back), jax.tree.leaves(copy), strict=True):
        if new.dtype != old.dtype or new.shape != old.shape or new.tobytes() != old.tobytes():
            raise Damaged(path, jax.tree_util.keystr(where), "was not read back as it was saved")


def _seal(path: pathlib.Path, meta: dict) -> None:
    manifest = {"files": _digests(path), **meta}
    atomic.write(path / MANIFEST, json.dumps({**manifest, "seal": _digest_of(manifest)}, indent=1, sort_keys=True))


def _digest_of(manifest: dict) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _digests(path: pathlib.Path) -> dict[str, str]:
    files = sorted(p for p in path.rglob("*") if p.is_file() and p != path / MANIFEST and p.name[0] != ".")
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
