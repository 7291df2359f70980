"""A run of seconds on two procedural components, without a study around it: what training is tested on."""

import ast
import functools
import json

import jax
import pytest

from bottleneck import checkpoint, config, models
from bottleneck.data import component, mixture, resident
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.models import resnet
from bottleneck.training import loop, mesh
from bottleneck.training.augment import AugmentSpec
from bottleneck.training.objectives import ObjectiveSpec
from bottleneck.training.optimizers import OptimizerSpec
from bottleneck.training.resume import Member
from bottleneck.training.run import Run, TrainSpec, restrict

DATA = DataSpec(image_size=8, train=100, probe=48, val=31, test=37)
FACTORS = {"first": "colour", "second": "background"}
resnet.BLOCKS[8] = (1, 1)  # convolutions and BatchNorm that compile in seconds
CONVOLUTIONAL = resnet.ResNetSpec("resnet", depth=8, width=0.0625)
BASE = {
    "seed": 0,
    "weights": (0.7, 0.3),
    "label_space": "shared",
    "model": {"name": "mlp", "width": 8, "depth": 2},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "objective": {},
    "augment": {},
    "train": {"steps": 20, "batch": 16, "log_every": 4, "save_every": 6},
}


@functools.cache
def components():
    specs = {
        name: ComponentSpec({"name": "factors", "reliability": {factor: 1.0}, "seed": seed})
        for seed, (name, factor) in enumerate(FACTORS.items())
    }
    return tuple(component.load(name, spec, DATA) for name, spec in specs.items())


def make(overrides=None, keep=(), **fields):
    """An `Episode` of the run of BASE with text `overrides` by dotted key, and with `fields` of the run itself."""
    plain = {key: dict(value) if isinstance(value, dict) else value for key, value in BASE.items()}
    for key, text in (overrides or {}).items():
        if text == "convolutional":
            plain[key] = CONVOLUTIONAL
            continue
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        section, _, field = key.partition(".")
        if field:
            plain[section][field] = value
        else:
            plain[section] = value
    drawn = components()
    layout = mixture.label_space(plain["label_space"], [c.output_dim for c in drawn])
    run = {
        "name": "mixture",
        "seed": plain["seed"],
        "components": tuple(FACTORS),
        "data": tuple(f"the data of {name}" for name in FACTORS),
        "schedule": ((0, plain["weights"]),),
        "label_space": plain["label_space"],
        "offset": tuple(int(o) for o in layout.offset),
        "blocks": tuple(stop - start for start, stop in layout.blocks),
        "outputs": layout.outputs,
        "model": models.resolved(models.spec(plain["model"]), (8, 8, 3)),
        "optimizer": config.build(OptimizerSpec, plain["optimizer"]),
        "objective": config.build(ObjectiveSpec, plain["objective"]),
        "augment": config.build(AugmentSpec, plain["augment"]),
        "train": config.build(TrainSpec, plain["train"]),
        "keep": keep,
    }
    return Episode(Run(**{**run, **fields}), drawn)


class Episode:
    """One run with what it takes to train it."""

    def __init__(self, run, whole):
        self.run, self.data, self.components = run, DATA, restrict(run, whole)
        self.mesh = mesh.make(run.train.batch, accumulate=run.train.accumulate)

    def pool(self):
        return mesh.replicate(resident.pool(self.components, self.data), self.mesh)

    def train(self, directory, initial=None, **options):
        """Trains to the end and returns step -> kept variables."""
        pool = None if self.run.train.feed == "stream" else self.pool()
        loop.train([Member(self.run, directory, initial)], self.components, self.data, self.mesh, pool=pool, **options)
        folder = directory / "checkpoints"
        return {step: checkpoint.load(folder / str(step)) for step in checkpoint.steps(folder)}


@pytest.fixture(scope="session")
def episode():
    return make


@pytest.fixture(scope="session")
def metrics():
    """metrics(directory) -> the lines of its metrics.jsonl without their timings."""

    def read(directory):
        lines = (directory / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k != "images_per_second"} for line in lines]

    return read


@pytest.fixture(scope="session")
def same():
    """same(a, b): whether two trees have the same structure, dtypes and bits."""

    def compare(a, b):
        assert jax.tree.structure(a) == jax.tree.structure(b)
        for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
            x, y = jax.device_get(x), jax.device_get(y)
            assert x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes(), jax.tree_util.keystr(path)

    return compare
