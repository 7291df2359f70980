import dataclasses

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from bottleneck import identity, models
from bottleneck.errors import UserError
from bottleneck.models import resnet
from bottleneck.models.head import columns

PINNED = [  # spec, outputs, side, trainable parameters
    ({"name": "resnet", "depth": 20}, 10, 32, 269_722),
    ({"name": "resnet", "depth": 56}, 10, 32, 853_018),
    ({"name": "resnet", "depth": 18, "stem": "small"}, 10, 32, 11_173_962),
    ({"name": "resnet", "depth": 50}, 1000, 224, 25_557_032),
    ({"name": "resnet", "depth": 152}, 1000, 224, 60_192_808),
    ({"name": "vit", "variant": "Ti", "patch": 16}, 1000, 224, 5_717_416),
    ({"name": "vit", "variant": "S", "patch": 16}, 1000, 224, 22_050_664),
    ({"name": "vit", "variant": "B", "patch": 16}, 1000, 224, 86_567_656),
]
SMALL = [
    {"name": "mlp", "width": 8, "depth": 3},
    {"name": "resnet", "width": 0.25},
    {"name": "resnet", "depth": 50, "width": 0.0625, "stem": "small"},
    {"name": "vit", "patch": 8},
]


def build(mapping, outputs, dtype="float32"):
    return models.build(models.spec(mapping), outputs, dtype)


def shapes(spec, outputs=10, side=32, dtype="float32"):
    model = build(spec, outputs, dtype)
    return jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((2, side, side, 3)))


def quick_init(model, x):
    """The model's variables with kernels drawn by NumPy: compiling their initialisers takes seconds."""
    rng, is_kernel = np.random.default_rng(0), lambda path: path[-1].key == "kernel"
    flat, tree = jax.tree_util.tree_flatten_with_path(jax.eval_shape(model.init, jax.random.key(0), x))
    rest = jax.jit(
        lambda key: [
            None if is_kernel(path) else leaf
            for path, leaf in jax.tree_util.tree_flatten_with_path(model.init(key, x))[0]
        ]
    )(jax.random.key(0))
    return tree.unflatten(
        rng.normal(size=shape.shape, scale=0.1).astype("f4") if is_kernel(path) else leaf
        for (path, shape), leaf in zip(flat, rest, strict=True)
    )


def test_gelu_is_exact_or_its_approximation():
    x = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("f4")
    plain, exact = (build({"name": "vit", **given}, 3) for given in ({}, {"gelu": "erf"}))
    assert models.spec({"name": "vit", "gelu": "tanh"}) == plain.spec != exact.spec
    assert identity.canonical(plain.spec) == {"name": "vit"}
    variables = quick_init(plain, x)
    apart = np.abs(plain.apply(variables, x)[1]["features"] - exact.apply(variables, x)[1]["features"])
    assert 0 < apart.max() < 0.01


@pytest.mark.parametrize("spec, outputs, side, expected", PINNED)
def test_parameter_counts(spec, outputs, side, expected):
    (logits, taps), variables = shapes(spec, outputs, side)
    assert models.count(variables["params"]) == expected
    assert logits.shape == (2, outputs) and taps["features"].ndim == 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("spec", SMALL, ids=str)
def test_dtypes(spec, dtype):
    with jax.enable_x64(dtype == "float64"):
        wide = jnp.dtype("float64" if dtype == "float64" else "float32")
        model = build(spec, 10, dtype)
        x = jnp.zeros((2, 32, 32, 3))
        variables = jax.eval_shape(model.init, jax.random.key(0), x)
        (logits, taps), updated = jax.eval_shape(
            lambda v, x: model.apply(v, x, train=True, mutable="batch_stats"), variables, x
        )
        assert {leaf.dtype for leaf in jax.tree.leaves((variables, updated))} == {wide}
        assert logits.dtype == taps["features"].dtype == wide
        assert list(taps)[-1] == "features"
        assert all(tap.dtype == jnp.dtype(dtype) for tap in list(taps.values())[:-1])


