"""PyTorch networks, read where they are. Without PyTorch: skipped; .ci/run --torch installs it."""

import pickle

import numpy as np
import pytest

from bottleneck.errors import UserError
from bottleneck.features.networks import loading
from bottleneck.features.networks.network import missing
from bottleneck.features.networks.timm import configuration
from bottleneck.features.networks.uses import Uses

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
SHAPE = (16, 12, 3)
X = np.random.default_rng(0).normal(size=(5, *SHAPE)).astype(np.float32)
SOURCE = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, 2, 1)
        self.norm = nn.BatchNorm2d(after)
    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stages = nn.Sequential(Block(4, 6), Block(6, 8))
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 3)
    def forward(self, x):
        return self.fc(self.drop(self.stages(self.stem(x)).mean((2, 3))))

class Trunk(Net):
    def forward(self, x):
        return self.stages(self.stem(x)).mean((2, 3))

class Last(Net):
    output_fmt = "NHWC"
    def forward(self, x):
        return self.stages(self.stem(x)).permute(0, 2, 3, 1)

class Inplace(Net):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 8)
        self.relu = nn.ReLU(inplace=True)
    def forward(self, x):
        stem = self.stem(x)
        hidden = self.hidden(self.stages(self.relu(stem)).mean((2, 3)))
        return self.fc(self.relu(hidden))

def inplace():
    return Inplace()

def net():
    return Net()

def trunk():
    return Trunk()

def channels_last():
    return Last()

def trained():
    torch.manual_seed(1)
    return Net()

class Scaled(Net):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

HANDED = Net()

def handed():
    return HANDED

def scaled():
    torch.manual_seed(1)
    return Scaled()

def backbone():
    random = torch.random.get_rng_state()
    net = trained()
    torch.random.set_rng_state(random)
    net.fc = nn.Linear(8, 3)
    return net

class Draws(Net):
    def forward(self, x):
        return self.fc(nn.functional.dropout(self.stages(self.stem(x)).mean((2, 3)), 0.5))

def draws():
    return Draws()

class Both(Net):
    def forward(self, x):
        features = self.stages(self.stem(x)).mean((2, 3))
        return self.fc(features), nn.functional.normalize(features)

def both():
    return Both()

class Scores(Net):
    def forward(self, x):
        return super().forward(x).log_softmax(1)

def scores():
    return Scores()

class Listed(Net):
    def forward(self, x):
        return [super().forward(x)]

def listed():
    return Listed()

def fails():
    raise RuntimeError("out of order")

def nothing():
    return 3
"""


@pytest.fixture
def module(tmp_path):
    (tmp_path / "nets.py").write_text(SOURCE)
    return f"{tmp_path}/nets.py"


def moved(module):
    """A module whose weights, and BatchNorm statistics, are none that anybody starts with."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.5 * torch.rand(tensor.shape, generator=generator) + 0.1)
    return module


def load(module, name="net", weights="", features=""):
    made_by = Uses("torch", f"{module}:{name}", str(weights))
    return loading.load(made_by, features, SHAPE)


@pytest.fixture
def weights(module, tmp_path):
    made = moved(Uses("torch", f"{module}:net").function()())
    torch.save({"state_dict": {f"module.{k}": v for k, v in made.state_dict().items()}}, tmp_path / "w.pt")
    return tmp_path / "w.pt", made.eval()


def by_hand(net, x=X):
    with torch.inference_mode():
        stem = net.stem(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))))
        first = net.stages[0](stem)
        return stem.numpy(), first.numpy(), net.stages[1](first).mean((2, 3)).numpy()


