"""Analysis without training: of a work directory's checkpoints, or of features that came from anywhere.

    python -m bottleneck.analyze --selftest
    python -m bottleneck.analyze WORKDIR [--config=HASH] [--compare OTHER_WORKDIR]
    python -m bottleneck.analyze --mixture m0.npy,m1.npy --direct d0.npy,d1.npy --labels y.npy [--splits s.npy] [--groups g.npy]

The first runs the pipeline on planted truth and says what it found. The second analyses and reports on a study from the
checkpoints it left on disk, and sets it beside another one (compare.html). The third asks the study's question of arrays:
features [n, p] of networks pretrained on a mixture and trained directly, one file per seed, all with the same rows.
`splits` holds "probe", "val" or "test" per row (default: a stratified half, fifth and rest).
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import ml_collections
import numpy as np

from bottleneck.errors import UserError
from bottleneck.report import tables


def main(argv: list[str]) -> int:
    """Runs the analysis that `argv` asks for; returns the exit status (2: a mistake in the command or the data)."""
    parser = Parser(
        prog="python -m bottleneck.analyze", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdir", nargs="?", type=pathlib.Path)
    parser.add_argument(
        "--selftest",
        action="store_true",
        help="planted features and networks through the whole pipeline, about a minute",
    )
    parser.add_argument(
        "--compare",
        type=pathlib.Path,
        metavar="OTHER_WORKDIR",
        help="set the study beside the newest one of another work directory",
    )
    parser.add_argument(
        "--config", default="", help="which study of WORKDIR, by the hash of its config (default: the newest)"
    )
    parser.add_argument("--mixture", help="features of mixture-trained networks, .npy files separated by commas")
    parser.add_argument("--direct", help="features of directly trained networks, likewise")
    parser.add_argument("--labels", help=".npy, one label per row")
    parser.add_argument("--splits", help=".npy of probe, val or test per row")
    parser.add_argument("--groups", help=".npy of group names or numbers per row")
    try:
        args = parser.parse_args(argv[1:])
        arrays = args.mixture or args.direct or args.labels
        if bool(args.workdir) + bool(arrays) + args.selftest != 1 or args.compare and not args.workdir:
            raise UserError(
                "command line",
                " ".join(argv[1:]),
                "a work directory; or --mixture, --direct and --labels; or --selftest",
            )
        if args.selftest:
            from bottleneck import selftest

            return 0 if selftest.run() else 1
        if arrays:
            features(args)
        else:
            directory(args.workdir, args.config, args.compare)
        return 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of the usage."""

    def error(self, message):
        raise UserError("command line", " ".join(sys.argv[1:]), f"other arguments ({message}); --help lists them")


def directory(workdir: pathlib.Path, config_hash: str, other: pathlib.Path | None) -> None:
    """What a study in `workdir` has no rows of yet, from its checkpoints; its answer and report; the comparison with `other`."""
    from bottleneck import execute  # imports JAX, which analysing arrays does not need

    config = stored(workdir, config_hash)
    beside = other and (stored(other, ""), other)
    for stage in ("transfer", "analyze", "report"):
        execute.study(config, workdir, stage)
    if beside:
        execute.compare((config, workdir), beside)


def stored(workdir: pathlib.Path, config_hash: str) -> ml_collections.ConfigDict:
    """The config of a study in `workdir`, of this hash or the newest. Raises UserError when there is none."""
    found = sorted((workdir / "configs").glob(f"{config_hash}*.json"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise UserError(
            "--config" if config_hash else "workdir", config_hash or str(workdir), "a work directory holding that study"
        )
    try:
        return ml_collections.ConfigDict(json.loads(found[-1].read_text()), convert_dict=True)
    except ValueError as error:
        raise UserError("workdir", str(found[-1]), f"a config as it was written ({error})") from None


def features(args) -> None:
    """Verdict, sentence and table for given features."""
    from threadpoolctl import threadpool_limits

    from bottleneck.analysis import gap

    if not (args.mixture and args.direct and args.labels):
        raise UserError("command line", "", "all of --mixture, --direct and --labels")
    labels = load("--labels", args.labels)
    splits = load("--splits", args.splits) if args.splits else gap.split_items(labels)
    arms = [
        [load(flag, p) for p in paths.split(",")]
        for flag, paths in (("--mixture", args.mixture), ("--direct", args.direct))
    ]
    with threadpool_limits(1, "blas"):  # many small products
        answer = gap.gap(*arms, labels, splits, groups=load("--groups", args.groups) if args.groups else None)
    print(answer.sentence + "\n")
    print(tables.text(table(answer)))


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


def load(flag: str, path: str) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(flag, path, f"a .npy array ({error})") from None
    if not isinstance(found, np.ndarray) or not found.ndim:
        raise UserError(flag, path, "an array with one entry per row")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv))
