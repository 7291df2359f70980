"""One draw, from its number to its record: the study as a user runs it, then the truth."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import subprocess
import time

from blind.oracle import Oracle
from blind.studies import Draw, draw
from bottleneck import atomic, execute, results
from bottleneck import rows as row_files

ROOT = pathlib.Path(__file__).parents[3]


def make(number: int, out: pathlib.Path) -> None:
    """Leaves `out/NAME.json`; what was done before a kill, at the same commit, is not done again."""
    drawn, code = draw(number), commit()
    workdir = begun(out / drawn.name, code)
    execute.study(drawn.config, workdir / "study")
    rows = results.from_disk(workdir / "study", drawn.config).rows
    components = answers(drawn, rows)
    oracle = Oracle(drawn, workdir / "oracle")
    for name, truth in oracle.truths().items():
        components[name]["truth"] = dataclasses.asdict(truth)
    for name, component in components.items():
        for cause, said in component["causes"].items():
            if cause == drawn.planted.get(name) or said["status"] == "named":
                said["removed"] = oracle.closes(name, cause)
    record = {
        "draw": number,
        "kind": drawn.kind,
        "commit": code,
        "cpu_seconds": time.process_time(),  # since the last start
        "config": drawn.config,
        "components": components,
    }
    atomic.write(out / f"{drawn.name}.json", json.dumps(record, indent=1))
    shutil.rmtree(workdir, ignore_errors=True)


def begun(workdir: pathlib.Path, code: str) -> pathlib.Path:
    """The work directory of a draw, emptied if it was begun at another commit."""
    mark = workdir / "commit"
    if workdir.exists() and not (mark.is_file() and mark.read_text() == code):
        shutil.rmtree(workdir)
    atomic.write(mark, code)
    return workdir


def answers(drawn: Draw, rows: list[dict]) -> dict[str, dict]:
    """component -> what the tool says of it: verdict, margin, and every cause with its status."""
    components = {}
    for gap in row_files.select(rows, metric="gap", arm="mixture"):
        if gap["unit"] == "points":
            continue
        name, extra = gap["target"], gap["extra"]
        (margin,) = row_files.select(rows, metric="margin", arm="mixture", target=name)
        restored = [r["extra"] for r in row_files.select(rows, metric="restored", target=name)]
        kept = ("status", "share", "half", "evidence", "reason")
        components[name] = {
            "planted": drawn.planted.get(name),
            "ceiling": drawn.ceiling.get(name),
            "verdict": extra["verdict"],
            "adjusted_p": extra["adjusted_p"],
            "family": extra["family"],
            "seeds": gap["n_seeds"],
            "margin": [margin["value"], *margin["ci95"]],
            "sentence": extra["sentence"],
            "causes": {r["cause"]: {key: r[key] for key in kept} for r in restored},
        }
    return components


def commit() -> str:
    """The commit of this checkout, marked where tracked files differ from it."""
    head = _git("rev-parse", "HEAD")
    return head + (" with changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
