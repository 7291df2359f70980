"""Workers: the same bits as here, errors as they are, nothing of JAX, and none is left behind."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from bottleneck import workers
from bottleneck.analysis import probes
from bottleneck.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def started(monkeypatch):
    """Workers of this test alone."""
    monkeypatch.setattr(workers, "_pool", None)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    monkeypatch.setattr(workers, "_repeats", lambda: False)
    workers.start()
    pool = workers._pool
    yield pool
    pool.shutdown(cancel_futures=True)


def process(*arrays) -> int:
    return os.getpid()


def blas_threads() -> set[int]:
    np.ones((300, 300)) @ np.ones((300, 300))
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def mistaken(value):
    raise UserError("key", value, "another")


def knows_jax() -> bool:
    return "jax" in sys.modules


def split(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] > 0).astype(int)


def test_without_workers_what_is_called_is_computed_here(monkeypatch):
    monkeypatch.setattr(workers, "_pool", None)
    assert workers.call(process) == os.getpid()
    monkeypatch.setattr(workers, "cores", lambda: 1)
    workers.start()
    assert workers.call(process) == os.getpid()


def test_a_probe_has_the_same_bits_wherever_it_is_solved(started):
    data = {name: split(n, seed) for seed, (name, n) in enumerate((("probe", 60), ("val", 40), ("test", 50)))}
    x, y = ({name: each[i] for name, each in data.items()} for i in (0, 1))
    here, there = probes.linear_probe(x, y, 2), workers.call(probes.linear_probe, x, y, 2)
    np.testing.assert_array_equal(there.bits, here.bits)
    np.testing.assert_array_equal(there.weights, here.weights)
    assert there.scalings == here.scalings


def test_a_worker_is_another_process_of_one_blas_thread_without_jax(started):
    assert workers.call(process) != os.getpid()
    assert workers.call(blas_threads) == {1}
    assert not workers.call(knows_jax)


def test_a_mistake_comes_back_as_it_is(started):
    with pytest.raises(UserError, match="key='that': expected another"):
        workers.call(mistaken, "that")
    assert workers.call(process) != os.getpid()


@pytest.mark.parametrize("run", [["script.py"], ["-m", "script"]])
def test_a_script_is_not_carried_out_once_more(tmp_path, run):
    said = "from bottleneck import workers\nfrom tests.workers_test import process\nimport os\n"
    said += "print('begun', flush=True)\nworkers.start()\nprint(workers.call(process) == os.getpid())"
    (tmp_path / "script.py").write_text(said)
    assert spoken([*run], tmp_path) == ["begun", "True"]


@pytest.mark.parametrize("last", [True, False])
def test_the_end_does_not_wait_for_what_a_killed_worker_left_behind(tmp_path, last):
    code = f"""if True:
        import os, signal, threading, time
        from bottleneck import workers
        from tests.workers_test import process
        workers.cores = lambda: 2
        workers.start()
        both = [threading.Thread(target=workers.call, args=(time.sleep, 1)) for _ in range(2)]
        [thread.start() for thread in both], [thread.join() for thread in both]
        os.kill(sorted(workers._pool._processes)[{-int(last)}], signal.SIGKILL)
        while workers.call(process) != os.getpid():
            pass
        print("done")"""
    assert spoken(["-c", code], tmp_path) == ["done"]


def spoken(command, place) -> list[str]:
    """What a Python process says, which has to end well and soon."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=place, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_process_that_cannot_be_begun_is_done_without(started, monkeypatch):
    def full(*args, **options):
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(started, "submit", full)
    assert workers.call(process) == os.getpid() and workers._pool is None


def test_many_bytes_stay_here(started, monkeypatch):
    monkeypatch.setattr(workers, "MANY", 800)
    assert workers.call(process, {"x": [np.zeros(100)]}) != os.getpid()
    assert workers.call(process, {"x": [np.zeros(101)]}) == os.getpid()


def test_a_signal_to_all_of_a_job_does_not_end_workers(started):
    worker = workers.call(process)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(worker, number)
    assert workers.call(process) != os.getpid() and workers._pool is started


def test_what_a_killed_worker_had_in_hand_is_computed_here(started):
    workers.call(process)
    for worker in list(started._processes):
        os.kill(worker, signal.SIGKILL)
    while workers._pool is started:  # until the loss is noticed
        workers.call(process)
    assert workers.call(process) == os.getpid()


def test_no_more_is_computed_at_a_time_than_there_is_room_for():
    room, log = workers.Room(10), []
    inside, go = threading.Barrier(3), threading.Event()

    def first(wanted):
        with room.take(wanted):
            inside.wait(10)
            go.wait(10)
            log.append(wanted)

    def last():
        with room.take(1000):  # more than there ever is
            log.append("all")

    threads = [threading.Thread(target=first, args=(wanted,)) for wanted in (4, 6)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    assert room.left == 0
    threads.append(threading.Thread(target=last))
    threads[-1].start()
    time.sleep(0.05)
    assert not log
    go.set()
    for thread in threads:
        thread.join(10)
    assert log[-1] == "all" and sorted(log[:2]) == [4, 6] and room.left == 10


def test_room_is_given_back_by_what_failed(monkeypatch):
    monkeypatch.setattr(workers, "MANY", 0)
    before = workers._room.left
    with pytest.raises(UserError):
        workers.call(mistaken, np.zeros(3))
    assert workers._room.left == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks in /proc")
def test_workers_do_not_outlive_their_parent():
    code = "import time; from bottleneck import workers; from tests.workers_test import process; "
    code += "workers.start(); print(workers.call(process), flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    patience = time.monotonic() + 20
    while alive(worker) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not alive(worker)


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended may still wait for its parent to ask how."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_who_has_room_takes_no_more(monkeypatch):
    """Neither where it took all, nor where what it said was too little to take any."""
    monkeypatch.setattr(workers, "_room", workers.Room(100.0))
    for given, left in ((2 * workers.MANY, 0.0), (1, 100.0)):
        with workers.room(given):
            assert workers._room.left == left
            assert workers.call(workers.size, np.zeros(workers.MANY // 8 + 1)) and workers._room.left == left
        assert workers._room.left == 100.0
    with workers.room(0), workers.room(2 * workers.MANY):
        assert workers._room.left == 0.0  # nothing was said first


def test_the_processes_of_a_machine_share_its_room(monkeypatch):
    monkeypatch.setattr(workers, "_room", workers.Room(0.0))
    monkeypatch.setattr(workers.memory, "available", lambda: 1000.0)
    workers.share_among(4)
    assert workers._room.most == workers._room.left == workers.SHARE * 250.0
