"""Shared by all tests: one compilation cache for this process and its children, few BLAS threads, and a tiny study."""

import dataclasses
import os
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))  # before JAX is imported
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # tests run side by side (-n)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # for children

import jax  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402

from bottleneck import checkpoint, plan, study  # noqa: E402
from bottleneck import config as configs
from bottleneck.data import resident  # noqa: E402
from bottleneck.training import loop, mesh  # noqa: E402

flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="session")
def tiny():
    """tiny({"a.b": "text"}) -> the config of tests/tiny.py with overrides as on the command line."""

    def make(overrides=None):
        return configs.load(str(ROOT / "tests" / "tiny.py"), (overrides or {}).items())

    return make


@pytest.fixture(scope="session")
def episode(tiny):
    """episode({"a.b": "text"}, keep=(5,)) -> an `Episode`: the mixture run of seed 0 of that study."""

    def make(overrides=None, name="mixture", seed=0, keep=None):
        return Episode(plan.plan(study.spec(tiny(overrides))), name, seed, keep)

    return make


class Episode:
    """One run with what it takes to train it."""

    def __init__(self, plan, name, seed, keep):
        self.plan, self.run, self.data = plan, plan.run(name, seed), plan.study.data
        if keep is not None:
            self.run = dataclasses.replace(self.run, keep=keep)
        self.components = plan.pool_of(self.run)
        self.mesh = mesh.make(self.run.train.batch)

    def pool(self):
        return mesh.replicate(resident.pool(self.components, self.data), self.mesh)

    def train(self, directory, **options):
        pool = None if self.run.train.feed == "stream" else self.pool()
        loop.train(self.run, directory, self.components, self.data, self.mesh, pool=pool, **options)
        return self.kept(directory)

    def kept(self, directory):
        """step -> kept variables."""
        folder = directory / "checkpoints"
        return {step: checkpoint.load(folder / str(step)) for step in checkpoint.steps(folder)}


@pytest.fixture(scope="session")
def same():
    """same(a, b): whether two trees have the same structure, dtypes and bits."""

    def compare(a, b):
        assert jax.tree.structure(a) == jax.tree.structure(b)
        for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
            x, y = jax.device_get(x), jax.device_get(y)
            assert x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes(), jax.tree_util.keystr(path)

    return compare
