"""Full-batch training: every step sees all training items of what is drawn, and each component counts by its weight."""

import jax
import numpy as np
import pytest

from bottleneck import config
from bottleneck.data import mixture
from bottleneck.errors import UserError
from bottleneck.training import loop
from bottleneck.training import mesh as meshes
from bottleneck.training import step as steps
from bottleneck.training.run import TrainSpec

FULL = {"train.sampling": "full", "train.batch": "200", "train.steps": "9"}


def advance(made, count=1):
    code = loop.program(made.run, made.mesh)
    feed = loop.Feed((made.run,), code, made.components, made.data, made.pool())
    state = meshes.replicate(steps.create(code, np.int32(made.run.seed), feed.x_shape), made.mesh)
    before = jax.tree.map(np.array, state.params)
    return before, *jax.device_get(steps.advance(code, state, feed.zeros, feed.given, count))


def test_a_step_descends_the_weighted_mean_of_the_components_mean_losses(episode):
    made = episode({**FULL, "optimizer.momentum": "0.0", "optimizer.weight_decay": "0.0", "weights": "(0.8, 0.2)"})
    before, after, sums = advance(made)
    pool, model = made.pool(), made.run.module()
    x = jax.device_get(steps.resident.normalise(pool.x, pool.mean, pool.std))

    def loss(params):
        log_p = jax.nn.log_softmax(model.apply({"params": params}, x)[0])
        each = -log_p[np.arange(200), pool.y]
        return 0.8 * each[:100].mean() + 0.2 * each[100:].mean()

    expected = jax.tree.map(lambda p, g: p - 0.05 * g, before, jax.grad(loss)(before))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), after.params, expected)
    np.testing.assert_array_equal(sums["count"], [100, 100])


def test_golden_step(episode):
    """See step_test.GOLDEN."""
    before, after, sums = advance(episode({**FULL, "optimizer.name": "adam", "optimizer.decay": "coupled_all"}))
    moved = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(*map(jax.tree.leaves, (after.params, before)))))
    found = (sums["loss"].sum() / sums["count"].sum(), sums["grad_norm"], moved)
    assert tuple(map(float, found)) == pytest.approx((1.316909, 4.810739, 2.020490), rel=1e-4)


def test_resume_is_bitwise(episode, tmp_path, same):
    made = episode({**FULL, "train.save_every": "4"})
    whole = made.train(tmp_path / "whole")

    def killed(count, made_so_far=[]):  # noqa: B006
        made_so_far.append(count)
        if sum(made_so_far) >= 6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        made.train(tmp_path / "killed", on_progress=killed)
    same(made.train(tmp_path / "killed"), whole)


def test_components_of_no_weight_are_left_out_and_all_others_are_whole():
    tables = mixture.tables(("a", "b", "c"), (3, 5, 4), ((0, (1, 0, 3)), (2, (3, 0, 1))), 7, 10, "full")
    for step in (0, 9):
        component, index = map(np.asarray, mixture.draw(tables, 0, np.int32(step), 7, "full"))
        assert component.tolist() == [0, 0, 0, 2, 2, 2, 2] and index.tolist() == [0, 1, 2, 0, 1, 2, 3]
        weight = np.asarray(mixture.importance(tables, np.int32(step), component))
        shares = np.bincount(component, weight, minlength=3) / 7
        np.testing.assert_allclose(shares, [0.25, 0, 0.75] if step < 2 else [0.75, 0, 0.25], rtol=1e-6)
    np.testing.assert_array_equal(mixture.drawn(tables, 10, 7, "full"), [30, 0, 40])
    assert mixture.expected_unique(tables, 1, 7, "full", 2) == 4
    assert mixture.unique(tables, 0, 1, 7, "full", 2).tolist() == [0, 1, 2, 3]


def test_many_examples_and_steps_do_not_overflow():
    tables = mixture.tables(("a", "b"), (100_000, 10), ((0, (1, 1)),), 100_010, 10**6, "full")
    np.testing.assert_array_equal(mixture.drawn(tables, 10**6, 100_010, "full"), [10**11, 10**7])
    component, index = map(np.asarray, mixture.draw(tables, 0, np.int32(10**6), 100_010, "full"))
    assert np.bincount(component).tolist() == [100_000, 10] and index[-1] == 9


def test_mistakes():
    with pytest.raises(UserError, match="schedule"):
        mixture.tables(("a", "b"), (3, 5), ((0, (1, 0)), (2, (1, 1))), 3, 10, "full")
    with pytest.raises(ValueError, match="a batch of 7 examples, where all are 8"):
        mixture.tables(("a", "b"), (3, 5), ((0, (1, 1)),), 7, 10, "full")
    with pytest.raises(UserError, match="feed"):
        config.build(TrainSpec, {"sampling": "full", "feed": "stream"})
