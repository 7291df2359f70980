"""Features from elsewhere are matched by id or refused; a network of one's own gives what it gives by hand."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import ml_collections
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import linen as nn
from flax import nnx
from flax.training import train_state

from bottleneck.checkpoint import foreign as foreign_checkpoint
from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.features import batch, foreign
from bottleneck.features.foreign import SPLITS

DATA = DataSpec(image_size=8, train=20, probe=13, val=10, test=7, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


@pytest.fixture(scope="module")
def target():
    return components.load("first", ComponentSpec({"name": "factors", "reliability": {"colour": 1.0}}), DATA)


def numbers(target, split, width=3):
    """Features that know their example: its id in the first column."""
    ids = target.splits[split].ids
    return np.column_stack([ids, np.random.default_rng(0).normal(size=(len(ids), width - 1))])


@pytest.fixture
def saved(tmp_path, target):
    for split in SPLITS:
        foreign.save(tmp_path, "first", split, numbers(target, split), target.splits[split].ids)
    return tmp_path


def test_what_was_saved_is_loaded(saved, target):
    found = foreign.load(saved, target)
    assert tuple(found) == SPLITS
    for split in SPLITS:
        np.testing.assert_array_equal(found[split], numbers(target, split))


def test_rows_are_put_in_the_order_of_the_examples(saved, target):
    order = np.random.default_rng(1).permutation(len(target.splits["val"]))
    foreign.save(
        saved, "first", "val", numbers(target, "val")[order], target.splits["val"].ids[order].astype(np.uint32)
    )
    found = foreign.load(saved, target)["val"]
    np.testing.assert_array_equal(found, numbers(target, "val"))
    np.testing.assert_array_equal(found[:, 0], target.splits["val"].ids)


CHANGES = {  # ids of 13 examples -> what is wrong with them
    "2 missing": lambda ids: np.delete(ids, [0, 5]),
    "1 repeated": lambda ids: np.append(ids, ids[3]),
    "3 of no example": lambda ids: np.concatenate([ids, [-1, -2, -3]]),
    "1 missing (such as": lambda ids: np.append(ids[:-1], ids[0]),
    "13 missing": lambda ids: np.arange(13) - 100,
}


@pytest.mark.parametrize("said", CHANGES)
def test_ids_that_do_not_match_are_refused_with_counts(said, saved, target):
    ids = CHANGES[said](target.splits["probe"].ids)
    foreign.save(saved, "first", "probe", np.random.default_rng(0).normal(size=(len(ids), 3)), ids)
    with pytest.raises(
        UserError, match="^external=.*first-probe-ids.npy.*each of the 13 probe examples of 'first' once"
    ) as error:
        foreign.load(saved, target)
    assert said in error.value.expected


@pytest.mark.parametrize("name", ["first-test-ids.npy", "first-test.npy"])
def test_without_ids_or_features_nothing_is_loaded(name, saved, target):
    (saved / name).unlink()
    with pytest.raises(UserError, match=f"^external=.*{name}"):
        foreign.load(saved, target)


def test_pickles_are_never_loaded(saved, target, tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (marker.touch, ())

    for name in ("first-test.npy", "first-test-ids.npy"):
        before = (saved / name).read_bytes()
        np.save(saved / name, np.array([Evil()] * 7, object), allow_pickle=True)
        with pytest.raises(UserError, match=name):
            foreign.load(saved, target)
        (saved / name).write_bytes(before)
    assert not marker.exists()


BAD = {
    "an array \\[examples, features\\]": np.ones((7, 2, 2)),
    "shape \\[7\\]": np.ones(7),
    "shape \\[7, 0\\]": np.ones((7, 0)),
    "numbers, best as float32, not <U1": np.full((7, 3), "a"),
    "not complex128": np.ones((7, 3), complex),
    "bfloat16": np.ones((7, 3), ml_dtypes.bfloat16).view("V2"),
    "3 features, as in the probe split, not 4": np.eye(7, 4),
    "a whole-number id for each of the 6 rows": np.eye(6, 3),
    "NaN or infinity": np.full((7, 3), np.nan),
}


@pytest.mark.parametrize("said", BAD)
def test_arrays_that_are_no_features_are_refused(said, saved, target):
    np.save(saved / "first-test.npy", BAD[said])
    with pytest.raises(UserError, match=f"^external=.*{said}"):
        foreign.load(saved, target)


@pytest.mark.parametrize(
    "ids", [np.arange(7.0), np.arange(14).reshape(7, 2), np.arange(6)], ids=["floats", "pairs", "too few"]
)
def test_ids_are_one_whole_number_per_row(ids, saved, target):
    np.save(saved / "first-test-ids.npy", ids)
    with pytest.raises(UserError, match="first-test-ids.npy.*whole-number id for each of the 7 rows"):
        foreign.load(saved, target)


def test_precision_is_kept_where_there_is_some(saved, target):
    for dtype, loaded in (
        ("float64", "float64"),
        ("float32", "float32"),
        ("float16", "float32"),
        (ml_dtypes.bfloat16, "float32"),
        ("int64", "float64"),
        ("bool", "float64"),
        (">f4", "float32"),
        (">f8", "float64"),
    ):
        for split in SPLITS:
            x = np.random.default_rng(0).normal(size=(len(target.splits[split]), 3))
            foreign.save(saved, "first", split, x.astype(dtype), target.splits[split].ids)
        assert {x.dtype for x in foreign.load(saved, target).values()} == {np.dtype(loaded)}


def test_small_signals_that_a_precision_erased_are_refused(saved, target):
    """0.01 on a mean of 5: see features_test; here both functions apply the guard."""
    x = 5 + 0.01 * np.random.default_rng(0).choice([-1.0, 1.0], (7, 3))
    for kept in (np.float16, np.float32, np.float64):
        np.save(saved / "first-test.npy", x.astype(kept))
        foreign.load(saved, target)
    rounded = x.astype(ml_dtypes.bfloat16).astype(">f4")
    with pytest.raises(UserError, match="^external=.*features that can be trusted: numbers of 8 significant bits"):
        foreign.save(saved, "first", "test", rounded, target.splits["test"].ids)
    np.save(saved / "first-test.npy", rounded)
    with pytest.raises(UserError, match="^external=.*features that can be trusted: numbers of 8 significant bits"):
        foreign.load(saved, target)


class Net(nn.Module):
    """Somebody's network: `output` is what it returns, `training` how its switch is called and set by default."""

    output: str = "features"
    dtype: str | None = None

    @nn.compact
    def __call__(self, x, train: bool = True):
        x = nn.Conv(4, (3, 3), dtype=self.dtype, name="conv")(x)
        x = nn.BatchNorm(use_running_average=not train, dtype=self.dtype, name="norm")(x)
        x = nn.Dropout(0.5, deterministic=not train)(jax.nn.relu(x))
        features = x.mean((1, 2))
        logits = nn.Dense(2, dtype=self.dtype, name="classifier")(features)
        return {
            "features": features,
            "map": x,
            "pair": (logits, features),
            "taps": (logits, {"map": x, "features": features}),
            "other taps": (logits, {"map": x}),
        }[self.output]


