"""Rows: every number of a table or figure is one JSON line with always the same keys.

Tasks state findings; `row` makes a row of each, in this one place. A task's file holds what the task knows; whose study
it is (`BOOKKEEPING`) is filled in when files are joined, as one task may serve several studies. The file's last line is
its seal: the SHA-256 of the rows above it, and of the per-item outcomes beside it (`.npz`) where there are any.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Iterable

import bottleneck
from bottleneck import atomic
from bottleneck.analysis.intervals import Interval
from bottleneck.seal import Damaged

KEYS = (
    "study",
    "point",
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
    "unit",
    "look",
    "version",
    "extra",
)
BOOKKEEPING = ("study", "point", "config_hash")
_SEAL = '{"seal": '


@dataclasses.dataclass(frozen=True)
class Finding:
    """One number a task found: `metric` is a plain name, `unit` says in what, `at` the other keys of its row."""

    metric: str
    value: float | Interval | None
    unit: str | None = None
    at: dict = dataclasses.field(default_factory=dict)


def fixed(finding: Finding, vary: str) -> Finding:
    """The finding, saying what its seeds vary where they do not vary both: an interval is of that alone."""
    if vary == "both":
        return finding
    varied, same = ("initialisations", "order of batches") if vary == "init" else ("orders", "initialisation")
    at = dict(finding.at)
    if isinstance(finding.value, Interval):
        unit = finding.value.unit.replace("member sets", f"member sets of {varied} (one {same})")
        at["ci_unit"] = unit.replace("seeds", f"{varied} (one {same})")
    if (at.get("extra") or {}).get("sentence"):
        note = f" (The seeds are {varied} at one {same}: the interval says nothing of others.)"
        at["extra"] = {**at["extra"], "sentence": at["extra"]["sentence"] + note}
    return dataclasses.replace(finding, at=at)


def row(finding: Finding, kind: str, version: int) -> dict:
    """The row of a finding by a task of this kind and version, over all seeds of the test split unless it says
    otherwise."""
    values = {
        "seed": "all",
        "split": "test",
        "selected_on": "val",
        "version": f"{kind}-{version} {bottleneck.__version__}",
    }
    if isinstance(finding.value, Interval):
        held = finding.value
        values |= {"value": held.value, "ci95": [held.low, held.high], "ci_unit": held.unit}
        values |= {"n_seeds": held.n_seeds, "n_examples": held.n_examples}
    else:
        values["value"] = finding.value
    values |= {"metric": finding.metric, "unit": finding.unit, **finding.at}
    unknown = set(values) - set(KEYS)
    if unknown:
        raise KeyError(f"not row keys: {sorted(unknown)}")
    return {key: _plain(values.get(key)) for key in KEYS}


def kind(row: dict) -> str:
    """The kind of the task that made a row."""
    return row["version"].partition("-")[0]


def write(path: pathlib.Path, rows: Iterable[dict], items: bytes | None = None) -> None:
    """Writes rows to `path` by atomic rename, and before them the bytes of an `.npz` of per-item outcomes: it holds all
    of them or does not exist."""
    if items is not None:
        atomic.write(path.with_suffix(".npz"), items)
    text = "".join(json.dumps(r) + "\n" for r in rows)
    seal = {"rows": _digest(text.encode()), "items": items and _digest(items)}
    atomic.write(path, f"{text}{json.dumps({'seal': seal})}\n")


def read(path: pathlib.Path, **bookkeeping) -> list[dict]:
    """The rows of a file, with the bookkeeping of the study that asks."""
    lines = path.read_text().splitlines()
    return [{**json.loads(line), **bookkeeping} for line in lines if not line.startswith(_SEAL)]


def verify(path: pathlib.Path, old: bool = False) -> None:
    """Raises Damaged unless the rows at `path`, and the items beside them, are what was written; with `old` whole rows
    from before there were seals will do."""
    text, items = path.read_bytes(), path.with_suffix(".npz")
    rows, found, seal = text.rpartition(_SEAL.encode())
    if old and not found and _are_rows(text):
        return
    try:
        stated = json.loads(found + seal)["seal"]
        whole = text.endswith(b"\n") and _digest(rows) == stated["rows"]
        expected = stated["items"]
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise Damaged(path.parent, path.name, "is not as it was written")
    if expected and not items.is_file():
        raise Damaged(path.parent, items.name, "is missing")
    if expected and _digest(items.read_bytes()) != expected:
        raise Damaged(path.parent, items.name, "does not match its SHA-256")


def _are_rows(text: bytes) -> bool:
    try:
        return text.endswith(b"\n") and all(set(KEYS) <= set(json.loads(line)) for line in text.splitlines())
    except (ValueError, TypeError):
        return False


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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