def test_features_are_what_goes_into_the_classifier(module, weights):
    path, net = weights
    held = load(module, weights=path)
    stem, first, features = by_hand(net)
    read = held.read(X, ("stem", "stages.0", "stages.0.flattened", "features"))
    np.testing.assert_allclose(read["features"], features, rtol=1e-6)
    np.testing.assert_allclose(read["stem"], stem.mean((2, 3)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(read["stages.0"], first.mean((2, 3)), rtol=1e-5, atol=1e-6)
    expected = first.transpose(0, 2, 3, 1).reshape(5, -1)
    np.testing.assert_allclose(read["stages.0.flattened"], expected, rtol=1e-5, atol=1e-6)
    assert held.default == ("stages.0", "stages.1", "features") and "the input of fc" in held.said
    assert held.taps.index("stem") < held.taps.index("stages.0") < held.taps.index("stages.1")


def test_without_a_classifier_features_are_the_output(module):
    held = load(module, "trunk")
    assert held.read(X, ("features",))["features"].shape == (5, 8) and "its output" in held.said


def test_another_layer_may_be_the_features(module, weights):
    held = load(module, weights=weights[0], features="stages.0")
    read = held.read(X, ("features", "stages.0"))
    np.testing.assert_array_equal(read["features"], read["stages.0"])
    with pytest.raises(UserError, match="features='fx'"):
        load(module, weights=weights[0], features="fx")


def test_maps_whose_channels_come_last_are_known(module):
    held = load(module, "channels_last")
    assert held.read(X, ("features",))["features"].shape == (5, 8)


def test_batches_do_not_matter_and_the_mode_is_evaluation(module, weights):
    held = load(module, weights=weights[0])
    whole, one = held.read(X, ("features",))["features"], held.read(X[2:3], ("features",))["features"]
    np.testing.assert_allclose(whole[2:3], one, rtol=1e-6)


def test_a_layer_is_what_it_made_whatever_is_done_to_it_afterwards(module):
    """An activation in place writes over what the layer before it gave."""
    read = load(module, "inplace").read(X, ("stem", "stem.flattened", "hidden", "features"))
    assert min(read["stem"].min(), read["stem.flattened"].min(), read["hidden"].min()) < 0
    np.testing.assert_array_equal(read["features"], np.maximum(read["hidden"], 0))


def test_safetensors(module, weights, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    safetensors.save_file(weights[1].state_dict(), tmp_path / "w.safetensors")
    held = load(module, weights=tmp_path / "w.safetensors")
    assert held.content == load(module, weights=weights[0]).content


def test_an_untrained_copy_is_as_the_module_is_built(module, weights):
    held = load(module, weights=weights[0])
    blank = held.blank(0)
    assert blank.content == held.blank(0).content != held.blank(1).content and blank.structure == held.structure
    redrawn = load(module, "trained").blank(0)  # it brings its own weights: every module draws its own again
    assert redrawn.content != load(module, "trained").content
    assert load(module, "scaled").blank(0) is None  # nobody knows how `scale` is drawn


def test_weights_that_a_function_brings_are_in_no_untrained_copy(module):
    """Also where only a part of them is there whatever the seed: a pretrained trunk under a new classifier."""
    held = load(module, "backbone")
    read = [net.read(X, ("stem",))["stem"] for net in (held, held.blank(0), load(module, "trained"))]
    np.testing.assert_array_equal(read[0], read[2])
    assert not np.allclose(read[0], read[1])


def test_a_network_that_a_function_only_hands_out_stays_as_it_is(module):
    """A notebook's function returns what was trained there: an untrained copy must not be drawn in its place."""
    handed = Uses("torch", f"{module}:handed").function()().half().train()
    before = {name: value.clone() for name, value in handed.state_dict().items()}
    held = load(module, "handed")
    read = held.read(X, ("features",))["features"]
    held.blank(0).measure([X])
    np.testing.assert_array_equal(held.read(X, ("features",))["features"], read)
    assert handed.training and all(torch.equal(value, before[name]) for name, value in handed.state_dict().items())


def test_a_network_that_draws_at_random_is_refused(module):
    with pytest.raises(UserError, match="draws at random"):
        load(module, "draws")


def test_features_that_a_network_names_are_taken(module):
    held = load(module, "both")
    norm = np.linalg.norm(held.read(X, ("features",))["features"], axis=1)
    np.testing.assert_allclose(norm, 1, rtol=1e-5)
    assert "beside its logits" in held.said


def test_scores_of_classes_are_suspected(module):
    assert "as wide as that of fc" in load(module, "scores").said


@pytest.mark.parametrize("name, expected", [("listed", "returns a tensor"), ("fails", "out of order")])
def test_what_cannot_be_read_is_one_line(module, name, expected):
    with pytest.raises(UserError, match=expected) as raised:
        load(module, name)
    assert "\n" not in str(raised.value)


def test_other_code_is_another_network(module, tmp_path):
    one = load(module, "trained")
    (tmp_path / "nets.py").write_text(SOURCE.replace(".mean((2, 3))", ".amax((2, 3))"))
    other = load(module, "trained")
    assert one.content == other.content and one.structure != other.structure


def test_batch_statistics_of_an_untrained_copy_are_measured(module, weights):
    blank = load(module, weights=weights[0]).blank(0)
    before = blank.read(X, ("features",))["features"]
    blank.measure([X[:3], X[3:]])
    after = blank.read(X, ("features",))["features"]
    assert not np.allclose(before, after)
    stage = blank.read(X, ("stages.0.norm.flattened",))["stages.0.norm.flattened"].reshape(5, -1, 6)
    np.testing.assert_allclose(stage.mean((0, 1)), 0, atol=0.3)


class Trap:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    "content, expected",
    [
        ("trap", "weights alone"),
        ("list", "a state dict, not list"),
        ("missing", "1 missing .such as fc.bias"),
        ("unknown", "1 unknown .such as extra"),
        ("shape", r"fc.weight of shape \[3, 9\], not \[3, 8\]"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(module, weights, tmp_path, content, expected, capsys):
    state = dict(weights[1].state_dict())
    if content == "missing":
        del state["fc.bias"]
    if content == "unknown":
        state["extra"] = torch.zeros(1)
    if content == "shape":
        state["fc.weight"] = torch.zeros(3, 9)
    path = tmp_path / "bad.pt"
    if content == "trap":
        path.write_bytes(pickle.dumps(Trap()))
    else:
        torch.save([1, 2] if content == "list" else state, path)
    with pytest.raises(UserError, match=expected) as raised:
        load(module, weights=path)
    assert "\n" not in str(raised.value) and "executed" not in capsys.readouterr().out


def test_what_is_no_module_is_one_line(module):
    with pytest.raises(UserError, match="returns a torch.nn.Module, not int"):
        load(module, "nothing")


def timm():
    try:
        return __import__("timm")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm is not installed, or not for this PyTorch ({error})")


def test_what_a_function_draws_itself_is_the_same_network_at_every_call(module, weights):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one = load(module)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    other = load(module)
    assert one.content == other.content and one.said.endswith(", as its function makes them")
    assert not load(module, weights=weights[0]).said.endswith("makes them")


def test_a_package_that_is_there_and_does_not_go_with_others_is_not_advised_to_be_installed():
    absent = missing("timm", ModuleNotFoundError("No module named 'timm'", name="timm"))
    for error in (RuntimeError("operator nms does not exist"), ModuleNotFoundError("No module named 'x'", name="x")):
        said = str(missing("timm", error))
        assert "pip install" in str(absent) and "pip install" not in said and str(error) in said


def test_timm_brings_its_preprocessing(tmp_path):
    made = moved(timm().create_model("resnet18", pretrained=False))
    torch.save(made.state_dict(), tmp_path / "r.pt")
    made_by = Uses("timm", "resnet18", str(tmp_path / "r.pt"))
    held = loading.load(made_by, "", (32, 32, 3))
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        expected = made.eval().forward_head(made.forward_features(x), pre_logits=True)
    read = held.read(x.numpy().transpose(0, 2, 3, 1), ("features",))["features"]
    np.testing.assert_allclose(read, expected, rtol=1e-5, atol=1e-5)
    assert held.default == ("layer1.1", "layer2.1", "layer3.1", "layer4.1", "features")
    said = configuration("resnet18")
    assert said["size"] == 224 and said["mean"] == pytest.approx((0.485, 0.456, 0.406))
    with pytest.raises(UserError, match="a pretrained file"):
        loading.load(Uses("timm", "resnet18"), "", (32, 32, 3))
    with pytest.raises(UserError, match="a model of timm"):
        loading.load(Uses("timm", "resnet1888", str(tmp_path / "r.pt")), "", (32, 32, 3))
