"""What the bill was measured on, and with."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn", "torch")


@functools.cache
def accelerator() -> str:
    """The kind of the first device that is no CPU; "" without one. Asked of another process, as a device may be held by
    one alone."""
    code = "import jax; d = jax.devices()[0]; print('' if d.platform == 'cpu' else d.device_kind)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def described() -> dict:
    """Processor, cores, memory, accelerator, versions, load and date."""
    model, memory = platform.processor(), None
    if pathlib.Path("/proc/cpuinfo").is_file():
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": model,
        "cores": cores,
        "memory_gib": memory,
        "accelerator": accelerator() or "none",
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
