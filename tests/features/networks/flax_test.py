"""Networks of Flax and functions, read where they are: layers by name, weights in every format, untrained copies."""

import collections
import importlib
import sys

import flax
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import linen as nn
from flax import nnx

from bottleneck.errors import UserError
from bottleneck.features.networks import flax as networks
from bottleneck.features.networks import loading
from bottleneck.features.networks.uses import Uses

SHAPE = (8, 8, 3)
X = np.random.default_rng(0).normal(size=(5, *SHAPE)).astype(np.float32)
SOURCE = """
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.BatchNorm(use_running_average=not train, name="norm")(nn.Conv(6, (3, 3), name="conv")(x)))
        features = x.mean((1, 2))
        return nn.Dense(4, name="head")(nn.Dropout(0.5, deterministic=not train)(features)), features

def build():
    return Net()

def with_variables():
    return Net(), Net().init(jax.random.key(3), jnp.zeros((1, 8, 8, 3)))

class Plain(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4, name="head")(nn.relu(nn.Conv(6, (3, 3), name="conv")(x)).mean((1, 2)))

def plain():
    return Plain()

class Small(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 5, (3, 3), rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
    def __call__(self, x):
        return self.drop(nnx.relu(self.conv(x)).mean((1, 2)))

def small(rngs=None):
    return Small(rngs or nnx.Rngs(0))

def apply(variables, x):
    return {"early": x.mean((1, 2)), "features": x.reshape(len(x), -1) @ variables["w"]}

def fails():
    raise RuntimeError("out of order")
"""


@pytest.fixture
def module(tmp_path):
    (tmp_path / "nets.py").write_text(SOURCE)
    return f"{tmp_path}/nets.py"


@pytest.fixture
def variables(module):
    net = Uses("flax", f"{module}:build").function()()
    made = net.init(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    return jax.tree.map(lambda x: x + 0.1, made)


def load(module, name, weights="", kind="flax", features=""):
    made_by = Uses(kind, f"{module}:{name}", str(weights))
    return loading.load(made_by, features, SHAPE)


def saved(tree, place, how):
    if how == "orbax":
        with ocp.StandardCheckpointer() as writer:
            writer.save(place.absolute(), tree)
        return place
    if how == "msgpack":
        path = place.with_suffix(".msgpack")
        path.write_bytes(flax.serialization.msgpack_serialize(jax.device_get(tree)))
        return path
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    path = place.with_suffix(".safetensors")
    numpy.save_file({"/".join(k): np.asarray(v) for k, v in flax.traverse_util.flatten_dict(tree).items()}, path)
    return path


@pytest.mark.parametrize("how", ["orbax", "msgpack", "safetensors"])
def test_linen_with_weights_from_a_file(module, variables, tmp_path, how):
    held = load(module, "build", saved(dict(variables), tmp_path / "w", how))
    net = Uses("flax", f"{module}:build").function()()
    logits, features = net.apply(variables, X)
    read = held.read(X, ("features", "conv", "conv.flattened"))
    np.testing.assert_allclose(read["features"], features, rtol=1e-5, atol=1e-6)
    assert read["conv"].shape == (5, 6) and read["conv.flattened"].shape == (5, 8 * 8 * 6)
    np.testing.assert_allclose(read["conv.flattened"].reshape(5, 64, 6).mean(1), read["conv"], rtol=1e-5, atol=1e-6)
    assert held.taps[-1] == "features" and held.taps.index("conv") < held.taps.index("norm")
    assert set(held.default) <= set(held.taps) and held.default[-1] == "features"


def test_content_is_of_the_weights_wherever_they_lie(module, variables, tmp_path):
    one = load(module, "build", saved(dict(variables), tmp_path / "a", "msgpack"))
    same = load(module, "build", saved(dict(variables), tmp_path / "b", "orbax"))
    other = load(module, "build", saved(jax.tree.map(lambda x: x + 1, dict(variables)), tmp_path / "c", "msgpack"))
    assert one.content == same.content != other.content and one.structure == other.structure


def test_a_function_may_bring_its_variables(module):
    held = load(module, "with_variables")
    assert held.read(X, ("features",))["features"].shape == (5, 6)


@pytest.mark.parametrize("kind", ["flax", "nnx"])
def test_the_code_of_modules_in_other_files_is_part_of_a_network(tmp_path, monkeypatch, kind):
    """A class elsewhere whose call is another one: features of before must not be taken for its own."""
    made = {
        "flax": "class Inner(nn.Module):\n    def __call__(self, x):\n        return x.mean((1, 2))\n",
        "nnx": "class Inner(nnx.Module):\n    def __call__(self, x):\n        return x.mean((1, 2))\n",
    }[kind]
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "outer.py").write_text("from elsewhere import Inner\ndef build():\n    return Inner()\n")
    structures = []
    for text in (made, made, made.replace("mean", "max")):
        (tmp_path / "elsewhere.py").write_text(f"from flax import linen as nn\nfrom flax import nnx\n{text}")
        sys.modules.pop("elsewhere", None)
        sys.modules.pop("outer", None)
        importlib.invalidate_caches()
        variables = tmp_path / "none.msgpack"
        variables.write_bytes(flax.serialization.msgpack_serialize({"params": {}}))
        weights = str(variables) if kind == "flax" else ""
        structures.append(networks.load(Uses(kind, "outer:build", weights), "", SHAPE).structure)
    assert structures[0] == structures[1] != structures[2]


