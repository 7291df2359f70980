"""The notebook of docs/: executed as it is committed, small, of no machine, and its code runs and says the same."""

import json
import pathlib
import subprocess
import sys

import pytest

NOTEBOOK = pathlib.Path(__file__).parents[1] / "docs" / "audit.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def test_it_is_executed_and_small():
    assert all(cell["execution_count"] == i for i, cell in enumerate(CODE, 1))
    said = "".join("".join(out.get("text", "")) for cell in CODE for out in cell["outputs"])
    assert "is served by" in said and "is not served by one" in said
    shown = [out["data"] for cell in CODE for out in cell["outputs"] if "data" in out]
    assert sum("image/svg+xml" in data for data in shown) == 3
    assert NOTEBOOK.stat().st_size < 250_000
    text = NOTEBOOK.read_text()
    assert not any(place in text for place in ("/work", "/tmp", "/home", "/root", "stderr", "Traceback"))


def test_its_code_runs(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    code = "\n".join("".join(cell["source"]) for cell in CODE)
    (tmp_path / "cells.py").write_text(
        f"{code}\nprint({{(v['target'], v['subject']): v['verdict'] for v in results.verdicts}})\n"
    )
    ran = subprocess.run([sys.executable, "cells.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "('textures', 'one'): 'not served'" in ran.stdout and "('textures', 'both'): 'reference'" in ran.stdout
