"""A target of a few items, and networks as feature sources, without a work directory."""

import pathlib
import tempfile
import types

import numpy as np
import pytest

from bottleneck import study
from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.features import parts
from bottleneck.features.source import Kept
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.signals import Stop
from bottleneck.training import loop, mesh
from bottleneck.training import step as steps

DATA = DataSpec(image_size=8, train=20, probe=13, val=10, test=7)  # sizes that no batch size divides


def passed(source, *given):
    """(layer, split) -> [n, ...] of one pass, in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory, parts.claimed(pathlib.Path(directory)) as growing:
        return source.extract(*given, growing)


@pytest.fixture(scope="package")
def target():
    return components.load("first", ComponentSpec({"name": "factors", "reliability": {"colour": 1.0}}), DATA)


@pytest.fixture(scope="package")
def network(tiny):
    """network({"a.b": "text"}) -> (a kept step of the tiny study's mixture run, a store that knows its variables)."""

    def make(overrides=None, adapt=False, variables=None):
        plan = plans.plan(study.spec(tiny(overrides)))
        run = next(task.episode for task in plan.graph.of(Train) if task.episode.name == "mixture")
        if variables is None:
            state = steps.create(loop.program(run, mesh.make(run.train.batch)), np.int32(3), (8, 8, 3))
            stats = {"batch_stats": state.batch_stats} if state.batch_stats else {}
            variables = {"params": state.params, **stats}
        store = types.SimpleNamespace(variables=lambda asked, step: variables if asked == run else None, stop=Stop())
        return Kept("mixture/0@20", run, 20, DATA, adapt), store

    return make
