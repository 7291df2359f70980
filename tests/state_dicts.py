"""State dicts as PyTorch names and lays them out, of random NumPy arrays: every scale and bias, and BatchNorm's
statistics, are away from 0 and 1."""

import numpy as np

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}
DIMS = {"tiny": (64, 4), "Ti": (192, 12), "S": (384, 12), "B": (768, 12)}


class Arrays(dict):
    """key -> array, with a line for each kind of layer."""

    def __init__(self, seed: int):
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def normal(self, key, *shape, scale=1.0, mean=0.0):
        self[key] = (mean + scale * self.rng.standard_normal(shape)).astype(np.float32)

    def conv(self, name, out, inputs, size, bias=False):
        self.normal(f"{name}.weight", out, inputs, size, size, scale=(2 / (inputs * size**2)) ** 0.5)
        if bias:
            self.normal(f"{name}.bias", out, scale=0.1)

    def linear(self, name, out, inputs):
        self.normal(f"{name}.weight", out, inputs, scale=inputs**-0.5)
        self.normal(f"{name}.bias", out, scale=0.1)

    def batch_norm(self, name, channels):
        self.layer_norm(name, channels)
        self.normal(f"{name}.running_mean", channels, scale=0.3)
        self[f"{name}.running_var"] = self.rng.uniform(0.5, 2.0, channels).astype(np.float32)
        self[f"{name}.num_batches_tracked"] = np.array(7)

    def layer_norm(self, name, channels):
        self[f"{name}.weight"] = self.rng.uniform(0.5, 1.5, channels).astype(np.float32)
        self.normal(f"{name}.bias", channels, scale=0.2)


def resnet(depth, width=1.0, classes=7, seed=0, head=None, shortcut="downsample"):
    """As torchvision's at the depths of BLOCKS, else CIFAR's; `classes` 0: without a classifier."""
    made, cifar, deep = Arrays(seed), depth not in BLOCKS, depth in (50, 152)
    blocks = ((depth - 2) // 6,) * 3 if cifar else BLOCKS[depth]
    inputs = base = round((16 if cifar else 64) * width)
    made.conv("conv1", base, 3, 3 if cifar else 7)
    made.batch_norm("bn1", base)
    for stage, count in enumerate(blocks, 1):
        inner, out = base * 2 ** (stage - 1), base * 2 ** (stage - 1) * (4 if deep else 1)
        for i in range(count):
            name = f"layer{stage}.{i}"
            sides = (
                ((inner, inputs, 1), (inner, inner, 3), (out, inner, 1)) if deep else ((out, inputs, 3), (out, out, 3))
            )
            for index, (to, of, size) in enumerate(sides, 1):
                made.conv(f"{name}.conv{index}", to, of, size)
                made.batch_norm(f"{name}.bn{index}", to)
            if not cifar and (inputs != out or stage > 1 and i == 0):
                made.conv(f"{name}.{shortcut}.0", out, inputs, 1)
                made.batch_norm(f"{name}.{shortcut}.1", out)
            inputs = out
    if classes:
        made.linear(head or ("linear" if cifar else "fc"), classes, inputs)
    return dict(made)


def vit(size="Ti", patch=8, side=32, classes=7, seed=0):
    """As timm's."""
    made, (dims, depth) = Arrays(seed), DIMS[size]
    made.normal("cls_token", 1, 1, dims)
    made.normal("pos_embed", 1, 1 + (side // patch) ** 2, dims)
    made.conv("patch_embed.proj", dims, 3, patch, bias=True)
    for i in range(depth):
        for norm in ("norm1", "norm2"):
            made.layer_norm(f"blocks.{i}.{norm}", dims)
        made.linear(f"blocks.{i}.attn.qkv", 3 * dims, dims)
        made.linear(f"blocks.{i}.attn.proj", dims, dims)
        made.linear(f"blocks.{i}.mlp.fc1", 4 * dims, dims)
        made.linear(f"blocks.{i}.mlp.fc2", dims, 4 * dims)
    made.layer_norm("norm", dims)
    if classes:
        made.linear("head", classes, dims)
    return dict(made)
