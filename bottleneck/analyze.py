"""Analysis without training: of a work directory's checkpoints, or of features that came from anywhere.

    python -m bottleneck.analyze --selftest
    python -m bottleneck.analyze WORKDIR [--config=HASH] [--compare OTHER_WORKDIR] [--output DIR]
    python -m bottleneck.analyze --mixture m0.npy,m1.npy --direct d0.npy,d1.npy --labels y.npy
                                 [--splits s.npy] [--groups g.npy]

The first runs the pipeline on planted truth and says what it found. The second analyses and reports on a study from the
checkpoints it left on disk, and sets it beside another one (compare.html). The third asks the study's question of
arrays: features [n, p] of networks pretrained on a mixture and trained directly, one file per seed, all with the same
rows. `splits` holds "probe", "val" or "test" per row (default: a stratified half, fifth and rest).
"""

from __future__ import annotations

import json
import os
import pathlib
import sys

import ml_collections
import numpy as np

from bottleneck import cli, identity, signals
from bottleneck.errors import UserError
from bottleneck.report import tables

FLAGS = {
    "--selftest": dict(action="store_true", help="planted features and networks through the whole pipeline, a minute"),
    "--config": dict(
        metavar="HASH", default="", help="which study of WORKDIR, by the hash of its config (default: the newest)"
    ),
    "--compare": dict(metavar="OTHER_WORKDIR", help="set it beside the newest study of another work directory"),
    "--output": dict(metavar="DIR", help="where the reports go instead; WORKDIR may then be read only"),
    "--mixture": dict(metavar="FILES", help="features of mixture-trained networks, .npy files separated by commas"),
    "--direct": dict(metavar="FILES", help="features of directly trained networks, likewise"),
    "--labels": dict(metavar="FILE", help=".npy, one label per row"),
    "--splits": dict(metavar="FILE", help=".npy of probe, val or test per row"),
    "--groups": dict(metavar="FILE", help=".npy of group names or numbers per row"),
}
ARRAYS = ("mixture", "direct", "labels", "splits", "groups")
STORED = ("config", "compare", "output")  # flags that go with a work directory


def main(argv: list[str]) -> int:
    """Runs the analysis that `argv` asks for; returns the exit status (see --help)."""
    return cli.carry_out(run, argv)


def run(argv: list[str]) -> int:
    """As `main`; raises UserError."""
    parser = cli.Parser("python -m bottleneck.analyze", __doc__)
    parser.add_argument("workdir", nargs="?", metavar="WORKDIR", help="a work directory of bottleneck.main")
    for name, described in FLAGS.items():
        parser.add_argument(name, **described)
    args = parser.read(argv)
    if args is None:
        return cli.DONE
    given = {name: getattr(args, name) for name in ARRAYS if getattr(args, name)}
    asked = bool(args.workdir) + bool(given) + args.selftest
    if asked != 1 or not args.workdir and any(getattr(args, name) for name in STORED):
        expected = "a work directory; or --mixture, --direct and --labels; or --selftest"
        raise UserError("command line", parser.given, f"{expected} (--help lists the flags)")
    workdir, other = cli.place("WORKDIR", args.workdir), cli.place("--compare", args.compare)
    output = cli.place("--output", args.output)
    if given:
        features(given)
        return cli.DONE
    with cli.jax_as_found():
        if args.selftest:
            with signals.noted():
                from bottleneck import selftest

            return cli.DONE if selftest.run() else cli.FAILED
        return directory(workdir, args.config, other, output)


def directory(
    workdir: pathlib.Path,
    config_hash: str = "",
    other: pathlib.Path | None = None,
    output: pathlib.Path | None = None,
) -> int:
    """What a study in `workdir` has no rows of yet, from its checkpoints; its answer and report, in `output` if given;
    the comparison with the newest study of `other`. Returns the exit status.

    A work directory that cannot be written is only reported on.
    """
    with signals.noted():
        from bottleneck import execute  # imports JAX, which analysing arrays does not need

    config = stored(workdir, config_hash)
    second = other and stored(other)
    if second and "networks" in {*config, *second}:  # which only audits have
        raise UserError("--compare", str(other), "two studies: an audit sets networks side by side itself (--networks)")
    read_only = output is not None and not os.access(workdir, os.W_OK)
    stages = ("report",) if read_only else ("transfer", "analyze", "report")
    if status := execute.study(config, workdir, stage=stages, output=output):
        return status
    if second:
        execute.compare((config, workdir), (second, other), output=output)
    return cli.DONE


