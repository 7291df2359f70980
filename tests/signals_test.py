"""A signal is answered by saving, however often it comes, and only while somebody listens."""

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from bottleneck import signals


@pytest.mark.parametrize("number", signals.HANDLED, ids=lambda n: n.name)
def test_a_noted_signal_asks_and_a_second_one_changes_nothing(number):
    before = {n: signal.getsignal(n) for n in signals.HANDLED}
    with pytest.raises(signals.Stopped, match=number.name), signals.graceful() as stop, stop.noted():
        assert not stop.asked and stop.name == ""
        os.kill(os.getpid(), number)
        assert stop.asked and stop.name == number.name
        for later in signals.HANDLED:
            os.kill(os.getpid(), later)
        assert stop.asked and stop.name == number.name
    assert {n: signal.getsignal(n) for n in signals.HANDLED} == before


@pytest.mark.parametrize("number", signals.HANDLED, ids=lambda n: n.name)
def test_a_signal_that_nobody_notes_ends_the_work_at_once_and_a_second_one_not_its_cleaning_up(number):
    before, cleaned = {n: signal.getsignal(n) for n in signals.HANDLED}, []
    with pytest.raises(signals.Stopped, match=number.name), signals.graceful():
        try:
            os.kill(os.getpid(), number)
            pytest.fail("it went on")
        except Exception:  # whatever the work puts up with
            pytest.fail("it was put up with")
        finally:
            for later in signals.HANDLED:
                os.kill(os.getpid(), later)
            cleaned.append(True)
    assert cleaned and {n: signal.getsignal(n) for n in signals.HANDLED} == before


def test_handlers_are_restored_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), signals.graceful():
        1 / 0  # noqa: B018
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_is_handled():
    asked, before = [], signal.getsignal(signal.SIGINT)

    def work():
        with signals.graceful() as stop:
            asked.append((stop.asked, signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [(False, True)]


def test_one_within_another_is_the_same_and_handlers_come_back_with_the_outer():
    before = signal.getsignal(signal.SIGINT)
    with signals.graceful() as outer:
        with signals.graceful() as inner:
            assert inner is outer
        assert signal.getsignal(signal.SIGINT) == outer.ask
        with outer.noted(), signals.noted():  # the work around it looks where it can be gone on from
            outer.ask(signal.SIGINT)
            break_off = outer.asked
            outer.asked = False
    assert break_off and signal.getsignal(signal.SIGINT) is before


def test_what_a_callback_of_the_garbage_collector_swallows_is_raised_soon_after(capsys):
    def swallow(phase, info):
        gc.callbacks.remove(swallow)
        os.kill(os.getpid(), signal.SIGTERM)

    before, began = sys.unraisablehook, time.monotonic()
    with pytest.raises(signals.Stopped, match="SIGTERM"), signals.graceful():
        gc.callbacks.append(swallow)
        gc.collect()
        time.sleep(20)  # which it wakes from
    assert time.monotonic() - began < 10 and sys.unraisablehook is before and not capsys.readouterr().err


IMPORTING = """
import contextlib, os, signal, sys
from bottleneck import main
class Finder:
    def find_spec(name, path=None, target=None):
        if name == sys.argv[1]:
            with contextlib.suppress(BaseException):  # as callbacks of compiled modules do
                os.kill(os.getpid(), signal.Signals[sys.argv[2]])
sys.meta_path.insert(0, Finder)
sys.exit(main.main(["main", "--config=configs/mixture.py:smoke", "--dry_run"]))
"""


@pytest.mark.parametrize("module", ["jaxlib", "bottleneck.execute"])
@pytest.mark.parametrize("number", signals.HANDLED, ids=lambda n: n.name)
def test_a_signal_while_modules_are_imported_ends_the_command_when_they_are_there(module, number):
    command = [sys.executable, "-c", IMPORTING, module, number.name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "stopped: saved; the same command goes on\n"


CHILD = """
import pathlib, runpy, sys
from bottleneck import signals
made = runpy.run_path("tests/training/conftest.py")["make"](
    {"train.steps": "100000000", "train.log_every": "100000000", "train.save_every": "100000000"}
)
with signals.graceful() as stop, stop.noted():
    try:
        made.train(pathlib.Path(sys.argv[1]), stop=stop, on_progress=lambda steps: print(steps, flush=True))
    except signals.Stopped as error:
        print(error, flush=True)
        sys.exit(3)
"""


def test_training_answers_two_signals_within_two_calls(tmp_path):
    """And saves the step it has come to: a run that neither logs nor saves for hours is not lost."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    calls = [int(child.stdout.readline()) for _ in range(6)]  # compiled, and the calls grow
    assert calls[0] == 1 and calls[-1] > 1
    for number in (signal.SIGTERM, signal.SIGINT):
        child.send_signal(number)
    began = time.monotonic()
    shown, _ = child.communicate(timeout=120)
    assert child.returncode == 3 and re.search("SIG(TERM|INT): mixture-s0-.* is saved at step", shown)
    assert time.monotonic() - began < 10  # two calls of a second and a small save, on a busy machine
    (saved,) = (tmp_path / "resume").iterdir()
    assert f"at step {int(saved.name):,} of" in shown
