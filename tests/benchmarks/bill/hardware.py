"""What the bill was measured on, and with."""

from __future__ import annotations

import ast
import datetime
import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn", "torch")


ASKED = "import jax; d = jax.local_devices(); print([d[0].platform, d[0].device_kind, len(d)])"


@functools.cache
def devices() -> tuple[str, int]:
    """The kind of the first device that is no CPU, and how many there are; ("", 0) without one. Asked of another
    process, as a device may be held by one alone."""
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    platform_, kind, count = ast.literal_eval(lines[-1]) if lines else ("cpu", "", 0)
    return ("", 0) if platform_ == "cpu" else (kind, count)


def accelerator() -> str:
    """Its kind; "" without one."""
    return devices()[0]


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
        "accelerator": " x ".join(map(str, reversed(devices()))) if accelerator() else "none",
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
