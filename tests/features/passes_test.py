"""A pass gives every item once, whatever the batch; BatchNorm statistics can be measured anew."""

import numpy as np
import pytest

from bottleneck.features import passes


@pytest.mark.parametrize("batch", [500, 5, 13, 1])
def test_every_item_once_and_batches_of_one_shape(batch, target, monkeypatch):
    monkeypatch.setattr(passes, "BATCH", batch)
    shapes = set()

    def read(x):
        shapes.add(x.shape)
        return {"sum": x.astype(np.float64).sum((1, 2, 3)), "half": x[:, ::2].astype(np.float32)}

    examples = target.splits["probe"]
    whole = passes.through(examples, read)
    x = examples.fetch(np.arange(13))
    np.testing.assert_array_equal(whole["sum"], x.astype(np.float64).sum((1, 2, 3)).astype(np.float32))
    np.testing.assert_array_equal(whole["half"], x[:, ::2])
    assert shapes == {(batch, 8, 8, 3)} and whole["sum"].dtype == np.float32


def test_remeasuring_a_network_without_batch_norm_changes_nothing(network, target):
    source, store = network()
    variables = store.variables(source.run, 20)
    assert passes.remeasured(source.run.module(), variables, target.splits["probe"], 0.5, 0.25) is variables
