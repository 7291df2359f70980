import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from bottleneck.models.conv import Conv, by_products, conv, kernel_gradient, lax_conv

CASES = [   # side, size, stride, padding
    (8, 3, 1, "SAME"), (7, 3, 2, "SAME"), (8, 3, 2, ((1, 1), (1, 1))), (9, 3, 2, ((1, 1), (1, 1))),
    (6, 1, 1, "VALID"), (7, 1, 2, ((0, 0), (0, 0))), (11, 7, 2, ((3, 3), (3, 3))), (12, 7, 1, "VALID"),
    (8, 3, 1, ((0, 2), (1, 0))), (9, 2, 2, "SAME"),
]


@pytest.mark.parametrize("side, size, stride, padding", CASES)
def test_gradients_equal_xla(side, size, stride, padding):
    with jax.enable_x64():
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.normal(size=(3, side, side + 2, 4)))
        kernel = jnp.asarray(rng.normal(size=(size, size, 4, 5)))
        y, pull = jax.vjp(lambda x, k: lax_conv(x, k, stride, padding), x, kernel)
        g = jnp.asarray(rng.normal(size=y.shape))
        assert y.dtype == jnp.float64
        dx, dk = pull(g)
        products = kernel_gradient(x, g, kernel.shape[:2], stride, padding)
        np.testing.assert_allclose(products, dk, rtol=1e-12, atol=1e-12)
        ours, our_pull = jax.vjp(lambda x, k: conv(x, k, stride, padding), x, kernel)
        np.testing.assert_allclose(ours, y, rtol=1e-12)
        our_dx, our_dk = our_pull(g)
        np.testing.assert_allclose(our_dx, dx, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(our_dk, dk, rtol=1e-12, atol=1e-12)


def test_the_cpu_compiles_products_and_no_window_of_the_images_size():
    x, kernel = jnp.ones((2, 8, 8, 64)), jnp.ones((3, 3, 64, 64))
    assert by_products(kernel.shape, 1) and by_products((3, 3, 16, 32), 2)
    assert not by_products((3, 3, 16, 16), 1)

    def hlo(function):
        return jax.jit(jax.grad(lambda k: function(x, k, 1, "SAME").sum())).lower(kernel).compile().as_text()

    if jax.default_backend() == "cpu":
        assert "convolution(" not in hlo(conv) and hlo(conv).count(" dot(") == 9
        assert "convolution(" in hlo(lax_conv)


def test_bfloat16_products_accumulate_in_float32():
    x, g = jnp.ones((8, 16, 16, 1), jnp.bfloat16), jnp.ones((8, 16, 16, 1), jnp.bfloat16)
    got = kernel_gradient(x, g, (1, 1), 1, "VALID")
    assert got.dtype == jnp.bfloat16 and float(got[0, 0, 0, 0]) == 2048   # bfloat16 sums of ones stop at 256


def test_sharded_batch_gives_the_same_gradient():
    count = min(4, jax.device_count())
    if count < 2:
        pytest.skip("one device")
    mesh = jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(8, 6, 6, 4)).astype("f4"), rng.normal(size=(3, 3, 4, 6)).astype("f4")
    assert by_products(kernel.shape, 2)
    grad = jax.jit(jax.grad(lambda k, x: (conv(x, k, 2, ((1, 1), (1, 1))) ** 2).mean()))
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    replicated = jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))
    got = grad(replicated, sharded)
    assert len(got.sharding.device_set) == count
    np.testing.assert_allclose(got, grad(kernel, x), rtol=1e-5, atol=1e-6)


def test_vmapped_members_equal_members_alone():
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(2, 5, 5, 3)), "f4")
    kernels = jnp.asarray(rng.normal(size=(2, 1, 1, 3, 4)), "f4")
    grad = jax.grad(lambda k: (conv(x, k, 1, "VALID") ** 2).sum())
    np.testing.assert_allclose(jax.vmap(grad)(kernels), jnp.stack([grad(k) for k in kernels]), rtol=1e-5)


def test_layer_starts_with_he_fan_out_kernels():
    layer = Conv(128, 3, 1, jnp.bfloat16, jnp.float32)
    y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 4, 4, 32)))
    kernel = variables["params"]["kernel"]
    assert y.dtype == jnp.bfloat16 and kernel.dtype == jnp.float32 and y.shape == (1, 4, 4, 128)
    np.testing.assert_allclose(kernel.std(), (2 / (9 * 128)) ** 0.5, rtol=0.02)
