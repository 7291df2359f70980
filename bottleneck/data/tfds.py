"""Classification sets of tensorflow-datasets, read through `data_source` (array_record files, no TensorFlow)."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Literal

import numpy as np

from bottleneck.data import folder
from bottleneck.data.source import DataSpec, Examples, Source, path_field
from bottleneck.errors import UserError


@dataclasses.dataclass(frozen=True)
class TfdsSpec:
    """dataset: a tfds name such as `cifar10` or `oxford_flowers102:2.1.1`, already prepared below `data_dir`.

    train, test, val: its splits (val: none means held out of train). image, label: its features. `fit` as in
    folder.
    """

    dataset: str
    data_dir: str | None = path_field(default=None)
    train: str = "train"
    test: str = "test"
    val: str | None = None
    image: str = "image"
    label: str = "label"
    fit: Literal["crop", "stretch"] = "crop"

    randomisable = ()


def load(spec: TfdsSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Reads the labels of every split; images stay on disk, encoded, until they are fetched."""
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        advice = "tensorflow-datasets to be installed (pip install tensorflow-datasets array_record)"
        raise UserError("source.name", "tfds", advice) from None
    try:
        builder = tfds.builder(spec.dataset, data_dir=spec.data_dir, file_format="array_record")
    except Exception as error:  # tfds raises its own classes, and AssertionError, for names it does not know
        expected = f"a data set tfds knows ({_first_line(error)})"
        raise UserError("source.dataset", spec.dataset, expected) from None
    known = builder.info.features
    for key in ("image", "label"):
        if getattr(spec, key) not in known:
            raise UserError(f"source.{key}", getattr(spec, key), f"one of the features {', '.join(known)}")
    skip = {spec.image: tfds.decode.SkipDecoding()}
    splits, first, digest = {}, 0, hashlib.sha256(f"{builder.info.full_name}{spec.fit}".encode())
    for split in ("train", "val", "test"):
        wanted = getattr(spec, split)
        if wanted is None:
            continue
        try:
            records = builder.as_data_source(split=wanted, decoders=skip)
        except Exception as error:
            expected = f"data prepared by `tfds build {spec.dataset} --file_format=array_record` ({_first_line(error)})"
            raise UserError("source.dataset", f"{spec.dataset}[{wanted}]", expected) from None
        labels = np.array([records[i][spec.label] for i in range(len(records))], np.int32)
        ids = np.arange(first, first + len(labels), dtype=np.int32)
        first += len(labels)
        digest.update(wanted.encode() + labels.tobytes())
        splits[split] = Examples(labels, ids, {}, functools.partial(_fetch, spec, data.shape, records))
    return Source(splits, tuple(known[spec.label].names), digest.hexdigest())


def _fetch(spec, shape, records, indices):
    images = np.zeros((len(indices), *shape, 3), np.uint8)
    for row, index in enumerate(indices):
        try:
            images[row] = folder.decode(_encoded(records[int(index)][spec.image]), shape, spec.fit)
        except (OSError, ValueError, SyntaxError) as error:
            item = f"{spec.dataset} item {int(index)}"
            raise UserError("source.dataset", item, f"a readable image ({type(error).__name__})") from None
    return images


def _encoded(value):
    """The image's bytes: `data_source` hands them over as bytes, or inside a zero-dimensional array."""
    return value if isinstance(value, bytes) else np.asarray(value).item()


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
