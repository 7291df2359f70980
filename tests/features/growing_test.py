"""Passes of our own networks and of pixels, at any size: one batch in memory, on from where they were killed, and the
same bytes on disk whichever way they went."""

import dataclasses
import hashlib
import threading
import tracemalloc

import numpy as np
import pytest

from bottleneck.features import batch, cache, passes
from bottleneck.features.source import SPLITS, Pixels
from bottleneck.store import Store

LAYERS = ("features", "layer1", "logits")
MANY, WIDE = 10_000, 512


@pytest.fixture
def ours(network, tmp_path):
    """ours(name, overrides) -> (a kept step, a store on disk that knows its variables)."""

    def make(name, overrides=None):
        source, known = network(overrides)
        store = Store(tmp_path / name)
        store.variables = known.variables
        return source, store

    return make


def files(store, source, target):
    directory = store.pass_path(source, target)
    assert not list(directory.glob(".*.part"))
    return {path.name: path.read_bytes() for path in directory.glob("[!.]*")}


@pytest.mark.parametrize("what", ["network", "pixels"])
def test_the_bytes_are_those_of_arrays_in_memory(what, ours, target, monkeypatch):
    monkeypatch.setattr(batch, "ITEMS", 5)
    made = []
    for name, most in (("held", 2**24), ("some", 600), ("grown", 0)):
        monkeypatch.setattr(passes, "HELD", most)
        source, store = ours(name)
        source = Pixels() if what == "pixels" else source
        store.extract(source, target, LAYERS)
        made.append(files(store, source, target))
    assert made[0] == made[1] == made[2] and len(made[0]) == 1 + len(SPLITS) * (1 if what == "pixels" else 3)


@pytest.mark.parametrize("moment", [1, 3, 5, 6])
def test_a_network_goes_on_where_it_was_killed(moment, ours, target, monkeypatch):
    """Batches of 5: three of the probe split, two of val, two of test."""
    monkeypatch.setattr(batch, "ITEMS", 5)
    monkeypatch.setattr(passes, "HELD", 0)
    source, whole = ours("whole")
    whole.extract(source, target, LAYERS)
    _, store = ours("cut")
    seen, forward = [], passes.forward

    def dies(*given):
        if len(seen) == moment:
            raise KeyboardInterrupt
        seen.append(given)
        return forward(*given)

    monkeypatch.setattr(passes, "forward", dies)
    with pytest.raises(KeyboardInterrupt):
        store.extract(source, target, LAYERS)
    assert not cache.holds(store.pass_path(source, target), LAYERS, ("probe",))
    monkeypatch.setattr(passes, "forward", lambda *given: seen.append(given) or forward(*given))
    store.extract(source, target, LAYERS)
    assert len(seen) == 7  # no batch twice
    assert files(store, source, target) == files(whole, source, target)


def test_two_at_once_are_both_whole(ours, target, monkeypatch):
    """Two threads, or processes, that find the same features damaged."""
    monkeypatch.setattr(batch, "ITEMS", 5)
    monkeypatch.setattr(passes, "HELD", 0)
    source, store = ours("both")
    met, forward, failed = threading.Barrier(2, timeout=60), passes.forward, []

    def together(*given):
        if not met.broken and met.n_waiting < 2:
            met.wait()
        return forward(*given)

    def work():
        try:
            store.extract(source, target, LAYERS)
        except BaseException as error:
            failed.append(error)

    monkeypatch.setattr(passes, "forward", together)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed
    monkeypatch.setattr(passes, "forward", forward)
    _, alone = ours("alone")
    alone.extract(source, target, LAYERS)
    assert files(store, source, target) == files(alone, source, target)


def test_what_grew_of_layers_that_nobody_asks_of_any_more_goes(ours, target, monkeypatch):
    """A pass over two layers is killed, and made again over one; another process's own files stay."""
    monkeypatch.setattr(batch, "ITEMS", 5)
    monkeypatch.setattr(passes, "HELD", 0)
    source, store = ours("fewer")
    seen, forward = [], passes.forward

    def dies(*given):
        if seen:
            raise KeyboardInterrupt
        seen.append(given)
        return forward(*given)

    monkeypatch.setattr(passes, "forward", dies)
    with pytest.raises(KeyboardInterrupt):
        store.extract(source, target, ("features", "layer1"))
    directory = store.pass_path(source, target)
    others = directory / ".layer1-val-elsewhere.17.0a1b2c.part"
    others.touch()
    assert (directory / ".layer1-probe.part").exists()
    monkeypatch.setattr(passes, "forward", forward)
    store.extract(source, target, ("features",))
    assert list(directory.glob(".*.part")) == [others]


@pytest.mark.parametrize("what", ["network", "pixels"])
def test_no_array_of_the_whole_set_is_made(what, ours, target, monkeypatch):
    """Of 20 MB a layer (15 of pixels) a few batches lie in memory, while they are made and while they are written."""
    monkeypatch.setattr(passes, "HELD", 2**20)
    images = target.splits["probe"].fetch(np.arange(13))
    some = target.splits["probe"].take(np.arange(MANY) % 13)
    some = dataclasses.replace(some, ids=np.arange(MANY, dtype=np.int32), fetch=lambda rows: images[rows % 13])
    prints = {**target.fingerprints, "probe": hashlib.sha256(b"many").hexdigest()}
    many = dataclasses.replace(target, splits={**target.splits, "probe": some}, fingerprints=prints)
    source, store = ours("large", {"model.width": str(WIDE)})
    source = Pixels() if what == "pixels" else source
    store.extract(source, target, LAYERS)  # compiles
    tracemalloc.start()
    passed = store.extract(source, many, LAYERS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    whole = passed["features", "probe"]
    assert whole.shape[0] == MANY and peak < whole.nbytes / 2, (peak, whole.nbytes)
    few = store.extract(source, target, LAYERS)["features", "probe"]
    np.testing.assert_allclose(whole[13:26], few, rtol=1e-5, atol=1e-6)
