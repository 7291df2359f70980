import functools

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import scipy.stats

from bottleneck.data import mixture
from bottleneck.errors import UserError

BATCH, STEPS, NAMES = 16, 64, ("a", "b", "c")
weights3 = st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any)
sizes3 = st.lists(st.integers(1, 90), min_size=3, max_size=3)


@functools.partial(jax.jit, static_argnums=(3,))
def draws(tables, seed, first, kind):
    """[STEPS, BATCH] components and indices of steps first, first + 1, ..."""
    steps = first + np.arange(STEPS, dtype=np.int32)
    return jax.vmap(lambda step: mixture.draw(tables, seed, step, BATCH, kind))(steps)


def examples(tables, seed, kind, first=0):
    component, index = map(np.asarray, draws(tables, np.int32(seed), np.int32(first), kind))
    return [index[component == j] for j in range(len(tables.sizes))], component


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(weights3, sizes3, st.integers(0, 2**31 - 1), st.integers(1, 40))
def test_stratified_laws(weights, sizes, seed, second):
    tables = mixture.tables(NAMES, sizes, ((0, weights), (second, (1, 2, 1))), BATCH, steps=STEPS)
    seen, component = examples(tables, seed, "stratified")
    share = np.diff(tables.boundaries, axis=1) * BATCH / mixture.UNIT
    for step in range(STEPS):
        counts, exact = np.bincount(component[step], minlength=3), share[int(step >= second)]
        assert np.all((counts == np.floor(exact)) | (counts == np.ceil(exact)))
        expected = np.bincount(component[:step].ravel(), minlength=3)
        np.testing.assert_array_equal(mixture.drawn(tables, step, BATCH), expected)
    for items, size in zip(seen, sizes, strict=True):
        for epoch in range(len(items) // size):
            np.testing.assert_array_equal(np.sort(items[epoch * size : (epoch + 1) * size]), np.arange(size))


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(sizes3, st.integers(0, 1000), st.integers(0, 2), st.sampled_from(["iid", "stratified"]))
def test_zero_weight_is_never_drawn(sizes, seed, absent, kind):
    weights = [float(j != absent) for j in range(3)]
    tables = mixture.tables(NAMES, sizes, ((0, weights),), BATCH)
    seen, _ = examples(tables, seed, kind)
    assert len(seen[absent]) == 0
    assert all(items.min() >= 0 and items.max() < size for items, size in zip(seen, sizes) if len(items))


def test_counts_stay_near_the_weights_over_many_periods():
    tables = mixture.tables(NAMES, (10, 10, 10), ((0, (0.7, 0.25, 0.05)),), BATCH)
    for step in (1, 999, mixture.UNIT, 3 * mixture.UNIT + 17, 10**7):
        share = np.diff(tables.boundaries[0]) / mixture.UNIT * step * BATCH
        assert np.abs(mixture.drawn(tables, step, BATCH) - share).max() < mixture.BITS
    assert mixture.drawn(tables, mixture.UNIT, BATCH).sum() == mixture.UNIT * BATCH


def test_late_steps_continue_the_count():
    """Sums of 10**8 steps exceed 32 bits; the ordinal of each component's examples must not."""
    first = 2 * 10**8
    tables = mixture.tables(NAMES, (1000, 7, 2**20), ((0, (0.999, 0, 0.001)),), BATCH)
    seen, component = examples(tables, 3, "stratified", first)
    gained = mixture.drawn(tables, first + STEPS, BATCH) - mixture.drawn(tables, first, BATCH)
    np.testing.assert_array_equal(np.bincount(component.ravel(), minlength=3), gained)
    # The permutation of an epoch is cut where the closed form says it is.
    small = mixture.tables(NAMES, (100, 7, 2**20), ((0, (0.5, 0, 0.5)),), BATCH)
    seen, _ = examples(small, 3, "stratified", 10**7)
    start = -mixture.drawn(small, 10**7, BATCH)[0] % 100
    np.testing.assert_array_equal(np.sort(seen[0][start : start + 100]), np.arange(100))


@pytest.mark.parametrize("kind", ["iid", "stratified"])
def test_other_components_do_not_reshuffle(kind):
    one = mixture.tables(NAMES, (50, 40, 30), ((0, (1, 1, 2)),), BATCH)
    more = mixture.tables(("a", "b", "d", "c"), (50, 40, 9, 30), ((0, (1, 1, 2, 4)),), BATCH)
    (seen, component), (other, component_) = examples(one, 5, kind), examples(more, 5, kind)
    if kind == "stratified":  # each component's own sequence is the same
        for mine, theirs in zip(seen, (other[0], other[1], other[3]), strict=True):
            assert len(theirs) > 40
            n = min(len(mine), len(theirs))
            np.testing.assert_array_equal(mine[:n], theirs[:n])
    else:  # a slot that shows the same component shows the same item
        same = np.array([0, 1, 3])[component] == component_
        index, index_ = (np.asarray(draws(t, np.int32(5), np.int32(0), kind)[1]) for t in (one, more))
        assert same.sum() > 100
        np.testing.assert_array_equal(index[same], index_[same])


@pytest.mark.parametrize("kind", ["iid", "stratified"])
def test_same_numbers_everywhere(kind):
    tables = mixture.tables(NAMES, (50, 40, 30), ((0, (1, 1, 2)), (20, (0, 1, 1))), BATCH)
    jitted = np.asarray(draws(tables, np.int32(7), np.int32(0), kind))
    assert jitted.dtype == np.int32

    def body(step, kept):
        return kept.at[:, step].set(jax.numpy.stack(mixture.draw(tables, np.int32(7), step, BATCH, kind)))

    looped = jax.lax.fori_loop(0, STEPS, body, jax.numpy.zeros((2, STEPS, BATCH), np.int32))
    np.testing.assert_array_equal(looped, jitted)
    for step in (0, 19, 63):
        np.testing.assert_array_equal(mixture.draw(tables, 7, step, BATCH, kind), jitted[:, step])
    with jax.enable_x64(True):
        wide = mixture.draw(tables, np.int64(7), np.int64(63), BATCH, kind)
        assert all(part.dtype == np.int32 for part in wide)
        np.testing.assert_array_equal(wide, jitted[:, 63])
    with jax.disable_jit():
        np.testing.assert_array_equal(mixture.draw(tables, 7, 63, BATCH, kind), jitted[:, 63])


def test_numbers_are_pinned():
    """Another JAX, device or refactoring must not change which examples a finished study saw."""
    tables = mixture.tables(NAMES, (50, 40, 30), ((0, (1, 1, 2)),), BATCH)
    sums = {
        kind: [int((np.arange(BATCH) * np.asarray(part)).sum()) for part in mixture.draw(tables, 1, 100, BATCH, kind)]
        for kind in ("iid", "stratified")
    }
    assert sums == PINNED


PINNED = {"iid": [124, 2761], "stratified": [206, 2146]}


SCHEDULE = ((0, (0.9, 0.09, 0.01)), (20, (0.5, 0, 0.5)))


@pytest.mark.parametrize("kind", ["iid", "stratified"])
@pytest.mark.parametrize("sizes", [(900, 40, 7), (60, 2000, 90)])
def test_unique_examples_are_those_that_are_drawn(kind, sizes, monkeypatch):
    monkeypatch.setattr(mixture, "_CHUNK", 5 * BATCH)
    jax.clear_caches()  # the chunk is static
    tables = mixture.tables(NAMES, sizes, SCHEDULE, BATCH)
    for steps in (1, 37, STEPS):
        component, index = (np.asarray(part)[:steps] for part in draws(tables, np.int32(9), np.int32(0), kind))
        for j in range(3):
            found = mixture.unique(tables, 9, steps, BATCH, kind, j)
            assert found.dtype == np.int32
            np.testing.assert_array_equal(found, np.unique(index[component == j]))
            if kind == "stratified":
                assert mixture.expected_unique(tables, steps, BATCH, kind, j) == len(found)
    jax.clear_caches()


def test_expected_unique_examples():
    tables = mixture.tables(NAMES, (300, 50, 9), SCHEDULE, BATCH)
    for j in range(3):
        counts = [len(mixture.unique(tables, seed, STEPS, BATCH, "iid", j)) for seed in range(60)]
        error = np.std(counts) / np.sqrt(len(counts)) + 1e-9
        assert abs(np.mean(counts) - mixture.expected_unique(tables, STEPS, BATCH, "iid", j)) < 4 * error
    alone = mixture.tables(("a",), (300,), ((0, (1,)),), BATCH)
    draws_ = STEPS * BATCH
    assert mixture.expected_unique(alone, STEPS, BATCH, "iid", 0) == pytest.approx(300 * (1 - (1 - 1 / 300) ** draws_))
    one = mixture.tables(("a",), (1,), ((0, (1,)),), BATCH)
    assert mixture.expected_unique(one, STEPS, BATCH, "iid", 0) == 1
    never = mixture.tables(NAMES, (5, 5, 0), ((0, (1, 1, 0)),), BATCH)
    assert mixture.expected_unique(never, STEPS, BATCH, "iid", 2) == 0
    assert len(mixture.unique(never, 0, STEPS, BATCH, "iid", 2)) == 0


def test_iid_proportions_and_uniformity():
    tables = mixture.tables(NAMES, (20, 5, 30), ((0, (0.5, 0.2, 0.3)),), BATCH)
    parts = [examples(tables, seed, "iid") for seed in range(10)]
    counts = np.bincount(np.concatenate([component.ravel() for _, component in parts]), minlength=3)
    expected = np.diff(tables.boundaries[0]) / mixture.UNIT * counts.sum()
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-4
    items = np.concatenate([seen[0] for seen, _ in parts])
    assert scipy.stats.chisquare(np.bincount(items, minlength=20)).pvalue > 1e-4


@pytest.mark.parametrize("size", [2, 3, 5, 9, 64])
def test_permutations_differ_by_seed_and_epoch(size):
    """Where the first item goes is uniform over seeds and epochs."""
    tables = mixture.tables(NAMES, (size, 1, 1), ((0, (1, 0, 0)),), BATCH)
    firsts = [examples(tables, seed, "stratified")[0][0][::size] for seed in range(40)]
    counts = np.bincount(np.concatenate(firsts), minlength=size)
    assert scipy.stats.chisquare(counts).pvalue > 1e-4
    assert len({tuple(row) for row in firsts}) == 40


@pytest.mark.parametrize(
    "schedule, key",
    [
        (((0, (1, 1)),), "weights"),
        (((0, (1, -1, 1)),), "weights"),
        (((0, (0, 0, 0)),), "weights"),
        (((0, (1, float("nan"), 1)),), "weights"),
        (((0, (1, float("inf"), 1)),), "weights"),
        (((0, (1, 1, "a")),), "weights"),
        (((0, (1, 1, 1e-9)),), "weights"),
        (((1, (1, 1, 1)),), "schedule"),
        (((0, (1, 1, 1)), (0, (1, 1, 1))), "schedule"),
        ((), "schedule"),
    ],
)
def test_unusable_schedules(schedule, key):
    with pytest.raises(UserError) as caught:
        mixture.tables(NAMES, (5, 5, 5), schedule, BATCH)
    assert caught.value.key == key


def test_unusable_sizes_batches_and_kinds():
    with pytest.raises(UserError, match="no training examples"):
        mixture.tables(NAMES, (5, 0, 5), ((0, (1, 1, 1)),), BATCH)
    with pytest.raises(UserError, match="batch"):
        mixture.tables(NAMES, (5, 5, 5), ((0, (1, 1, 1)),), mixture.UNIT + 1)
    with pytest.raises(UserError, match="steps"):
        mixture.tables(NAMES, (5, 5, 5), ((0, (1, 1, 1)),), BATCH, steps=10**9)
    with pytest.raises(UserError, match="sampling"):
        mixture.draw(mixture.tables(NAMES, (5, 5, 5), ((0, (1, 1, 1)),), BATCH), 0, 0, BATCH, "random")


def test_label_spaces():
    shared = mixture.label_space("shared", (2, 3, 2))
    assert shared.outputs == 3 and not shared.offset.any()
    assert shared.blocks == ((0, 2), (0, 3), (0, 2))
    disjoint = mixture.label_space("disjoint", (2, 3, 2))
    assert disjoint.outputs == 7 and disjoint.offset.tolist() == [0, 2, 5]
    heads = mixture.label_space("per_component", (2, 3, 2))
    assert heads.blocks == disjoint.blocks == ((0, 2), (2, 5), (5, 7))
    assert mixture.label_space("shared", (6, 6), regression=True).outputs == 6
    for bad in (("own", (2,), False), ("disjoint", (6, 6), True), ("shared", (5, 6), True)):
        with pytest.raises(UserError, match="label_space"):
            mixture.label_space(*bad)
