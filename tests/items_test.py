"""Outcomes of probes as tables: seeds in order, empties left out."""

import numpy as np
import pytest

from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.items import Items
from bottleneck.probing import Probe
from tests.planted import Held, member, outcome

DATA = DataSpec(image_size=8, train=8, probe=8, val=8, test=5)


@pytest.fixture
def planted(tmp_path):
    """(store, probe(arm, seed, ...) -> a task, its outcome planted unless it is to end empty)."""
    target, store = components.load("t", ComponentSpec({"name": "factors"}), DATA), Held(tmp_path)

    def make(arm, seed, table=None, correct=None, **options):
        task = Probe(arm, seed, "t", target, (member(f"{arm}/{seed}"),), **options)
        if table is None:
            store.leave_empty(task, "nobody asked")
        else:
            outcome(store, task, table, correct)
        return task

    return store, make


def test_tables_are_seeds_by_items_in_the_order_of_seeds(planted):
    store, make = planted
    probes = [make("mixture", seed, np.arange(5) + 10 * seed, np.arange(5) > seed) for seed in (0, 1, 2)]
    table = Items(store, probes).table("mixture", "t")
    np.testing.assert_array_equal(table, np.arange(5) + 10 * np.arange(3)[:, None])
    correct = Items(store, probes).table("mixture", "t", "correct")
    assert correct.dtype == np.float64 and correct.sum(1).tolist() == [4, 3, 2]


def test_what_ended_empty_is_left_out(planted):
    store, make = planted
    probes = [make("mixture", 0, np.zeros(5)), make("mixture", 1), make("direct", 0)]
    items = Items(store, probes)
    assert items.table("mixture", "t").shape == (1, 5)
    assert items.table("direct", "t") is None and items.table("mixture", "elsewhere") is None
    assert set(items.tables(("mixture", "direct", "alone"), "t")) == {"mixture"}


def test_few_shots_are_means_over_draws(planted):
    store, make = planted
    draws = np.arange(15.0).reshape(3, 5)
    task = make("mixture", 0, draws, protocol="k_shot", shots=4, draws=3)
    table = Items(store, [task]).table("mixture", "t", protocol="k_shot", shots=4)
    np.testing.assert_array_equal(table, draws.mean(0)[None])
    each = Items(store, [task]).draws("mixture", "t", protocol="k_shot", shots=4)
    np.testing.assert_array_equal(each, draws[None])
    assert Items(store, [task]).table("mixture", "t") is None


def test_variants_and_protocols_are_tables_of_their_own(planted):
    store, make = planted
    probes = [make("mixture", 0, np.zeros(5)), make("mixture", 0, np.ones(5), factor="colour")]
    probes.append(make("mixture", 0, np.full(5, 2.0), protocol="head", head=0))
    items = Items(store, probes)
    where = ({}, {"factor": "colour"}, {"protocol": "head"})
    assert [items.table("mixture", "t", **each).mean() for each in where] == [0.0, 1.0, 2.0]


def test_vectors_have_no_accuracy(planted):
    store, make = planted
    assert Items(store, [make("mixture", 0, np.zeros(5))]).table("mixture", "t", "correct") is None
