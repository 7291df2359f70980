"""The arms that are the mixture's own run but for whose loss counts, or which examples there are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bottleneck.data import mixture
from bottleneck.training import loop, objectives
from bottleneck.training import mesh as meshes
from bottleneck.training import step as steps
from bottleneck.training.run import restrict


def start(made):
    """(program, state at step 0, what its steps share)."""
    code = loop.program(made.run, made.mesh)
    feed = loop.Feed((made.run,), code, made.components, made.data, made.pool())
    return code, meshes.replicate(steps.create(code, np.int32(made.run.seed), feed.x_shape), made.mesh), feed


def test_alone_in_a_mixture_of_one_is_the_mixture(episode, tmp_path, same, metrics):
    one = {"weights": "(1.0, 0.0)", "objective.dropout": "0.1", "augment.flip": "True"}
    mixed, alone = episode(one), episode(one, only="first")
    same(mixed.train(tmp_path / "mixture"), alone.train(tmp_path / "alone"))
    assert metrics(tmp_path / "mixture") == metrics(tmp_path / "alone")
    assert mixed.run.key != alone.run.key


@pytest.mark.parametrize("model", [{"name": "mlp", "width": 8}, "convolutional"], ids=str)
def test_masked_gradient_is_that_of_its_own_items_over_the_whole_batchs_weight(model, episode):
    made = episode({"model": str(model), "optimizer.lr": "1.0", "optimizer.momentum": "0.0"}, only="second")
    made.run = dataclasses.replace(made.run, optimizer=dataclasses.replace(made.run.optimizer, weight_decay=0.0))
    code, state, feed = start(made)
    batch = jax.device_get(steps.drawn(code, feed.given, np.int32(0)))
    before, statistics = jax.tree.map(np.array, (state.params, state.batch_stats))
    after, _ = steps.advance(code, state, feed.zeros, feed.given, 1)

    def expected(params):
        variables = {"params": params, "batch_stats": statistics}
        (logits, _), _ = made.run.module().apply(
            variables, batch["x"], train=True, dropout=0.0, mutable=["batch_stats"]
        )  # the whole batch passes: BatchNorm sees the others
        each, _ = objectives.cross_entropy(logits, batch, made.run.space(), feed.given.hyper)
        return jnp.where(batch["component"] == 1, each, 0).sum() / len(batch["y"])

    assert 0 < (batch["component"] == 1).sum() < len(batch["y"])
    moved = jax.tree.map(np.subtract, before, jax.device_get(after.params))  # plain SGD at rate 1
    gradient = jax.device_get(jax.jit(jax.grad(expected))(before))
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(moved), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6, err_msg=jax.tree_util.keystr(path))


def test_batches_keys_and_statistics_are_the_mixtures(episode):
    """Everything but the gradient: at rate 0 the two arms are one."""
    options = {"model": "convolutional", "optimizer.lr": "0.0", "augment.flip": "True"}
    states = []
    for only in (None, "second"):
        code, state, feed = start(episode(options, only=only))
        states.append(jax.device_get(steps.advance(code, state, feed.zeros, feed.given, 3)))
    (mixture_state, mixture_sums), (alone, sums) = states
    jax.tree.map(np.testing.assert_array_equal, mixture_state.batch_stats, alone.batch_stats)
    np.testing.assert_array_equal(mixture_sums["count"], sums["count"])
    np.testing.assert_array_equal(mixture_sums["score"], sums["score"])  # scores are of all, the loss of those counted
    assert sums["loss"][0] == 0 and sums["loss"][1] == mixture_sums["loss"][1] > 0


def test_a_component_that_is_never_drawn_moves_nothing_under_sgd_without_decay(episode, tmp_path):
    still = {"weights": "(1.0, 0.0)", "optimizer.weight_decay": "0.0"}
    kept = episode(still, only="second", keep=(0,)).train(tmp_path / "still")
    jax.tree.map(np.testing.assert_array_equal, kept[0], kept[20])
    decayed = episode({**still, "optimizer.weight_decay": "0.01"}, only="second", keep=(0,)).train(tmp_path / "decayed")
    assert np.abs(decayed[20]["params"]["layer1"]["kernel"]).sum() < np.abs(kept[0]["params"]["layer1"]["kernel"]).sum()


def test_only_a_component_of_the_run_can_count(episode):
    with pytest.raises(ValueError, match="third is none of the run's components, first, second"):
        episode(only="third")


def drawn_by_hand(run, sizes, component):
    """The distinct indices of `component` in every batch of `run`, one by one."""
    tables = mixture.tables(run.components, sizes, run.schedule, run.train.batch, run.steps)
    seen = set()
    for step in range(run.steps):
        where, index = mixture.draw(tables, run.seed, step, run.train.batch, run.train.sampling)
        seen |= set(np.asarray(index)[np.asarray(where) == run.components.index(component)].tolist())
    return sorted(seen)


@pytest.mark.parametrize("sampling", ["iid", "stratified"])
def test_restricted_to_what_the_mixture_drew(sampling, episode, tmp_path):
    mixed = episode({"train.sampling": sampling, "train.steps": "8", "seed": "3"})
    run, sizes = mixed.run, [len(c.splits["train"]) for c in mixed.components]
    expected = drawn_by_hand(run, sizes, "second")
    direct = dataclasses.replace(run, name="scarce-second", schedule=((0, (0.0, 1.0)),))
    scarce = dataclasses.replace(direct, unique=run.draws(sizes, "second"))
    first, second = restrict(scarce, mixed.components)
    whole = mixed.components[1].splits["train"]
    assert first is mixed.components[0] and 0 < len(expected) < sizes[1]
    np.testing.assert_array_equal(second.splits["train"].ids, whole.ids[expected])
    np.testing.assert_array_equal(
        second.splits["train"].fetch(np.arange(len(expected))), whole.fetch(np.array(expected))
    )
    assert second.splits["test"] is mixed.components[1].splits["test"]
    assert restrict(direct, mixed.components) is mixed.components
    with pytest.raises(ValueError, match=f"{len(expected)} training examples of second, where 100 are drawn from"):
        restrict(scarce, (first, second))
    made = episode({"train.steps": "8", "seed": "3", "train.sampling": sampling}, unique=scarce.unique)
    made.train(tmp_path / "run")  # on the restricted pool


def test_identity_of_the_restriction_is_the_samplers_and_holds_no_list(episode):
    run = episode().run
    draws = run.draws((100, 100), "second")
    scarce = dataclasses.replace(run, unique=draws)
    other = [
        dataclasses.replace(scarce, unique=run.draws((100, 99), "second")),
        dataclasses.replace(scarce, unique=dataclasses.replace(draws, steps=21)),
        dataclasses.replace(scarce, unique=dataclasses.replace(draws, sampling="stratified")),
        dataclasses.replace(scarce, unique=run.draws((100, 100), "first")),
    ]
    assert len({run.key, scarce.key, *(r.key for r in other)}) == 2 + len(other)
    assert len(str(scarce.identity)) < 2000 and hash(scarce) == hash(dataclasses.replace(scarce))
    wider = dataclasses.replace(run, components=("first", "second", "third"), schedule=((0, (0.7, 0.3, 0.0)),))
    assert wider.draws((100, 100, 7), "second") == draws  # what is never drawn changes nothing
    with pytest.raises(ValueError, match="third is none of those drawn, first, second"):
        wider.draws((100, 100, 7), "third")
