"""Weights of another library's network that were converted to ours, as a directory: what it holds, and starts from.

`checkpoint` is a sealed checkpoint of the variables, `network.json` says what network they are of, from which file they
came, and their digest, which is in the seal of the checkpoint as well.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np

from bottleneck import atomic, checkpoint, identity, models, seal
from bottleneck.errors import UserError
from bottleneck.models.state_dict import Network
from bottleneck.training.run import CONVERTED

CHECKPOINT, DESCRIPTION = "checkpoint", "network.json"


@dataclass(frozen=True)
class Converted:
    """A converted network in `directory`. `weights`: the digest of its variables, which is its identity."""

    directory: pathlib.Path
    network: Network
    weights: str
    source: dict[str, str]  # "name" and "sha256" of the file that it came from

    @property
    def start(self) -> str:
        """What a run that begins from it has as `init`."""
        return f"{CONVERTED}{self.weights}"

    def trunk(self) -> dict:
        """Its variables without a classifier. Raises UserError where they are no longer what was converted."""
        variables = _loaded(self.directory)
        if digest(variables) != self.weights:
            raise UserError("init", str(self.directory), f"the weights {self.weights}, which the study has begun with")
        params = {name: tree for name, tree in variables["params"].items() if name != "head"}
        return {**variables, "params": params}


def digest(variables: Mapping) -> str:
    """A hash of names, shapes, dtypes and bytes of nested dicts of arrays, in hexadecimal digits."""
    whole = hashlib.sha256()
    for path, leaf in sorted((jax.tree_util.keystr(p), x) for p, x in jax.tree_util.tree_leaves_with_path(variables)):
        array = np.ascontiguousarray(leaf)
        whole.update(f"{path} {array.dtype.name} {list(array.shape)}\n".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()[:16]


def write(directory: pathlib.Path, network: Network, variables: Mapping, source: dict[str, str]) -> Converted:
    """Leaves a converted network in `directory`, in the place of one that is there. Raises UserError where anything
    else is, and Full."""
    held = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    others = [name for name in held if name.partition(".")[0] not in ("", CHECKPOINT) and name != DESCRIPTION]
    if others or directory.exists() and not directory.is_dir():
        there = f"it holds {others[0]}" if others else "it is a file"
        raise UserError("output", str(directory), f"a new directory, or one of a converted network ({there})")
    converted = Converted(directory, network, digest(variables), source)
    (directory / DESCRIPTION).unlink(missing_ok=True)
    try:
        with atomic.space(directory):
            directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError("output", str(directory), f"a directory that can be written ({error.strerror})") from None
    writer = checkpoint.Writer()
    try:
        writer.save(directory / CHECKPOINT, variables, weights=converted.weights)
    finally:
        writer.close()
    stated = {
        "model": identity.canonical(network.spec),
        "classes": network.classes,
        "image_size": network.image_size,
        "source": source,
        "weights": converted.weights,
    }
    atomic.write(directory / DESCRIPTION, seal.sealed(stated))
    return converted


def read(directory: str | pathlib.Path) -> Converted:
    """What `write` left in `directory`, but for the variables. Raises UserError."""
    place, expected = (
        pathlib.Path(directory).expanduser(),
        "a directory that `python -m bottleneck.convert` has written",
    )
    if not (place / DESCRIPTION).is_file():
        raise UserError("init", str(directory), expected)
    try:
        stated, manifest = seal.record(place / DESCRIPTION), seal.read(place / CHECKPOINT)
    except seal.Damaged as error:
        raise UserError("init", str(directory), f"{expected} ({error})") from None
    if manifest.get("weights") != stated.get("weights"):
        expected = f"{DESCRIPTION} and {CHECKPOINT} of one conversion: their digests differ (convert again)"
        raise UserError("init", str(directory), expected)
    network = Network(models.spec(stated["model"]), stated["classes"], stated["image_size"])
    return Converted(place, network, stated["weights"], stated["source"])


def _loaded(directory: pathlib.Path) -> dict:
    try:
        return checkpoint.load(directory / CHECKPOINT)
    except seal.Damaged as error:
        raise UserError("init", str(directory), f"an intact checkpoint ({error}); convert again") from None
