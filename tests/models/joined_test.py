"""Networks side by side: the members as they are alone, under one head."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bottleneck import models
from bottleneck.errors import UserError
from bottleneck.models import joined

MEMBERS = (
    {"name": "mlp", "width": 5, "depth": 2},
    {"name": "resnet", "depth": 20, "width": 0.0625},  # with BatchNorm
    {"name": "vit", "patch": 4, "width": 0.5},
)


def shared(*members, dtype="float32"):
    """(the joined module of these, its members' own modules), three outputs."""
    spec = models.spec({"name": "joined", "members": members})
    return models.build(spec, 3, dtype), [models.build(member, 3, dtype) for member in spec.members]


@pytest.fixture(scope="module")
def made():
    """(joined module, members, the members' variables, images)."""
    whole, members = shared(*MEMBERS)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 3)), jnp.float32)
    variables = [jax.jit(member.init)(jax.random.key(i), x) for i, member in enumerate(members)]
    noise = jax.tree.map(lambda leaf: leaf + 0.1, variables[1]["batch_stats"])
    variables[1] = {**variables[1], "batch_stats": noise}
    return whole, members, variables, x


def test_a_joined_network_is_its_members_side_by_side(made):
    whole, members, variables, x = made
    alone = [member.apply(v, x)[1] for member, v in zip(members, variables)]
    given = joined.side_by_side(variables)
    given["params"]["head"] = joined.averaging_head([v["params"]["head"] for v in variables])
    logits, taps = whole.apply(given, x)
    assert list(taps)[-1] == "features"
    np.testing.assert_array_equal(taps["features"], np.concatenate([own["features"] for own in alone], axis=1))
    for i, own in enumerate(alone):
        for tap, value in own.items():
            np.testing.assert_array_equal(taps[f"member{i + 1}_{tap}"], value)
    shapes = jax.eval_shape(whole.init, jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, given) == jax.tree.map(jnp.shape, shapes)


def test_the_averaging_head_gives_the_mean_of_the_members_logits(made):
    whole, members, variables, x = made
    given = joined.side_by_side(variables)
    given["params"]["head"] = joined.averaging_head([v["params"]["head"] for v in variables])
    mean = np.mean([member.apply(v, x)[0] for member, v in zip(members, variables)], axis=0)
    assert np.abs(mean).max() > 0.1
    np.testing.assert_allclose(whole.apply(given, x)[0], mean, rtol=1e-5, atol=1e-6)


def test_in_float64_it_does_so_to_rounding():
    with jax.enable_x64(True):
        whole, members = shared(MEMBERS[0], {"name": "mlp", "width": 7, "depth": 1}, MEMBERS[0], dtype="float64")
        x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 3)))
        variables = [member.init(jax.random.key(i), x) for i, member in enumerate(members)]
        given = joined.side_by_side(variables)
        given["params"]["head"] = joined.averaging_head([v["params"]["head"] for v in variables])
        mean = np.mean([member.apply(v, x)[0] for member, v in zip(members, variables)], axis=0)
        logits = np.asarray(whole.apply(given, x)[0])
    assert logits.dtype == np.float64 and np.abs(logits - mean).max() < 1e-12 * np.abs(mean).max()


def test_in_training_mode_a_member_normalises_by_the_batch_and_keeps_its_statistics(made):
    whole, members, variables, x = made
    given = joined.side_by_side(variables)
    given["params"]["head"] = joined.averaging_head([v["params"]["head"] for v in variables])
    (_, taps), updated = whole.apply(given, x, train=True, mutable=["batch_stats"])
    (_, own), alone = members[1].apply(variables[1], x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(taps["member2_features"], own["features"], rtol=1e-5)
    assert updated["batch_stats"].keys() == {"member2"}
    for found, expected in zip(
        jax.tree.leaves(updated["batch_stats"]["member2"]), jax.tree.leaves(alone["batch_stats"])
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_members_start_from_random_numbers_of_their_own():
    whole, (member, _) = shared(MEMBERS[0], {**MEMBERS[0]})
    x = jnp.zeros((1, 40, 40, 3))
    params = whole.init(jax.random.key(0), x)["params"]
    first, second = (params[name]["layer1"]["kernel"] for name in joined.names(2))
    assert not np.array_equal(first, second)
    alone = member.init(jax.random.key(0), x)["params"]["layer1"]["kernel"]
    for drawn in (first, second):  # by the member's own rule
        assert drawn.shape == alone.shape and float(drawn.std()) == pytest.approx(float(alone.std()), rel=0.05)


def test_a_classifier_without_a_bias_where_no_member_has_one():
    plain = {"name": "mlp", "width": 5, "use_bias": False}
    for members, has in (((plain, plain), False), ((plain, MEMBERS[0]), True)):
        whole, each = shared(*members)
        x = jnp.zeros((1, 8, 8, 3))
        assert ("bias" in whole.init(jax.random.key(0), x)["params"]["head"]) is has
        heads = [member.init(jax.random.key(0), x)["params"]["head"] for member in each]
        assert ("bias" in joined.averaging_head(heads)) is has


def test_width_and_stem_go_through_to_the_members():
    spec = models.spec({"name": "joined", "members": ({"name": "resnet", "depth": 18}, MEMBERS[0])})
    assert [m.name for m in spec.members] == ["resnet", "mlp"]
    assert models.resolved(spec, (224, 224, 3)).members[0].stem == "large"
    assert models.widen(spec, 4).members == (models.widen(spec.members[0], 4), models.widen(spec.members[1], 4))
    assert models.build(spec, 2).convolutional and not shared(MEMBERS[0])[0].convolutional


@pytest.mark.parametrize("members, key", [((), "model.members"), (({"name": "cnn"},), "model.members")])
def test_mistakes_name_the_key(members, key):
    with pytest.raises(UserError, match=f"^{key}"):
        models.spec({"name": "joined", "members": members})
