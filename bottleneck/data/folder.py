"""Images in a folder: `split/class/...`, a `metadata` table with path, split, label and any factors, or `class/...`."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import pathlib
import unicodedata
from collections import Counter
from typing import Literal

import numpy as np

from bottleneck import identity
from bottleneck.data import content, crops, images, reading, source, table
from bottleneck.data.source import DataSpec, Examples, Source
from bottleneck.data.table import Rows
from bottleneck.errors import UserError

DECODER = images.DECODER


@dataclasses.dataclass(frozen=True)
class FolderSpec:
    """path: a folder of `train/class/` and `test/class/` (perhaps `val`, `valid` or `validation`, in any letter case),
    or one that holds `metadata`; or one of `class/`, of whose images the share `held_out` is the test set, by the hash
    of each one's path.

    Images below a class folder, at any depth, are of that class; names that begin with a dot are no data. The
    `metadata` file is a table (separated by comma, semicolon or tab; UTF-8, or UTF-16 with a byte order mark) with
    columns named by `image`, `split` (train, val, test, or 0, 1, 2 as in Waterbirds) and `label`; every other column
    but those to `ignore` is a factor, its values coded 0, 1, ... in sorted order. `fit`: crop cuts the middle of the
    image to the study's aspect ratio, stretch does not; both then resize by Pillow's bilinear filter. Transparent
    images are laid over `background`, (red, green, blue) of 0 to 255: white.
    """

    # Where things are written acts through the items alone, so only what changes the look of an item is identity.
    path: str = identity.field()
    metadata: str = identity.field(default="metadata.csv")
    image: str = identity.field(default="path")
    split: str = identity.field(default="split")
    label: str = identity.field(default="label")
    ignore: tuple[str, ...] = identity.field(default=())
    held_out: float = identity.field(default=0.0)
    fit: Literal["crop", "stretch"] = "crop"
    background: tuple[int, int, int] = images.WHITE

    randomisable = ()

    def __post_init__(self):
        check_background(self.background)
        if not 0 <= self.held_out < 1:
            raise UserError("held_out", self.held_out, "a share of the images, below 1")


def check_background(background: tuple[int, ...]) -> None:
    """Raises UserError unless every channel is a level of 8 bits."""
    if not all(0 <= level <= 255 for level in background):
        raise UserError("background", background, "three numbers from 0 to 255")


@dataclasses.dataclass(frozen=True)
class _Listing:
    """What is asked for, with the size and time of every file: equal where `token` is."""

    token: str
    rows: Rows = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class _Index:
    """Everything about a folder but how its images are decoded."""

    splits: dict[str, Examples]
    paths: dict[str, list[str]]  # on disk, in the order of the split's examples
    classes: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    file: str
    notes: reading.Notes


def stamp(spec: FolderSpec) -> str:
    """Another one once a file of the folder is another."""
    return _listing(spec).token


def load(spec: FolderSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Lists the images, hashes their contents and checks that they can be read; they are decoded when fetched.

    Raises UserError naming what cannot be read, and how many more there are.
    """
    index = _index(_place(spec), _listing(spec), data.fingerprint == "content")
    splits = {}
    for split, examples in index.splits.items():
        fetch = functools.partial(_fetch, index.paths[split], data.shape, spec.fit, spec.background)
        splits[split] = dataclasses.replace(examples, fetch=fetch, crop=fetch)
    return Source(splits, index.classes, index.values, index.file, index.notes)


def _place(spec):
    return os.path.abspath(os.path.expanduser(spec.path))


def _listing(spec):
    where = (spec.metadata, spec.image, spec.split, spec.label, spec.ignore, spec.held_out)
    return content.listed(("folder", _place(spec), where), functools.partial(_list, spec))


def _list(spec):
    root = pathlib.Path(_place(spec))
    if not root.is_dir():
        raise UserError("source.path", spec.path, "a folder of images")
    listed = root / spec.metadata
    try:
        rows = table.read(spec, root, listed) if listed.is_file() else _walk(spec, root)
    except OSError as error:
        raise UserError("source.path", error.filename, f"an image file ({error.strerror})") from None
    for split in ("train", "test"):
        if split not in rows.splits:
            seen = ", ".join(sorted(p.name for p in root.iterdir() if not p.name.startswith("."))[:10]) or "nothing"
            table_rows = f"rows of {spec.metadata} with {spec.split}={split}"
            expected = f"images in {split}/CLASS/ (or CLASS/, with held_out), or {table_rows}; here: {seen}"
            raise UserError("source.path", spec.path, expected)
    content.settled(rows.files)
    whole = hashlib.sha256(repr((str(root), rows)).encode(errors="surrogatepass"))
    return _Listing(whole.hexdigest(), rows)


