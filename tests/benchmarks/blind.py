"""The blind benchmark: does the tool say of studies drawn at random what is true of them?

    python tests/benchmarks/blind.py --draws=60 --out=DIR      makes draws 0 to 59, two at a time
    python tests/benchmarks/blind.py --table --out=DIR         what they say, as a table in Markdown

Each draw is a study of its own (blind.studies), run as a user runs it, and its truth: a closed form, or ten fresh
seeds of the study, and of the study without the causes that were planted or named (blind.oracle). It leaves one JSON
file in DIR and the same command goes on where it was stopped. Draws from 0 on are the evaluation's: they are made from
committed files alone, and the table names the commit. Negative ones (--first=-9 --draws=9) are for development.
"""

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import threading

from blind import run, studies, table

UNFINISHED = 3  # what a draw that a signal stopped exits with


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where the records go")
    parser.add_argument("--draws", type=int, default=60, help="how many (default 60)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first (default 0)")
    parser.add_argument("--jobs", type=int, default=2, help="draws at a time, each on one core (default 2)")
    parser.add_argument("--table", action="store_true", help="print the table of the records there are")
    parser.add_argument("--draw", type=int, help="this one draw, in this process, until standard input closes")
    args = parser.parse_args()
    if args.table:
        print(table.markdown(table.read(args.out)))
        return 0
    numbers = range(args.first, args.first + args.draws) if args.draw is None else [args.draw]
    if max(numbers, default=-1) >= 0 and run.commit().endswith("changes"):
        parser.error("the evaluation's draws are made from committed files: commit first")
    if args.draw is not None:
        return alone(args.draw, args.out)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        left = [n for n in numbers if not (args.out / f"{studies.draw(n).name}.json").is_file()]
        codes = list(pool.map(lambda number: child(number, args.out), left))
    return max(codes, default=0)


def alone(number: int, out: pathlib.Path) -> int:
    """One draw in this process, which ends with the one that started it (and holds the other end of its input)."""
    from bottleneck.signals import Stopped

    def end():
        while os.read(0, 1):  # not through sys.stdin, whose lock the interpreter wants when it ends
            pass
        os._exit(UNFINISHED)

    threading.Thread(target=end, daemon=True).start()
    try:
        run.make(number, out)
    except Stopped:
        return UNFINISHED
    return 0


def child(number: int, out: pathlib.Path) -> int:
    """One draw in a process of its own, as compiled programs are kept as long as a process lives."""
    out.mkdir(parents=True, exist_ok=True)
    name = studies.draw(number).name
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    cache = str((out / ".jax_cache").absolute())
    environment = {**os.environ, **threads, "XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": cache}
    with open(out / f"{name}.log", "a") as log:
        command = [sys.executable, __file__, f"--out={out}", f"--draw={number}"]
        pipes = dict(stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
        with subprocess.Popen(command, env=environment, **pipes) as process:
            code = process.wait()
    print(f"{name}: " + ("done" if code == 0 else f"exit {code}, see {out / name}.log"), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
