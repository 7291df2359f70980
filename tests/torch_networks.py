"""Modules of PyTorch built as torchvision, CIFAR's reimplementations and timm build them, to convert the weights of.

They load the arrays of `state_dicts` strictly, so that these have the names and shapes that such modules have.
"""

import collections

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tests.state_dicts import BLOCKS, DIMS


class Basic(nn.Module):
    expansion = 1

    def __init__(self, inputs, planes, stride, downsample):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        if isinstance(downsample, nn.Module):
            self.downsample = downsample
        self.shortcut_of = [downsample] if downsample else []

    def shortcut(self, x):
        return self.shortcut_of[0](x) if self.shortcut_of else x

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class Bottleneck(Basic):
    expansion = 4

    def __init__(self, inputs, planes, stride, downsample):
        super().__init__(inputs, planes, stride, downsample)
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, depth, width=1.0, classes=7):
        super().__init__()
        self.cifar = depth not in BLOCKS
        block = Bottleneck if depth in (50, 152) else Basic
        self.inputs = base = round((16 if self.cifar else 64) * width)
        self.conv1 = nn.Conv2d(3, base, *((3, 1, 1) if self.cifar else (7, 2, 3)), bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.maxpool = nn.Identity() if self.cifar else nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        blocks = ((depth - 2) // 6,) * 3 if self.cifar else BLOCKS[depth]
        for i, count in enumerate(blocks):
            setattr(self, f"layer{i + 1}", self.stage(block, base * 2**i, count, 1 if i == 0 else 2))
        self.stages = len(blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        if classes:
            setattr(self, "linear" if self.cifar else "fc", nn.Linear(self.inputs, classes))

    def stage(self, block, planes, count, stride):
        layers = []
        for i in range(count):
            step, out = stride if i == 0 else 1, planes * block.expansion
            shortcut = None
            if step != 1 or self.inputs != out:
                shortcut = self.option_a(planes) if self.cifar else self.option_b(out, step)
            layers.append(block(self.inputs, planes, step, shortcut))
            self.inputs = out
        return nn.Sequential(*layers)

    def option_a(self, planes):
        return lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0)

    def option_b(self, out, stride):
        return nn.Sequential(nn.Conv2d(self.inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def taps(self, x):
        found = collections.OrderedDict(stem=self.maxpool(F.relu(self.bn1(self.conv1(x)))))
        x = found["stem"]
        for i in range(1, self.stages + 1):
            x = found[f"stage{i}"] = getattr(self, f"layer{i}")(x)
        found["features"] = torch.flatten(self.avgpool(x), 1)
        head = getattr(self, "fc", None) or getattr(self, "linear", None)
        return head and head(found["features"]), found


class Attention(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.heads = 2 if dims == 64 else dims // 64
        self.qkv, self.proj = nn.Linear(dims, 3 * dims), nn.Linear(dims, dims)

    def forward(self, x):
        batch, tokens, dims = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dims // self.heads).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(*qkv.unbind(0))
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, dims))


class Mlp(nn.Module):
    def __init__(self, dims, gelu):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dims, 4 * dims), nn.GELU(approximate=gelu), nn.Linear(4 * dims, dims)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, dims, gelu):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dims, eps=1e-6), nn.LayerNorm(dims, eps=1e-6)
        self.attn, self.mlp = Attention(dims), Mlp(dims, gelu)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, size="Ti", patch=8, side=32, classes=7, gelu="none"):
        super().__init__()
        dims, depth = DIMS[size]
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dims, patch, patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dims))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (side // patch) ** 2, dims))
        self.blocks = nn.Sequential(*(Layer(dims, gelu) for _ in range(depth)))
        self.norm = nn.LayerNorm(dims, eps=1e-6)
        self.head = nn.Linear(dims, classes) if classes else nn.Identity()
        self.classes = classes

    def taps(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        found = collections.OrderedDict()
        for i, block in enumerate(self.blocks, 1):
            x = found[f"block{i}"] = block(x)
        found["features"] = self.norm(x)[:, 0]
        return self.head(found["features"]) if self.classes else None, found


def load(network, state):
    """The network with these arrays, in evaluation mode."""
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()}, strict=True)
    return network.eval()


def taps(network, x):
    """(logits or None, taps) of images [B, H, W, 3] as NumPy arrays, maps with channels last."""
    with torch.inference_mode():
        logits, found = network.taps(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))))
    last = {tap: h.permute(0, 2, 3, 1) if h.ndim == 4 else h for tap, h in found.items()}
    return None if logits is None else logits.numpy(), {tap: h.numpy() for tap, h in last.items()}