def _walk(spec, root):
    """Rows of split/class/..., every file either a row or left out for a reason."""
    rows, folders = Rows([], [], [], {}, [], []), {}
    for entry in sorted(root.iterdir()):
        split = table.SPLITS.get(entry.name.lower()) if entry.is_dir() else None
        if split in folders:
            expected = f"one folder for each split ({folders[split].name!r} and {entry.name!r} are both {split})"
            raise UserError("source.path", spec.path, expected)
        if split:
            folders[split] = entry
        elif not entry.name.startswith(".") and not (spec.held_out and entry.is_dir()):
            kind = "folders that are no split (train, val, test)" if entry.is_dir() else "files outside the splits"
            rows.left_out.append((kind, entry.name))
    for split in ("train", "val", "test"):
        if split in folders:
            _walk_split(root, folders[split], split, rows)
    if spec.held_out and not folders:
        _walk_split(root, root, "train", rows)
        rows.splits[:] = ["test" if _hashed(file.path) < spec.held_out else "train" for file in rows.files]
    return rows


def _hashed(path: str) -> float:
    """A number in [0, 1) that follows from an item's name alone."""
    name = unicodedata.normalize("NFC", path).encode(errors="surrogateescape")
    return int.from_bytes(hashlib.sha256(b"held out " + name).digest()[:6]) / 2**48


def _walk_split(root, folder, split, rows):
    """The class folders of one split."""
    shown = "" if folder == root else f"{folder.name}/"
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir() or entry.name.startswith("."):
            hidden = entry.name.startswith(".")
            reason = "hidden files or folders" if hidden else "files outside a class folder"
            if shown:  # of the folder itself that is said already
                rows.left_out.append((reason, f"{shown}{entry.name}"))
            continue
        before = len(rows.files)
        _walk_class(root, entry, split, rows)
        if len(rows.files) == before:
            rows.left_out.append(("class folders without a readable image", f"{shown}{entry.name}"))


def _walk_class(root, folder, split, rows):
    """Every file once: listed and looked at in one pass, as there may be a million of them."""
    label, seen, todo = unicodedata.normalize("NFC", folder.name), set(), [str(folder)]
    while todo:
        place, folders = todo.pop(), []
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above
            continue
        seen.add(real)
        below = os.path.relpath(place, root).replace(os.sep, "/")
        with os.scandir(place) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = entry.name
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith("."):
                rows.left_out.append(("hidden files or folders", f"{below}/{name}"))
            elif entry.is_dir():
                folders.append(entry.path)
            elif suffix in images.SUFFIXES:
                rows.splits.append(split)
                rows.labels.append(label)
                rows.files.append(content.file(f"{below}/{name}", entry.stat()))
            else:
                rows.left_out.append((f"files in a format that is not read ({suffix or name})", f"{below}/{name}"))
        todo += reversed(folders)


@functools.lru_cache(maxsize=8)  # several components often share one folder
def _index(root, listing, hashed):
    rows, files = listing.rows, listing.rows.files
    names = _names([file.path for file in files])
    try:
        contents = content.read(root, files, hashed)
    except content.Broken as error:
        others = f"; {error.others:,} more cannot be read" if error.others else ""
        expected = f"a readable image ({error.reason}{others})"
        raise UserError("source.path", os.path.join(root, error.path), expected) from None
    if hashed:
        digests = [bytes.fromhex(one.sha) for one in contents]
    else:
        digests = [
            hashlib.sha256(f"{n} {f.size}".encode(errors="surrogateescape")).digest()
            for n, f in zip(names, files, strict=True)
        ]
    labels, classes = _codes(rows.labels)
    factors = {name: _codes(column) for name, column in rows.columns.items()}
    splits, paths = {}, {}
    for split in ("train", "val", "test"):
        where = np.flatnonzero(np.array(rows.splits) == split)
        if len(where):
            items = source.items([names[i] for i in where], [digests[i] for i in where])
            coded = {name: codes[where] for name, (codes, _) in factors.items()}
            splits[split] = Examples(labels[where], where, coded, lambda rows: rows, items)
            paths[split] = [os.path.join(root, files[i].path) for i in where]
    splits = source.ordered(splits)
    paths = {split: [paths[split][i] for i in part.fetch(np.arange(len(part)))] for split, part in splits.items()}
    whole = sorted(zip(names, digests, strict=True))
    notes = reading.Notes(
        Counter((one.width, one.height) for one in contents),
        Counter(one.mode for one in contents),
        reading.left_out(rows.left_out),
        tuple(rows.remarks),
        hashed,
    )
    values = {name: known for name, (_, known) in factors.items()}
    return _Index(splits, paths, classes, values, identity.digest([[n, d.hex()] for n, d in whole]), notes)


def _names(paths):
    """What items are called: their path below the folder, in NFC."""
    names = [unicodedata.normalize("NFC", path) for path in paths]
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise UserError("source.path", twice, "names that differ by more than how accents are encoded")
    return names


def _codes(texts):
    """(int32 codes, sorted names); names that are all whole numbers are sorted as numbers."""
    names = sorted(set(texts))
    if all(name.removeprefix("-").isdecimal() for name in names):
        names.sort(key=int)
    code = {name: i for i, name in enumerate(names)}
    return np.array([code[text] for text in texts], np.int32), tuple(names)


def _fetch(paths, shape, fit, background, indices, drawn=None):
    def read(row):
        path = paths[indices[row]]
        try:
            with open(path, "rb") as file:
                return images.decode(file.read(), shape, fit, background, crops.cut(drawn, row, shape))
        except (OSError, images.Unreadable) as error:
            raise UserError("source.path", path, f"a readable image ({error})") from None

    return images.many(read, range(len(indices)), shape)
