import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bottleneck import models
from bottleneck.errors import UserError
from bottleneck.training import optimizers
from bottleneck.training.optimizers import OptimizerSpec

PARAMS = {"layer": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0, 4.0])}}
GRADS = {"layer": {"kernel": jnp.array([[0.5, 1.0]]), "bias": jnp.array([-1.0, 2.0])}}


def steps(spec, grads, total=100, params=PARAMS):
    """Parameters after applying each of `grads`, and the optimiser state."""
    transform = optimizers.build(spec, optimizers.hyper(spec, total))
    state = transform.init(params)
    for g in grads:
        updates, state = transform.update(g, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def test_sgd_with_nesterov_and_l2_on_kernels_only():
    spec = OptimizerSpec(lr=0.1, momentum=0.9, weight_decay=0.01)
    got, _ = steps(spec, [GRADS, GRADS])
    for name, decay in (("kernel", 0.01), ("bias", 0.0)):
        p, m = np.asarray(PARAMS["layer"][name], np.float64), 0.0
        for _ in range(2):
            g = np.asarray(GRADS["layer"][name]) + decay * p
            m = 0.9 * m + g
            p = p - 0.1 * (g + 0.9 * m)
        np.testing.assert_allclose(got["layer"][name], p, rtol=1e-6)


def test_sgd_without_momentum():
    got, _ = steps(OptimizerSpec(lr=0.5, momentum=0.0, weight_decay=0.0), [GRADS])
    np.testing.assert_allclose(got["layer"]["bias"], [3.5, 3.0], rtol=1e-6)


def test_adamw_first_step_is_the_sign_plus_decoupled_decay():
    got, _ = steps(OptimizerSpec(name="adamw", lr=0.01, weight_decay=0.1), [GRADS])
    np.testing.assert_allclose(got["layer"]["kernel"], [[1 - 0.01 * (1 + 0.1), -2 - 0.01 * (1 - 0.2)]], rtol=1e-5)
    np.testing.assert_allclose(got["layer"]["bias"], [3.01, 3.99], rtol=1e-5)


def by_adam(grads, params, lr=0.01):
    """Parameters after Adam's published steps on gradients `grads(p)`."""
    p, m, v = np.asarray(params, np.float64), 0.0, 0.0
    for t in (1, 2):
        g = grads(p)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        p = p - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p


@pytest.mark.parametrize("decay", ["kernels", "coupled_all"])
def test_adam_adds_l2_to_the_gradient(decay):
    spec = OptimizerSpec(name="adam", lr=0.01, weight_decay=0.3, decay=decay)
    got, _ = steps(spec, [GRADS, GRADS])
    pull = {"kernels": {"kernel": 0.3, "bias": 0.0}, "coupled_all": {"kernel": 0.6, "bias": 0.6}}[decay]
    for name, rate in pull.items():
        expected = by_adam(lambda p, n=name, r=rate: np.asarray(GRADS["layer"][n]) + r * p, PARAMS["layer"][name])
        np.testing.assert_allclose(got["layer"][name], expected, rtol=1e-6)


def test_coupled_all_is_the_sum_of_squares_added_to_the_loss():
    """Biases and head too, without the factor of 1/2, before clipping."""
    spec = OptimizerSpec(lr=0.1, momentum=0.0, weight_decay=0.01, decay="coupled_all")
    got, _ = steps(spec, [GRADS])
    added = jax.grad(lambda p: 0.01 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p)))(PARAMS)
    expected = jax.tree.map(lambda p, g, a: p - 0.1 * (g + a), PARAMS, GRADS, added)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, expected)
    clipped, _ = steps(OptimizerSpec(lr=1.0, momentum=0.0, weight_decay=50.0, decay="coupled_all", clip=1.0), [GRADS])
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, clipped, PARAMS))
    assert float(moved) == pytest.approx(1, rel=1e-5)


def test_schedule_free_two_steps_by_hand():
    spec = OptimizerSpec(name="schedule_free", lr=0.1, b1=0.9, b2=0.99, weight_decay=0.05, warmup=0.04)  # 4 of 100
    params, state = steps(spec, [GRADS, GRADS])
    for name, decay in (("kernel", 0.05), ("bias", 0.0)):
        g = np.asarray(GRADS["layer"][name], np.float64)
        x = y = z = np.asarray(PARAMS["layer"][name], np.float64)
        v, total = 0.0, 0.0
        for t in (1, 2):
            rate = 0.1 * t / 4
            v = 0.99 * v + 0.01 * g**2
            z = z - rate * (g / (np.sqrt(v / (1 - 0.99**t)) + 1e-8) + decay * y)
            total += rate**2
            x = x + rate**2 / total * (z - x)
            y = 0.9 * x + 0.1 * z
        np.testing.assert_allclose(params["layer"][name], y, rtol=1e-5)
        np.testing.assert_allclose(optimizers.eval_params(spec, state, params)["layer"][name], x, rtol=1e-5)


def test_schedule_free_averaged_point_beats_the_iterate_on_a_noisy_quadratic():
    spec = OptimizerSpec(name="schedule_free", lr=0.1, weight_decay=0.0)
    transform = optimizers.build(spec, optimizers.hyper(spec, 500))

    @jax.jit
    def run(key):
        def step(carry, key):
            w, state = carry
            updates, state = transform.update(2 * (w - 1) + 2 * jax.random.normal(key, w.shape), state, w)
            return (optax.apply_updates(w, updates), state), None

        w = jnp.full(50, 3.0)
        (w, state), _ = jax.lax.scan(step, (w, transform.init(w)), jax.random.split(key, 500))
        return optimizers.eval_params(spec, state, w), state.z

    average, iterate = run(jax.random.key(0))
    error, noise = (float(jnp.mean((w - 1) ** 2)) for w in (average, iterate))
    assert error < 0.02 and error < noise / 3


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_eval_params_are_the_parameters_elsewhere(name):
    assert optimizers.eval_params(OptimizerSpec(name=name), None, PARAMS) is PARAMS