def test_an_untrained_copy_is_another_one_of_the_same_structure(module, variables, tmp_path):
    held = load(module, "build", saved(dict(variables), tmp_path / "w", "msgpack"))
    blank, again, other = held.blank(0), held.blank(0), held.blank(1)
    assert blank.content == again.content != other.content != held.content
    assert blank.structure == held.structure and blank.taps == held.taps


def test_nnx_in_evaluation_mode(module, tmp_path):
    held = load(module, "small", kind="nnx")
    small = Uses("nnx", f"{module}:small").function()()
    small.eval()
    np.testing.assert_allclose(held.read(X, ("features",))["features"], small(X), rtol=1e-5, atol=1e-6)
    assert held.blank(1).content != held.content


def test_nnx_with_weights_from_a_file(module, tmp_path):
    build = Uses("nnx", f"{module}:small").function()
    other = build(nnx.Rngs(5))
    pure = nnx.to_pure_dict(nnx.state(other, nnx.Param))
    held = load(module, "small", saved(pure, tmp_path / "w", "orbax"), kind="nnx")
    other.eval()
    np.testing.assert_allclose(held.read(X, ("features",))["features"], other(X), rtol=1e-5, atol=1e-6)


def test_features_of_a_plain_classifier_are_what_goes_into_it(module, tmp_path):
    net = Uses("flax", f"{module}:plain").function()()
    variables = net.init(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    read = load(module, "plain", saved(dict(variables), tmp_path / "w", "msgpack")).read(X, ("features", "head"))
    assert read["features"].shape == (5, 6)
    head = variables["params"]["head"]
    np.testing.assert_allclose(read["features"] @ head["kernel"] + head["bias"], read["head"], rtol=1e-4, atol=1e-5)


def test_weights_must_be_all_of_a_network_and_no_others(module, tmp_path):
    other = Uses("nnx", f"{module}:small").function()(nnx.Rngs(5))
    pure = nnx.to_pure_dict(nnx.state(other, nnx.Param))
    without = {"conv": {"kernel": pure["conv"]["kernel"]}}
    wide = {"conv": {**pure["conv"], "kernel": np.zeros((3, 3, 3, 9), np.float32)}}
    for i, (tree, expected) in enumerate([(without, "1 missing .such as conv/bias"), (wide, r"not \[3, 3, 3, 5\]")]):
        with pytest.raises(UserError, match=expected):
            load(module, "small", saved(tree, tmp_path / f"{i}", "msgpack"), kind="nnx")


def test_any_function_of_variables_and_images(module, tmp_path):
    w = np.random.default_rng(0).normal(size=(192, 3)).astype(np.float32)
    path = tmp_path / "w.msgpack"
    path.write_bytes(flax.serialization.msgpack_serialize({"params": {}, "w": w}))
    held = load(module, "apply", path, kind="apply")
    read = held.read(X, ("early", "features"))
    np.testing.assert_allclose(read["features"], X.reshape(5, -1) @ w, rtol=1e-4, atol=1e-4)
    assert held.taps == ("early", "features") and held.blank is None
    np.testing.assert_allclose(read["early"], X.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_another_layer_may_be_the_features(module, variables, tmp_path):
    path = saved(dict(variables), tmp_path / "w", "msgpack")
    held = load(module, "build", path, features="conv")
    np.testing.assert_array_equal(held.read(X, ("features",))["features"], held.read(X, ("conv",))["conv"])
    with pytest.raises(UserError, match="features='nosuch'.*conv"):
        load(module, "build", path, features="nosuch")


@pytest.mark.parametrize(
    "name, weights, expected",
    [
        ("fails", "", "out of order"),
        ("build", "missing.msgpack", "weights that are there"),
        ("build", "{place}/nonsense.msgpack", "a directory of Orbax, .msgpack or .safetensors"),
        ("build", "{place}/other.msgpack", "those of this Net: 7 missing"),
    ],
)
def test_what_cannot_be_is_one_line(module, tmp_path, name, weights, expected):
    (tmp_path / "nonsense.msgpack").write_bytes(b"\xc1\xc1")
    other = {"params": {"head": {"kernel": np.zeros((2, 2), np.float32)}}}
    (tmp_path / "other.msgpack").write_bytes(flax.serialization.msgpack_serialize(other))
    with pytest.raises(UserError, match=expected) as raised:
        load(module, name, weights.format(place=tmp_path))
    assert "\n" not in str(raised.value)


def test_layers_keep_the_order_of_the_network():
    class Taps(nn.Module):
        @nn.compact
        def __call__(self, x):
            taps = collections.OrderedDict(zeta=x.mean((1, 2)), alpha=x.std((1, 2)), features=x.max((1, 2)))
            return None, taps

    assert networks.network(Taps(), {}, "", SHAPE).taps == ("zeta", "alpha", "features")
