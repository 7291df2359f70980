"""What PyTorch computes with a state dict: the activations that our networks call taps, straight from the arrays.

Written from the definitions that torchvision and timm give these networks, and without `state_dict`, whose conversion
it checks. PyTorch is imported when it runs.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Mapping

import numpy as np


def taps(state: Mapping[str, np.ndarray], x: np.ndarray, large: bool = False, heads: int = 0, gelu: str = "erf"):
    """(logits [B, K] or None, taps) of images `x` [B, H, W, 3], as our networks give them: float32, channels last.

    A ResNet, `large` where it has the ImageNet stem; with `heads` a ViT. On CPU, in evaluation mode.
    """
    import torch

    tensors = {key: torch.from_numpy(np.array(value, np.float32)) for key, value in state.items()}
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    with torch.inference_mode():
        found = vit(torch, tensors, images, heads, gelu) if heads else resnet(torch, tensors, images, large)
        name = next((name for name in ("fc", "linear", "head") if f"{name}.weight" in tensors), None)
        logits = name and torch.nn.functional.linear(found["features"], *pair(tensors, name)).numpy()
    return logits, collections.OrderedDict((tap, _channels_last(h).numpy()) for tap, h in found.items())


def pair(tensors: Mapping, name: str):
    """(weight, bias) of a layer."""
    return tensors[f"{name}.weight"], tensors.get(f"{name}.bias")


def _channels_last(h):
    return h.permute(0, 2, 3, 1) if h.ndim == 4 else h


def resnet(torch, tensors: Mapping, x, large: bool):
    """stem, stage1 ..., features of a ResNet."""
    F = torch.nn.functional

    def conv(h, name: str, stride: int = 1):
        kernel = tensors[f"{name}.weight"]
        return F.conv2d(h, kernel, stride=stride, padding=(kernel.shape[-1] - 1) // 2)

    def norm(h, name: str):
        statistics = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
        return F.batch_norm(h, *statistics, *pair(tensors, name), training=False, eps=1e-5)

    h = F.relu(norm(conv(x, "conv1", 2 if large else 1), "bn1"))
    found = collections.OrderedDict(stem=F.max_pool2d(h, 3, 2, 1) if large else h)
    h, stage = found["stem"], 1
    while f"layer{stage}.0.conv1.weight" in tensors:
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in tensors:
            stride = 2 if stage > 1 and block == 0 else 1
            h = residual(torch, tensors, h, f"layer{stage}.{block}", stride, conv, norm)
            block += 1
        found[f"stage{stage}"] = h
        stage += 1
    found["features"] = h.mean((2, 3))
    return found


def residual(torch, tensors: Mapping, x, name: str, stride: int, conv, norm):
    """A basic or bottleneck block; its stride is that of the first, or of the second convolution."""
    F = torch.nn.functional
    deep = f"{name}.conv3.weight" in tensors
    h = F.relu(norm(conv(x, f"{name}.conv1", 1 if deep else stride), f"{name}.bn1"))
    h = norm(conv(h, f"{name}.conv2", stride if deep else 1), f"{name}.bn2")
    h = norm(conv(F.relu(h), f"{name}.conv3"), f"{name}.bn3") if deep else h
    projection = next((s for s in ("downsample", "shortcut") if f"{name}.{s}.0.weight" in tensors), None)
    if projection:
        x = norm(conv(x, f"{name}.{projection}.0", stride), f"{name}.{projection}.1")
    elif x.shape != h.shape:  # option A of He et al. 2016
        more = h.shape[1] - x.shape[1]
        x = F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, more // 2, more - more // 2))
    return F.relu(h + x)


def vit(torch, tensors: Mapping, x, heads: int, gelu: str):
    """block1 ..., features of a ViT."""
    F = torch.nn.functional
    kernel, bias = pair(tensors, "patch_embed.proj")
    h = F.conv2d(x, kernel, bias, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
    h = torch.cat([tensors["cls_token"].expand(len(h), -1, -1), h], 1) + tensors["pos_embed"]

    def dense(h, name: str):
        return F.linear(h, *pair(tensors, name))

    norm, approximate = functools.partial(_layer_norm, torch, tensors), "tanh" if gelu == "tanh" else "none"
    found, index = collections.OrderedDict(), 0
    while f"blocks.{index}.norm1.weight" in tensors:
        name = f"blocks.{index}"
        qkv = dense(norm(h, f"{name}.norm1"), f"{name}.attn.qkv")
        q, k, v = qkv.reshape(*h.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
        attention = torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5, -1)
        h = h + dense((attention @ v).transpose(1, 2).reshape(h.shape), f"{name}.attn.proj")
        inner = F.gelu(dense(norm(h, f"{name}.norm2"), f"{name}.mlp.fc1"), approximate=approximate)
        h = h + dense(inner, f"{name}.mlp.fc2")
        index += 1
        found[f"block{index}"] = h
    found["features"] = norm(h, "norm")[:, 0]
    return found


def _layer_norm(torch, tensors: Mapping, h, name: str):
    return torch.nn.functional.layer_norm(h, h.shape[-1:], *pair(tensors, name), eps=1e-6)
