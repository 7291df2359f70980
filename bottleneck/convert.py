"""Weights of a PyTorch ResNet or ViT as variables of our networks, compared with PyTorch on the same images.

    python -m bottleneck.convert WEIGHTS OUTPUT [--model=NAME] [--gelu=erf|tanh]

WEIGHTS is a state dict: a .safetensors file, or a .pt or .pth file of weights alone (no pickle is ever executed), named
as torchvision and timm name these networks. OUTPUT becomes a directory with a sealed checkpoint and a description,
which a study may start from (config.init). Architecture, width, number of classes and image size are read off names and
shapes; --model says which architecture it has to be, --gelu which GELU a ViT has, as no array says that (timm's: erf).

Where PyTorch is installed, both networks see the same images: the largest difference of every tap is printed, relative
to the largest number in it, and above 1e-4 nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import pathlib
import sys
from collections.abc import Mapping

import numpy as np

from bottleneck import cli, signals
from bottleneck.errors import UserError, reason

LARGEST = 1e-4  # relative difference
IMAGES, SMALL, LARGE = 2, 32, 128  # how many are compared, and pixels of their sides where weights fit any
GELU = ("erf", "tanh")


def main(argv: list[str]) -> int:
    """Converts as `argv` says; returns the exit status (see --help)."""
    return cli.carry_out(run, argv)


def run(argv: list[str]) -> int:
    """As `main`; raises UserError."""
    parser = cli.Parser("python -m bottleneck.convert", __doc__, resumes=False)
    parser.add_argument("weights", metavar="WEIGHTS", help="a .safetensors, .pt or .pth file")
    parser.add_argument("output", metavar="OUTPUT", help="the directory to write")
    parser.add_argument("--model", metavar="NAME", default="", help="what it has to be, such as resnet50 or vit-S")
    parser.add_argument("--gelu", metavar="KIND", default="", help="of a ViT: erf (default), or tanh")
    args = parser.read(argv)
    if args is None:
        return cli.DONE
    if args.gelu and args.gelu not in GELU:
        raise UserError("--gelu", args.gelu, " or ".join(GELU))
    with cli.jax_as_found():
        convert(args)
    return cli.DONE


def convert(args: argparse.Namespace) -> None:
    """Reads, converts, compares and writes; says each in a line. Raises UserError."""
    with signals.noted():
        from bottleneck import converted, models
        from bottleneck.models import state_dict

    path = pathlib.Path(args.weights).expanduser()
    state = state_dict.unwrapped(read(path))
    try:
        network = state_dict.network(state, args.model, args.gelu or GELU[0])
    except UserError as error:
        if error.key != "weights":  # of one array, which the message names
            raise
        raise UserError("weights", str(path), error.expected) from None
    if args.gelu and network.spec.name != "vit":
        raise UserError("--gelu", args.gelu, "no such flag of a ResNet, which has none")
    variables = state_dict.variables(state, network)
    source = {"name": path.name, "sha256": sha256(path)}
    size = f", images of {network.image_size} pixels" if network.image_size else ""
    print(f"{path.name}: SHA-256 {source['sha256']}")
    print(f"{network.title}: {models.count(variables['params']):,} parameters{size}")
    print(f"{network.classes:,} classes" if network.classes else "no classifier")
    compare(state, network, variables)
    written = converted.write(pathlib.Path(args.output).expanduser(), network, variables, source)
    print(f"{written.directory}: weights {written.weights}, for config.init")


def sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict by key. Raises UserError."""
    if not path.is_file():
        raise UserError("weights", str(path), "a file")
    readers = {".safetensors": _safetensors, ".pt": _torch, ".pth": _torch}
    if path.suffix not in readers:
        raise UserError("weights", str(path), f"a file that ends in {', '.join(readers)}")
    try:
        return readers[path.suffix](path)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # each format has errors of its own
        expected = f"a file of weights alone, never of other objects ({reason(error)})"
        raise UserError("weights", str(path), expected) from None


def _safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file
    except ImportError:
        raise UserError("weights", str(path), "safetensors to be installed (pip install safetensors)") from None
    import ml_dtypes  # noqa: F401  (NumPy then knows bfloat16, of kind V)

    return {key: x.astype(np.float32) if x.dtype.kind == "V" else x for key, x in load_file(path).items()}


def _torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with signals.noted():
            import torch  # noqa: F401  (what the module below needs)

            from bottleneck.features.networks import torch as networks
    except ImportError:
        expected = "PyTorch to be installed (pip install torch), or a .safetensors file"
        raise UserError("weights", str(path), expected) from None
    return {key: _numpy(value) for key, value in networks.weights(path).items()}


def _numpy(tensor) -> np.ndarray:
    """A tensor of any float type, of which NumPy lacks some, as float32."""
    return (tensor.detach().float() if tensor.is_floating_point() else tensor.detach()).numpy()


def compare(state: Mapping[str, np.ndarray], network, variables: Mapping) -> None:
    """Prints the largest relative difference of every tap from PyTorch's, or that nothing was compared. Raises
    UserError where one is above LARGEST."""
    if importlib.util.find_spec("torch") is None:
        print("not compared with PyTorch, which is not installed")
        return
    found = differences(state, network, variables)
    print("largest difference from PyTorch: " + ", ".join(f"{tap} {value:.1e}" for tap, value in found.items()))
    for tap, value in found.items():
        if not value <= LARGEST:
            expected = f"at most {LARGEST:g} of the largest number of this tap in PyTorch (nothing was written)"
            raise UserError(tap, float(f"{value:.3g}"), expected)


def differences(state: Mapping[str, np.ndarray], network, variables: Mapping) -> dict[str, float]:
    """Tap, and logits where there is a classifier -> the largest difference between PyTorch with `state` and our
    network with `variables`, over the largest number of the tap, on the same random images."""
    import jax

    from bottleneck.models import torch_reference, vit

    spec = network.spec
    large = spec.name == "resnet" and spec.stem == "large"
    side = network.image_size or (LARGE if large else SMALL)
    x = np.random.default_rng(0).standard_normal((IMAGES, side, side, 3), np.float32)
    how = {"heads": vit.SIZES[spec.variant][2], "gelu": spec.gelu} if spec.name == "vit" else {"large": large}
    logits, theirs = torch_reference.taps(state, x, **how)
    with jax.default_matmul_precision("highest"):
        own, taps = jax.jit(network.module().apply)(variables, x)
    pairs = {tap: (np.asarray(taps[tap]), value) for tap, value in theirs.items()}
    pairs |= {} if logits is None else {"logits": (np.asarray(own), logits)}
    return {tap: relative(*each) for tap, each in pairs.items()}


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of two arrays over the largest number of the second; infinite where shapes differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(np.float32).tiny))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
