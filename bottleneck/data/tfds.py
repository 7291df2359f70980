"""Classification sets of tensorflow-datasets, read through `data_source` (array_record files, no TensorFlow)."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import os
from collections import Counter
from typing import Literal

import numpy as np

from bottleneck import identity
from bottleneck.data import content, crops, images, reading, source
from bottleneck.data.folder import check_background
from bottleneck.data.source import DataSpec, Examples, Source
from bottleneck.errors import UserError

DECODER = images.DECODER
_UNLABELLED = -1


@dataclasses.dataclass(frozen=True)
class TfdsSpec:
    """dataset: a tfds name such as `cifar10` or `oxford_flowers102:2.1.1`, already prepared below `data_dir`.

    An item is known by the SHA-256 of its encoded image, repeats numbered, whatever data.fingerprint says; every
    record is read once for that and its label, without decoding the image, which is remembered. train, test, val: its
    splits (val: none means held out of train). image, label: its features; items of label -1 have none and are left
    out. `fit`, `background` as in folder.
    Preparing needs TensorFlow, reading does not.
    """

    dataset: str
    data_dir: str | None = identity.field(default=None)
    train: str = "train"
    test: str = "test"
    val: str | None = None
    image: str = "image"
    label: str = "label"
    fit: Literal["crop", "stretch"] = "crop"
    background: tuple[int, int, int] = images.WHITE

    randomisable = ()

    def __post_init__(self):
        check_background(self.background)

    @property
    def wanted(self) -> dict[str, str]:
        """Our split -> theirs."""
        return {s: getattr(self, s) for s in ("train", "val", "test") if getattr(self, s) is not None}


def stamp(spec: TfdsSpec) -> tuple:
    """Another one once the prepared files are others."""
    return content.listed(("tfds", spec), lambda: tuple(_files(_builder(spec))))


def load(spec: TfdsSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Reads the labels of every split; images stay on disk, encoded, until they are fetched.

    Raises UserError on a data set that is unknown or not prepared, on splits that overlap and on images that cannot be
    read.
    """
    import tensorflow_datasets as tfds

    builder = _builder(spec)
    _check_features(spec, builder.info.features, tfds)
    _check_overlap(spec, builder)
    skip = {spec.image: tfds.decode.SkipDecoding()}
    records = {split: builder.as_data_source(split=name, decoders=skip) for split, name in spec.wanted.items()}
    read = {split: _index(spec, builder, split, records[split]) for split in records}
    labels = {split: np.array(index["labels"], np.int64) for split, index in read.items()}
    named = getattr(builder.info.features[spec.label], "names", None)
    present = np.setdiff1d(np.concatenate(list(labels.values())), [_UNLABELLED])
    if len(present) and present[0] < 0:
        raise UserError("source.label", spec.label, f"labels of at least 0, or -1 for none (there is {present[0]})")
    known = np.arange(len(named)) if named else present
    splits, hashes, coded = {}, {}, {}
    for split, index in read.items():
        kept = labels[split] != _UNLABELLED
        hashes[split] = list(itertools.compress(index["hashes"], kept))
        coded[split] = np.searchsorted(known, labels[split][kept]).astype(np.int32)
    for split, called in source.content_names(hashes, coded).items():
        rows = np.flatnonzero(labels[split] != _UNLABELLED)
        fetch = functools.partial(_fetch, spec, split, data.shape, records[split], rows)
        items = source.items(called, [bytes.fromhex(digest) for digest in hashes[split]])
        splits[split] = Examples(coded[split], rows, {}, fetch, items, crop=fetch)
    classes = tuple(named) if named else tuple(str(value) for value in known)
    return Source(source.ordered(splits), classes, {}, identity.digest(builder.info.full_name), _notes(read, labels))


def _notes(read, labels):
    sizes, modes, unlabelled = Counter(), Counter(), []
    for split, index in read.items():
        for width, height, mode, count in index["kinds"]:
            sizes[width, height] += count
            modes[mode] += count
        unlabelled += [
            ("items without a label (-1)", f"{split} item {i}") for i in np.flatnonzero(labels[split] == _UNLABELLED)
        ]
    return reading.Notes(sizes, modes, reading.left_out(unlabelled))


def _builder(spec):
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        advice = "tensorflow-datasets to be installed (pip install tensorflow-datasets array_record)"
        raise UserError("source.name", "tfds", advice) from None
    open_ = functools.partial(tfds.builder, data_dir=spec.data_dir, file_format="array_record")
    try:
        builder = open_(spec.dataset)
    except Exception as error:  # tfds raises its own classes, and AssertionError, for names it does not know
        raise UserError("source.dataset", spec.dataset, _why_unknown(spec, open_, error)) from None
    if not builder.info.splits:
        raise UserError("source.dataset", spec.dataset, _prepared(spec, "it is not prepared"))
    return builder


