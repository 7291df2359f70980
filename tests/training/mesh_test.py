"""The number of devices and of processes does not change what is computed: the command line run on each, and compared."""

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

CONFIG = pathlib.Path(__file__).parents[1] / "tiny.py"
STUDY = [
    f"--config={CONFIG}",
    "--stage=pretrain",
    "--config.seeds=1",
    "--config.train.steps=50",
    "--config.train.dtype=float64",
    "--config.train.save_every=20",
    "--shard=0/3",
]  # the mixture's run only, the first of three
MODELS = {"mlp": [], "resnet": ["--config.model={'name': 'resnet', 'width': 0.25}", "--config.optimizer.lr=0.01"]}
# One process of several: JAX is told of the others before the study starts.
JOIN = """
import sys, jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
assert jax.device_count() == 4 and jax.local_device_count() == 2
from bottleneck import main
sys.exit(main.main(["main", *sys.argv[3:]]))
"""


def spawn(command, devices):
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def join(children):
    for child in children:
        shown = child.communicate(timeout=600)[0]
        assert child.returncode == 0, shown


def parameters(workdir):
    (path,) = workdir.glob("runs/mixture-s0-*/checkpoints/50")
    found = jax.tree_util.tree_leaves_with_path(checkpoint.load(path))
    return {jax.tree_util.keystr(where): leaf for where, leaf in found}


def close(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == np.float64
        np.testing.assert_allclose(a[name], b[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.fixture(scope="module", params=MODELS)
def single(request, tmp_path_factory):
    """(model's overrides, parameters after 50 steps on one device)."""
    workdir, overrides = tmp_path_factory.mktemp("single"), MODELS[request.param]
    join([spawn(["-m", "bottleneck.main", f"--workdir={workdir}", *STUDY, *overrides], devices=1)])
    return overrides, parameters(workdir)


def test_four_devices_equal_one(single, tmp_path):
    overrides, expected = single
    join([spawn(["-m", "bottleneck.main", f"--workdir={tmp_path}", *STUDY, *overrides], devices=4)])
    close(parameters(tmp_path), expected)


def test_two_processes_equal_one(single, tmp_path):
    overrides, expected = single
    if overrides:
        pytest.skip("one model is enough: the collectives are those of four devices")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    join([spawn(["-c", JOIN, address, str(i), f"--workdir={tmp_path}", *STUDY], devices=2) for i in range(2)])
    close(parameters(tmp_path), expected)


def test_devices_must_divide_the_batch(monkeypatch):
    monkeypatch.setattr(mesh.jax, "devices", lambda: [None] * 3)
    with pytest.raises(UserError, match="^train.batch=16: expected a multiple of the 3 devices"):
        mesh.make(16)
