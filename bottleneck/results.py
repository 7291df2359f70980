"""The outcome of a study: which rows are live, their union, and what made them.

`configs/<hash>.json` holds a config; `configs/<hash>.tasks`, beside it, which rows its plan has (so that a study
reports again when its data are gone), at which points of sweeps it lies and, from its start to its end, which rows it
is to have. `results.jsonl` joins the rows of all configs of a work directory; rows that none has or is to have any more
are set aside in `rows/superseded`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable
from dataclasses import dataclass

from bottleneck import atomic, identity, seal
from bottleneck import config as configs
from bottleneck import rows as row_files
from bottleneck.errors import UserError
from bottleneck.features.extract import Extract
from bottleneck.features.source import Foreign
from bottleneck.pretraining import Train
from bottleneck.seal import Damaged
from bottleneck.store import Store
from bottleneck.tasks import Task
from bottleneck.training import loop
from bottleneck.training import provenance as provenances

VERDICTS = (
    "verdict",
    "p",
    "adjusted_p",
    "sentence",
    "needs",
    "causes",
    "saturated",
    "status",
)  # of gaps and what restores


@dataclass(frozen=True)
class Outcome:
    """All that a report shows of a study."""

    name: str
    rows: list[dict]
    provenance: dict
    reading: dict[str, list[str]]


def config_hash(config) -> str:
    """Of all that a config says, where the data lie included: what lies elsewhere may be other data."""
    return identity.digest(configs.absolute(config), 12)


def record(workdir: pathlib.Path, plan, config) -> None:
    """Leaves the config, and those of a sweep's points, here, with data paths that hold from anywhere; and which rows
    are to come, so that no other study takes them for nobody's should this one be cut short."""
    for each, of in (*((point.config, point.plan) for point in plan.points), (config, plan)):
        plain = json.dumps(configs.absolute(each), sort_keys=True, indent=1)
        atomic.write(workdir / "configs" / f"{config_hash(each)}.json", plain)
        _note(workdir, each, planned=[task.key for task in row_tasks(of)])


def sign(workdir: pathlib.Path, plan, config) -> None:
    """Notes what carries out the passes that are left of an audit, which trains no runs that would say it."""
    if any(isinstance(task, Extract) and isinstance(task.source, Foreign) for task in plan.tasks):
        signed = _tasks(workdir, config).get("signed", [])
        now = provenances.current()
        _note(workdir, config, signed=signed if now in signed else [*signed, now])


def leave(plan, store: Store, config, complete: bool) -> None:
    """Records which rows are live, of a sweep point by point, and joins those of every config here."""
    for point in plan.points:
        _leave(point.plan, point.plan.tasks, store, point.config, complete, point.at)
    _leave(plan, plan.graph, store, config, complete)
    union(store.workdir, aside=complete)


def _leave(plan, among: Iterable[Task], store: Store, config, complete: bool, at: dict | None = None) -> None:
    """`at`: the point of a sweep that is recorded, None where the study stands for itself. Both may be so."""
    places = _tasks(store.workdir, config)["points"]
    at = json.loads(json.dumps(at))
    live = {
        "study": plan.study.name,
        "points": places if at in places else [*places, at],
        "complete": complete,
        "planned": [] if complete else [task.key for task in row_tasks(plan)],
        "rows": [task.key for task in row_tasks(plan) if store.present(task)],
        "runs": [task.episode.key for task in among if isinstance(task, Train) and store.present(task)],
        "reading": plan.reading,
    }
    _note(store.workdir, config, **live)


def _note(workdir: pathlib.Path, config, **known) -> None:
    """Writes what is now known of a config's tasks; the rest stays as it is."""
    atomic.write(_tasks_path(workdir, config), seal.sealed({**_tasks(workdir, config), **known}))


def row_tasks(plan) -> list[Task]:
    """The tasks of a plan that make rows; of a sweep what is no point's own."""
    return [task for task in plan.tasks if task.makes and task.makes[0].startswith("rows/")]


def union(workdir: pathlib.Path, aside: bool) -> None:
    """`results.jsonl`: the sorted rows of live keys, with study, config and point; others are set aside. What is
    damaged of another study is said and left out; nothing is set aside while it is not known whose that is."""
    lines, live, again = set(), set(), "left out until its study is run again"
    for path in sorted((workdir / "configs").glob("*.tasks")):
        try:
            tasks = seal.record(path, old=True)
        except Damaged as error:
            print(f"{error}; {again}", flush=True)
            aside = False
            continue
        live |= {*tasks["rows"], *tasks.get("planned", ())}
        for file in (workdir / "rows" / f"{key}.jsonl" for key in tasks["rows"]):
            try:
                row_files.verify(file, old=True)
            except FileNotFoundError:
                continue
            except Damaged as error:
                print(f"{error}; {again} ({tasks['study']}, {path.stem})", flush=True)
                continue
            rows = row_files.read(file, study=tasks["study"], config_hash=path.stem)
            for point in tasks["points"]:
                lines |= {json.dumps(each) for row in rows for each in _at_point(row, point)}
    atomic.write(workdir / "results.jsonl", "".join(line + "\n" for line in sorted(lines)))
    for file in (workdir / "rows").glob("*.*") if aside else ():
        if file.suffix in (".jsonl", ".npz") and file.stem not in live and file.name[0] != ".":
            (workdir / "rows" / "superseded").mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another shard that ends now was faster
                os.replace(file, workdir / "rows" / "superseded" / file.name)