def _why_unknown(spec, open_, error):
    name, _, version = spec.dataset.partition(":")
    if "file format" in str(error).lower():
        return _prepared(spec, _first_line(error))
    if version:
        try:
            return f"a version of {name} that can be read: {open_(name).info.version}, not {version}"
        except Exception:  # the name itself is not known
            pass
    return f"a data set tfds knows ({_first_line(error)})"


def _prepared(spec, why):
    where = f" --data_dir={spec.data_dir}" if spec.data_dir else ""
    command = f"pip install '.[prepare]' && tfds build {spec.dataset} --file_format=array_record{where}"
    return f"data prepared as array_record files, once and anywhere with TensorFlow: {command} ({why})"


def _check_features(spec, known, tfds):
    for key in ("image", "label"):
        if getattr(spec, key) not in known:
            raise UserError(f"source.{key}", getattr(spec, key), f"one of the features {', '.join(sorted(known))}")
    image, label = known[spec.image], known[spec.label]
    if not isinstance(image, tfds.features.Image) or np.dtype(image.np_dtype) not in (np.uint8, np.uint16):
        kind = f"{type(image).__name__} of {np.dtype(image.np_dtype)}"
        raise UserError("source.image", spec.image, f"images of uint8 or uint16 (it is {kind})")
    if getattr(label, "shape", None) != () or np.dtype(label.np_dtype).kind not in "iub":
        expected = f"one whole number an item (it is {type(label).__name__} of {np.dtype(label.np_dtype)})"
        raise UserError("source.label", spec.label, expected)


def _check_overlap(spec, builder):
    """Raises UserError where a record is in two splits, or a split is none of the data set's."""
    seen: dict[str, list] = {}
    for split, wanted in spec.wanted.items():
        try:
            parts = builder.info.splits[wanted].file_instructions
        except Exception as error:  # KeyError, ValueError, AssertionError
            shown = f"a split of {spec.dataset}: {', '.join(builder.info.splits)} ({_first_line(error)})"
            raise UserError(f"source.{split}", wanted, shown) from None
        for part in parts:
            for other, start, stop in seen.setdefault(part.filename, []):
                if part.skip < stop and start < part.skip + part.take:
                    expected = f"items that {getattr(spec, other)!r} ({other}) does not have, too"
                    raise UserError(f"source.{split}", wanted, expected)
        for part in parts:
            seen[part.filename].append((split, part.skip, part.skip + part.take))


def _files(builder):
    """The prepared files with their sizes and times."""
    folder = str(builder.data_path)
    return content.status(folder, sorted(name for name in os.listdir(folder) if not name.startswith(".")))


def _index(spec, builder, split, records):
    """{"labels", "hashes", "kinds": [width, height, mode, count]} of all records, checked, and remembered."""
    folder, wanted = str(builder.data_path), f"{spec.wanted[split]}/{spec.image}/{spec.label}"
    version = [[file.path, file.size, file.mtime] for file in _files(builder)]
    held = content.recall(folder).get(wanted)
    if held and held[0] == version:
        return held[1]
    total = sum(size for _, size, _ in version)

    def look(i):
        record = records[i]
        encoded = _encoded(record[spec.image])
        try:
            kind = images.header(encoded, whole=total <= content.DECODE_BYTES)
        except images.Unreadable as error:
            raise _broken(spec, split, i, error) from None
        return int(record[spec.label]), hashlib.sha256(encoded).hexdigest(), kind

    looked = list(content.looked(look, range(len(records)), total))
    kinds = Counter(kind for _, _, kind in looked)
    index = {
        "labels": [label for label, _, _ in looked],
        "hashes": [digest for _, digest, _ in looked],
        "kinds": [[*kind, count] for kind, count in kinds.items()],
    }
    content.remember(folder, {wanted: [version, index]})
    return index


def _broken(spec, split, i, error):
    item = f"{spec.dataset} {spec.wanted[split]} item {i}"
    return UserError("source.dataset", item, f"a readable image ({error})")


def _fetch(spec, split, shape, records, rows, indices, drawn=None):
    def read(row):
        i = int(rows[indices[row]])
        try:
            encoded, cut = _encoded(records[i][spec.image]), crops.cut(drawn, row, shape)
            return images.decode(encoded, shape, spec.fit, spec.background, cut)
        except images.Unreadable as error:
            raise _broken(spec, split, i, error) from None

    return images.many(read, range(len(indices)), shape)


def _encoded(value):
    """The image's bytes: `data_source` hands them over as bytes, or inside a zero-dimensional array."""
    return value if isinstance(value, bytes) else np.asarray(value).item()


def _first_line(error):
    return (str(error).strip().strip("'\"").splitlines() or [type(error).__name__])[0][:120]
