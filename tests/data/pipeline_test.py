"""The benchmark of the pipeline: what it prints is what it measured."""

import json

import numpy as np
from PIL import Image

from bottleneck.data import component, images
from tests.benchmarks import pipeline_benchmark as benchmark


def test_a_small_run_of_the_benchmark(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BOTTLENECK_CACHE", "")  # both are set by it
    monkeypatch.setattr(component, "HELD_BYTES", component.HELD_BYTES)
    written = tmp_path / "measured.json"
    asked = ["--count=60", "--size=32", "--batch=8", "--rounds=2", "--workers=2", f"--json={written}"]
    assert benchmark.main(["pipeline_benchmark.py", *asked]) == 0
    measured, said = json.loads(written.read_text()), capsys.readouterr().out
    rates = measured["images_per_second"]
    assert rates.keys() == {"threads", "streamed", "streamed, cropped"} and all(
        len(each) == 2 for each in rates.values()
    )
    assert measured["ratio"] == np.median(np.divide(rates["streamed"], rates["threads"]))
    rows = {row["name"]: row for row in measured["rows"]}
    assert rows.keys() == rates.keys() and rows["threads"]["ratio"] == 1.0
    for name in ("ratio", "ratio_of_processor_time"):
        assert rows["streamed"][name] == measured[name]
    assert 40 < measured["kilobytes"] < 100 and f"{measured['ratio']:.2f}" in said and "pillow" in said


def test_processes_have_no_processor_time_to_compare():
    rows = benchmark.rows({"threads": [(10.0, 2.0)], "processes": [(20.0, float("nan"))]})
    assert rows[1] == {"name": "processes", "images_per_second": 20.0, "ratio": 2.0}


def test_both_sides_make_the_same_image(tmp_path):
    (path,) = benchmark.photographs(tmp_path, 1)
    for size in (224, 64):
        decoded = images.decode(path.read_bytes(), (size, size))
        assert abs(int(decoded[0, 0, 0]) - benchmark.bare(str(path), size)) <= 3
        with Image.open(path) as whole:
            box = images.middle(whole.size, (size, size))
            plain = np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR, box=box)).astype(int)
        assert np.abs(decoded - plain).mean() < 2  # of 255 levels
