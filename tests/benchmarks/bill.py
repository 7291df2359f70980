"""The bill of speed: what this package costs beside PyTorch and scikit-learn, on this machine, as one table.

    python tests/benchmarks/bill.py [--parts=steps,start,...] [--only=TEXT] [--quick] [--json=FILE] [--repetitions=N]

Parts: steps (training steps beside PyTorch), start (time to the first step, cold and warm), devices (1, 2, 4), study
(where the default study's time goes), utilisation (of an accelerator), and the benchmarks probes, pipeline and fleets.
--only: cases whose name has this text. Ratios are of what was measured in one run, repetitions taken in turn; above 1
this package is faster. Without PyTorch its columns are missing. Set nothing else in the environment; an idle machine.
The exit status is 1 where a part failed; what this machine cannot measure is no failure.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bill import devices, hardware, others, start, steps, utilisation, wall  # noqa: E402

PARTS = {
    "steps": steps.part,
    "start": start.part,
    "devices": devices.part,
    "study": wall.part,
    "utilisation": utilisation.part,
    "probes": functools.partial(others.part, "probe"),
    "pipeline": functools.partial(others.part, "pipeline"),
    "fleets": functools.partial(others.part, "fleet"),
}
DETAILS = ("_mib", "_faults_per_step", "_cpu_ms_per_step")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    parser.add_argument("--repetitions", type=int, help="of each side of a comparison")
    parser.add_argument("--quick", action="store_true", help="small shapes, few repetitions: shows that it runs")
    parser.add_argument("--json", type=pathlib.Path, help="where the rows go, with the hardware and versions")
    args = parser.parse_args()
    if unknown := set(args.parts.split(",")) - set(PARTS):
        parser.error(f"--parts: {', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    bill, failed = {"hardware": hardware.described(), "quick": args.quick, "rows": []}, False
    print("\n".join(f"{name}: {value}" for name, value in bill["hardware"].items()), flush=True)
    for part in args.parts.split(","):
        print(f"\n{part}", flush=True)
        try:
            for row in PARTS[part](**options(part, args)):
                bill["rows"].append({"part": part, **row})
                failed |= "failed" in row
                print(f"  {row['what']}", file=sys.stderr, flush=True)
                leave(bill, args.json)
        except (ChildProcessError, subprocess.CalledProcessError) as error:  # the other parts are not in vain
            bill["rows"].append({"part": part, "what": part, "failed": str(error)})
            failed = True
        print(table([row for row in bill["rows"] if row["part"] == part]), flush=True)
        leave(bill, args.json)
    return int(failed)


def leave(bill: dict, path: pathlib.Path | None) -> None:
    """Writes what there is so far: a part may take long."""
    if path:
        path.write_text(json.dumps(bill, indent=1))


def options(part: str, args) -> dict:
    given = {"quick": args.quick}
    if part in ("steps", "start", "devices", "utilisation"):
        given |= {"only": args.only} | ({"repetitions": args.repetitions} if args.repetitions else {})
    return given


def table(rows: list[dict]) -> str:
    """The rows of a part, in Markdown; what only explains them is in the JSON alone."""
    names = [name for name in dict.fromkeys(itertools.chain(*rows)) if not name.endswith(DETAILS) and name != "part"]
    lines = [names, ["---"] * len(names), *([shown(row.get(name, "")) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


def shown(value) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
