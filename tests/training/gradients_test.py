"""Gradients against losses written by hand, at awkward sizes, for conflicting and for finished components."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bottleneck.errors import UserError
from bottleneck.training import gradients as module
from bottleneck.training import loop
from bottleneck.training import step as steps
from bottleneck.training.gradients import gradients
from bottleneck.training.objectives import ObjectiveSpec

SCALE = np.float32([0.5, 0.4, 0.3]), np.float32([0.2, 0.3, 0.25])
WEIGHTS = (0.7, 0.3)


def start(made):
    state = steps.create(loop.program(made.run, made.mesh), np.int32(3), (8, 8, 3))
    return made.run, {"params": state.params, **({"batch_stats": state.batch_stats} if state.batch_stats else {})}


@pytest.fixture(scope="module")
def network(episode):
    """(run, variables) of the tiny MLP of components first and second."""
    return start(episode({"objective.label_smoothing": "0.1"}))


def images(n, classes, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 8, 8, 3), np.uint8), rng.integers(0, classes, n)


def sizes(run):
    return dict(zip(run.components, run.blocks, strict=True))


def by_hand(params, x, y, classes, outputs, offset=0, smoothing=0.0, penalty=0.0):
    """Mean loss of the MLP on uint8 images; classes [offset, offset + classes) compete."""
    h = ((x / 255.0 - SCALE[0]) / SCALE[1]).reshape(len(x), -1)
    for layer in ("layer1", "layer2"):
        h = jnp.maximum(h @ params[layer]["kernel"] + params[layer]["bias"], 0)
    logits = (h @ params["head"]["kernel"] + params["head"]["bias"])[:, offset : offset + classes]
    log_p = logits - jnp.log(jnp.exp(logits).sum(1, keepdims=True))
    target = (1 - smoothing) * jax.nn.one_hot(y, classes) + smoothing / classes
    return -(target * log_p).sum(1).mean() + penalty * (logits**2).mean()


def expected(run, variables, batches, **options):
    found = []
    for name, (x, y) in batches.items():
        grads = jax.grad(by_hand)(variables["params"], x, y, sizes(run)[name], run.outputs, **options)
        found.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(grads)]).astype(np.float64))
    return np.stack(found)


def check(found, flat, weights=WEIGHTS, rtol=1e-4):
    norms = np.linalg.norm(flat, axis=1)
    np.testing.assert_allclose(found.norms, norms, rtol=rtol)
    np.testing.assert_allclose(found.cosines, flat @ flat.T / norms[:, None] / norms, atol=rtol)
    total = np.asarray(weights) @ flat
    np.testing.assert_allclose(found.with_mixture, flat @ total / norms / np.linalg.norm(total), atol=rtol)


@pytest.mark.parametrize("chunk", [128, 10, 7])
def test_against_a_loss_written_by_hand_at_awkward_sizes(chunk, network, monkeypatch):
    """Sizes 23 and 10 against chunks of 128, 10 and 7; label smoothing is the run's."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    run, variables = network
    batches = {name: images(n, sizes(run)[name], n) for name, n in (("first", 23), ("second", 10))}
    found = gradients(run, variables, batches, WEIGHTS, *SCALE)
    assert found.names == ("first", "second")
    check(found, expected(run, variables, batches, smoothing=0.1))
    np.testing.assert_allclose(found.cosines.diagonal(), 1, atol=1e-9)


def test_order_scale_of_weights_and_a_component_without_weight(network):
    run, variables = network
    batches = {name: images(20, sizes(run)[name], seed) for seed, name in enumerate(("second", "first"))}
    found = gradients(run, variables, batches, (7.0, 3.0), *SCALE)
    assert found.names == ("second", "first")
    check(found, expected(run, variables, batches, smoothing=0.1), weights=(3, 7))
    alone = gradients(run, variables, {"first": batches["first"]}, (1.0, 0.0), *SCALE)
    assert alone.with_mixture == pytest.approx([1.0]) and alone.norms[0] == pytest.approx(found.norms[1], rel=1e-6)
    beside = gradients(run, variables, batches, (1.0, 0.0), *SCALE)
    assert beside.with_mixture[1] == pytest.approx(1.0) and beside.with_mixture[0] == pytest.approx(found.cosines[0, 1])


def test_the_label_space_of_the_run_counts(episode):
    made = episode({"label_space": "per_component", "objective.logit_penalty": "0.05"})
    run, variables = start(made)
    name, j = "second", 1
    x, y = images(15, run.blocks[j])
    found = gradients(run, variables, {name: (x, y)}, (0.0, 1.0), *SCALE)
    flat = expected(run, variables, {name: (x, y)}, offset=run.offset[j], penalty=0.05)
    assert run.offset[j] > 0 and found.norms[0] == pytest.approx(np.linalg.norm(flat), rel=1e-4)