class State(train_state.TrainState):
    batch_stats: dict


@pytest.fixture(scope="module")
def variables():
    made = jax.jit(lambda key, x: Net().init(key, x, train=False))(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
    return {**made, "batch_stats": {"norm": {"mean": jnp.arange(4) / 10, "var": jnp.arange(1.0, 5)}}}


def by_hand(variables, x):
    """Features of uint8 images in float64: convolution, normalisation by stored statistics, ReLU, mean."""
    x = (x / 255 - DATA.mean) / DATA.std
    kernel, bias = (np.float64(variables["params"]["conv"][k]) for k in ("kernel", "bias"))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    h = sum(padded[:, i : i + 8, j : j + 8] @ kernel[i, j] for i in range(3) for j in range(3)) + bias
    mean, var = (np.float64(variables["batch_stats"]["norm"][k]) for k in ("mean", "var"))
    return np.maximum((h - mean) / np.sqrt(var + 1e-5), 0).mean((1, 2))  # scale 1 and bias 0 at initialisation


def standard(path, tree):
    with ocp.StandardCheckpointer() as writer:
        writer.save(path, tree)
    return path


@pytest.fixture(scope="module")
def checkpoint(variables, tmp_path_factory):
    return standard(tmp_path_factory.mktemp("checkpoint") / "net", variables)


MODULES = [("features", None), ("map", None), ("pair", None), ("taps", None), ("features", "bfloat16")]


@pytest.mark.parametrize(("output", "dtype"), MODULES)
def test_a_linen_module(output, dtype, checkpoint, variables, target, tmp_path):
    """Evaluation mode, the study's normalisation, float32 even for a module that computes in bfloat16: rtol 1e-4."""
    foreign.extract(Net(output, dtype), str(checkpoint), target, DATA, str(tmp_path))
    same_as_by_hand(variables, target, tmp_path)


def same_as_by_hand(variables, target, directory):
    features = foreign.load(str(directory), target)
    for split in SPLITS:
        examples = target.splits[split]
        expected = by_hand(variables, examples.fetch(np.arange(len(examples))))
        assert features[split].dtype == np.float32
        np.testing.assert_allclose(features[split], expected, rtol=1e-4, atol=1e-5)


def test_any_function_of_variables_and_images(checkpoint, variables, target, tmp_path):
    """With variables at hand, an Orbax directory, or whatever it takes."""

    def network(variables, x):
        return Net("other taps").apply(variables, x, train=False)[1]["map"]

    for name, given in (("directory", checkpoint), ("at hand", variables)):
        foreign.extract(network, given, target, DATA, tmp_path / name)
        same_as_by_hand(variables, target, tmp_path / name)
    config = ml_collections.ConfigDict(dict(image_size=8))  # a study's config.data, with what it leaves at its default
    foreign.extract(lambda scale, x: scale * x.reshape(len(x), -1), 2.0, target, config, tmp_path / "pixels")
    assert foreign.load(tmp_path / "pixels", target)["test"].shape == (7, 192)


def test_a_layer_by_its_name(variables, target, tmp_path):
    network = Net("other taps")
    foreign.extract(network, variables, target, DATA, tmp_path / "map", layer="map")
    foreign.extract(network, variables, target, DATA, tmp_path / "logits", layer="logits")
    same_as_by_hand(variables, target, tmp_path / "map")
    assert foreign.load(tmp_path / "logits", target)["test"].shape == (7, 2)
    with pytest.raises(UserError, match="^layer='features': expected one of what the network returns: map, logits"):
        foreign.extract(network, variables, target, DATA, tmp_path)
    with pytest.raises(UserError, match="^layer='map': expected one of what the network returns: features"):
        foreign.extract(Net(), variables, target, DATA, tmp_path, layer="map")


def test_every_split_that_is_asked_for(variables, target, tmp_path):
    foreign.extract(Net(), variables, target, DATA, tmp_path, splits=("train", "test"))
    features = foreign.load(tmp_path, target, ("train", "test"))
    assert {split: x.shape for split, x in features.items()} == {"train": (20, 4), "test": (7, 4)}
    with pytest.raises(UserError, match="first-probe.npy"):
        foreign.load(tmp_path, target)
    assert foreign.digest(tmp_path, "first", ("train",)) != foreign.digest(tmp_path, "first", ("test",))
    for target_name, split in (("first", "all"), ("../first", "test"), ("", "test")):
        with pytest.raises(UserError, match="^external="):
            foreign.save(tmp_path, target_name, split, np.eye(7), np.arange(7))


def test_batches_of_one_size(variables, target, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "ITEMS", 4)
    sizes = []

    def network(variables, x):
        sizes.append(len(x))  # once: another size would be traced again
        return Net().apply(variables, x, train=False)

    foreign.extract(network, variables, target, DATA, tmp_path)
    same_as_by_hand(variables, target, tmp_path)
    assert sizes == [4]


class Modern(nnx.Module):
    """The same network in NNX, left in training mode and made for bfloat16."""

    def __init__(self, variables):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs, dtype=jnp.bfloat16)
        self.norm = nnx.BatchNorm(4, rngs=rngs, dtype=jnp.bfloat16)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.conv.kernel[...] = variables["params"]["conv"]["kernel"]
        self.norm.mean[...] = variables["batch_stats"]["norm"]["mean"]
        self.norm.var[...] = variables["batch_stats"]["norm"]["var"]
        self.train()

    def __call__(self, x, training=True):
        x = self.dropout(jax.nn.relu(self.norm(self.conv(x))))
        return x if not training else None


