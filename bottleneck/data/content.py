"""What files hold: a SHA-256 and a checked header of each, worked out once and remembered outside every work directory.

The memory is one JSON file a folder, in $BOTTLENECK_CACHE or the user's cache directory, keyed by name, size and time
of modification. It is a convenience: where it cannot be read or written everything is worked out again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import tqdm

from bottleneck import atomic
from bottleneck.data import images

DECODE_BYTES = 2**27  # files not decoded before are decoded as a check where all of them have no more bytes than this
_HEADER_BYTES = 2**16  # read first where contents are trusted; the whole file where the header is longer
_AT_ONCE = 2**14  # of a million items, those that wait for threads
_TICK = 20_000_000  # nanoseconds that tell two modifications of a file apart
_YOUNG = 2_000_000_000  # on file systems that count in seconds, nothing younger is remembered
_listed: dict | None = None


class File(NamedTuple):
    """A file below a folder: its path there, size in bytes, and time of modification in nanoseconds."""

    path: str
    size: int
    mtime: int


class Content(NamedTuple):
    """sha: SHA-256 in hexadecimal digits, "" where contents are trusted. width, height, mode: as stored."""

    sha: str
    width: int
    height: int
    mode: str
    decoded: bool


class Broken(Exception):
    """Images that cannot be read: `path` of the first, `reason`, and how many others there are."""

    def __init__(self, path: str, reason: str, others: int):
        super().__init__(path, reason, others)
        self.path, self.reason, self.others = path, reason, others


def read(root: str, files: Sequence[File], hashed: bool) -> list[Content]:
    """The content of every file. Raises Broken. Without `hashed` only headers are read, and `sha` may be ""."""
    known, now = recall(root), time.time_ns()
    contents = [_remembered(known, file, hashed) for file in files]
    unseen = [i for i, content in enumerate(contents) if content is None or not content.decoded]
    total = sum(files[i].size for i in unseen)
    whole = total <= DECODE_BYTES
    todo = [i for i in unseen if whole or contents[i] is None]

    def look(i):
        try:
            return _look(os.path.join(root, files[i].path), hashed or whole, whole)
        except (OSError, images.Unreadable) as error:
            return error

    try:
        for i, content in zip(todo, looked(look, todo, total), strict=True):
            contents[i] = content
    finally:  # a million files take minutes: what was looked at before an interruption is not looked at again
        old = [i for i in todo if isinstance(contents[i], Content) and now - files[i].mtime > _YOUNG]
        remember(root, {files[i].path: [files[i].size, files[i].mtime, *contents[i]] for i in old})
    broken = [i for i in todo if isinstance(contents[i], Exception)]
    if broken:
        raise Broken(files[broken[0]].path, str(contents[broken[0]]), len(broken) - 1)
    return contents


def looked(look: Callable, items: Sequence, total: int) -> Iterator:
    """`look(item)` of all `items`, in order, made in threads; with a bar where they are many, or large in `total`."""
    quick = total < 2**30 and len(items) < _AT_ONCE
    shown = tqdm.tqdm(desc="reading images", total=len(items), disable=quick or None, unit="images", leave=False)
    with shown, ThreadPoolExecutor(images.THREADS) as threads:
        for start in range(0, len(items), _AT_ONCE):
            for result in threads.map(look, items[start : start + _AT_ONCE]):
                shown.update()
                yield result


def _remembered(known, file, hashed):
    held = known.get(file.path)
    if not held or len(held) != 7 or held[:2] != [file.size, file.mtime] or hashed and not held[2]:
        return None
    return Content(*held[2:])


def _look(path, everything, whole):
    with open(path, "rb") as file:
        content = file.read(-1 if everything else _HEADER_BYTES)
        try:
            size = images.header(content, whole)
        except images.Unreadable:
            if everything:
                raise
            content += file.read()  # the header is longer than that, or the image is damaged
            size = images.header(content)
    return Content(hashlib.sha256(content).hexdigest() if everything else "", *size, whole)


def recall(root: str) -> dict:
    """What is remembered of folder `root`: name -> list, {} where there is nothing."""
    try:
        held = json.loads(_place(root).read_text())
        return held if isinstance(held, dict) else {}
    except (OSError, ValueError, RuntimeError):  # RuntimeError: a user without a home directory
        return {}


def remember(root: str, entries: dict) -> None:
    """Adds `entries` to what is remembered of folder `root`, if it can be written."""
    if entries:
        with contextlib.suppress(OSError, RuntimeError):
            atomic.write(_place(root), json.dumps({**recall(root), **entries}))


def _place(root):
    base = os.environ.get("BOTTLENECK_CACHE")
    if not base:
        base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "bottleneck"
    return pathlib.Path(base) / f"content-{hashlib.sha256(os.path.realpath(root).encode()).hexdigest()[:24]}.json"


@contextlib.contextmanager
def unchanging() -> Iterator[None]:
    """Within this block files are taken not to change, so that each is looked at once, whatever is planned over it."""
    global _listed
    before, _listed = _listed, {} if _listed is None else _listed
    try:
        yield
    finally:
        _listed = before


def listed(key, make):
    """`make()`, once for each `key` within `unchanging`."""
    if _listed is None:
        return make()
    if key not in _listed:
        _listed[key] = make()
    return _listed[key]


def status(root: str, paths: Sequence[str]) -> list[File]:
    """Size and time of modification of files below `root`. Raises OSError, with the path, where there is none."""
    return settled([file(path, os.stat(os.path.join(root, path))) for path in paths])


def file(path: str, stat: os.stat_result) -> File:
    return File(path, stat.st_size, stat.st_mtime_ns)


def settled(files: list[File]) -> list[File]:
    """`files`, once a later change has another time: one changed a moment ago is waited for."""
    if files:
        age = time.time_ns() - max(each.mtime for each in files)
        time.sleep(max(0, _TICK - age) / 1e9 if age >= 0 else 0)
    return files
