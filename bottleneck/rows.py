"""Rows: every number of a table or figure is one JSON line with always the same keys."""

from __future__ import annotations

import json
import math
import pathlib

from bottleneck import atomic

KEYS = (
    "study",
    "arm",
    "label_space",
    "target",
    "factor",
    "representation",
    "members",
    "protocol",
    "scaling",
    "lambda",
    "n_shot",
    "reference",
    "split",
    "selected_on",
    "metric",
    "value",
    "ci95",
    "ci_unit",
    "seed",
    "n_seeds",
    "n_examples",
    "dim",
    "train_steps",
    "image_forwards",
    "component_examples",
    "layer",
    "step",
    "grad_norm",
    "config_hash",
    "extra",
)


def row(**values) -> dict:
    """A row with every key of `KEYS`, null where not given. Raises KeyError on a key that is not one."""
    unknown = set(values) - set(KEYS)
    if unknown:
        raise KeyError(f"not row keys: {sorted(unknown)}")
    return {key: _plain(values.get(key)) for key in KEYS}


def write(path: pathlib.Path, rows: list[dict]) -> None:
    """Writes rows to `path` by atomic rename: it holds all of them or does not exist."""
    atomic.write(path, "".join(json.dumps(r) + "\n" for r in rows))


def read(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def union(directory: pathlib.Path, path: pathlib.Path) -> None:
    """Writes the sorted union of `directory`/*.jsonl to `path`."""
    lines = {line for file in directory.glob("*.jsonl") for line in file.read_text().splitlines()}
    atomic.write(path, "".join(line + "\n" for line in sorted(lines)))


def select(rows: list[dict], **values) -> list[dict]:
    """The rows whose keys equal all of `values`."""
    return [r for r in rows if all(r[k] == v for k, v in values.items())]


def _plain(value):
    """JSON has no NaN or infinity: a number that does not exist is null. NumPy scalars become Python's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
