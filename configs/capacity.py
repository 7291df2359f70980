"""Does a larger network lose less of a mixture, and does one network for all keep up with a specialist for each?

    python -m bottleneck.main --config=configs/capacity.py

Width, depth, architecture and number of training items, one at a time around a centre (`full`: width x depth x data for
two architectures); at every point the learning rate and weight decay of every arm are chosen anew, and where training
is still rising it goes on (`longer`, `longest`, `direct_half`). The answer: how the gap, exposure and interference
change per decade of parameters, over two decades. One mixture model is compared with J specialists at equal inference
cost for the same steps each (`direct`: J times the training) and at equal training cost, too (`specialists`: 1/J of the
steps each, with a schedule of their own).

What to expect, from 4 seeds (bits of 1; 620 CPU-seconds, some 10 minutes on 2 cores):

    width (parameters)   rare: direct  mixture   gap  longest run's   shadowed: direct  mixture   gap  longest run's
    8     (6,242)             0.86     0.24     0.63      0.57                  0.85     0.56     0.29      0.29
    32    (25,730)            0.95     0.32     0.63      0.71                  0.97     0.67     0.31      0.25
    128   (115,202)           0.98     0.46     0.52      0.41                  0.99     0.90     0.09      0.12
    512   (657,410)           0.99     0.57     0.42      0.23                  1.00     0.91     0.09      0.07

Per decade of parameters the gap of `shadowed` falls by 0.13 bits (0.07 to 0.19), that of `rare` by 0.11 (0.00 to 0.22:
not shown after Holm) or, with the mixture trained four times as long where it may have been rising, by 0.22 (0.07 to
0.37). At the least width, with the settings that the first seed chose, two of four mixtures hold next to nothing of
`rare`. On average over the three targets specialists at the mixture's total cost hold 0.20 bits more (0.07 to 0.32) at
the least network and 0.16 (0.15 to 0.18) at the largest; direct training, at three times the cost, 0.31 and 0.17.

Arguments: `smoke`, `full` (for accelerators: 32 pixels, an MLP and a ResNet over 2 1/2 decades, all combinations),
`seeds=4`, `offset=0`, `data=PATH` (an .npz or a folder of images instead: plain, tinted and rotated copies of it),
`train=4000` (the most training items of a component, or as many as the data have; `full`: 40000).
"""

import itertools
import pathlib

import ml_collections

from bottleneck.config import parse_arg
from bottleneck.data.source import DataSpec, load_source, source_spec

FORMS = dict(smoke=dict(seeds=2, train=500), full=dict(train=40000))


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, FORMS, smoke=False, full=False, seeds=4, offset=0, data="", train=4000)
    config = ml_collections.ConfigDict()
    config.name = "capacity"
    config.seeds = arg.seeds
    config.seed_offset = arg.offset
    config.data = dict(image_size=16, train=arg.train, probe=1500, val=750, test=1500)
    config.components = real(arg.data) if arg.data else procedural()
    names = ("plain", "tinted", "rotated") if arg.data else ("easy", "shadowed", "rare")
    weights = dict(zip(names, (0.45, 0.45, 0.1), strict=True))
    config.mixture = dict(weights=weights, label_space="shared", competitor=None)
    config.model = dict(name="mlp", width=32, depth=2)
    config.optimizer = dict(
        name="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4, schedule="cosine", warmup=0.05, clip=1.0
    )
    config.grid = dict(lr=(0.03, 0.1, 0.3), weight_decay=(1e-4, 3e-3))
    config.train = dict(steps=700, batch=128)
    config.arms = ("mixture", "direct", "alone", "longer", "longest", "direct_half")
    config.arms_for = "all"
    config.longer = dict(factors=(2, 4))
    config.recipes = dict(specialists=dict(like="direct", steps=1 / len(weights)))
    config.probe = dict(protocols=("linear_probe",))
    if arg.full:
        config.data.update(image_size=32, probe=5000, val=2500, test=5000)
        config.train = dict(steps=5000, batch=256, dtype="bfloat16")
        config.longer.factors = (2, 8)
    if arg.smoke:
        config.data.update(probe=300, val=150, test=300)
        config.train.steps = 30
        config.grid = dict(lr=(0.03, 0.1))
    if arg.data:
        config.data.update(there(config.components.plain.source.to_dict(), config.data))
    train = config.data.train
    points = product(train) if arg.full else one_by_one(train, (8, 32) if arg.smoke else (8, 32, 128, 512))
    sizes = ("width", "depth", "train", "parameters")
    config.sweep = dict(points=points, by=("parameters",), log=sizes, per="decade")
    return config


def point(architecture: str, width: float, depth: int, train: int) -> dict:
    """One network and number of training items a component."""
    linear = dict(activation="none") if architecture == "linear mlp" else {}
    name = "resnet" if architecture == "resnet" else "mlp"
    return dict(
        point=dict(architecture=architecture, width=width, depth=depth, train=train),
        model=dict(name=name, width=width, depth=depth, **linear),
        data=dict(train=train),
    )


def one_by_one(train: int, widths: tuple[int, ...]) -> tuple[dict, ...]:
    """Widths; then depth, data and architecture around one of them."""
    others = (("mlp", 32, 4, train), ("mlp", 32, 2, train // 4), ("linear mlp", 32, 2, train))
    return tuple(point(*at) for at in (*(("mlp", width, 2, train) for width in widths), *others))


def product(train: int) -> tuple[dict, ...]:
    """Width x depth x data for two architectures."""
    grids = {"mlp": ((8, 32, 128, 512, 2048), (2, 4)), "resnet": ((0.125, 0.25, 0.5, 1.0), (18, 34))}
    return tuple(
        point(architecture, width, depth, items)
        for architecture, (widths, depths) in grids.items()
        for width, depth, items in itertools.product(widths, depths, (train // 10, train))
    )


def procedural() -> dict:
    def component(seed, **reliability):
        return dict(source=dict(name="factors", values=2, reliability=reliability, seed=seed))

    return dict(
        easy=component(0, colour=1.0), shadowed=component(1, colour=0.9, texture=1.0), rare=component(2, shape=1.0)
    )


def there(source: dict, data: ml_collections.ConfigDict) -> dict:
    """The sizes of `data` that a source has: an axis says how many items train. Probe and val are held out of them, a
    fifth and a tenth at most."""
    read = load_source(source_spec(source), DataSpec(image_size=data.image_size)).splits
    items = len(read["train"])
    probe, val = min(data.probe, items // 5), min(data.val, items // 10)
    return dict(probe=probe, val=val, train=min(data.train, items - probe - val * ("val" not in read)))


def real(path: str) -> dict:
    """Copies of somebody's own images: an .npz with x_train, y_train, x_test, y_test, or a folder split/class/*.png."""
    source = dict(name="arrays" if pathlib.Path(path).suffix == ".npz" else "folder", path=path)
    return dict(
        plain=dict(source=source),
        tinted=dict(source=source, transforms=dict(tint=dict(reliability=0.9))),
        rotated=dict(source=source, transforms=dict(rotate=dict(degrees=90))),
    )