def stored(workdir: pathlib.Path, config_hash: str = "") -> ml_collections.ConfigDict:
    """The config of a study in `workdir`, of this hash or the newest. Raises UserError when there is none."""
    if not workdir.is_dir():
        raise UserError("workdir", str(workdir), "a work directory (there is no such directory)")
    files = {path.stem: path for path in (workdir / "configs").glob("*.json")}
    chosen = [path for name, path in files.items() if name.startswith(config_hash)]
    if not chosen:
        key, value = ("--config", config_hash) if files else ("workdir", str(workdir))
        known = f" (hashes of its configs: {', '.join(sorted(files))})" if files else ""
        raise UserError(key, value, f"a work directory that holds this study{known}")
    newest = max(chosen, key=lambda path: path.stat().st_mtime_ns)
    try:
        plain = json.loads(newest.read_text())
        if identity.digest(plain, 12) != newest.stem:
            raise ValueError("its name is the hash of another")
        return ml_collections.ConfigDict(plain, convert_dict=True)
    except (OSError, ValueError) as error:
        raise UserError("workdir", str(newest), f"a config as it was written ({error})") from None


def features(given: dict[str, str]) -> None:
    """Prints verdict, sentence and table for features: `given` holds the flags' values by name. Imports no JAX."""
    from threadpoolctl import threadpool_limits

    from bottleneck.analysis import gap

    for name in ARRAYS[:3]:
        if name not in given:
            raise UserError(f"--{name}", "", "all of --mixture, --direct and --labels")
    labels = load("--labels", given["labels"])
    splits = load("--splits", given["splits"]) if "splits" in given else None
    groups = load("--groups", given["groups"]) if "groups" in given else None
    arms = [seeds(f"--{arm}", given[arm]) for arm in ("mixture", "direct")]
    with threadpool_limits(1, "blas"):  # many small products
        answer = gap.gap(*arms, labels, splits, groups=groups)
    print(answer.sentence + "\n")
    print(tables.text(table(answer)))


def seeds(flag: str, paths: str) -> list[np.ndarray]:
    """The arrays [n, p] of one arm, a seed a file. Raises UserError where one file is given as two seeds."""
    files = [path.strip() for path in paths.split(",") if path.strip()]
    places = [os.path.realpath(os.path.expanduser(path)) for path in files]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise UserError(flag, files[i], "another file for every seed (this one is there twice)")
    return [load(flag, path) for path in files]


def load(flag: str, path: str) -> np.ndarray:
    """The .npy array at `path`, never a pickle. Raises UserError."""
    try:
        values = np.load(os.path.expanduser(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(flag, path, f"a .npy array ({error})") from None
    if not isinstance(values, np.ndarray) or not values.ndim:
        raise UserError(flag, path, "an array with one entry per row")
    return values


def table(answer) -> tables.Table:
    """One row for all test items and one per group."""

    def number(row, key, digits):
        return tables.Number(row[key], row[f"{key}_low"], row[f"{key}_high"], digits) if key in row else tables.MISSING

    header = (
        "items",
        "n",
        f"direct ({answer.unit})",
        f"mixture ({answer.unit})",
        f"gap ({answer.unit})",
        "gap (points)",
    )
    cells = tuple(
        (
            row["group"],
            tables.Number(row["n_examples"], digits=0),
            number(row, "direct", 2),
            number(row, "mixture", 2),
            number(row, "gap", 2),
            number(row, "points", 1),
        )
        for row in answer.table()
    )
    seeds = answer.verdict.gap.n_seeds
    return tables.Table(
        "gap",
        "Direct training against the mixture",
        f"{seeds} seed{'s' if seeds > 1 else ''}; 95% intervals, not "
        "adjusted for multiplicity; groups are exploratory.",
        header,
        cells,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv))