def test_xavier_is_uniform_by_inputs_and_outputs():
    model = build({"name": "mlp", "width": 40, "depth": 1, "init": "xavier"}, 20)
    params = model.init(jax.random.key(0), jnp.zeros((1, 60)))["params"]
    for layer, sides in (("layer1", 60 + 40), ("head", 40 + 20)):
        kernel, bound = np.asarray(params[layer]["kernel"]), np.sqrt(6 / sides)
        assert 0.98 * bound < np.abs(kernel).max() <= bound
        assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
        assert not params[layer]["bias"].any()


def test_an_mlp_without_layers_is_a_linear_classifier():
    model, x = build({"name": "mlp", "depth": 0}, 3), jnp.asarray(np.random.default_rng(0).normal(size=(4, 2, 5)))
    (logits, taps), variables = model.init_with_output(jax.random.key(0), x)
    assert list(taps) == ["features"] and list(variables["params"]) == ["head"]
    np.testing.assert_array_equal(taps["features"], x.reshape(4, 10))
    np.testing.assert_allclose(logits, x.reshape(4, 10) @ variables["params"]["head"]["kernel"], rtol=1e-5)


def test_residual_layers_add_to_their_input():
    spec = models.spec({"name": "mlp", "width": 4, "depth": 3})
    plain, residual = (models.build(s, 2) for s in (spec, dataclasses.replace(spec, residual=True)))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
    variables = plain.init(jax.random.key(0), x)
    (_, before), (_, after) = plain.apply(variables, x), residual.apply(variables, x)
    np.testing.assert_array_equal(after["layer1"], before["layer1"])  # of another width than its input, in general
    np.testing.assert_allclose(after["layer2"], before["layer2"] + before["layer1"], rtol=1e-6)


def test_cnn1d_is_three_strided_convolutions():
    """As `lax` has them; 5,210 parameters at 25 channels, the published size, with its 125 features."""
    model, x = build({"name": "cnn1d"}, 10), jnp.asarray(np.random.default_rng(0).normal(size=(4, 40)), jnp.float32)
    (logits, taps), variables = model.init_with_output(jax.random.key(0), x)
    params = jax.tree.map(lambda p: p + 0.01, variables["params"])
    _, taps = model.apply({"params": params}, x)
    assert models.count(params) == 5210 and list(taps) == ["layer1", "layer2", "features"]
    h = x[..., None]
    for layer, size in (("layer1", 5), ("layer2", 3), ("layer3", 3)):
        kernel = params[layer]["kernel"].reshape(size, h.shape[-1], 25)
        h = jax.lax.conv_general_dilated(h, kernel, (2,), [(1, 1)], dimension_numbers=("NWC", "WIO", "NWC"))
        h = jax.nn.relu(h + params[layer]["bias"])
        if layer in taps:
            np.testing.assert_allclose(taps[layer], h, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(taps["features"], h.reshape(4, 125), rtol=1e-4, atol=1e-5)
    for shape in ((8, 8, 3), (4,)):
        with pytest.raises(UserError, match="model.name"):
            models.resolved(models.spec({"name": "cnn1d"}), shape)


@pytest.mark.parametrize("spec", [{"name": "mlp", "width": 8}, {"name": "vit", "patch": 8}], ids=str)
def test_a_binary_classifier_has_one_output_for_two_logits(spec):
    model = models.build(models.spec(spec), 2, binary=True)
    (logits, taps), variables = model.init_with_output(jax.random.key(0), jnp.ones((3, 16, 16, 3)))
    head = variables["params"]["head"]
    assert head["kernel"].shape[1] == 1 and logits.shape == (3, 2) and not logits[:, 0].any()
    kernel, bias = columns(head["kernel"], head["bias"], True)
    np.testing.assert_allclose(taps["features"] @ kernel + bias, logits, rtol=1e-5, atol=1e-6)
    several = models.build(models.spec(spec), 6, binary=True)  # the heads of a student
    (logits, _), _ = several.init_with_output(jax.random.key(0), jnp.ones((3, 16, 16, 3)))
    assert logits.shape == (3, 6) and not logits[:, ::2].any() and logits[:, 1::2].all()


def test_taps():
    model = build(SMALL[3], 10)
    (_, taps), _ = jax.eval_shape(jax.jit(model.init_with_output), jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    assert list(taps) == ["block1", "block2", "block3", "block4", "features"]
    assert {k: v.shape for k, v in shapes(SMALL[0])[0][1].items()} == {
        "layer1": (2, 8),
        "layer2": (2, 8),
        "features": (2, 8),
    }
    assert {k: v.shape for k, v in shapes({"name": "resnet"}, side=33)[0][1].items()} == {
        "stem": (2, 33, 33, 16),
        "stage1": (2, 33, 33, 16),
        "stage2": (2, 17, 17, 32),
        "stage3": (2, 9, 9, 64),
        "features": (2, 64),
    }
    large = shapes({"name": "resnet", "depth": 50}, side=96)[0][1]
    assert large["stem"].shape == (2, 24, 24, 64) and large["stage4"].shape == (2, 3, 3, 2048)
    assert {k: v.shape for k, v in shapes(SMALL[3])[0][1].items()} == {
        **{f"block{i}": (2, 17, 64) for i in range(1, 5)},
        "features": (2, 64),
    }


@pytest.mark.parametrize(
    "spec, layers",
    [
        (SMALL[0], ("layer1", "layer3")),
        (SMALL[1], ("stem", "stage3_block3")),
        (SMALL[3], ("patches", "block4")),
    ],
    ids=str,
)
def test_the_trunk_depends_on_the_key_and_not_on_the_outputs(spec, layers):
    def init(seed, outputs):  # the compiler drops the layers that are not asked for
        model = build(spec, outputs)
        params = jax.jit(
            lambda key: {
                layer: tree
                for layer, tree in model.init(key, jnp.zeros((1, 8, 8, 3)))["params"].items()
                if layer in (*layers, "head")
            }
        )(jax.random.key(seed))
        head = params.pop("head")
        assert len(params) == 2
        return head, params

    head, trunk = init(0, 3)
    other_head, same = init(0, 7)
    assert head["kernel"].shape[1] == 3 and other_head["kernel"].shape[1] == 7
    jax.tree.map(np.testing.assert_array_equal, trunk, same)
    different = init(1, 3)[1]
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(trunk), jax.tree.leaves(different), strict=True))


