"""The number of devices and of processes does not change what is computed: the same run on each, and compared."""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from bottleneck import checkpoint
from bottleneck.errors import UserError
from bottleneck.training import mesh

MODELS = {"mlp": {}, "resnet": {"model": "convolutional", "optimizer.lr": "0.01"}}
# In one of several processes, JAX is told of the others before anything else.
CHILD = """
import ast, pathlib, runpy, sys, jax
conftest, directory, overrides, stop_at, address, index = sys.argv[1:]
if address:
    jax.distributed.initialize(address, 2, int(index))
    assert jax.device_count() == 4 and jax.local_device_count() == 2
from bottleneck import signals
made = runpy.run_path(conftest)["make"](ast.literal_eval(overrides))
stop = signals.Stop()

def progress(count):
    if index == "1" and int(stop_at):  # only one process receives the signal
        stop.ask(15)

try:
    made.train(pathlib.Path(directory), on_progress=progress, stop=stop)
except signals.Stopped as error:
    print(error)
    sys.exit(3)
"""


def spawn(directory, overrides, devices, address="", index=0, stop_at=0):
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    overrides = {"train.steps": "50", "train.dtype": "float64", "train.save_every": "20", **overrides}
    conftest = pathlib.Path(__file__).with_name("conftest.py")
    arguments = [conftest, directory, overrides, stop_at, address, index]
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def join(children, code=0):
    for child in children:
        shown = child.communicate(timeout=600)[0]
        assert child.returncode == code, shown


def parameters(directory):
    found = jax.tree_util.tree_leaves_with_path(checkpoint.load(directory / "checkpoints" / "50"))
    return {jax.tree_util.keystr(where): leaf for where, leaf in found}


def close(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == np.float64
        np.testing.assert_allclose(a[name], b[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.fixture(scope="module", params=MODELS)
def single(request, tmp_path_factory):
    """(overrides, parameters after 50 steps on one device)."""
    directory, overrides = tmp_path_factory.mktemp("single"), MODELS[request.param]
    join([spawn(directory, overrides, devices=1)])
    return overrides, parameters(directory)


def test_four_devices_equal_one(single, tmp_path):
    overrides, expected = single
    join([spawn(tmp_path, overrides, devices=4)])
    close(parameters(tmp_path), expected)


def pair(directory, overrides, stop_at=0):
    """Two processes of two devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    return [spawn(directory, overrides, 2, address, index, stop_at) for index in range(2)]


@pytest.mark.parametrize(
    ("single", "feed"),
    [
        ("mlp", "resident"),
        pytest.param("mlp", "stream", marks=pytest.mark.slow),
        pytest.param("resnet", "resident", marks=pytest.mark.slow),
        pytest.param("resnet", "stream", marks=pytest.mark.slow),
    ],
    indirect=["single"],
)
def test_two_processes_equal_one_and_stop_together(single, tmp_path, feed):
    """Streaming, each fetches its own part of a batch; what both have saved one goes on from, on four devices."""
    overrides, expected = single
    overrides = {**overrides, "train.feed": feed}
    join(pair(tmp_path, overrides, stop_at=1), code=3)
    assert checkpoint.steps(tmp_path / "resume")[-1] < 50
    join([spawn(tmp_path, overrides, devices=4)] if feed == "stream" else pair(tmp_path, overrides))
    close(parameters(tmp_path), expected)


def test_a_process_fetches_its_own_part_of_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(jax.sharding.NamedSharding, "addressable_devices_indices_map", lambda self, shape: held)
    held = {"third": (slice(8, 12),), "fourth": (slice(12, 16),)}
    assert mesh.rows(mesh.make(16), 16).tolist() == list(range(8, 16))


def test_devices_must_divide_the_batch(monkeypatch):
    monkeypatch.setattr(mesh.jax, "devices", lambda: [None] * 3)
    with pytest.raises(UserError, match="^train.batch=16: expected a multiple of the 3 devices"):
        mesh.make(16)
