"""The command: networks that a file describes, folders and arrays; what is killed goes on; mistakes are one line."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import bottleneck
from bottleneck import analyze, audit, converted
from bottleneck.features import foreign, passes
from bottleneck.models import state_dict
from bottleneck.rows import read, select
from tests import state_dicts

ROOT = pathlib.Path(__file__).parents[2]
NETS = """
import time
import flax.linen as nn

class Net(nn.Module):
    width: int = 8
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Conv(self.width, (3, 3), (2, 2), name="stem")(x))
        x = nn.relu(nn.Conv(self.width, (3, 3), (2, 2), name="stage")(x))
        return None, x.reshape(len(x), -1)

def small():
    return Net()

def wide():
    return Net(24)

def slow():
    import jax
    def apply(variables, x):
        def wait(x):
            time.sleep(0.4)
            return x
        return jax.pure_callback(wait, jax.ShapeDtypeStruct(x.shape, x.dtype), x).mean((1, 2))
    return apply
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory of two .npz files, a folder of classes, a module of networks and their weights."""
    place = tmp_path_factory.mktemp("audit")
    rng = np.random.default_rng(0)
    for name, size in (("plain", 220), ("noisy", 200)):
        y = np.arange(size) % 2
        x = rng.integers(0, 90, (size, 12, 12, 3))
        x[:, :6] += (70 * y)[:, None, None, None]
        parts = dict(x_train=x[60:].astype(np.uint8), y_train=y[60:], x_test=x[:60].astype(np.uint8), y_test=y[:60])
        np.savez(place / f"{name}.npz", **parts)
    for i in range(120):
        folder = place / "photos" / ("light" if i % 2 else "dark")
        folder.mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 120, (14, 16, 3)) + 100 * (i % 2)
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{i}.png")
    (place / "nets.py").write_text(NETS)
    sys.path.insert(0, str(place))
    import nets

    for name, net in (("small", nets.Net()), ("wide", nets.Net(24))):
        variables = net.init(jax.random.key(1), jnp.zeros((1, 12, 12, 3)))
        if name == "wide":
            variables = net.init(jax.random.key(1), jnp.zeros((1, 12, 12, 3)))
        content = flax.serialization.msgpack_serialize(jax.device_get(dict(variables)))
        (place / f"{name}.msgpack").write_bytes(content)
    sys.path.remove(str(place))
    return place


def command(place, *more, data=("plain.npz", "noisy.npz"), networks=("small", "wide")):
    uses = [f"{name}=flax:{place}/nets.py:{name}:{place}/{name}.msgpack" for name in networks]
    return ["audit", "--networks", *uses, "--data", *(str(place / each) for each in data), *more]


def test_from_flags_to_a_report(place, tmp_path, capsys):
    assert audit.main(command(place, f"--workdir={tmp_path}/first", "--config.shots=2")) == 0
    said = capsys.readouterr().out
    assert "What each network serves" in said and "small: Net, " in said and "weights " in said
    rows = read(tmp_path / "first" / "results.jsonl")
    assert {r["arm"] for r in select(rows, metric="served")} == {"small", "wide"}
    assert {r["layer"] for r in select(rows, protocol="linear", arm="small", seed="all", metric="information")} == {
        "stem",
        "stage",
        "features",
    }
    assert select(rows, arm="small-untrained", metric="information", seed="all")
    manifest = json.loads(next((tmp_path / "first" / "features").glob("*/manifest.json")).read_text())
    assert manifest["source"][0] in ("network", "pixels")
    again = len(list((tmp_path / "first" / "rows").glob("*.jsonl")))
    assert audit.main(command(place, f"--workdir={tmp_path}/first", "--config.shots=2")) == 0
    assert len(list((tmp_path / "first" / "rows").glob("*.jsonl"))) == again


def test_a_dry_run_says_what_the_audit_then_leaves_and_nothing_of_training(place, tmp_path, capsys):
    config = audit.asked([f"c={tmp_path}/saved"], [str(place / "plain.npz")])
    (component,) = bottleneck.components(config).values()
    for split in foreign.SPLITS:
        ids = component.splits[split].ids
        foreign.save(tmp_path / "saved", "plain", split, np.random.default_rng(0).normal(size=(len(ids), 5)), ids)
    argv = command(place, f"--workdir={tmp_path}/work", "--config.shots=2", data=("plain.npz",), networks=("small",))
    argv.insert(2, f"c={tmp_path}/saved")
    assert audit.main([*argv, "--dry_run"]) == 0 and not (tmp_path / "work").exists()
    said = capsys.readouterr().out
    assert "steps" not in said and "train:" not in said and "kept MiB" not in said
    items = sum(len(component.splits[split]) for split in foreign.SPLITS)
    assert audit.main(argv) == 0
    left = sum(np.load(file).nbytes for file in (tmp_path / "work" / "features").glob("*/*.npy"))
    assert f"\n{2 * items:,} image-forwards for features ({left / 2**20:,.1f} MiB on disk)" in said
    assert left > 2**18


def test_folders_of_classes_are_split_by_name(place, tmp_path, capsys):
    more = (f"--workdir={tmp_path}/photos", "--image_size=12", "--config.kinds=()", "--config.shots=1")
    assert audit.main(command(place, *more, data=("photos",), networks=("small",))) == 0
    said = capsys.readouterr().out
    assert (
        "photos (folder)" in said
        and "2 classes (dark, light)" in said
        and "photos is read by small, the one network" in said
    )


def test_direct_training_may_be_the_reference(place, tmp_path):
    more = (
        "--reference=direct",
        "--config.kinds=()",
        "--config.shots=2",
        "--config.train.steps=30",
        "--config.train.batch=16",
    )
    more += ("--config.model={'name': 'mlp', 'width': 16, 'depth': 1}", f"--workdir={tmp_path}/direct")
    assert audit.main(command(place, *more, data=("plain.npz",), networks=("small",))) == 0
    rows = read(tmp_path / "direct" / "results.jsonl")
    (served,) = select(rows, metric="served")
    assert (
        served["reference"] == "direct"
        and "of direct training (mlp width=16 depth=1, 30 steps)" in served["extra"]["sentence"]
    )


def test_a_fine_tuned_copy_may_be_the_reference(place, tmp_path):
    """It begins at the converted weights: as long as nothing is learned it reads what they read, to the digit."""
    state = state_dict.unwrapped(state_dicts.vit("tiny", patch=4, side=12, classes=2))
    network = state_dict.network(state)
    weights, model = state_dict.variables(state, network), dataclasses.asdict(network.spec)
    copied = converted.write(tmp_path / "copy", network, weights, {"name": "weights.safetensors", "sha256": "0"})
    made = f"from bottleneck import models\ndef ours(): return models.build(models.spec({model}), 2)\n"
    (place / "ours.py").write_text(made)
    (place / "ours.msgpack").write_bytes(flax.serialization.msgpack_serialize(jax.device_get(weights)))
    argv = ["audit", "--networks", f"ours=flax:{place}/ours.py:ours:{place}/ours.msgpack", "--data"]
    argv += [str(place / "plain.npz"), "--reference=direct", "--config.kinds=()", "--config.shots=2"]
    argv += [f"--config.init={copied.directory}", f"--config.model={model}", "--config.optimizer.lr=0.0"]
    argv += ["--config.train.steps=4", f"--workdir={tmp_path}/tuned"]
    assert audit.main(argv) == 0
    (served,) = select(read(tmp_path / "tuned" / "results.jsonl"), metric="served")
    assert served["reference"] == "direct" and "of a fine-tuned copy" in served["extra"]["sentence"]
    (pair,) = select(read(tmp_path / "tuned" / "results.jsonl"), metric="gap", unit="bits")
    assert abs(pair["value"]) < 1e-5 < served["value"]


def test_features_saved_by_the_items_of_the_flags_are_audited(place, tmp_path, capsys):
    """What README says: the config of the flags, its items, features by their ids, the command."""
    flags = dict(networks=[f"c={tmp_path}/features"], data=[str(place / "plain.npz"), f"dark={place}/photos"])
    config = audit.asked(**flags, image_size=12)
    for name, component in bottleneck.components(config).items():
        for split in foreign.SPLITS:
            images = component.splits[split].fetch(np.arange(len(component.splits[split])))
            x = images.mean((2, 3)).astype(np.float32)
            foreign.save(tmp_path / "features", name, split, x, component.splits[split].ids)
    argv = ["audit", "--networks", *flags["networks"], "--data", *flags["data"], "--image_size=12"]
    assert audit.main([*argv, f"--workdir={tmp_path}/work", "--config.kinds=()", "--config.shots=1"]) == 0
    assert "plain is read by c" in capsys.readouterr().out.replace("\n", " ")


def test_what_flags_name_from_one_directory_is_found_from_another(place, tmp_path, monkeypatch, capsys):
    """Code, weights and features; and where weights are gone, that is said once, and what was found is reported."""
    here, work = tmp_path / "here", tmp_path / "work"
    shutil.copytree(place, here)
    monkeypatch.chdir(here)
    asked = audit.asked(["c=saved"], ["plain.npz"])
    for name, component in bottleneck.components(asked).items():
        for split in foreign.SPLITS:
            x = np.random.default_rng(0).normal(size=(len(component.splits[split]), 3))
            foreign.save("saved", name, split, x, component.splits[split].ids)
    networks = ["small=flax:nets.py:small:small.msgpack", "c=saved"]
    argv = ["audit", "--networks", *networks, "--data", "plain.npz", "--config.kinds=()", "--config.shots=1"]
    assert audit.main([*argv, f"--workdir={work}"]) == 0
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert analyze.main(["analyze", str(work)]) == 0
    first = capsys.readouterr()
    assert "cannot be read" not in first.err and "small" in first.out
    (here / "small.msgpack").unlink()
    assert analyze.main(["analyze", str(work)]) == 0
    again = capsys.readouterr()
    assert again.err.startswith("the data or networks cannot be read (networks.small.uses=")
    assert (
        again.err.count("\n") == 1
        and again.out[again.out.index("What each") :] == first.out[first.out.index("What each") :]
    )


def test_direct_training_has_images_however_it_is_asked_for(place):
    of_flag = audit.asked(["a=x"], [str(place / "plain.npz")], reference="direct").components.plain.sizes
    plain = audit.asked(["a=x"], [str(place / "plain.npz")]).components.plain.sizes
    assert of_flag.probe + of_flag.val <= 80 < plain.probe + plain.val


@pytest.mark.parametrize("how", ["--reference=direct", "--config.reference=direct"])
def test_both_ways_to_say_it_plan_the_same(place, tmp_path, monkeypatch, how):
    seen = []
    monkeypatch.setattr("bottleneck.execute.study", lambda config, *rest, **more: seen.append(config) or 0)
    assert audit.main(command(place, how, f"--workdir={tmp_path}/none", data=("plain.npz",))) == 0
    assert seen[0].reference == "direct" and seen[0].components.plain.sizes.probe <= 80


@pytest.mark.parametrize("sent", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_what_is_killed_goes_on(place, tmp_path, sent):
    """A slow network, killed between two of its batches: the next process reads the rest, and the rows are the same."""
    networks = f"slow=apply:{place}/waits.py:apply:{place}/none.msgpack"
    (place / "none.msgpack").write_bytes(flax.serialization.msgpack_serialize({"params": {}}))
    (place / "waits.py").write_text(
        "import jax, time, os\n"
        "def wait(x):\n    time.sleep(float(os.environ.get('WAIT', 0)))\n    return x\n"
        "def apply(variables, x):\n"
        "    x = jax.pure_callback(wait, jax.ShapeDtypeStruct(x.shape, x.dtype), x)\n"
        "    return x.reshape(len(x), -1)\n"
    )

    def run(workdir, wait, **more):
        argv = [sys.executable, "-m", "bottleneck.audit", "--networks", networks, "--data", str(place / "plain.npz")]
        argv += [f"--workdir={workdir}/same", "--config.kinds=()", "--config.shots=2", "--config.untrained=False"]
        environment = {**os.environ, "WAIT": str(wait)}
        return subprocess.Popen(argv, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    whole = run(tmp_path / "whole", 0)
    assert whole.wait(300) == 0, whole.stderr.read()
    cut = run(tmp_path / sent.name, 1.5 * passes.SECONDS)
    until = time.time() + 240
    while not list((tmp_path / sent.name).glob("same/features/*/.*.part")) and time.time() < until:
        assert cut.poll() is None, cut.stderr.read()
        time.sleep(0.05)
    cut.send_signal(sent)
    assert cut.wait(60) == (3 if sent == signal.SIGTERM else -sent)
    again = run(tmp_path / sent.name, 0)
    assert again.wait(300) == 0
    rows = [(tmp_path / each / "same" / "results.jsonl").read_text() for each in ("whole", sent.name)]
    assert rows[0] == rows[1]


def test_too_few_images_for_the_classes_are_told_how_many_are_enough(place, tmp_path, capsys):
    rng, y = np.random.default_rng(0), np.arange(400) % 8
    x = rng.integers(0, 255, (400, 12, 12, 3)).astype(np.uint8)
    np.savez(tmp_path / "many.npz", x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])
    argv = command(place, "--dry_run", data=(tmp_path / "many.npz",), networks=("small",))
    assert audit.main([*argv, "--images=20"]) == 2
    said = capsys.readouterr().err
    found = re.match("error: --images=20: expected at least ([0-9]+): with fewer, a split of 'many' lacks one of", said)
    assert audit.main([*argv, f"--images={int(found[1]) - 1}"]) == 2
    assert audit.main([*argv, f"--images={found[1]}"]) == 0


@pytest.mark.parametrize(
    "argv, expected",
    [
        (["audit"], "--networks and --data, or --config"),
        (["audit", "--networks", "a=timm:x:y"], "--networks and --data"),
        (["audit", "--networks", "timm:x:y", "--data", "{place}/plain.npz"], "NAME=USES"),
        (["audit", "--networks", "a={place}/nowhere", "--data", "{place}/plain.npz"], "(there is no such directory)"),
        (
            ["audit", "--networks", "a={place}/photos", "--data", "{place}/plain.npz"],
            "networks.a.uses='{place}/photos/p",
        ),
        (["audit", "--networks", "a=x", "--data", "{place}/photos", "{place}/photos/"], "'photos' is there twice"),
        (
            ["audit", "--networks", "a=x", "a=y", "--data", "{place}/plain.npz"],
            "--networks='a=y': expected another name",
        ),
        (
            ["audit", "--networks", "a=flax:{place}/nets.py:none", "--data", "{place}/plain.npz"],
            "a function of that module",
        ),
        (["audit", "--networks", "a=flax:{place}/nets.py:small", "--data", "{place}/none.npz"], "--data"),
        (
            ["audit", "--networks", "a=flax:{place}/nets.py:small:{place}/wide.msgpack", "--data", "{place}/plain.npz"],
            "networks.a",
        ),
        (["audit", "--networks", "best=flax:{place}/nets.py:small", "--data", "{place}/plain.npz"], "other than best"),
        (
            [
                "audit",
                "--networks",
                "a=flax:{place}/nets.py:small:{place}/small.msgpack",
                "--data",
                "{place}/plain.npz",
                "--reference=b",
            ],
            "one of best, direct, a",
        ),
        (
            [
                "audit",
                "--networks",
                "a=flax:{place}/nets.py:small:{place}/small.msgpack",
                "--data",
                "{place}/plain.npz",
                "--config.networks.a.layers=stemm",
            ],
            "networks.a.layers='stemm': expected a layer of the network (did you mean 'stem'",
        ),
        (["audit", "--networks", "a=torch:{place}/nets.py:none", "--data", "{place}/plain.npz"], "networks.a"),
    ],
)
def test_mistakes_are_one_line(argv, expected, place, tmp_path, capsys):
    argv = [each.format(place=place) for each in argv]
    assert audit.main([*argv, f"--workdir={tmp_path}/none"]) == 2
    said = capsys.readouterr().err
    assert expected.format(place=place) in said and said.count("\n") == 1 and said.startswith("error: ")
    assert not (tmp_path / "none").exists()
