"""What a work directory takes on disk, and what of it may go.

    python -m bottleneck.store WORKDIR [--drop=features,resume,superseded,compiled]

Rows, kept steps and reports are results and stay. What is dropped is made again where something still needs it:
features by another pass over the images, compiled steps by compiling; a run that was cut short starts anew.
"""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from bottleneck import cli, lock
from bottleneck.errors import UserError
from bottleneck.report.table import Table, text

LARGEST = 10  # runs and feature sets that are listed


@dataclass(frozen=True)
class Kind:
    """One kind of what lies in a work directory. `places`: patterns of files and directories."""

    name: str
    places: tuple[str, ...]
    drop: str = ""  # what it is called where it may go


KINDS = (
    Kind("kept steps", ("runs/*/checkpoints",)),
    Kind("records of runs", ("runs/*/*.json", "runs/*/*.jsonl", "runs/*/done", "configs", "locks")),
    Kind("resume points", ("runs/*/resume",), "resume"),
    Kind("features", ("features",), "features"),
    Kind("rows", ("rows/*.jsonl", "rows/*.npz", "rows/*.empty", "results.jsonl")),
    Kind("superseded rows", ("rows/superseded",), "superseded"),
    Kind("reports", ("*.html", "figures", "tables")),
    Kind("compiled steps", (".jax_cache",), "compiled"),
)


def main(argv: list[str]) -> int:
    """Prints the sizes, after dropping what `argv` names; returns the exit status (see --help)."""
    return cli.carry_out(run, argv)


def run(argv: list[str]) -> int:
    """As `main`; raises UserError."""
    parser = cli.Parser("python -m bottleneck.store", __doc__, resumes=False)
    parser.add_argument("workdir", metavar="WORKDIR", help="a work directory of bottleneck.main")
    parser.add_argument("--drop", metavar="KINDS", default="", help="what to remove, separated by commas")
    args = parser.read(argv)
    if args is None:
        return cli.DONE
    workdir = cli.place("WORKDIR", args.workdir)
    if workdir is None or not (workdir / "configs").is_dir():
        why = "it holds no study" if workdir and workdir.is_dir() else "there is no such directory"
        raise UserError("WORKDIR", args.workdir, f"a work directory of bottleneck.main ({why})")
    known = {kind.drop: kind for kind in KINDS if kind.drop}
    asked = [name for name in args.drop.split(",") if name]
    for name in asked:
        if name not in known:
            raise UserError("--drop", name, f"some of {', '.join(known)}")
    if asked:
        with lock.hold(workdir):  # nobody is writing
            for name in asked:
                count, size = drop(workdir, known[name])
                print(f"dropped {known[name].name}: {count:,} files, {mebibytes(size)} MiB")
    print(report(workdir))
    return cli.DONE


def files(workdir: pathlib.Path, kind: Kind) -> Iterator[pathlib.Path]:
    """The files of a kind."""
    for place in (place for pattern in kind.places for place in workdir.glob(pattern)):
        yield from (path for path in place.rglob("*") if path.is_file()) if place.is_dir() else (place,)


def drop(workdir: pathlib.Path, kind: Kind) -> tuple[int, int]:
    """Removes all of a kind that may go. How many files they were, and their bytes."""
    sizes = [path.stat().st_size for path in files(workdir, kind)]
    for place in (place for pattern in kind.places for place in workdir.glob(pattern)):
        shutil.rmtree(place)
    return len(sizes), sum(sizes)


def report(workdir: pathlib.Path) -> str:
    """Files and bytes by kind, and the largest runs and feature sets."""
    lines, total = [], 0
    for kind in KINDS:
        sizes = [path.stat().st_size for path in files(workdir, kind)]
        total += sum(sizes)
        lines.append((kind.name, f"{len(sizes):,}", mebibytes(sum(sizes)), kind.drop and f"--drop={kind.drop}"))
    lines.append(("all of them", "", mebibytes(total), ""))
    by_kind = Table("sizes", f"{workdir}", "", ("what", "files", "MiB", "may go"), tuple(lines))
    large = sorted(((_size(place), place) for place in _sets(workdir)), reverse=True)[:LARGEST]
    listed = tuple((str(place.relative_to(workdir)), mebibytes(size)) for size, place in large)
    largest = Table("large", "Largest", "", ("run or features", "MiB"), listed)
    return "\n\n".join(map(text, (by_kind, largest)))


def _sets(workdir: pathlib.Path) -> Iterator[pathlib.Path]:
    """Runs, and the feature sets of a pass."""
    yield from (place for pattern in ("runs/*", "features/*") for place in workdir.glob(pattern) if place.is_dir())


def _size(place: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f}"
