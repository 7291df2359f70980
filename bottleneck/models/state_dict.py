"""PyTorch's state dicts as variables of our networks: which architecture the keys and shapes are of, which array goes
where, and how it is laid out there. Nothing here needs PyTorch.

Known are

- ResNets as torchvision and timm name them (`conv1 bn1 layer1.0.conv1 ... layer1.0.downsample.0 ... fc`), of depth 18,
  34, 50 and 152: behind a 7x7 kernel the ImageNet stem, behind a 3x3 kernel a stem of stride 1 without pooling;
- CIFAR's ResNets of 6n + 2 layers by the same names (`linear` or `fc`), whose shortcuts have no parameters (option A of
  He et al. 2016: every second position, zero-padded channels half before and half after);
- ViTs as timm names them (`cls_token pos_embed patch_embed.proj blocks.0.norm1 blocks.0.attn.qkv ... norm head`).

What a state dict does not say is taken to be as in these libraries: the stride of a bottleneck block sits in its 3x3
convolution, convolutions are padded by (size - 1) // 2, epsilon is 1e-5 in BatchNorm and 1e-6 in LayerNorm, heads of
attention have 64 dimensions (32 in our "tiny"), images of a ViT are squares, and its class token is what is classified.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np

from bottleneck import models
from bottleneck.errors import UserError, nearest
from bottleneck.models import resnet, vit

CIFAR, IMAGENET = (20, 32, 44, 56), (18, 34, 50, 152)  # depths of three stages and of four
MODELS = (*(f"resnet{depth}" for depth in sorted((*IMAGENET, *CIFAR))), *(f"vit-{size}" for size in vit.SIZES))
CLASSIFIERS = {"resnet": ("fc", "linear"), "vit": ("head",)}
UNREAD = "num_batches_tracked"  # of BatchNorm: how often its statistics were updated
WRAPPERS = r"((module|_orig_mod)\.)*"  # before every key: DataParallel's and torch.compile's


@dataclass(frozen=True)
class Network:
    """What a state dict is of. `classes`: 0 without a classifier; `image_size`: pixels of a side of the square images
    that a position embedding is for, None where any will do."""

    spec: models.Spec
    classes: int
    image_size: int | None = None

    @property
    def title(self) -> str:
        """The architecture, by its name among MODELS, and what is not at its default."""
        own = {"resnet": "depth", "vit": "variant"}[self.spec.name]
        more = [said for said in models.describe(self.spec).split()[1:] if not said.startswith(f"{own}=")]
        name = f"resnet{self.spec.depth}" if own == "depth" else f"vit-{self.spec.variant}"
        return " ".join((name, *more))

    def module(self):
        """The Flax module, in float32."""
        return models.build(self.spec, self.classes)


@dataclass(frozen=True)
class Place:
    """Where one of our arrays comes from: `key`, of `shape` there, and `layout`, which makes ours of it."""

    key: str
    shape: tuple[int, ...]
    layout: Callable[[np.ndarray], np.ndarray]


def unwrapped(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same without a prefix that all keys have from a wrapper, and without what is never read."""
    state = {key: value for key, value in state.items() if not key.endswith(UNREAD)}
    prefix = re.match(WRAPPERS, next(iter(state), ""))[0]
    if all(key.startswith(prefix) for key in state):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def network(state: Mapping[str, np.ndarray], model: str = "", gelu: str = "erf") -> Network:
    """What `state` is of, by its keys and shapes; `model`, one of MODELS, where that is to be said, and `gelu` ("erf"
    or "tanh") of a ViT, which no key says. Raises UserError."""
    if model and model not in MODELS:
        raise UserError("--model", model, f"one of {', '.join(MODELS)}{nearest(model, MODELS)}")
    kind = model.partition("-")[0] if model.startswith("vit") else "resnet" if model else _kind(state)
    return _resnet(state, model) if kind == "resnet" else _vit(state, model, gelu)


def variables(state: Mapping[str, np.ndarray], network: Network) -> dict:
    """The variables of `network.module()`, float32 NumPy arrays.

    Raises UserError on the first key that is missing, has another shape than the architecture gives it, holds numbers
    that are not finite, or belongs to nothing in it; it names the key, what is there and what was expected.
    """
    module, size = network.module(), network.image_size or resnet.LARGE
    x = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    place = _resnet_places(state) if network.spec.name == "resnet" else _vit_place
    flat, used, said = {}, set(), network.title
    leaves = {tuple(key.key for key in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)}
    for names in sorted(leaves, key=lambda names: (names[0] != "params", names[1] == "head", names)):
        origin = place(names, leaves[names].shape)
        flat[names] = origin.layout(_checked(state, origin, said))
        used.add(origin.key)
    for key in state:
        if key not in used:
            raise UserError(key, _shape(state[key]), f"no such key in {said}{nearest(key, used)}")
    return _nested(flat)


