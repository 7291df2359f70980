"""The main job: pretrains, transfers, analyses and reports.

    python -m bottleneck.main --config=configs/mixture.py
    python -m bottleneck.main --config=configs/mixture.py:smoke --config.seeds=3 --config.optimizer.lr=0.1

--config=FILE.py:ARGUMENTS names a study (see the file's docstring); --config.a.b=value sets any key of it, a sequence
as a,b; --config.sweep.axes.a.b=1,2,3 carries the study out at each of these values of a.b and says how its gaps change
along them. What is done in the work directory is not done again: the same command goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import sys

from bottleneck import cli, memory, processes, signals, supervision
from bottleneck import config as configs
from bottleneck.errors import UserError

STAGES = ("pretrain", "transfer", "analyze", "report", "all")
FLAGS = {
    "--config": dict(metavar="FILE.py[:ARGUMENTS]", help="the study; --config.a.b=value sets a key of it"),
    "--workdir": dict(metavar="DIR", help="where runs, features, rows and the report go (default: runs/NAME)"),
    "--stage": dict(metavar="STAGE", default="all", help=f"{', '.join(STAGES)} (default)"),
    "--shard": dict(metavar="i/n", help="take the i-th (from 0) of n fixed shares of the tasks"),
    "--coordinator": dict(
        metavar="HOST:PORT",
        help="where the first of several processes that work together is met; found on TPU pods, SLURM, Open MPI",
    ),
    "--processes": dict(metavar="N", help="how many they are; 1: this one works alone, whatever cluster it is on"),
    "--process": dict(metavar="I", help="which of them this is, from 0"),
    "--dry_run": dict(action="store_true", help="print what would run, and what it costs; write nothing"),
    "--images_per_second": dict(metavar="N", help="with --dry_run: the training speed that its hours are told at"),
    "--retrain": dict(
        action="store_true", help="train runs again where a kept step cannot be added to what other devices made"
    ),
    "--output": dict(metavar="DIR", help="where the report goes instead, for a work directory that is read only"),
}


def main(argv: list[str]) -> int:
    """Runs the study that `argv` asks for; returns the exit status (see --help)."""
    with supervision.ending() as end:
        end.code = cli.carry_out(run, argv)
    return end.code


def run(argv: list[str]) -> int:
    """As `main`; raises UserError."""
    parser = cli.Parser("python -m bottleneck.main", __doc__, overrides=True, spell=spell)
    for name, described in FLAGS.items():
        parser.add_argument(name, **described)
    args = parser.read(argv)
    if args is None:
        return cli.DONE
    if args.config is None:
        raise UserError("command line", parser.given, "--config=FILE.py (--help lists the flags)")
    if args.stage not in STAGES:
        raise UserError("--stage", args.stage, f"one of {', '.join(STAGES)}")
    workdir, output = cli.place("--workdir", args.workdir), cli.place("--output", args.output)
    share, speed = shard(args.shard or "0/1"), images_per_second(args.images_per_second, args.dry_run)
    with cli.jax_as_found():
        where = processes.place(args.coordinator, args.processes, args.process, args.shard is not None)
        if where is not None and not supervision.supervised():
            return supervision.supervise(argv, where)
        with signals.noted():
            from bottleneck import execute, kinds  # after the flags: --help needs no JAX

        config = kinds.load(args.config, args.overrides)
        if where is not None:
            processes.join(where)
        return execute.study(
            config,
            workdir,
            stage=args.stage,
            shard=share,
            dry_run=args.dry_run,
            speed=speed,
            retrain=args.retrain,
            output=output,
        )


def shard(text: str) -> tuple[int, int]:
    """`i/n` as (i, n). Raises UserError."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise UserError("--shard", text, "i/n with 0 <= i < n, such as 0/4")
    return int(index), int(count)


def images_per_second(text: str | None, dry_run: bool) -> float | None:
    """The number; None where none is given. Raises UserError."""
    if text is None:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf") or not dry_run:
        raise UserError("--images_per_second", text, "a number above 0, with --dry_run")
    return speed


def spell(name: str, text: str) -> str:
    """How a key of the config is written on the command line, given otherwise (--seeds=3); "" for anything else."""
    from bottleneck import study

    given = name.lstrip("-").removeprefix("config.")
    if given.endswith(".py"):
        return f"--config={given}"
    keys = list(_keys(study.StudySpec))
    right = [key for key in keys if key == given] or [key for key in keys if key.split(".")[-1] == given]
    if not right and given.partition(".")[0] in keys:
        right = [given]
    return " or ".join(f"--config.{key}={text or 'VALUE'}" for key in right[:2])


def _keys(cls, prefix: str = ""):
    """The dotted keys of a spec, outermost first."""
    inner = []
    for name, hint in configs.hints_of(cls).items():
        yield prefix + name
        inner += [(choice, f"{prefix}{name}.") for choice in configs.choices(hint) if dataclasses.is_dataclass(choice)]
    for choice, below in inner:
        yield from _keys(choice, below)


if __name__ == "__main__":
    memory.keep()
    sys.exit(main(sys.argv))
