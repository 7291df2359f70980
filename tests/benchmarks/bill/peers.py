"""The same networks in plain PyTorch, trained on one batch that is ready: nothing is drawn, gathered or normalised."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

BLOCKS = {18: (2, 2, 2, 2), 20: (3, 3, 3), 50: (3, 4, 6, 3)}
SIZES = {"tiny": (64, 4, 2), "Ti": (192, 12, 3), "S": (384, 12, 6), "B": (768, 12, 12)}


def build(model: dict, size: int, classes: int) -> nn.Module:
    """The network of a case of bill.cases."""
    if model["name"] == "mlp":
        widths = [3 * size * size, *[model["width"]] * model["depth"]]
        hidden = [each for a, b in zip(widths, widths[1:]) for each in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(widths[-1], classes))
    return ResNet(model["depth"], size, classes) if model["name"] == "resnet" else ViT(**model, size=size, out=classes)


def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3 and 1x1, around a shortcut."""

    def __init__(self, inputs, channels, stride, bottleneck, projection):
        super().__init__()
        shape = [(channels, 1, 1), (channels, 3, stride), (4 * channels, 1, 1)]
        shape = shape if bottleneck else [(channels, 3, stride), (channels, 3, 1)]
        self.outputs, self.stride, layers = shape[-1][0], stride, []
        before = inputs
        for width, size, step in shape:
            layers += [conv(before, width, size, step), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        self.body, self.shortcut = nn.Sequential(*layers[:-1]), None
        if projection and (stride > 1 or inputs != self.outputs):
            self.shortcut = nn.Sequential(conv(inputs, self.outputs, 1, stride), nn.BatchNorm2d(self.outputs))

    def forward(self, x):
        short = x
        if self.shortcut is not None:
            short = self.shortcut(x)
        elif x.shape[1] != self.outputs:
            more = (self.outputs - x.shape[1]) // 2
            short = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, more, more))
        return F.relu(self.body(x) + short, inplace=True)


class ResNet(nn.Module):
    def __init__(self, depth, size, classes):
        super().__init__()
        cifar, large = depth == 20, size > 64
        base = 16 if cifar else 64
        stem = [conv(3, base, 7 if large else 3, 2 if large else 1), nn.BatchNorm2d(base), nn.ReLU(inplace=True)]
        layers, width = stem + [nn.MaxPool2d(3, 2, 1)] * large, base
        for stage, count in enumerate(BLOCKS[depth]):
            for i in range(count):
                block = Block(width, base * 2**stage, 2 if stage and not i else 1, depth == 50, not cifar)
                layers.append(block)
                width = block.outputs
        self.trunk, self.head = nn.Sequential(*layers), nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.trunk(x).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, dims, heads):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(dims, 3 * dims), nn.Linear(dims, dims)

    def forward(self, x):
        batch, length, dims = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, dims))


class Layer(nn.Module):
    def __init__(self, dims, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dims, 1e-6), nn.LayerNorm(dims, 1e-6)
        self.attention = Attention(dims, heads)
        self.mlp = nn.Sequential(nn.Linear(dims, 4 * dims), nn.GELU(approximate="tanh"), nn.Linear(4 * dims, dims))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, name, variant, patch, size, out):
        super().__init__()
        dims, depth, heads = SIZES[variant]
        self.patches = nn.Conv2d(3, dims, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, dims))
        self.position = nn.Parameter(torch.randn(1, 1 + (size // patch) ** 2, dims) * 0.02)
        self.layers = nn.Sequential(*(Layer(dims, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(dims, 1e-6), nn.Linear(dims, out)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.head(self.norm(self.layers(x)[:, 0]))


class Training:
    """`case` trained in PyTorch: eager or compiled, images channels-last."""

    def __init__(self, case, classes: int, compiled: bool):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.devices, self.dtype = 1, getattr(torch, case.dtype)
        model = build(case.model, case.size, classes).to(self.device, memory_format=torch.channels_last)
        self.parameters = sum(p.numel() for p in model.parameters())
        self.model = torch.compile(model) if compiled else model
        x = torch.randn(case.batch, 3, case.size, case.size, device=self.device)
        self.x = x.contiguous(memory_format=torch.channels_last)
        self.y = torch.randint(classes, (case.batch,), device=self.device)
        self.optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
                loss = F.cross_entropy(self.model(self.x).float(), self.y)
            loss.backward()
            self.optimizer.step()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def device_mib(self) -> float | None:
        """The most that was in use of the accelerator so far."""
        return torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else None