def _at_point(row: dict, point: dict | None) -> list[dict]:
    """A row as it is or, of a sweep's point, as one that has intervals and no verdicts of its own, nor the choices that
    follow from them: the test of a sweep is its slope."""
    if point is None:
        return [row]
    row = {**row, "point": point}
    if row["metric"] in ("gap", "restored") and row["extra"]:
        row["extra"] = {key: value for key, value in row["extra"].items() if key not in VERDICTS}
    return [row] if row["metric"] != "choice" else []


def is_complete(workdir: pathlib.Path, config) -> bool:
    """Whether a study of this config was finished here."""
    tasks = _tasks(workdir, config)
    files = [workdir / "rows" / f"{key}.jsonl" for key in tasks["rows"]]
    return tasks["complete"] and all(file.is_file() for file in files)


def from_disk(workdir: pathlib.Path, config) -> Outcome:
    """The outcome of a finished study, from its rows alone. Raises UserError where it is not finished, or damaged."""
    if not is_complete(workdir, config):
        raise UserError("workdir", str(workdir), "the rows of a finished study (--stage=all makes them)")
    tasks = _tasks(workdir, config)
    at, rows = {"study": tasks["study"], "config_hash": config_hash(config)}, []
    for file in (workdir / "rows" / f"{key}.jsonl" for key in tasks["rows"]):
        try:
            row_files.verify(file, old=True)
        except Damaged as error:
            expected = "what was written (it is damaged; --stage=all makes it again)"
            raise UserError("workdir", str(error.path / error.file), expected) from None
        rows += row_files.read(file, **at)
    made = provenance(workdir, tasks["runs"], config, tasks.get("signed", []))
    return Outcome(tasks["study"], rows, made, tasks["reading"])


def of_plan(plan, store: Store, config) -> Outcome:
    """The outcome of a plan whose tasks are all settled."""
    at = {"study": plan.study.name, "config_hash": config_hash(config)}
    rows = [row for task in row_tasks(plan) if store.present(task) for row in store.rows(task, **at)]
    runs = [train.episode.key for train in plan.graph.of(Train) if store.present(train)]
    signed = _tasks(store.workdir, config).get("signed", [])
    return Outcome(plan.study.name, rows, provenance(store.workdir, runs, config, signed), plan.reading)


def provenance(workdir: pathlib.Path, runs: list[str], config, signed: Iterable[dict] = ()) -> dict:
    """What made the runs of a study, and the passes of an audit: of every key the value, or the values where they
    differ, package by package."""
    wanted = set(runs)
    paths = sorted((workdir / "runs").glob("*/provenance.json"))
    each = [provenances.read(path) for path in paths if path.parent.name.rpartition("-")[2] in wanted]
    each += signed
    merged = {key: _merged([p.get(key) for p in each]) for key in sorted({key for p in each for key in p})}
    return {**merged, "config": config_hash(config)}


def _merged(values: list):
    if values and all(isinstance(value, dict) for value in values):
        return {key: _merged([v.get(key) for v in values]) for key in sorted({key for v in values for key in v})}
    distinct = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    return distinct[0] if len(distinct) == 1 else distinct


def forget_runs(plan, store: Store) -> None:
    """Removes what the study's runs have left and all that was made of it, so that both are made again; says which
    other studies stand on these runs."""
    made = plan.graph.downstream(plan.graph.of(Train))
    for task in reversed(made):  # the runs last: what a kill leaves then belongs together
        store.forget(task)
        if isinstance(task, Train):
            loop.forget(store.place_of(task.episode))
    keys = {task.key for task in made}
    for path in sorted((store.workdir / "configs").glob("*.tasks")):
        try:
            tasks = seal.record(path, old=True)
        except Damaged:
            continue  # said when rows are joined
        if keys & set(tasks["runs"]) and not plan.graph.tasks.keys() >= set(tasks["rows"]):
            print(f"{tasks['study']} ({path.stem}) has rows of runs that are made again: use --retrain there too")


def usable(directory: pathlib.Path, flag: str = "--workdir") -> None:
    """Raises UserError when `directory`, given by `flag`, is none that can be written, or made."""
    for path in (directory, *directory.parents):
        if path.exists():
            if not path.is_dir() or not os.access(path, os.W_OK):
                raise UserError(flag, str(directory), f"a directory that can be written ({path} is not)")
            return


def _tasks(workdir: pathlib.Path, config) -> dict:
    """What is known of a config's tasks; nothing of one that was never begun here, or whose record is damaged."""
    try:
        return seal.record(_tasks_path(workdir, config), old=True)
    except Damaged:
        return {"study": "", "points": [], "complete": False, "rows": [], "runs": []}


def _tasks_path(workdir: pathlib.Path, config) -> pathlib.Path:
    return workdir / "configs" / f"{config_hash(config)}.tasks"