def _checked(state: Mapping, origin: Place, said: str) -> np.ndarray:
    """The array at a place, float32. Raises UserError."""
    expected = f"an array {list(origin.shape)} in {said}"
    if origin.key not in state:
        raise UserError(origin.key, "missing", expected)
    if _shape(state[origin.key]) != list(origin.shape):
        raise UserError(origin.key, _shape(state[origin.key]), expected)
    array = np.asarray(state[origin.key])
    if array.dtype.kind not in "fiu":
        raise UserError(origin.key, array.dtype.name, f"numbers: {expected}")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(origin.key, "NaN or infinity", f"finite numbers: {expected}")
    return array


def _shape(value) -> list[int]:
    return [int(side) for side in np.shape(value)]


def _nested(flat: Mapping[tuple[str, ...], np.ndarray]) -> dict:
    tree: dict = {}
    for (*above, last), array in flat.items():
        node = tree
        for name in above:
            node = node.setdefault(name, {})
        node[last] = np.ascontiguousarray(array)
    return tree


# Which architecture


def _kind(state: Mapping) -> str:
    known = {"conv1.weight": "resnet", "patch_embed.proj.weight": "vit"}
    found = [kind for key, kind in known.items() if key in state]
    if len(found) != 1:
        first = ", ".join(sorted(map(str, state))[:3])
        expected = f"a ResNet, which has conv1.weight, or a ViT, which has patch_embed.proj.weight (it has {first} ...)"
        raise UserError("weights", f"{len(state)} arrays", expected)
    return found[0]


def _array(state: Mapping, key: str, what: str, ndim: int = 4) -> list[int]:
    """The shape of an array that tells the architecture. Raises UserError."""
    shape = _shape(state[key]) if key in state else "missing"
    if key not in state or len(shape) != ndim:
        raise UserError(key, shape, what)
    return shape


def _classes(state: Mapping, kind: str) -> int:
    """The size of the classifier's bias: its matrix may lie the wrong way round. Raises UserError."""
    found = [name for name in CLASSIFIERS[kind] if {f"{name}.weight", f"{name}.bias"} & set(state)]
    return _array(state, f"{found[0]}.bias", "an array [classes]", 1)[0] if found else 0


def _resnet(state: Mapping, model: str) -> Network:
    channels, inputs, height, width = _array(state, "conv1.weight", "a kernel [channels, 3, size, size]")
    if (inputs, height, width) not in ((3, 3, 3), (3, 7, 7)):
        shape, expected = [channels, inputs, height, width], "a kernel [channels, 3, 7, 7] or [channels, 3, 3, 3]"
        raise UserError("conv1.weight", shape, expected)
    depth = int(model.removeprefix("resnet")) if model else _depth(state)
    large = height == 7
    if large and depth in CIFAR:
        expected = f"a kernel [{channels}, 3, 3, 3], the stem of a ResNet of depth {depth}"
        raise UserError("conv1.weight", [channels, inputs, height, width], expected)
    base = 16 if depth in CIFAR else 64
    spec = resnet.ResNetSpec("resnet", depth, width=channels / base, stem="large" if large else "small")
    return Network(spec, _classes(state, "resnet"))