def test_dropout_rate_is_traced_inverted_and_off_in_evaluation():
    model = build({"name": "mlp", "width": 2000, "depth": 1, "activation": "none"}, 4)
    x = jax.random.normal(jax.random.key(3), (1, 5))
    variables = model.init(jax.random.key(0), x)
    variables["params"]["head"]["kernel"] = jnp.ones((2000, 4))
    traces = []

    @jax.jit
    def train(x, rate, key):
        traces.append(rate)
        return model.apply(variables, x, train=True, dropout=rate, rngs={"dropout": key})[0]

    plain, taps = model.apply(variables, x)
    np.testing.assert_array_equal(train(x, 0.0, jax.random.key(1)), plain)
    x = x * 0
    variables["params"]["layer1"]["bias"] = jnp.ones(2000)
    ones = jnp.zeros((1, 5))
    logits, taps = model.apply(variables, ones, train=True, dropout=0.5, rngs={"dropout": jax.random.key(1)})
    assert abs(float(logits[0, 0]) - 2000) < 150 and float(logits[0, 0]) != 2000
    np.testing.assert_array_equal(taps["features"], 1)  # the tap is taken before dropout
    train(x, 0.7, jax.random.key(1))
    assert len(traces) == 1
    model.apply(variables, x, train=True)  # no "dropout" key needed at the literal 0


def test_a_linear_mlp_is_the_product_of_its_matrices():
    model = build({"name": "mlp", "width": 3, "depth": 1, "activation": "none", "use_bias": False}, 2)
    x = jax.random.normal(jax.random.key(0), (5, 7))
    variables = model.init(jax.random.key(1), x)
    params = variables["params"]
    assert models.count(params) == 7 * 3 + 3 * 2
    product = params["layer1"]["kernel"] @ params["head"]["kernel"]
    np.testing.assert_allclose(model.apply(variables, x)[0], x @ product, rtol=1e-5)


