"""Features whose truth is known: a reads the label of `two` alone, b that of `one`, whatever else there is is noise."""

import pathlib

import ml_collections
import numpy as np

from bottleneck.auditing import plan as audits
from bottleneck.features import foreign
from bottleneck.planning import plan as plans

WIDTH = 6
READS = {"a": "two", "b": "one"}  # the component whose label a network knows


def config(place: pathlib.Path, names=("a", "b"), seeds: int = 1, **more) -> ml_collections.ConfigDict:
    """An audit of the features that `leave` leaves at `place`."""
    made = ml_collections.ConfigDict()
    made.name = "planted"
    made.data = dict(image_size=8, train=40, probe=400, val=250, test=300)
    made.components = {
        name: dict(source=dict(name="factors", reliability={factor: 1.0}, seed=i))
        for i, (name, factor) in enumerate((("one", "colour"), ("two", "background")))
    }
    uses = {name: tuple(str(place / f"{name}{seed}") for seed in range(seeds)) for name in names}
    made.networks = {name: dict(uses=each if seeds > 1 else each[0]) for name, each in uses.items()}
    made.update(shots=(2,), draws=2)
    made.update(more)
    return made


def targets(made):
    """The components of an audit."""
    return plans.load(audits.spec(made).study).targets


def leave(place: pathlib.Path, components, draw: int = 0, seeds: int = 1) -> None:
    """Features of a, b, `copy` (b's own) and `turned` (b's, rotated)."""
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(WIDTH, WIDTH)))[0]
    for seed in range(seeds):
        for name, reads in READS.items():
            rng = np.random.default_rng([draw, seed, ord(name)])
            for target, component in components.items():
                for split in foreign.SPLITS:
                    labels, ids = component.splits[split].labels, component.splits[split].ids
                    x = rng.normal(size=(len(ids), WIDTH))
                    if target == reads:
                        x[:, seed % WIDTH] += 3.0 * labels
                    for called, of in ((name, x), *((("copy", x), ("turned", x @ turn)) if name == "b" else ())):
                        foreign.save(place / f"{called}{seed}", target, split, of.astype(np.float32), ids)
