"""Names, layouts and architectures of PyTorch's state dicts, without PyTorch."""

import jax
import numpy as np
import pytest

from bottleneck import models
from bottleneck.errors import UserError
from bottleneck.models import state_dict
from tests import state_dicts

CASES = {
    "resnet32": (state_dicts.resnet(32, 0.5), "resnet32 width=0.5 stem=small"),
    "resnet20": (state_dicts.resnet(20, head="fc"), "resnet20 stem=small"),
    "resnet56": (state_dicts.resnet(56, classes=0), "resnet56 stem=small"),
    "resnet18": (state_dicts.resnet(18, 0.125), "resnet18 width=0.125 stem=large"),
    "resnet34": (state_dicts.resnet(34, 0.125, shortcut="shortcut"), "resnet34 width=0.125 stem=large"),
    "resnet50": (state_dicts.resnet(50, 0.125, classes=0), "resnet50 width=0.125 stem=large"),
    "resnet152": (state_dicts.resnet(152, 0.0625), "resnet152 width=0.0625 stem=large"),
    "vit-tiny": (state_dicts.vit("tiny", 4, 16), "vit-tiny gelu=erf"),
    "vit-Ti": (state_dicts.vit("Ti", 16, 64, classes=0), "vit-Ti patch=16 gelu=erf"),
}


@pytest.mark.parametrize("name", CASES)
def test_architecture_and_shapes_are_read_off_the_arrays(name):
    state, said = CASES[name]
    network = state_dict.network(state_dict.unwrapped(state))
    assert network.title == said
    assert state_dict.network(state, name) == network  # said beforehand, it is the same
    assert network.classes == (0 if name in ("resnet56", "resnet50", "vit-Ti") else 7)
    assert network.image_size == {"vit-tiny": 16, "vit-Ti": 64}.get(name)
    found = state_dict.variables(state_dict.unwrapped(state), network)
    side = network.image_size or 32
    x = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    made = jax.eval_shape(network.module().init, jax.random.key(0), x)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), found) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype.name), dict(made)
    )
    numbers = sum(value.size for key, value in state.items() if not key.endswith("tracked"))
    assert models.count(found) == numbers  # each is used once


def test_layouts():
    state = state_dict.unwrapped(state_dicts.vit("tiny", 4, 16))
    params = state_dict.variables(state, state_dict.network(state))["params"]
    qkv, patches = state["blocks.2.attn.qkv.weight"], state["patch_embed.proj.weight"]
    for index, name in enumerate(("query", "key", "value")):
        np.testing.assert_array_equal(params["block3"][name]["kernel"][5, 9], qkv[64 * index + 9, 5])
        np.testing.assert_array_equal(
            params["block3"][name]["bias"][9], state["blocks.2.attn.qkv.bias"][64 * index + 9]
        )
    rows, columns, channel = 2, 3, 1
    at = (rows * 4 + columns) * 3 + channel
    np.testing.assert_array_equal(params["patches"]["kernel"][at], patches[:, channel, rows, columns])

    state = state_dict.unwrapped(state_dicts.resnet(18, 0.125))
    found = state_dict.variables(state, state_dict.network(state))
    kernel = found["params"]["stage2_block1"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel[0, 2, 3, 4], state["layer2.0.conv1.weight"][4, 3, 0, 2])
    np.testing.assert_array_equal(
        found["batch_stats"]["stage2_block1"]["shortcut_norm"]["var"], state["layer2.0.downsample.1.running_var"]
    )
    np.testing.assert_array_equal(found["params"]["head"]["kernel"], state["fc.weight"].T)


def test_wrappers_and_counts_are_left_out():
    state = state_dicts.resnet(20, 0.5)
    wrapped = {f"module._orig_mod.{key}": value for key, value in state.items()}
    assert set(state_dict.unwrapped(wrapped)) == {key for key in state if not key.endswith("num_batches_tracked")}


def changed(state, **keys):
    """Without a key where its value is None; `__` for a dot."""
    named = {key.replace("__", "."): value for key, value in keys.items()}
    return {key: value for key, value in {**state, **named}.items() if value is not None}


