"""What a network costs: counts that can be made by hand."""

import jax
import pytest

from bottleneck import models
from bottleneck.models.cost import cost


def built(shape, outputs, **fields):
    return models.build(models.resolved(models.spec(fields), shape), outputs)


def test_an_mlp_is_counted_up_to_the_layer_that_is_read():
    wide = built((8, 8, 3), 5, name="mlp", width=16, depth=3)
    first, second, head = 192 * 16, 16 * 16, 16 * 5
    by_layer = {
        "layer1": (first + 16, first),
        "layer2": (first + second + 2 * 16, first + second),
        "features": (first + 2 * second + 3 * 16, first + 2 * second),
        "logits": (first + 2 * second + 3 * 16 + head + 5, first + 2 * second + head),
    }
    for layer, (parameters, products) in by_layer.items():
        counted = cost(wide, (8, 8, 3), (layer,))
        assert (counted.parameters, counted.flops) == (parameters, 2 * products)
        assert counted.widths == ((5 if layer == "logits" else 16),)


def test_layers_of_one_network_share_its_pass():
    small = built((6,), 3, name="mlp", width=4, depth=2)
    both, last = cost(small, (6,), ("layer1", "features")), cost(small, (6,), ("features",))
    assert (both.parameters, both.flops, both.widths) == (last.parameters, last.flops, (4, 4))


@pytest.mark.parametrize(
    "fields, shape, parameters, multiply_adds",
    [
        (dict(name="resnet", depth=20), (32, 32, 3), 0.272e6, 40.8e6),  # He et al. 2016: 0.27 M; 41 M
        (dict(name="resnet", depth=50), (224, 224, 3), 25.56e6, 4.09e9),  # torchvision's table: 25.6 M, 4.09 G
        (dict(name="vit", variant="Ti", patch=16), (224, 224, 3), 5.7e6, 1.26e9),  # DeiT-Ti: 5.7 M, 1.26 G
    ],
)
def test_published_networks_cost_what_is_published(fields, shape, parameters, multiply_adds):
    outputs = 10 if fields.get("depth") == 20 else 1000
    network = built(shape, outputs, **fields)
    counted = cost(network, shape, ("logits",))
    assert counted.parameters == pytest.approx(parameters, rel=0.01)
    assert counted.flops == pytest.approx(2 * multiply_adds, rel=0.015)
    x = jax.ShapeDtypeStruct((1, *shape), "float32")
    variables = jax.eval_shape(network.init, jax.random.key(0), x)
    assert counted.parameters == models.count(variables["params"])


def test_pooled_and_flattened_maps_have_their_own_widths():
    network = built((16, 16, 3), 2, name="resnet", depth=20)
    pooled, flat = (cost(network, (16, 16, 3), (layer,)).widths for layer in ("stage2", "stage2.flattened"))
    assert (pooled, flat) == ((32,), (8 * 8 * 32,))


def test_networks_under_one_head_cost_what_they_cost_apart():
    members = [models.spec(dict(name="mlp", width=width, depth=2)) for width in (4, 6)]
    apart = [cost(models.build(member, 3), (6,), ("features",)) for member in members]
    together = cost(models.build(models.side_by_side(members), 3), (6,), ("features",))
    assert together.flops == sum(each.flops for each in apart) and together.widths == (10,)
    assert together.parameters == sum(each.parameters for each in apart)
