"""Shared by all tests: one compilation cache for this process and its children, few BLAS threads, and a tiny study."""

import os
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))  # before JAX is imported
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # hundreds of programs, each of which runs for moments
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # tests run side by side (-n)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # for children

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

from bottleneck import config as configs  # noqa: E402
from bottleneck import study  # noqa: E402

hypothesis.settings.register_profile("laws", deadline=None)  # laws are not about time, and machines are shared
hypothesis.settings.load_profile("laws")


@pytest.fixture(scope="session")
def tiny():
    """tiny({"a.b": "text"}) -> the config of tests/tiny.py with overrides as on the command line."""

    def make(overrides=None):
        path = str(ROOT / "tests" / "tiny.py")
        return configs.load(path, (overrides or {}).items(), study.StudySpec, study.spec_of)

    return make


@pytest.fixture(scope="session")
def same():
    """same(a, b): whether two trees have the same structure, dtypes and bits."""

    def compare(a, b):
        assert jax.tree.structure(a) == jax.tree.structure(b)
        for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
            x, y = jax.device_get(x), jax.device_get(y)
            assert x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes(), jax.tree_util.keystr(path)

    return compare
