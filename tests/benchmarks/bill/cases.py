"""What is timed: networks at a size of image."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    """A network on images of `size` pixels in batches of `batch`; `steps` are timed at a time."""

    model: dict
    size: int
    batch: int
    steps: int
    dtype: str = "float32"


def resnet(depth, size, batch, steps, **fields):
    return Case({"name": "resnet", "depth": depth}, size, batch, steps, **fields)


def vit(variant, patch, size, batch, steps, **fields):
    return Case({"name": "vit", "variant": variant, "patch": patch}, size, batch, steps, **fields)


CPU = {
    "MLP 3x128, 16 px": Case({"name": "mlp", "width": 128, "depth": 3}, 16, 128, 400),
    "MLP 3x512, 32 px": Case({"name": "mlp", "width": 512, "depth": 3}, 32, 128, 50),
    "ResNet-20, 32 px": resnet(20, 32, 128, 2),
    "ResNet-18, 32 px": resnet(18, 32, 64, 1),
    "ResNet-50, 224 px": resnet(50, 224, 8, 1),
    "ViT-Ti/4, 32 px": vit("Ti", 4, 32, 32, 1),
    "ViT-S/16, 224 px": vit("S", 16, 224, 8, 1),
}
ACCELERATOR = {
    "ResNet-20, 32 px": resnet(20, 32, 1024, 100, dtype="bfloat16"),
    "ResNet-18, 32 px": resnet(18, 32, 1024, 50, dtype="bfloat16"),
    "ResNet-50, 224 px": resnet(50, 224, 256, 20, dtype="bfloat16"),
    "ViT-B/16, 224 px": vit("B", 16, 224, 256, 20, dtype="bfloat16"),
}
QUICK = {
    "MLP 1x8, 8 px": Case({"name": "mlp", "width": 8, "depth": 1}, 8, 8, 4),
    "ViT-tiny/4, 8 px": vit("tiny", 4, 8, 8, 1, dtype="bfloat16"),
}