def test_batch_norm_statistics_move_with_momentum_point_nine_in_training_only():
    model = build({"name": "resnet", "width": 0.25}, 2)
    x = 3 + jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    variables = quick_init(model, x)
    apply = jax.jit(model.apply, static_argnames=("train", "mutable"))
    _, updated = apply(variables, x, train=True, mutable="batch_stats")
    stem = jax.lax.conv_general_dilated(
        x, variables["params"]["stem"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    got = updated["batch_stats"]["stem_norm"]
    np.testing.assert_allclose(got["mean"], 0.1 * stem.mean((0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got["var"], 0.9 + 0.1 * stem.var((0, 1, 2)), rtol=1e-3)
    (_, taps), same = apply(variables, x, mutable="batch_stats")
    jax.tree.map(np.testing.assert_array_equal, same["batch_stats"], variables["batch_stats"])
    # Evaluation with unit statistics: the stem tap is relu(convolution / sqrt(1 + eps)).
    np.testing.assert_allclose(taps["stem"], jax.nn.relu(stem / (1 + 1e-5) ** 0.5), rtol=1e-4, atol=1e-5)


def test_zero_residual_blocks_start_as_the_identity():
    model = build({"name": "resnet", "width": 0.25, "zero_residual": True}, 2)
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    _, taps = jax.jit(model.apply)(quick_init(model, x), x)
    np.testing.assert_array_equal(taps["stem"], taps["stage1"])
    np.testing.assert_array_equal(taps["stage2"][..., 2:6], taps["stage1"][:, ::2, ::2])  # 4 channels amid zeros
    np.testing.assert_array_equal(taps["stage2"][..., :2], 0)


def test_modules_are_hashable_and_equal_when_built_alike():
    first, second = (build(ml_collections.ConfigDict({"name": "vit", "patch": 8}), 10) for _ in range(2))
    assert first == second and hash(first) == hash(second)
    assert first != build({"name": "vit", "patch": 8}, 11)


STEMS = [  # depth, sides, stem
    *((depth, (side, side), "small") for depth in (18, 34, 50, 152) for side in (8, 64)),
    *((depth, (side, side), "large") for depth in (18, 34, 50, 152) for side in (65, 224)),
    *((depth, (side, side), "small") for depth in (20, 56) for side in (32, 224)),
    (18, (64, 300), "small"),
]


@pytest.mark.parametrize("depth, sides, stem", STEMS)
def test_the_stem_is_that_of_the_image_size_and_is_written_out(depth, sides, stem):
    plain = models.spec({"name": "resnet", "depth": depth, "width": 0.0625})
    resolved = models.resolved(plain, (*sides, 3))
    assert resolved == dataclasses.replace(plain, stem=stem) == models.resolved(resolved, (*sides, 3))


@pytest.mark.parametrize("side, after_stem", [(64, 64), (65, 17)])
def test_a_stem_that_is_not_given_is_built_by_the_image_size(side, after_stem):
    plain = models.spec({"name": "resnet", "depth": 18, "width": 0.0625})
    x = jnp.zeros((1, side, side, 3))
    unresolved, resolved = (
        jax.eval_shape(models.build(spec, 2).init_with_output, jax.random.key(0), x)
        for spec in (plain, models.resolved(plain, x.shape[1:]))
    )
    assert unresolved[1] == resolved[1] and unresolved[0][1]["stem"].shape[1] == after_stem


def test_a_stem_that_is_given_stays():
    for stem, side in (("small", 224), ("large", 32)):
        assert models.resolved(models.spec({"name": "resnet", "depth": 18, "stem": stem}), (side, side, 3)).stem == stem


def test_description():
    large = models.resolved(models.spec({"name": "resnet", "depth": 18}), (224, 224, 3))
    assert models.describe(large) == "resnet depth=18 stem=large"
    assert models.describe(models.spec({"name": "mlp", "width": 128})) == "mlp"


def test_what_a_spec_is_does_not_depend_on_how_it_is_written():
    """Defaults written out change nothing; equal fields of another model do."""
    short, long = (
        models.spec(m) for m in ({"name": "mlp"}, ml_collections.ConfigDict({"name": "mlp", "width": 128, "depth": 2}))
    )
    assert short == long == models.spec(short) and hash(short) == hash(long)
    assert identity.canonical(long) == {"name": "mlp"}
    plain = [{"name": name} for name in ("mlp", "resnet", "vit")]
    plain += [{"name": "joined", "members": members} for members in (plain[:1], plain[1:2], plain[:2], plain[1::-1])]
    assert len({identity.digest(models.spec(m)) for m in plain}) == len(plain)


def test_widen():
    def widened(mapping):
        return models.widen(models.spec(mapping), 4)

    assert widened({"name": "mlp", "width": 16}) == models.spec({"name": "mlp", "width": 64})
    assert widened({"name": "resnet"}) == models.spec({"name": "resnet", "width": 4.0})
    (_, taps), _ = shapes(widened({"name": "vit", "patch": 8}))
    assert taps["features"].shape == (2, 256)
    for name in ("mlp", "vit"):
        with pytest.raises(UserError, match="^model.width"):
            models.widen(models.spec({"name": name}), 0.3)


@pytest.mark.parametrize(
    "spec, key",
    [
        ({"name": "resnet", "depth": 21}, "model.depth"),
        ({"name": "resnet", "depth": 20, "stem": "large"}, "model.stem"),
        ({"name": "resnet", "width": 0.0}, "model.width"),
        ({"name": "resnet", "depth": "20"}, "model.depth"),
        ({"name": "mlp", "width": 0}, "model.width"),
        ({"name": "mlp", "hidden": 3}, "model.hidden"),
        ({"name": "mlp", "activation": "gelu"}, "model.activation"),
        ({"name": "vit", "variant": "H"}, "model.variant"),
        ({"name": "vit", "patch": 5}, "model.patch"),
        ({"name": "vit", "patch": 0}, "model.patch"),
        ({"name": "vit", "width": 0.3}, "model.width"),
        ({"name": "cnn"}, "model.name"),
        ({"name": None}, "model.name"),
        ({}, "model.name"),
        (None, "model"),
    ],
)
def test_mistakes_name_the_key(spec, key):
    with pytest.raises(UserError) as error:
        models.resolved(models.spec(spec), (32, 32, 3))
    assert error.value.key == key


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_vectors_are_for_mlps(name):
    with pytest.raises(UserError, match=f"^model.name='{name}': expected 'mlp', for vectors"):
        models.resolved(models.spec({"name": name}), (10,))
    assert models.resolved(models.spec({"name": "mlp"}), (10,)) == models.spec({"name": "mlp"})


@pytest.mark.parametrize("dtype", ["float16", "fp32", "int32"])
def test_unknown_dtype(dtype):
    with pytest.raises(UserError, match="dtype"):
        build({"name": "mlp"}, 10, dtype)


def test_float64_needs_x64():
    with jax.enable_x64(False), pytest.raises(UserError, match="X64"):
        build({"name": "mlp"}, 10, "float64")


# Convolutions


def _loss(conv, params, x):
    h = jax.nn.relu(conv.apply(params, x))
    return jnp.square(conv.apply(params, (h - h.mean()) / (1 + h.var()))).sum(dtype=jnp.promote_types(h.dtype, "f4"))


@pytest.fixture
def without_barriers(monkeypatch):
    """Traces a function anew, as on a device that is no CPU."""

    def trace(function, *args):
        monkeypatch.setattr(jax, "default_backend", lambda: "other")
        try:
            return jax.jit(lambda *args: function(*args)).lower(*args)
        finally:
            monkeypatch.undo()

    return trace


@pytest.mark.parametrize("dtype", ("float32", "bfloat16", "float64"))
@pytest.mark.parametrize("mapped", (False, True))
def test_a_convolution_behind_a_barrier_has_the_same_gradients(dtype, mapped, without_barriers):
    with jax.enable_x64(dtype == "float64"):
        conv = resnet.convolution(4, 3, 1, dtype=dtype, param_dtype=jnp.promote_types(dtype, "float32"))
        x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 8, 8, 4)), dtype)
        params = conv.init(jax.random.key(0), x[0])
        function = jax.grad(lambda params, x: _loss(conv, params, x), argnums=(0, 1))
        function, x = (jax.vmap(function, in_axes=(None, 0)), x) if mapped else (function, x[0])
        plain, held = without_barriers(function, params, x), jax.jit(function).lower(params, x)
        assert "optimization_barrier" in held.as_text() and "optimization_barrier" not in plain.as_text()
        for one, other in zip(jax.tree.leaves(held.compile()(params, x)), jax.tree.leaves(plain.compile()(params, x))):
            np.testing.assert_array_equal(one, other)
