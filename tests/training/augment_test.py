import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bottleneck.errors import UserError
from bottleneck.training.augment import AugmentSpec, augment

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (64, 6, 7, 3), np.uint8)
BOTH = AugmentSpec(flip=True, crop=2)
jitted = jax.jit(augment, static_argnums=2)


def candidates(image, spec):
    """Every image that `spec` can make of one image."""
    mode = {"reflect": "reflect", "zero": "constant"}[spec.fill]
    c, (height, width) = spec.crop, image.shape[:2]
    padded = np.pad(image, ((c, c), (c, c), (0, 0)), mode=mode)
    for i in range(2 * c + 1):
        for j in range(2 * c + 1):
            crop = padded[i : i + height, j : j + width]
            yield crop
            if spec.flip:
                yield crop[:, ::-1]


@pytest.mark.parametrize("spec", [BOTH, AugmentSpec(crop=1, fill="zero"), AugmentSpec(flip=True)], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_row_is_one_of_the_possible_images_and_they_vary(spec, dtype):
    x = IMAGES.astype(dtype)
    got = np.asarray(jitted(x, jax.random.key(0), spec))
    assert got.dtype == x.dtype and got.shape == x.shape
    made = {
        next(i for i, c in enumerate(candidates(image, spec)) if (c == row).all())
        for image, row in zip(x, got, strict=True)
    }
    possible = len(list(candidates(x[0], spec)))
    assert len(made) > 0.6 * min(possible, len(x))


def test_flips_half_of_the_rows():
    x = np.tile(np.arange(4.0).reshape(1, 1, 4, 1), (2000, 1, 1, 1))
    flipped = np.asarray(jitted(x, jax.random.key(1), AugmentSpec(flip=True)))[:, 0, 0, 0] == 3
    assert abs(flipped.mean() - 0.5) < 0.05


def test_a_row_depends_on_the_key_and_its_place_only():
    whole = jitted(IMAGES, jax.random.key(3), BOTH)
    np.testing.assert_array_equal(jitted(IMAGES[:5], jax.random.key(3), BOTH), whole[:5])
    changed = IMAGES.copy()
    changed[0] = 0
    np.testing.assert_array_equal(jitted(changed, jax.random.key(3), BOTH)[1:], whole[1:])
    assert (jitted(IMAGES, jax.random.key(4), BOTH) != whole).any()


def test_nothing_asked_nothing_done():
    assert augment(IMAGES, None, AugmentSpec()) is IMAGES


def test_sharded_rows_are_augmented_alike():
    if jax.device_count() < 2:
        pytest.skip("one device")
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    sharded = jax.device_put(IMAGES, jax.NamedSharding(mesh, jax.P("data")))
    got, expected = (jitted(x, jax.random.key(0), BOTH) for x in (sharded, IMAGES))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "fields, shape, key",
    [
        (dict(crop=-1), None, "crop"),
        (dict(crop=4), (4, 8, 3), "crop"),
        (dict(flip=True), (10,), "flip"),
        (dict(crop=1), (10,), "crop"),
        (dict(resized_crop=(0.0, 1.0)), None, "resized_crop"),
        (dict(resized_crop=(0.5, 0.1)), None, "resized_crop"),
        (dict(resized_crop=(0.5, 1.1)), None, "resized_crop"),
    ],
)
def test_mistakes_name_the_key(fields, shape, key):
    with pytest.raises(UserError) as error:
        AugmentSpec(**fields).check(shape)
    assert error.value.key == key


def test_vectors_pass_when_nothing_is_asked():
    AugmentSpec().check((10,))
    x = jnp.ones((2, 10))
    assert augment(x, jax.random.key(0), AugmentSpec()) is x
