"""The main job: `python -m bottleneck.main --config=configs/mixture.py` pretrains, transfers, analyses and reports.

`--config=FILE.py:ARGUMENTS` names a study (see the file's docstring); `--config.a.b=value` overrides any key of it.
Exit status: 0 done, 2 a mistake in the command, the config or the data (one line says which), 1 anything else.
"""

import pathlib
import sys

from absl import flags

from bottleneck import config as configs
from bottleneck.errors import UserError

STAGES = ("pretrain", "transfer", "analyze", "report", "all")

flags.DEFINE_string(
    "config", None, "Study file, FILE.py or FILE.py:ARGUMENTS; override its keys by --config.a.b=value."
)
flags.DEFINE_string("workdir", None, "Where runs, features, rows and the report go. Default: runs/<study name>.")
flags.DEFINE_string("stage", "all", f"One of {', '.join(STAGES)}.")
flags.DEFINE_string("shard", "0/1", "i/n: take the i-th (from 0) of n fixed shares of the stage's tasks.")
flags.DEFINE_bool(
    "multihost",
    False,
    "This is one of several processes that train together, on a cluster that jax.distributed "
    "recognises (TPU pods, SLURM, Open MPI, Kubernetes). For --stage=pretrain.",
)
flags.DEFINE_bool("dry_run", False, "Print what would run, and what it costs, and write nothing.")
flags.DEFINE_bool("help", False, "Print this.", short_name="h")


def main(argv: list[str]) -> int:
    """Runs the study that `argv` asks for; returns the exit status."""
    try:
        run(argv)
        return 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return 1


def run(argv: list[str]) -> None:
    overrides = [tuple(a[len("--config.") :].partition("=")[::2]) for a in argv if a.startswith("--config.")]
    values = flags.FLAGS
    try:
        rest = values([a for a in argv if not a.startswith("--config.")])
    except flags.Error as error:
        raise UserError("command line", " ".join(argv[1:]), str(error)) from None
    if values.help:
        print(f"{__doc__}\n{values.module_help(sys.modules[__name__])}")
        return
    if rest[1:] or values.config is None:
        raise UserError("command line", " ".join(argv[1:]), "--config=FILE.py (--help lists the flags)")
    if values.stage not in STAGES:
        raise UserError("--stage", values.stage, f"one of {', '.join(STAGES)}")
    if values.multihost and values.stage != "pretrain":
        raise UserError("--multihost", values.stage, "--stage=pretrain; the other stages run on one host")
    if values.multihost:
        import jax

        jax.distributed.initialize()  # a failure here is fatal: half a pod must not train as many single hosts
    from bottleneck import execute  # after the flags: --help needs no JAX

    loaded = configs.load(values.config, overrides)
    execute.study(loaded, values.workdir and pathlib.Path(values.workdir), values.stage, values.shard, values.dry_run)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