def test_a_network_of_nnx(variables, target, tmp_path):
    """As graph definition and state or states, or as it is; it is left as it was."""
    network = Modern(variables)
    graph, state = nnx.split(network)
    other, *states = nnx.split(network, nnx.Param, ...)
    for name, given in (("split", (graph, state)), ("states", (other, tuple(states))), ("module", (network, None))):
        foreign.extract(*given, target, DATA, tmp_path / name)
        same_as_by_hand(variables, target, tmp_path / name)
    assert not network.norm.use_running_average and network.conv.dtype == jnp.bfloat16
    with pytest.raises(UserError, match="^variables='GraphDef': expected those of this network"):
        foreign.extract(graph, nnx.state(network, nnx.Param), target, DATA, tmp_path)


@pytest.fixture
def classic(variables):
    """The same network in PyTorch, in training mode, and how its weights are called."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Dropout(0.5)
    )
    given = {
        "0.weight": variables["params"]["conv"]["kernel"].transpose(3, 2, 0, 1),
        "0.bias": variables["params"]["conv"]["bias"],
        "1.running_mean": variables["batch_stats"]["norm"]["mean"],
        "1.running_var": variables["batch_stats"]["norm"]["var"],
    }
    weights = {**net.state_dict(), **{name: torch.tensor(np.array(x)) for name, x in given.items()}}
    return torch, net.bfloat16(), weights


def test_a_network_of_pytorch(classic, variables, target, tmp_path):
    torch, net, weights = classic
    torch.save(weights, tmp_path / "weights.pt")
    for name, given in (("dict", weights), ("file", str(tmp_path / "weights.pt"))):
        foreign.extract(net, given, target, DATA, tmp_path / name)
        same_as_by_hand(variables, target, tmp_path / name)
    assert net.training and net[0].weight.dtype == torch.bfloat16
    loaded = copy.deepcopy(net).float()
    loaded.load_state_dict(weights)
    foreign.extract(loaded, None, target, DATA, tmp_path / "loaded")
    same_as_by_hand(variables, target, tmp_path / "loaded")
    with pytest.raises(UserError, match="^variables='Sequential': expected those of this network"):
        foreign.extract(net, {"0.weight": weights["0.weight"]}, target, DATA, tmp_path)


def test_weights_in_safetensors(classic, variables, target, tmp_path):
    _, net, weights = classic
    pytest.importorskip("safetensors.torch").save_file(
        {name: x.contiguous() for name, x in weights.items()}, tmp_path / "weights.safetensors"
    )
    foreign.extract(net, tmp_path / "weights.safetensors", target, DATA, tmp_path)
    same_as_by_hand(variables, target, tmp_path)


def test_tensors_are_saved_as_arrays(classic, target, tmp_path):
    torch, *_ = classic
    ids = torch.tensor(target.splits["test"].ids)
    x = torch.randn(7, 3, requires_grad=True)
    foreign.save(tmp_path, "first", "test", x, ids)
    np.testing.assert_array_equal(foreign.load(tmp_path, target, ("test",))["test"], x.detach())
    foreign.save(tmp_path, "first", "test", x.bfloat16(), ids)


def test_torch_files_of_other_objects_are_refused(classic, target, tmp_path):
    torch, net, weights = classic
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (marker.touch, ())

    torch.save({"weights": weights, "extra": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "torn.pt").write_bytes((tmp_path / "evil.pt").read_bytes()[:100])
    (tmp_path / "torn.safetensors").write_bytes(b"nothing")
    for name in ("evil.pt", "torn.pt", "torn.safetensors", "absent.pt"):
        with pytest.raises(UserError, match=f"^weights='.*{name}': expected a file of weights alone"):
            foreign.extract(net, tmp_path / name, target, DATA, tmp_path / "out")
    assert not marker.exists() and not (tmp_path / "out").exists()


def test_checkpoints_as_people_save_them(variables, target, tmp_path):
    """Variables, a TrainState, one inside a tree, several trees, and a CheckpointManager's step: the same features."""
    state = State.create(
        apply_fn=None, params=variables["params"], tx=optax.adam(1e-3), batch_stats=variables["batch_stats"]
    )
    whole = train_state.TrainState.create(apply_fn=None, params=variables, tx=optax.sgd(0.1))
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(7, args=ocp.args.StandardSave(state))
    with ocp.CheckpointManager(tmp_path / "items") as manager:
        manager.save(7, args=ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave({"a": 1})))
    given = {
        "state": standard(tmp_path / "state", state),
        "whole": standard(tmp_path / "whole", whole),
        "inside": standard(tmp_path / "inside", {"model": state, "best": np.float32(3)}),
        "step": tmp_path / "run" / "7",
        "item": tmp_path / "items" / "7",
    }
    foreign.extract(Net(), standard(tmp_path / "plain", variables), target, DATA, tmp_path / "expected")
    expected = foreign.load(tmp_path / "expected", target)["test"]
    teacher = {"weights": variables["params"], "batch_stats": variables["batch_stats"]}
    two = standard(tmp_path / "two", {"student": state, "teacher": teacher})
    given["two"] = foreign_checkpoint(two, {"params": "teacher/weights", "batch_stats": "teacher/batch_stats"})
    for name, variables in given.items():
        foreign.extract(Net(), variables, target, DATA, tmp_path / "out" / name)
        np.testing.assert_array_equal(foreign.load(tmp_path / "out" / name, target)["test"], expected)


