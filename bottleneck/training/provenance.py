"""What made a run without being part of its identity: versions, commit and devices, and how they changed."""

from __future__ import annotations

import importlib.metadata
import pathlib
import platform
import subprocess

import jax

from bottleneck import atomic, seal

PACKAGES = ("bottleneck", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
FOREIGN = ("torch", "timm", "safetensors", "pillow")  # what reads networks that are not ours


def current(mesh=None) -> dict:
    """The provenance of what this process trains on `mesh`; without one, of what it reads networks with."""
    devices = jax.devices() if mesh is None else mesh.devices.flatten()
    foreign = [] if mesh is not None else [name for name in FOREIGN if _version(name) != "not installed"]
    return {
        "versions": {name: _version(name) for name in (*PACKAGES, *foreign)},
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": devices[0].platform,
        "devices": [d.device_kind for d in devices],
        "processes": jax.process_count(),
    }


def record(path: pathlib.Path, now: dict, step: int) -> list[str]:
    """States in `path` that training goes on from `step` with `now`; what differs from the last time, as text.

    The first provenance stays as it is; later ones that differ are appended to its `history`, with their step.
    """
    recorded = read(path)
    if not recorded:
        atomic.write(path, seal.sealed({**now, "history": []}))
        return []
    last = [recorded, *recorded["history"]][-1]
    changes = differences(last, now)
    if changes or last.get("members") != now.get("members"):
        recorded["history"].append({**now, "step": step})
        atomic.write(path, seal.sealed(recorded))
    return changes


def read(path: pathlib.Path) -> dict:
    """The provenance at `path`; {} where there is none, or a damaged one, which is said."""
    if not path.is_file():
        return {}
    try:
        return seal.record(path, old=True)
    except seal.Damaged as error:
        print(f"{error}; what made {path.parent.name} before is not known", flush=True)
        return {}


def differences(before: dict, now: dict) -> list[str]:
    """What `now` says otherwise than `before`, such as "jax 0.10.0 -> 0.10.1"."""
    old, new = ({**record, **record["versions"]} for record in (before, now))
    keys = [key for key in {**old, **new} if key not in ("versions", "history", "step", "members")]
    return [f"{key} {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=pathlib.Path(__file__).parent,
            text=True,
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return described.stdout.strip()
