"""The other benchmarks, each a command of its own that prints its rows as JSON: asked where it is there."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from bill.worker import HERE, environment


def part(name: str, quick: bool) -> Iterator[dict]:
    """The rows of NAME_benchmark.py --json=FILE; one that says so where it fails or is not there."""
    script = HERE / f"{name}_benchmark.py"
    if not script.is_file():
        yield {"what": script.name, "failed": "not there"}
        return
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "rows.json"
        command = [sys.executable, str(script), f"--json={path}", *["--quick"] * quick]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode or not path.is_file():
            said = " ".join(done.stderr.split())[-200:]
            yield {"what": script.name, "failed": f"status {done.returncode}: {said}"}
            return
        found = json.loads(path.read_text())
    rows = found if isinstance(found, list) else found.get("rows", [found])
    for row in rows:
        yield {"what": script.stem.removesuffix("_benchmark"), **row}