CIFAR, LARGE, VIT = state_dicts.resnet(20), state_dicts.resnet(18, 0.125), state_dicts.vit("tiny", 4, 16)
zeros = np.zeros
MISTAKES = {
    "layer1.1.bn2.bias='missing': expected an array [16] in resnet20": changed(CIFAR, layer1__1__bn2__bias=None),
    "layer3.0.downsample.0.weight=[64, 32, 1, 1]: expected no such key in resnet20": changed(
        CIFAR, layer3__0__downsample__0__weight=zeros((64, 32, 1, 1))
    ),
    "layer1.1.conv1.weight=[3, 3, 16, 16]: expected an array [16, 16, 3, 3] in resnet20": changed(
        CIFAR, layer1__1__conv1__weight=zeros((3, 3, 16, 16))
    ),
    "linear.weight=[64, 7]: expected an array [7, 64] in": changed(CIFAR, linear__weight=zeros((64, 7))),
    "conv1.weight=[3, 3, 3, 16]: expected a kernel [channels, 3, 7, 7] or [channels, 3, 3, 3]": changed(
        CIFAR, conv1__weight=zeros((3, 3, 3, 16))
    ),
    "layer1 ...='[3, 3, 4] basic blocks': expected those of depths 18, 20, 32,": changed(
        CIFAR, layer3__3__conv1__weight=zeros((64, 64, 3, 3))
    ),
    "bn1.running_var='NaN or infinity': expected finite numbers": changed(CIFAR, bn1__running_var=np.full(16, np.nan)),
    "layer1.0.conv1.weight=[16, 8, 3, 3]: expected an array [8, 8, 3, 3] in resnet18": changed(
        LARGE, layer1__0__conv1__weight=zeros((16, 8, 3, 3))
    ),
    "weights='1 arrays': expected a ResNet, which has conv1.weight, or a ViT, which has patch_embed": {
        "features.0.weight": zeros(3)
    },
    "dist_token=[1, 1, 64]: expected no such key in vit": changed(VIT, dist_token=zeros((1, 1, 64))),
    "blocks.3.attn.qkv.bias='missing': expected an array [192] in vit": changed(VIT, blocks__3__attn__qkv__bias=None),
    "blocks.0.mlp.fc1.weight=[64, 256]: expected an array [256, 64] in vit": changed(
        VIT, blocks__0__mlp__fc1__weight=zeros((64, 256))
    ),
    "pos_embed=[1, 16, 64]: expected 1 + a square number of positions": changed(VIT, pos_embed=zeros((1, 16, 64))),
    "pos_embed='missing': expected an array [1, 1 + patches, dimensions]": changed(VIT, pos_embed=None),
    "patch_embed.proj.weight=[100, 3, 4, 4]: expected a kernel [dimensions, 3, patch, patch] with one of": changed(
        VIT, patch_embed__proj__weight=zeros((100, 3, 4, 4))
    ),
}


@pytest.mark.parametrize("said", MISTAKES)
def test_what_does_not_fit_is_named(said):
    state = state_dict.unwrapped(MISTAKES[said])
    with pytest.raises(UserError) as error:
        state_dict.variables(state, state_dict.network(state))
    assert str(error.value).startswith(said)


OTHERS = {
    ("resnet32", "layer1.3.conv1.weight='missing': expected an array [16, 16, 3, 3] in resnet32"): CIFAR,
    ("resnet20", "layer1.3.conv1.weight=[16, 16, 3, 3]: expected no such key in resnet20"): state_dicts.resnet(32),
    ("resnet34", "layer1.2.conv1.weight='missing'"): LARGE,
    ("resnet50", "layer1.0.conv"): LARGE,
    ("resnet20", "conv1.weight=[8, 3, 7, 7]: expected a kernel [8, 3, 3, 3], the stem of a ResNet of depth 20"): LARGE,
    ("vit-Ti", "patch_embed.proj.weight='missing'"): CIFAR,
    ("vit-S", "patch_embed.proj.weight=[64, 3, 4, 4]: expected a kernel [dimensions, 3, patch, patch] with 384"): VIT,
    ("resnet20 ", "conv1.weight='missing': expected a kernel [channels, 3, size, size]"): VIT,
    ("resnet19", "--model='resnet19': expected one of resnet18, "): CIFAR,
}


@pytest.mark.parametrize("model, said", OTHERS)
def test_another_architecture_than_is_said_is_refused(model, said):
    state = state_dict.unwrapped(OTHERS[model, said])
    with pytest.raises(UserError) as error:
        state_dict.variables(state, state_dict.network(state, model.strip()))
    assert str(error.value).startswith(said)