def test_clipping_bounds_the_gradient_and_not_the_decay():
    spec = OptimizerSpec(lr=1.0, momentum=0.0, weight_decay=0.5, clip=1.0)
    got, _ = steps(spec, [GRADS])
    norm = np.sqrt(0.25 + 1 + 1 + 4)
    np.testing.assert_allclose(got["layer"]["kernel"], [[1 - 0.5 / norm - 0.5, -2 - 1 / norm + 1]], rtol=1e-5)
    loose, _ = steps(OptimizerSpec(lr=1.0, momentum=0.0, weight_decay=0.0, clip=100.0), [GRADS])
    np.testing.assert_allclose(loose["layer"]["bias"], [4.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "schedule_free"])
def test_other_numbers_do_not_recompile(name):
    traces = []

    @jax.jit
    def step(hyper):
        traces.append(1)
        transform = optimizers.build(optimizers.structure(spec), hyper)
        updates, _ = transform.update(GRADS, transform.init(PARAMS), PARAMS)
        return updates

    results = []
    for lr, decay, total in ((0.1, 0.0, 100), (0.2, 0.0, 100), (0.1, 0.3, 100), (0.1, 0.0, 7)):
        spec = OptimizerSpec(name=name, lr=lr, weight_decay=decay, warmup=0.5)
        results.append(step(optimizers.hyper(spec, total))["layer"]["kernel"])
    assert len(traces) == 1
    first, doubled, decayed, shorter = results
    np.testing.assert_allclose(doubled, 2 * first, rtol=1e-3)  # schedule-free subtracts near-equals
    assert (shorter != first).all()
    assert (decayed != first).all() == (name != "adam")  # whose first step is the gradient's sign, L2 included


def test_structures_that_share_an_executable():
    slow, fast = OptimizerSpec(lr=1.0), OptimizerSpec(lr=2.0, weight_decay=0.1)
    assert optimizers.structure(slow) == optimizers.structure(fast)
    assert optimizers.structure(OptimizerSpec()) != optimizers.structure(OptimizerSpec(schedule="cosine"))


@pytest.mark.parametrize(
    "fields, expected",
    [
        (dict(), {0: 1, 99: 1}),
        (dict(warmup=0.1), {0: 0.1, 4: 0.5, 9: 1, 50: 1}),
        (dict(schedule="cosine"), {0: 1, 50: 0.5, 25: 0.5 + 0.5 * np.cos(np.pi / 4), 99: 0.00024672}),
        (dict(schedule="cosine", warmup=0.2), {0: 0.05, 19: 1, 20: 1, 60: 0.5, 100: 0, 120: 0}),
        (dict(schedule="step", milestones=(0.3, 0.6), factor=0.2), {29: 1, 30: 0.2, 59: 0.2, 60: 0.04}),
        (dict(schedule="step", milestones=()), {0: 1, 99: 1}),
    ],
)
def test_schedule_values(fields, expected):
    spec = OptimizerSpec(**fields)
    traced = jax.jit(lambda count, total: optimizers.schedule(spec, count, total))
    for count, value in expected.items():
        np.testing.assert_allclose(traced(count, 100.0), value, rtol=1e-4, atol=1e-6)


def test_milestones_fall_on_whole_steps_for_any_length():
    spec = OptimizerSpec(schedule="step", milestones=(0.7,), factor=0.5)
    for total in (10, 30, 1000, 33_330, 1_000_000):
        at = total * 7 // 10
        assert [float(optimizers.schedule(spec, c, total)) for c in (at - 1, at)] == [1, 0.5]


def test_decay_is_masked_for_norms_biases_tokens_and_positions():
    for spec in ({"name": "resnet"}, {"name": "vit", "patch": 8}, {"name": "mlp"}):
        init = models.build(models.spec(spec), 10).init
        params = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
        flat, _ = jax.tree_util.tree_flatten_with_path(optimizers.decayed(params))
        decayed = {jax.tree_util.keystr(path, simple=True, separator="/") for path, keep in flat if keep}
        rest = {jax.tree_util.keystr(path, simple=True, separator="/") for path, keep in flat if not keep}
        assert decayed and all(name.endswith("/kernel") for name in decayed) and "head/kernel" in decayed
        assert {name.rsplit("/")[-1] for name in rest} <= {"bias", "scale", "class_token", "position"}


def test_dtypes_follow_the_parameters():
    with jax.enable_x64():
        params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), PARAMS)
        for name in ("sgd", "adamw", "schedule_free"):
            got, _ = steps(OptimizerSpec(name=name), [params], params=params)
            assert got["layer"]["kernel"].dtype == jnp.float64
            got, _ = steps(OptimizerSpec(name=name), [GRADS])
            assert got["layer"]["kernel"].dtype == jnp.float32


@pytest.mark.parametrize(
    "fields, key",
    [
        (dict(lr=-1.0), "lr"),
        (dict(weight_decay=-0.1), "weight_decay"),
        (dict(momentum=1.0), "momentum"),
        (dict(warmup=1.5), "warmup"),
        (dict(milestones=(0.5, 2.0)), "milestones"),
        (dict(clip=0.0), "clip"),
        (dict(name="schedule_free", schedule="cosine"), "schedule"),
        (dict(name="schedule_free", b1=0.0), "b1"),
        (dict(name="adamw", decay="coupled_all"), "decay"),
    ],
)
def test_mistakes_name_the_key(fields, key):
    with pytest.raises(UserError) as error:
        OptimizerSpec(**fields)
    assert error.value.key == key
