"""How many steps a call makes: as many as fit into its time, found without risking a long call."""

import types

import numpy as np
import pytest

from bottleneck.training import pace


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests turn."""
    made = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(pace.time, "monotonic", lambda: made.now)
    return made


def run(paced, clock, seconds_per_step, calls, compiling=0.0):
    """The counts of `calls` calls; each ends as the next one is dispatched."""
    counts = []
    for i in range(calls):
        counts.append(paced.count)
        clock.now += compiling if i == 0 else counts[-2] * seconds_per_step
        paced.called(counts[-1], np.zeros(()))
    return counts


def test_calls_double_until_they_last_about_a_second_and_compiling_is_not_counted(clock):
    counts = run(pace.Pace(), clock, seconds_per_step=0.03, calls=30, compiling=100.0)
    assert counts[:3] == [1, 1, 1] and all(b <= 2 * a for a, b in zip(counts, counts[1:], strict=False))
    assert counts[-1] == 33


def test_slow_steps_go_one_by_one(clock):
    assert set(run(pace.Pace(), clock, seconds_per_step=5.0, calls=10)) == {1}


def test_one_slow_call_halves_the_next_at_most(clock):
    paced = pace.Pace()
    run(paced, clock, seconds_per_step=0.01, calls=30)
    assert paced.count == 100
    clock.now += 50.0
    paced.called(100, np.zeros(()))
    assert paced.count == 50


def test_what_the_host_does_in_between_is_not_measured(clock):
    paced = pace.Pace()
    run(paced, clock, seconds_per_step=0.01, calls=30)
    paced.pause()
    clock.now += 50.0
    assert run(paced, clock, seconds_per_step=0.01, calls=5, compiling=50.0) == [100] * 5
