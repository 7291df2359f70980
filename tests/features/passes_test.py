"""A pass gives every item once, whatever the batch; BatchNorm statistics can be measured anew."""

import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from bottleneck.features import batch, parts, passes
from bottleneck.signals import Stop, Stopped


@pytest.mark.parametrize("size", [500, 5, 13, 1])
@pytest.mark.parametrize("most", [0, 700, passes.HELD])  # on disk batch by batch, by several, not at all
def test_every_item_once_and_batches_of_one_shape(most, size, target, tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "HELD", most)
    monkeypatch.setattr(batch, "ITEMS", size)
    shapes = set()

    def read(x):
        shapes.add(x.shape)
        return {"sum": x.astype(np.float64).sum((1, 2, 3)), "half": x[:, ::2].astype(np.float32)}

    examples = target.splits["probe"]
    with parts.claimed(tmp_path) as growing:
        made = passes.grown(examples, read, Stop(), ("sum", "half"), "probe", growing, passes.batch_size(examples))
    whole = {layer: made[layer, "probe"] for layer in ("sum", "half")}
    x = examples.fetch(np.arange(13))
    np.testing.assert_array_equal(whole["sum"], x.astype(np.float64).sum((1, 2, 3)))
    np.testing.assert_array_equal(whole["half"], x[:, ::2])
    assert shapes == {(size, 8, 8, 3)} and whole["sum"].dtype == np.float64  # as it was read


def test_a_pass_ends_at_the_next_batch_when_it_is_asked_to(target, tmp_path):
    stop, seen = Stop(), []

    def read(x):
        seen.append(len(x))
        if len(seen) == 2:
            stop.ask(signal.SIGTERM)
        return {"x": x}

    with pytest.raises(Stopped):
        passes.grown(target.splits["probe"], read, stop, ("x",), "probe", parts.Parts(tmp_path), 5)
    assert seen == [5, 5]


def test_remeasuring_a_network_without_batch_norm_changes_nothing(network, target):
    source, store = network()
    variables = store.variables(source.run, 20)
    assert passes.remeasured(source.run.module(), variables, target.splits["probe"], 0.5, 0.25, Stop()) is variables


@pytest.mark.parametrize(("side", "size"), [(8, 500), (128, 500), (224, 222), (2048, 2)])
def test_large_images_pass_fewer_at_once(side, size, target, monkeypatch):
    monkeypatch.setattr(batch, "BYTES", 2**25)
    large = dataclasses.replace(
        target.splits["probe"], fetch=lambda rows: np.zeros((len(rows), side, side, 3), np.uint8)
    )
    assert passes.batch_size(large) == size


CHILD = """
import jax, numpy as np, pathlib, sys
from bottleneck import models
from bottleneck.data.source import Examples
from bottleneck.features import parts, passes
from bottleneck.signals import Stop
images = np.random.default_rng(0).integers(0, 256, (1001, 8, 8, 3), np.uint8)
part = Examples(np.zeros(1001, np.int32), np.arange(1001), {}, lambda rows: images[rows])
model = models.build(models.spec({"name": "resnet", "width": 0.125}), 3)
variables = jax.jit(lambda key: model.init(key, np.zeros((1, 8, 8, 3), np.float32)))(jax.random.key(0))
half = np.float32(0.5)
held = passes.placed(variables)
read = lambda x: passes.forward(model, held, passes.placed(x, batch=True), half, half, ("features", "logits"))
size = passes.batch_size(part)
growing = parts.Parts(pathlib.Path(sys.argv[1]).parent)
made = passes.grown(part, read, Stop(), ("features", "logits"), "val", growing, size)
np.savez(sys.argv[1], size=size, **{layer: x for (layer, _), x in made.items()})
"""


@pytest.mark.slow
def test_features_of_three_devices_are_those_of_one(tmp_path):
    read = []
    for devices in (1, 3):
        environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
        subprocess.run([sys.executable, "-c", CHILD, tmp_path / "out.npz"], env=environment, check=True)
        with np.load(tmp_path / "out.npz") as made:
            read.append(dict(made))
    assert [int(each["size"]) for each in read] == [500, 501]  # a multiple of the devices
    for layer in ("features", "logits"):
        assert len(read[1][layer]) == 1001
        np.testing.assert_allclose(read[1][layer], read[0][layer], rtol=1e-5, atol=1e-6)
