"""A pass gives every item once, whatever the batch; BatchNorm statistics can be measured anew."""

import signal

import numpy as np
import pytest

from bottleneck.features import passes
from bottleneck.signals import Stop, Stopped


@pytest.mark.parametrize("batch", [500, 5, 13, 1])
def test_every_item_once_and_batches_of_one_shape(batch, target, monkeypatch):
    monkeypatch.setattr(passes, "BATCH", batch)
    shapes = set()

    def read(x):
        shapes.add(x.shape)
        return {"sum": x.astype(np.float64).sum((1, 2, 3)), "half": x[:, ::2].astype(np.float32)}

    examples = target.splits["probe"]
    whole = passes.through(examples, read, Stop())
    x = examples.fetch(np.arange(13))
    np.testing.assert_array_equal(whole["sum"], x.astype(np.float64).sum((1, 2, 3)).astype(np.float32))
    np.testing.assert_array_equal(whole["half"], x[:, ::2])
    assert shapes == {(batch, 8, 8, 3)} and whole["sum"].dtype == np.float32


def test_a_pass_ends_at_the_next_batch_when_it_is_asked_to(target, monkeypatch):
    monkeypatch.setattr(passes, "BATCH", 5)
    stop, seen = Stop(), []

    def read(x):
        seen.append(len(x))
        if len(seen) == 2:
            stop.ask(signal.SIGTERM)
        return {"x": x}

    with pytest.raises(Stopped):
        passes.through(target.splits["probe"], read, stop)
    assert seen == [5, 5]


def test_remeasuring_a_network_without_batch_norm_changes_nothing(network, target):
    source, store = network()
    variables = store.variables(source.run, 20)
    assert passes.remeasured(source.run.module(), variables, target.splits["probe"], 0.5, 0.25, Stop()) is variables
