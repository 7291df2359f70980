"""The outcome of a study: which rows are live, their union, and what made them.

`configs/<hash>.json` holds a config; `configs/<hash>.tasks`, beside it, which rows its plan has (so that a study
reports again when its data are gone). `results.jsonl` joins the rows of all configs of a work directory; rows that none
has any more are set aside in `rows/superseded`.
"""

from __future__ import annotations

import json
import os
import pathlib
from dataclasses import dataclass

from bottleneck import atomic, identity
from bottleneck import config as configs
from bottleneck import rows as row_files
from bottleneck.errors import UserError
from bottleneck.pretraining import Train
from bottleneck.store import Store
from bottleneck.training import loop


@dataclass(frozen=True)
class Outcome:
    """All that a report shows of a study."""

    name: str
    rows: list[dict]
    provenance: dict
    reading: dict[str, list[str]]


def config_hash(config) -> str:
    return identity.digest(configs.placeless(config), 12)


def record(workdir: pathlib.Path, config) -> None:
    """Leaves the config in the work directory, with data paths that hold from anywhere."""
    plain = json.dumps(configs.absolute(config), sort_keys=True, indent=1)
    atomic.write(workdir / "configs" / f"{config_hash(config)}.json", plain)


def leave(plan, store: Store, config, complete: bool) -> None:
    """Records which rows are live, and joins those of every config here."""
    row_tasks = [task for task in plan.graph if task.makes and task.makes[0].startswith("rows/")]
    live = {
        "study": plan.study.name,
        "complete": complete,
        "rows": [task.key for task in row_tasks if store.outcomes.of(task) == "done"],
        "runs": [train.episode.key for train in plan.graph.of(Train) if store.outcomes.of(train) == "done"],
        "versions": sorted({f"{task.KIND}-{task.VERSION}" for task in row_tasks}),
        "reading": plan.reading,
    }
    atomic.write(store.workdir / "configs" / f"{config_hash(config)}.tasks", json.dumps(live))
    union(store.workdir, aside=complete)


def union(workdir: pathlib.Path, aside: bool) -> None:
    """`results.jsonl`: the sorted rows of live keys, with the study and config they belong to; others are set aside."""
    lines, live = set(), set()
    for path in sorted((workdir / "configs").glob("*.tasks")):
        tasks = json.loads(path.read_text())
        live |= set(tasks["rows"])
        for key in tasks["rows"]:
            file = workdir / "rows" / f"{key}.jsonl"
            if file.is_file():
                at = {"study": tasks["study"], "config_hash": path.stem, "point": tasks.get("point")}
                lines |= {json.dumps(row) for row in row_files.read(file, **at)}
    atomic.write(workdir / "results.jsonl", "".join(line + "\n" for line in sorted(lines)))
    for file in (workdir / "rows").glob("*.*") if aside else ():
        if file.suffix in (".jsonl", ".npz") and file.stem not in live and file.name[0] != ".":
            (workdir / "rows" / "superseded").mkdir(exist_ok=True)
            os.replace(file, workdir / "rows" / "superseded" / file.name)


def is_complete(workdir: pathlib.Path, config) -> bool:
    """Whether a study of this config was finished here."""
    tasks = _tasks(workdir, config)
    files = [workdir / "rows" / f"{key}.jsonl" for key in tasks.get("rows", ())]
    return bool(tasks.get("complete")) and all(file.is_file() for file in files)


def from_disk(workdir: pathlib.Path, config) -> Outcome:
    """The outcome of a finished study, from its rows alone. Raises UserError where it is not finished."""
    if not is_complete(workdir, config):
        raise UserError("workdir", str(workdir), "the rows of a finished study (--stage=all makes them)")
    tasks = _tasks(workdir, config)
    at = {"study": tasks["study"], "config_hash": config_hash(config)}
    rows = [row for key in tasks["rows"] for row in row_files.read(workdir / "rows" / f"{key}.jsonl", **at)]
    return Outcome(tasks["study"], rows, provenance(workdir, tasks["runs"], config), tasks["reading"])


def of_plan(plan, store: Store, config) -> Outcome:
    """The outcome of a plan whose tasks are all settled."""
    at = {"study": plan.study.name, "config_hash": config_hash(config)}
    tasks = [task for task in plan.graph if task.makes and task.makes[0].startswith("rows/")]
    rows = [row for task in tasks if store.present(task) for row in store.rows(task, **at)]
    runs = [train.episode.key for train in plan.graph.of(Train) if store.outcomes.of(train) == "done"]
    return Outcome(plan.study.name, rows, provenance(store.workdir, runs, config), plan.reading)


def provenance(workdir: pathlib.Path, runs: list[str], config) -> dict:
    """What made the runs of a study: of every key the value, or the values where they differ, package by package."""
    wanted = set(runs)
    paths = sorted((workdir / "runs").glob("*/provenance.json"))
    each = [json.loads(path.read_text()) for path in paths if path.parent.name.rpartition("-")[2] in wanted]
    merged = {key: _merged([p.get(key) for p in each]) for key in sorted({key for p in each for key in p})}
    return {**merged, "config": config_hash(config)}


def _merged(values: list):
    if values and all(isinstance(value, dict) for value in values):
        return {key: _merged([v.get(key) for v in values]) for key in sorted({key for v in values for key in v})}
    distinct = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    return distinct[0] if len(distinct) == 1 else distinct


def forget_runs(plan, store: Store) -> None:
    """Removes all that the study's runs have left, so that they are trained again."""
    for train in plan.graph.of(Train):
        loop.forget(store.place_of(train.episode))


def usable(workdir: pathlib.Path) -> None:
    """Raises UserError when `workdir` cannot be a work directory."""
    for path in (workdir, *workdir.parents):
        if path.exists():
            if not path.is_dir() or not os.access(path, os.W_OK):
                raise UserError("--workdir", str(workdir), f"a directory that can be written ({path} is not)")
            return


def _tasks(workdir: pathlib.Path, config) -> dict:
    path = workdir / "configs" / f"{config_hash(config)}.tasks"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