def _depth(state: Mapping) -> int:
    """The depth of a ResNet from its numbers of blocks. Raises UserError."""
    found: dict[int, set[int]] = {}
    for key in state:
        if match := re.match(r"layer(\d+)\.(\d+)\.", key):
            found.setdefault(int(match[1]), set()).add(int(match[2]))
    blocks = tuple(len(found[stage]) for stage in sorted(found))
    bottleneck = "layer1.0.conv3.weight" in state
    known = {(resnet.BLOCKS[d], d in (50, 152)): d for d in IMAGENET}
    known |= {(((depth - 2) // 6,) * 3, False): depth for depth in CIFAR}
    if (blocks, bottleneck) not in known:
        kind = "bottleneck" if bottleneck else "basic"
        expected = f"those of depths {', '.join(map(str, sorted(known.values())))} (--model says which it is to be)"
        raise UserError("layer1 ...", f"{list(blocks)} {kind} blocks", expected)
    return known[blocks, bottleneck]


def _vit(state: Mapping, model: str, gelu: str) -> Network:
    dims, inputs, patch, across = _array(state, "patch_embed.proj.weight", "a kernel [dimensions, 3, patch, patch]")
    sizes = {size: each for size, (each, _, _) in vit.SIZES.items()}
    variant = model.partition("-")[2] or next((size for size, each in sizes.items() if each == dims), "")
    if inputs != 3 or patch != across or sizes.get(variant) != dims:
        known = f"{sizes[variant]}" if variant else f"one of {', '.join(map(str, sizes.values()))}"
        expected = f"a kernel [dimensions, 3, patch, patch] with {known} dimensions"
        raise UserError("patch_embed.proj.weight", [dims, inputs, patch, across], expected)
    _, positions, _ = _array(state, "pos_embed", "an array [1, 1 + patches, dimensions]", 3)
    side = math.isqrt(max(positions - 1, 0))
    if side < 1 or side**2 != positions - 1:
        expected = "1 + a square number of positions: the class token's, and those of a square image's patches"
        raise UserError("pos_embed", _shape(state["pos_embed"]), expected)
    spec = vit.ViTSpec("vit", variant, patch, gelu=gelu)
    return Network(spec, _classes(state, "vit"), side * patch)


# Which array goes where


def _as_it_is(key: str, shape: tuple[int, ...]) -> Place:
    return Place(key, shape, lambda array: array)


def _matrix(key: str, shape: tuple[int, ...]) -> Place:
    """[out, in] there, [in, out] here."""
    return Place(key, shape[::-1], np.transpose)


def _kernel(key: str, shape: tuple[int, ...]) -> Place:
    """[out, in, height, width] there, [height, width, in, out] here."""
    height, width, inputs, channels = shape
    return Place(key, (channels, inputs, height, width), lambda array: array.transpose(2, 3, 1, 0))


_NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def _head(name: str, leaf: str, shape: tuple[int, ...]) -> Place:
    return _matrix(f"{name}.weight", shape) if leaf == "kernel" else _as_it_is(f"{name}.bias", shape)


def _resnet_places(state: Mapping) -> Callable[[tuple[str, ...], tuple[int, ...]], Place]:
    """The place of an array of ours, by its path and shape; `state` has one of several names for some."""
    classifier = next((name for name in CLASSIFIERS["resnet"] if f"{name}.bias" in state), "fc")
    shortcut = "shortcut" if any(".shortcut." in key for key in state) else "downsample"

    def place(path: tuple[str, ...], shape: tuple[int, ...]) -> Place:
        _, *modules, leaf = path
        if modules == ["head"]:
            return _head(classifier, leaf, shape)
        *block, module = modules
        where = "".join(re.sub(r"stage(\d+)_block(\d+)", _torch_block, name) for name in block)
        names = {"stem": "conv1", "stem_norm": "bn1", "shortcut": f"{shortcut}.0", "shortcut_norm": f"{shortcut}.1"}
        named = where + names.get(module, module.replace("norm", "bn"))
        return _kernel(f"{named}.weight", shape) if leaf == "kernel" else _as_it_is(f"{named}.{_NORM[leaf]}", shape)

    return place


def _torch_block(match: re.Match) -> str:
    return f"layer{match[1]}.{int(match[2]) - 1}."


_VIT = {"out": "attn.proj", "mlp1": "mlp.fc1", "mlp2": "mlp.fc2", "norm1": "norm1", "norm2": "norm2"}


def _vit_place(path: tuple[str, ...], shape: tuple[int, ...]) -> Place:
    """The place of an array of ours, by its path and shape."""
    _, *modules, leaf = path
    match modules:
        case []:
            return _as_it_is({"class_token": "cls_token", "position": "pos_embed"}[leaf], shape)
        case ["patches"]:
            return _patches(shape) if leaf == "kernel" else _as_it_is("patch_embed.proj.bias", shape)
        case ["norm"]:
            return _as_it_is(f"norm.{_NORM[leaf]}", shape)
        case ["head"]:
            return _head("head", leaf, shape)
    block = f"blocks.{int(modules[0].removeprefix('block')) - 1}"
    if modules[1] in ("query", "key", "value"):
        return _third(f"{block}.attn.qkv", ("query", "key", "value").index(modules[1]), leaf, shape)
    named = f"{block}.{_VIT[modules[1]]}"
    return _matrix(f"{named}.weight", shape) if leaf == "kernel" else _as_it_is(f"{named}.{_NORM[leaf]}", shape)


def _patches(shape: tuple[int, ...]) -> Place:
    """A convolution over patches there, a matrix [height width channels, dimensions] on patches laid out flat here."""
    numbers, dims = shape
    patch = math.isqrt(numbers // 3)
    there = (dims, 3, patch, patch)
    return Place("patch_embed.proj.weight", there, lambda array: array.transpose(2, 3, 1, 0).reshape(shape))


def _third(name: str, index: int, leaf: str, shape: tuple[int, ...]) -> Place:
    """Query, key and value, one below the other there."""
    dims = shape[-1]
    rows = slice(index * dims, (index + 1) * dims)
    if leaf == "kernel":
        return Place(f"{name}.weight", (3 * dims, shape[0]), lambda array: array[rows].T)
    return Place(f"{name}.bias", (3 * dims,), lambda array: array[rows])
