"""An objective that changes at a step: by NumPy's Adam on a linear classifier, and resumed across the change."""

import dataclasses

import jax
import numpy as np
import pytest

from bottleneck.errors import UserError
from bottleneck.training import loop, objectives, optimizers
from bottleneck.training import mesh as meshes
from bottleneck.training import step as steps
from bottleneck.training.objectives import ObjectiveSpec
from bottleneck.training.optimizers import OptimizerSpec

LINEAR = {
    "train.sampling": "full",
    "train.batch": "200",
    "train.steps": "9",
    "model": "{'name': 'mlp', 'depth': 0}",
    "objective.loss": "softplus",
    "objective.logit_penalty": "0.01",
    "objective.switch": "((3, 0.1, 0.2), (6, 2.0, 0.0))",
    "optimizer.name": "adam",
    "optimizer.lr": "0.01",
    "optimizer.weight_decay": "0.0",
}


def trained(made, count):
    """(data, parameters at step 0, parameters after `count` updates), as NumPy arrays."""
    code = loop.program(made.run, made.mesh)
    feed = loop.Feed((made.run,), code, made.components, made.data, made.pool())
    state = meshes.replicate(steps.create(code, np.int32(made.run.seed), feed.x_shape), made.mesh)
    before = jax.tree.map(np.array, state.params)
    pool = made.pool()
    x = np.asarray(steps.resident.normalise(pool.x, pool.mean, pool.std), np.float64).reshape(200, -1)
    after = jax.device_get(steps.advance(code, state, feed.zeros, feed.given, count)[0])
    return x, np.asarray(pool.y), before, after.params


def by_numpy(x, y, params, count, reset):
    """w, b after `count` steps of Adam on scale * BCE(z) + penalty * mean(z^2), phases as in LINEAR."""
    w = np.append(
        np.asarray(params["head"]["kernel"], np.float64)[:, 0], np.asarray(params["head"]["bias"], np.float64)
    )
    x, weight = np.hstack([x, np.ones((200, 1))]), np.repeat([0.7 / 100, 0.3 / 100], 100)
    m, v, t = 0.0, 0.0, 0
    for step in range(count):
        scale, penalty = (1.0, 0.01) if step < 3 else (0.1, 0.2) if step < 6 else (2.0, 0.0)
        if reset and step in (3, 6):
            m, v, t = 0.0, 0.0, 0
        z = x @ w
        g = x.T @ (weight * (scale * (1 / (1 + np.exp(-z)) - y) + 2 * penalty * z))
        m, v, t = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2, t + 1
        w = w - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


@pytest.mark.parametrize("reset", [False, True])
def test_phases_are_numpys_with_the_state_of_adam_kept_or_not(reset, episode):
    made = episode({**LINEAR, "objective.reset_optimizer": str(reset)})
    x, y, before, after = trained(made, 8)
    expected, other = (by_numpy(x, y, before, 8, each) for each in (reset, not reset))
    found = np.append(after["head"]["kernel"][:, 0], after["head"]["bias"])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(expected - other).max() > 5e-3  # the two are told apart


def test_other_numbers_of_as_many_phases_compile_nothing(episode):
    made = episode({**LINEAR, "train.batch": "200"})
    trained(made, 2)
    count = (steps.many._cache_size(), steps.one._cache_size())
    objective = dataclasses.replace(made.run.objective, switch=((1, 0.5, 0.1), (2, 1.0, 1.0)), reset_optimizer=True)
    made.run = dataclasses.replace(made.run, objective=objective)
    trained(made, 2)
    assert (steps.many._cache_size(), steps.one._cache_size()) == count


def test_the_schedule_goes_on_where_the_optimiser_starts_anew():
    spec = OptimizerSpec(name="adam", schedule="cosine")
    params, numbers = {"a": np.ones(3, np.float32)}, optimizers.hyper(spec, 10)
    transform = optimizers.build(spec, numbers)
    state = transform.init(params)
    for _ in range(4):
        _, state = transform.update({"a": np.ones(3, np.float32)}, state, params)
    for now, moved in ((True, 0.0), (False, 1.0)):
        after = optimizers.restarted(spec, numbers, state, params, now)
        counts = {type(part).__name__: int(part.count) for part in after if "count" in getattr(part, "_fields", ())}
        assert counts == {"ScaleByAdamState": int(4 * moved), "ScaleByScheduleState": 4}
        assert bool(after[1].mu["a"].any()) == bool(moved)


@pytest.mark.parametrize("reset", ["False", "True"])
def test_resume_is_bitwise_across_the_change(reset, episode, tmp_path, same):
    made = episode({**LINEAR, "objective.reset_optimizer": reset, "train.save_every": "2"})
    whole = made.train(tmp_path / "whole")
    for limit in (3, 1):

        def report(count, seen=[]):  # noqa: B006
            seen.append(count)
            if sum(seen) >= limit:  # noqa: B023
                raise InterruptedError

        with pytest.raises(InterruptedError):
            made.train(tmp_path / "killed", on_progress=report)
    same(made.train(tmp_path / "killed"), whole)


def test_what_is_in_force_at_a_step():
    spec = ObjectiveSpec(logit_penalty=0.5, switch=((10, 0.1, 0.2), (20, 0.3, 0.0)))
    hyper = steps.hyper(OptimizerSpec(), spec, 100)
    for step, scale, penalty in ((0, 1.0, 0.5), (9, 1.0, 0.5), (10, 0.1, 0.2), (19, 0.1, 0.2), (20, 0.3, 0.0)):
        held = objectives.at(hyper, step)
        assert (float(held["scale"]), float(held["logit_penalty"])) == pytest.approx((scale, penalty))
    plain = steps.hyper(OptimizerSpec(), ObjectiveSpec(), 100)
    assert objectives.at(plain, 5) is plain


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"switch": ((0, 1.0, 1.0),)}, "switch"),
        ({"switch": ((5, 1.0, 1.0), (5, 1.0, 1.0))}, "switch"),
        ({"switch": ((5, -1.0, 1.0),)}, "switch"),
        ({"switch": ((5, 1.0, float("inf")),)}, "switch"),
        ({"reset_optimizer": True}, "reset_optimizer"),
    ],
)
def test_mistakes(fields, key):
    with pytest.raises(UserError, match=f"^{key}="):
        ObjectiveSpec(**fields)
