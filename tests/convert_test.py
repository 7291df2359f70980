"""The command that converts PyTorch's weights: every tap is PyTorch's, and what is wrong is said in a line."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from bottleneck import checkpoint, cli, convert, converted, seal
from bottleneck.models import state_dict
from tests import state_dicts

CLOSE = 1e-5  # of the largest number of a tap, float32
NETWORKS = {
    "resnet18": (lambda: state_dicts.resnet(18), dict(depth=18), 96),
    "resnet50-quarter": (lambda: state_dicts.resnet(50, 0.25), dict(depth=50, width=0.25), 64),
    "resnet20": (lambda: state_dicts.resnet(20), dict(depth=20), 32),
    "resnet20-headless": (lambda: state_dicts.resnet(20, 0.25, classes=0), dict(depth=20, width=0.25, classes=0), 12),
    "vit-Ti": (lambda: state_dicts.vit("Ti", 8, 32), dict(size="Ti"), 32),
    "vit-tiny": (lambda: state_dicts.vit("tiny", 4, 16, 0), dict(size="tiny", patch=4, side=16, classes=0), 16),
    "vit-tiny-tanh": (lambda: state_dicts.vit("tiny", 4, 16), dict(size="tiny", patch=4, side=16, gelu="tanh"), 16),
}
SLOW = {
    "resnet34": (lambda: state_dicts.resnet(34), dict(depth=34), 64),
    "resnet50": (lambda: state_dicts.resnet(50), dict(depth=50), 96),
    "resnet152": (lambda: state_dicts.resnet(152, 0.5), dict(depth=152, width=0.5), 64),
    "resnet56": (lambda: state_dicts.resnet(56), dict(depth=56), 32),
    "vit-S": (lambda: state_dicts.vit("S", 16, 64), dict(size="S", patch=16, side=64), 64),
}
EVERY = [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def ours(state, x, gelu):
    """(logits, taps) of our network with the converted arrays."""
    state = state_dict.unwrapped(state)
    network = state_dict.network(state, gelu=gelu)
    with jax.default_matmul_precision("highest"):
        return jax.jit(network.module().apply)(state_dict.variables(state, network), x)


@pytest.mark.parametrize("name", EVERY)
def test_every_tap_is_that_of_a_module_of_pytorch(name, torch):
    from tests import torch_networks

    make, how, side = {**NETWORKS, **SLOW}[name]
    state, x = make(), np.random.default_rng(1).standard_normal((3, side, side, 3)).astype(np.float32)
    module = (torch_networks.ViT if "size" in how else torch_networks.ResNet)(**how)
    logits, theirs = torch_networks.taps(torch_networks.load(module, state), x)
    own, taps = ours(state, x, how.get("gelu", "erf"))
    assert set(taps) == set(theirs) and (own is None) == (logits is None)
    found = {tap: convert.relative(np.asarray(taps[tap]), value) for tap, value in theirs.items()}
    if logits is not None:
        found["logits"] = convert.relative(np.asarray(own), logits)
    print(name, {tap: f"{value:.1e}" for tap, value in found.items()})
    assert max(found.values()) < CLOSE


def tensors_of(torch, state):
    return {key: torch.from_numpy(np.array(value)) for key, value in state.items()}


@pytest.fixture
def weights(torch, tmp_path):
    """A narrow ResNet-20 as torch.save leaves it."""
    torch.save(tensors_of(torch, state_dicts.resnet(20, 0.25)), tmp_path / "small.pt")
    return tmp_path / "small.pt"


def run(*argv):
    return convert.main(["convert", *map(str, argv)])


def test_the_command_leaves_a_sealed_network_and_says_what_it_found(weights, tmp_path, capsys, same):
    assert run(weights, tmp_path / "out", "--model=resnet20") == cli.DONE
    said = capsys.readouterr().out
    sha256 = convert.sha256(weights)
    assert (
        f"small.pt: SHA-256 {sha256}" in said and "resnet20 width=0.25 stem=small: 17," in said and "7 classes" in said
    )
    assert "largest difference from PyTorch: stem " in said and ", logits " in said
    state = state_dict.unwrapped(state_dicts.resnet(20, 0.25))
    network = state_dict.network(state)
    held = checkpoint.load(tmp_path / "out" / "checkpoint")
    same(held, state_dict.variables(state, network))
    found = converted.read(tmp_path / "out")
    assert found.network == network and found.source == {"name": "small.pt", "sha256": sha256}
    assert found.weights == converted.digest(held) == seal.read(tmp_path / "out" / "checkpoint")["weights"]
    assert found.weights in said
    stated = json.loads((tmp_path / "out" / "network.json").read_text())
    assert stated["model"] == {"name": "resnet", "width": 0.25, "stem": "small"}
    assert run(weights, tmp_path / "out") == cli.DONE  # again, in its place
    assert converted.read(tmp_path / "out") == found


def test_a_training_checkpoint_of_half_precision(torch, tmp_path, capsys):
    tensors = tensors_of(torch, state_dicts.vit("tiny", 4, 16))
    half = {f"module.{key}": value.bfloat16() for key, value in tensors.items()}
    torch.save({"epoch": 3, "state_dict": half}, tmp_path / "half.pth")
    assert run(tmp_path / "half.pth", tmp_path / "out") == cli.DONE
    assert "vit-tiny gelu=erf: " in capsys.readouterr().out
    found = converted.read(tmp_path / "out").network
    assert (found.image_size, found.classes) == (16, 7)


def test_as_a_process(weights, tmp_path):
    command = [sys.executable, "-m", "bottleneck.convert"]
    done = subprocess.run([*command, weights, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resnet20" in done.stdout
    wrong = subprocess.run([*command, weights, tmp_path / "other", "--model=vit-Ti"], capture_output=True, text=True)
    assert wrong.returncode == 2 and len(wrong.stderr.splitlines()) == 1
    assert wrong.stderr.startswith("error: patch_embed.proj.weight='missing': expected a kernel")
    assert not (tmp_path / "other").exists()


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_what_is_no_file_of_weights_is_refused_in_one_line(torch, weights, tmp_path, capsys):
    (tmp_path / "torn.pt").write_bytes(b"nothing")
    torch.save({"fc.weight": Evil()}, tmp_path / "evil.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "epoch.pt")
    torch.save({"layer": torch.zeros(2)}, tmp_path / "other.pt")
    (tmp_path / "notes.txt").write_text("")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("")
    out = tmp_path / "out"
    mistakes = {
        (tmp_path / "torn.pt", out): "a file of weights alone, never of other objects (",
        (tmp_path / "evil.pt", out): "a file of weights alone, never of other objects (",
        (tmp_path / "list.pt", out): "a state dict, not list",
        (tmp_path / "epoch.pt", out): "epoch='int': expected a tensor",
        (tmp_path / "other.pt", out): f"weights='{tmp_path / 'other.pt'}': expected a ResNet, which has conv1.weight",
        (tmp_path / "notes.txt", out): "a file that ends in .safetensors, .pt, .pth",
        (tmp_path / "absent.pt", out): "expected a file",
        (weights, taken): "a new directory, or one of a converted network (it holds mine.txt)",
        (weights, weights): "a new directory, or one of a converted network (it is a file)",
        (weights, out, "--gelu=tanh"): "--gelu='tanh': expected no such flag of a ResNet",
        (weights, out, "--gelu=relu"): "--gelu='relu': expected erf or tanh",
        (weights,): "expected OUTPUT to be given",
        (): "expected WEIGHTS and OUTPUT to be given",
    }
    for argv, said in mistakes.items():
        assert run(*argv) == cli.MISTAKE
        captured = capsys.readouterr()
        assert said in captured.err and len(captured.err.splitlines()) == 1, captured.err
        assert "executed" not in captured.out + captured.err and not out.exists()


def test_a_network_that_computes_something_else_is_refused(weights, tmp_path, capsys, monkeypatch):
    right = state_dict.variables

    def wrong(state, network):
        made = right(state, network)
        made["params"]["stage2_block1"]["conv1"]["kernel"] *= 1.01
        return made

    monkeypatch.setattr(state_dict, "variables", wrong)
    assert run(weights, tmp_path / "out") == cli.MISTAKE
    captured = capsys.readouterr()
    assert captured.err.startswith("error: stage2=") and "(nothing was written)" in captured.err
    assert not (tmp_path / "out").exists()


def test_without_pytorch_nothing_is_compared(tmp_path, capsys, monkeypatch):
    state = state_dicts.resnet(20, 0.25)
    (tmp_path / "weights.safetensors").write_bytes(b"")
    monkeypatch.setattr(convert, "_safetensors", lambda path: state)
    monkeypatch.setattr(convert.importlib.util, "find_spec", lambda name: None)
    assert run(tmp_path / "weights.safetensors", tmp_path / "out") == cli.DONE
    assert "not compared with PyTorch, which is not installed" in capsys.readouterr().out
    assert converted.read(tmp_path / "out").network.classes == 7


def test_packages_that_are_missing_are_named(tmp_path, capsys, monkeypatch):
    for name, package in (("weights.pt", "torch"), ("weights.safetensors", "safetensors")):
        (tmp_path / name).write_bytes(b"")
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            patch.setitem(sys.modules, f"{package}.numpy", None)
            assert run(tmp_path / name, tmp_path / "out") == cli.MISTAKE
        assert f"(pip install {package})" in capsys.readouterr().err


def test_safetensors(tmp_path, capsys):
    numpy = pytest.importorskip("safetensors.numpy", reason="reads safetensors, which is not installed")
    numpy.save_file(state_dicts.resnet(20, 0.25), tmp_path / "weights.safetensors")
    assert run(tmp_path / "weights.safetensors", tmp_path / "out") == cli.DONE
    assert "resnet20" in capsys.readouterr().out
    import ml_dtypes

    half = {key: x.astype(ml_dtypes.bfloat16) for key, x in state_dicts.resnet(20, 0.25).items()}
    numpy.save_file(half, tmp_path / "half.safetensors")
    assert run(tmp_path / "half.safetensors", tmp_path / "half") == cli.DONE
    assert "resnet20" in capsys.readouterr().out
    (tmp_path / "torn.safetensors").write_bytes(b"nothing")
    assert run(tmp_path / "torn.safetensors", tmp_path / "torn") == cli.MISTAKE
    assert "a file of weights alone" in capsys.readouterr().err


def test_a_directory_that_was_changed_is_refused(tmp_path):
    state = state_dict.unwrapped(state_dicts.resnet(20, 0.25))
    network = state_dict.network(state)
    converted.write(tmp_path / "a", network, state_dict.variables(state, network), {"name": "a", "sha256": "0"})
    (tmp_path / "a" / "network.json").write_text("{}")
    with pytest.raises(converted.UserError, match="^init=.*python -m bottleneck.convert"):
        converted.read(tmp_path / "a")
    with pytest.raises(converted.UserError, match="^init=.*python -m bottleneck.convert"):
        converted.read(tmp_path / "nowhere")