def test_opposed_labels_pull_apart_and_equal_ones_together(network):
    """The same images under contradicting labels, from a head at 0 where both classes are equally likely."""
    run, variables = network
    run = dataclasses.replace(run, objective=ObjectiveSpec())
    params = dict(variables["params"], head=jax.tree.map(jnp.zeros_like, variables["params"]["head"]))
    params["head"] = dict(
        params["head"], bias=jnp.where(jnp.arange(run.outputs) < 2, 0.0, -30.0)
    )  # two classes compete
    x, y = images(40, 2)
    against = gradients(run, {"params": params}, {"first": (x, y), "second": (x, 1 - y)}, (0.6, 0.4), *SCALE)
    assert against.cosines[0, 1] == pytest.approx(-1, abs=1e-4)
    assert against.with_mixture == pytest.approx([1, -1], abs=1e-3)
    together = gradients(run, {"params": params}, {"first": (x, y), "second": (x, y)}, (0.6, 0.4), *SCALE)
    assert together.cosines[0, 1] == pytest.approx(1, abs=1e-5)


def test_a_component_that_the_head_answers_starves(network):
    """A head certain of class 0: examples of class 0 have no gradient left, those of class 1 all of it."""
    run, variables = network
    run = dataclasses.replace(run, objective=ObjectiveSpec())
    head = jax.tree.map(jnp.zeros_like, variables["params"]["head"])
    head = dict(head, bias=head["bias"].at[0].set(200.0))
    x, _ = images(30, 2)
    found = gradients(
        run,
        {"params": dict(variables["params"], head=head)},
        {"first": (x, np.zeros(30, int)), "second": (x, np.ones(30, int))},
        WEIGHTS,
        *SCALE,
    )
    assert found.norms[0] == 0 and found.norms[1] > 1
    assert (
        np.isnan(found.cosines[0]).all()
        and np.isnan(found.with_mixture[0])
        and found.with_mixture[1] == pytest.approx(1)
    )


def test_batch_norm_uses_its_running_statistics(episode, monkeypatch):
    """The mean over examples then does not depend on which share a chunk; and moving the statistics moves it."""
    run = episode({"model": "convolutional"}).run
    variables = run.module().init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    x, y = images(9, min(run.blocks))
    batches = {"first": (x, y)}
    monkeypatch.setattr(module, "CHUNK", 9)
    whole = gradients(run, variables, batches, (1, 0), *SCALE)
    monkeypatch.setattr(module, "CHUNK", 4)
    np.testing.assert_allclose(gradients(run, variables, batches, (1, 0), *SCALE).norms, whole.norms, rtol=1e-4)
    moved = {**variables, "batch_stats": jax.tree.map(lambda leaf: leaf + 1.0, variables["batch_stats"])}
    assert abs(gradients(run, moved, batches, (1, 0), *SCALE).norms / whole.norms - 1) > 0.01


def test_float32_whatever_trained_the_network_and_compiled_once(network, episode):
    run, variables = network
    batches = {name: images(20, sizes(run)[name]) for name in run.components}
    exact = gradients(run, variables, batches, WEIGHTS, *SCALE)
    compiled = module._add._cache_size()
    for n, other in ((20, run), (11, dataclasses.replace(run, seed=5, objective=ObjectiveSpec(label_smoothing=0.3)))):
        gradients(other, variables, {k: (x[:n], y[:n]) for k, (x, y) in batches.items()}, WEIGHTS, *SCALE)
    assert module._add._cache_size() == compiled
    half, _ = start(episode({"objective.label_smoothing": "0.1", "train.dtype": "bfloat16"}))
    np.testing.assert_array_equal(gradients(half, variables, batches, WEIGHTS, *SCALE).norms, exact.norms)


def test_mistakes_are_named(network):
    run, variables = network
    good = images(5, 2)
    for batches, weights, key in (
        ({"first": good}, WEIGHTS, "batches"),
        ({"third": good}, (0, 0), "batches"),
        ({"first": (good[0], good[1][:4])}, (1, 0), "batches"),
        ({"first": good}, (1,), "weights"),
        ({"first": (good[0][:0], good[1][:0])}, (1, 0), "batches"),
    ):
        with pytest.raises(UserError) as error:
            gradients(run, variables, batches, weights, *SCALE)
        assert error.value.key == key
