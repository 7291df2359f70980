"""JPEGs of photographic size, drawn by class: what a folder of ImageNet looks like, made in seconds."""

import pathlib

import numpy as np
from PIL import Image

SIZES = ((500, 375), (375, 500))  # (width, height)


def write(place: pathlib.Path, classes: int = 20, sizes=SIZES, seed: int = 0, **splits: int) -> pathlib.Path:
    """`place` with SPLIT/CLASS/*.jpg, so many a class of each split: train=12, test=4."""
    rng = np.random.default_rng(seed)
    for split, count in splits.items():
        for label in range(classes):
            folder = place / split / f"class{label:02d}"
            folder.mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(draw(label, classes, sizes[(i + label) % len(sizes)], rng))
                image.save(folder / f"{i:03d}.jpg", quality=85)
    return place


def draw(label: int, classes: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """uint8 [height, width, 3]: a grating and a disc whose direction, colour and size say the class; phase, place and
    noise are each image's own."""
    width, height = (-(-side // 2) for side in size)  # drawn at half of it
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(width, height)
    angle, hue = np.pi * label / classes, 2 * np.pi * label / classes
    wave = np.sin(40 * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 2 * np.pi))
    disc = (x - rng.uniform(0.3, 0.7)) ** 2 + (y - rng.uniform(0.3, 0.5)) ** 2 < (0.1 + 0.15 * (label % 4) / 3) ** 2
    colour = np.cos(hue + np.array([0, 2, 4], np.float32) * np.pi / 3)
    noise = rng.normal(0, 10, (height, width)).astype(np.float32)
    light = 128 + 40 * wave + noise
    drawn = np.clip(light[..., None] + 60 * disc[..., None] * colour + 20 * colour, 0, 255).astype(np.uint8)
    return drawn.repeat(2, 0).repeat(2, 1)[: size[1], : size[0]]