class Linear(nn.Module):
    """No switch for evaluation, parameters only."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="dense")(x.reshape(len(x), -1))


def test_bare_parameters(target, tmp_path):
    kernel = np.random.default_rng(0).normal(size=(192, 3)).astype(np.float32)
    path = standard(tmp_path / "bare", {"dense": {"kernel": kernel, "bias": np.zeros(3, np.float32)}})
    foreign.extract(Linear(), path, target, DATA, tmp_path)
    x = target.splits["test"].fetch(np.arange(7))
    expected = ((x / 255 - DATA.mean) / DATA.std).reshape(7, -1) @ kernel
    np.testing.assert_allclose(foreign.load(tmp_path, target)["test"], expected, rtol=1e-4, atol=1e-4)


def test_a_checkpoint_of_another_module_is_refused(checkpoint, variables, target, tmp_path):
    params = standard(tmp_path / "params", variables["params"])
    for module, path in ((Linear(), checkpoint), (Net(), params), (Net(), tmp_path / "none")):
        with pytest.raises(UserError, match="^(checkpoint|variables|weights)="):
            foreign.extract(module, path, target, DATA, tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


def test_a_module_left_in_training_mode_is_refused(checkpoint, target, tmp_path):
    with pytest.raises(UserError, match="^variables='function'.*in evaluation mode"):
        foreign.extract(lambda variables, x: Net().apply(variables, x), checkpoint, target, DATA, tmp_path)


def test_features_that_overflow_are_refused(variables, target, tmp_path):
    statistics = {"norm": {"mean": jnp.full(4, -jnp.inf), "var": jnp.ones(4)}}
    path = standard(tmp_path / "net", {**variables, "batch_stats": statistics})
    with pytest.raises(UserError, match="NaN or infinity"):
        foreign.extract(Net(), path, target, DATA, tmp_path)


def test_other_normalisation_other_features(checkpoint, target, tmp_path):
    for name, data in (("a", DATA), ("b", dataclasses.replace(DATA, mean=(0.1, 0.5, 0.6)))):
        foreign.extract(Net(), checkpoint, target, data, tmp_path / name)
    assert not np.allclose(foreign.load(tmp_path / "a", target)["test"], foreign.load(tmp_path / "b", target)["test"])


def test_the_digest_is_of_the_content_wherever_it_lies(saved, target, tmp_path):
    first = foreign.digest(saved, "first")
    for split in SPLITS:
        foreign.save(tmp_path / "moved", "first", split, numbers(target, split), target.splits[split].ids)
    assert foreign.digest(tmp_path / "moved", "first") == first != foreign.digest(saved, "second")
    foreign.save(tmp_path / "moved", "first", "val", -numbers(target, "val"), target.splits["val"].ids)
    assert foreign.digest(tmp_path / "moved", "first") != first
