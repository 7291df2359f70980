"""The bill of speed: its parts run, without PyTorch too."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import types

import jax
import pytest

BENCHMARKS = pathlib.Path(__file__).parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from bill import cases, devices, hardware, others, ours, steps, wall, worker  # noqa: E402


def test_a_run_of_the_product_is_stepped_from_outside():
    seen = []

    def act(training):
        before = training.carried[0].step.item()
        training.advance(3)
        seen.append((before, training.carried[0].step.item(), training.parameters))

    ours.train(cases.QUICK["MLP 1x8, 8 px"], act)
    assert seen == [(0, 3, 3 * 8 * 8 * 8 + 8 + 8 * 8 + 8)]


def test_ratios_above_one_are_in_our_favour():
    case = cases.Case({}, 8, 10, 2)
    took = {"ours": 1.0, "eager": 2.0}
    timed = {label: [{"seconds": s, "cpu_seconds": s, "faults": 0, "mib": 1.0}] * 3 for label, s in took.items()}
    row = steps.row(case, timed, {"compiled": "no compiler"})
    assert row["ratio_to_eager"] == row["cpu_ratio_to_eager"] == 2.0 and row["ours_images_per_second"] == 20.0
    assert row["compiled_failed"] == "no compiler"


@pytest.mark.parametrize("there, counts", [(0, (1, 2, 4)), (1, (1,)), (3, (1, 2)), (8, (1, 2, 4))])
def test_no_more_accelerators_are_measured_than_there_are(there, counts, monkeypatch):
    monkeypatch.setattr(hardware, "devices", lambda: ("H200" if there else "", there))
    assert devices.counts(quick=False) == counts
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3,1,0")
    if there:
        assert devices.shown(2) == {"CUDA_VISIBLE_DEVICES": "5,3", "TPU_VISIBLE_DEVICES": "0,1"}
    else:
        assert "device_count=2" in devices.shown(2)["XLA_FLAGS"]


def test_beside_an_accelerator_no_side_is_pinned_and_none_takes_most_of_its_memory(monkeypatch):
    begun = []
    monkeypatch.setattr(steps, "compared", lambda case, threads, repetitions: {"timed_on": threads})
    monkeypatch.setattr(worker.Side, "_said", lambda side: {})
    monkeypatch.setattr(worker.subprocess, "Popen", lambda command, env, **pipes: begun.append(env))
    for there, pinned in ((1, {os.cpu_count()}), (0, {1, 2})):
        monkeypatch.setattr(hardware, "devices", lambda there=there: ("H200" if there else "", there))
        assert {row["threads"] for row in steps.part(quick=False)} == pinned
        worker.Side("ours", 1, cases.QUICK["MLP 1x8, 8 px"])
    assert [env.get("XLA_PYTHON_CLIENT_PREALLOCATE") for env in begun] == ["false", None]


def test_peaks_of_memory_are_the_devices_own_where_it_tells(monkeypatch):
    assert ours.device_mib() is None  # of a CPU
    took = {"seconds": 1.0, "cpu_seconds": 1.0, "faults": 0, "mib": 7.0}
    row = steps.row(cases.Case({}, 8, 10, 2), {"ours": [took], "eager": [took | {"device_mib": 3.0}]}, {})
    assert row["ours_peak_mib"] == 7.0 and row["eager_device_peak_mib"] == 3.0 and "eager_peak_mib" not in row
    device = types.SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": 2**21})
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert ours.device_mib() == 2.0


def test_without_our_side_a_case_has_failed(monkeypatch):
    def side(*args, **more):
        raise ChildProcessError("no memory")

    monkeypatch.setattr(steps, "Side", side)
    monkeypatch.setattr(hardware, "devices", lambda: ("", 0))
    with pytest.raises(ChildProcessError, match="no memory"):
        steps.compared(cases.QUICK["MLP 1x8, 8 px"], 1, 1)


def test_a_row_has_the_devices_that_a_side_says_it_has():
    timed = {count: [{"seconds": 1.0 / count, "mib": 1.0}] for count in (1, 2)}
    rows = list(devices.rows("net", cases.Case({}, 8, 10, 2), timed, {1: 1, 2: 1}))
    assert [(row["devices"], row["ratio"]) for row in rows] == [(1, 1.0), (1, 2.0)]


@pytest.mark.parametrize(
    "code, expected",
    [
        ("print('a warning'); print(['gpu', 'H200', 3])", ("H200", 3)),
        ("print(['cpu', 'cpu', 1])", ("", 0)),
        ("import nothing_of_this_name", ("", 0)),
    ],
)
def test_accelerators_are_counted_by_another_process(code, expected, monkeypatch):
    monkeypatch.setattr(hardware, "ASKED", code)
    assert hardware.devices.__wrapped__() == expected


def test_seconds_are_summed_by_kind():
    times = wall.Times()
    around = times.around(lambda *args: "made", lambda task: task, lambda task: 2)
    assert around("probe") == around("probe") == "made"
    assert times.tasks == {"probe": 4} and times.seconds["probe"] >= 0 and not times.wall


@pytest.fixture(scope="module")
def command():
    spec = importlib.util.spec_from_file_location("bill_command", BENCHMARKS / "bill.py")  # `bill` is the package
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def killed(**options):
    raise ChildProcessError("killed")
    yield


def crashed(**options):
    raise subprocess.CalledProcessError(1, "python")
    yield


ROWS = {"failed": "status 2", "unmeasured": "no accelerator here", "ratio": 1.0}


@pytest.mark.parametrize(
    "part, status",
    [
        (killed, 1),
        (crashed, 1),
        *((lambda name=name, **_: iter([{"what": "it", name: ROWS[name]}]), int(name == "failed")) for name in ROWS),
    ],
)
def test_a_part_that_failed_is_told_by_the_exit_status_and_the_others_are_measured(part, status, command, monkeypatch):
    monkeypatch.setattr(command.hardware, "described", dict)
    monkeypatch.setattr(command, "PARTS", {"first": part, "second": lambda **_: iter([{"what": "it"}])})
    seen = []
    monkeypatch.setattr(command, "table", lambda rows: seen.append(len(rows)) or "")
    monkeypatch.setattr(sys, "argv", ["bill.py"])
    assert command.main() == status and seen == [1, 1]


@pytest.mark.parametrize("script", ["raise SystemExit('no\\nmemory')", None])
def test_a_benchmark_that_fails_says_so_in_one_line(script, tmp_path, monkeypatch):
    monkeypatch.setattr(others, "HERE", tmp_path)
    if script:
        (tmp_path / "odd_benchmark.py").write_text(script)
    (row,) = others.part("odd", quick=True)
    assert row == {"what": "odd_benchmark.py", "failed": "status 1: no memory" if script else "not there"}


@pytest.mark.slow
def test_the_command_leaves_rows_of_every_part(tmp_path):
    out = tmp_path / "bill.json"
    subprocess.run([sys.executable, BENCHMARKS / "bill.py", "--quick", f"--json={out}"], check=True, timeout=900)
    bill = json.loads(out.read_text())
    parts = {"steps", "start", "devices", "study", "utilisation", "probes", "pipeline", "fleets"}
    assert {row["part"] for row in bill["rows"]} == parts and bill["hardware"]["jax"]
    assert not any("failed" in row for row in bill["rows"])
    for part in ("probes", "pipeline", "fleets"):
        ratios = [row["ratio"] for row in bill["rows"] if row["part"] == part and "missing" not in row]
        assert len(ratios) > 1 and min(ratios) > 0
