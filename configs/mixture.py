"""What does a mixture cost each of its components, and why?

    python -m bottleneck.main --config=configs/mixture.py

Procedural 16-pixel images, two classes, five components whose labels follow different factors, in one label space.
What to expect, from 5 seeds (bits of 1; 4 minutes with all analyses on 2 CPU cores, 10 on old ones, smoke one):

    component                              direct  alone  mixture  exposure + interference   causes
    easy      colour                         1.00           1.00   retained
    shadowed  texture, and colour at 0.9     0.99   0.99    0.86   0.00 + 0.13   label conflict, competition
    plus      background                     1.00   1.00    0.26   0.00 + 0.74   label conflict
    minus     background, flipped            1.00   1.00    0.24   0.00 + 0.76   label conflict
    rare      shape, weight 0.01             0.96   0.64    0.12   0.32 + 0.52   equal weights restore 49 %, a head 42 %

Interventions are trained only for what is lost (`arms_for`).

Arguments, after a colon and separated by commas: `smoke` (everything small), `seeds=5`, `model=mlp|resnet20|vit_tiny`,
`width=1.0`, `data=PATH` (an .npz or a folder of images instead: plain, tinted, rotated and blurred copies of it),
`offset=0` (added to every run, split and generation seed), `longest` (trains eight times as long where training may
still be rising, about 1 1/2 minutes more), `wider` (adds the capacity arm), `null` (adds a component
whose label is independent of the image), `finetune` (adds fine-tuning, and what it saves over a random initialisation).
"""

import pathlib
import re

import ml_collections

from bottleneck.config import parse_arg
from bottleneck.errors import UserError


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(
        arg,
        smoke=False,
        seeds=5,
        model="mlp",
        width=1.0,
        data="",
        offset=0,
        longest=False,
        wider=False,
        null=False,
        finetune=False,
    )
    config = ml_collections.ConfigDict()
    config.name = "mixture"
    config.seeds = arg.seeds
    config.seed_offset = arg.offset
    config.data = dict(
        image_size=16,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        split_seed=0,
        train=8000,
        probe=2000,
        val=1000,
        test=2000,
    )
    config.components = real(arg.data) if arg.data else procedural(arg.null)
    config.mixture = dict(
        weights=dict(easy=0.35, shadowed=0.35, plus=0.145, minus=0.145, rare=0.01),
        label_space="shared",
        schedule={},
        competitor="colour",
    )
    if arg.null:
        config.mixture.weights.null = 0.1
    config.model = model(arg.model, arg.width)
    config.optimizer = dict(
        name="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4, schedule="cosine", warmup=0.05, clip=1.0
    )
    config.objective = dict(name="cross_entropy", label_smoothing=0.0, logit_penalty=0.0, dropout=0.0)
    config.augment = dict(flip=False, crop=0)
    config.train = dict(
        steps=1500, batch=128, sampling="iid", dtype="float32", feed="resident", log_every=500, save_every=5000
    )
    arms = ("mixture", "direct", "alone", "balanced", "scarce", "longer", "direct_half", "heads", "randomised")
    config.arms = arms + ("longest",) * arg.longest + ("wider",) * arg.wider
    config.arms_for = "lost"
    config.targets = {}
    config.probe = dict(
        protocols=("head", "linear_probe", "k_shot") + (("finetune", "probe_finetune") if arg.finetune else ()),
        arms=("mixture", "direct", "random"),
        layer="features",
        shots=(1, 4, 16, 64),
        draws=5,
        finetune=dict(steps=200, lr=0.01, shots=(4, 32, 256), halvings=6),
    )
    config.analysis = dict(
        kinds=("ladder", "steps", "seeds", "cka", "relatedness") + (("recovery",) if arg.finetune else ()),
        layers=(),
        halvings=7,
        comparisons=("layers", "steps", "seeds", "direct"),
        batch=64,
    )
    config.keep = ()
    config.representations = {}
    config.margin = 0.9
    if arg.data:
        config.data.update(image_size=32, train=None, test=2000)
        config.mixture = dict(
            weights=dict(plain=0.4, tinted=0.4, rotated=0.15, blurred=0.05),
            label_space="shared",
            schedule={},
            competitor="tint",
        )
    if arg.smoke:
        config.seeds = min(config.seeds, 2)
        config.train.steps = 150
        config.probe.update(shots=(1, 16), draws=2)
        config.analysis.halvings = 3
        config.data.update(train=2000, probe=500, val=250, test=500)
    return config


def procedural(null: bool) -> dict:
    def component(seed, **reliability):
        return dict(source=dict(name="factors", values=2, reliability=reliability, seed=seed))

    found = dict(
        easy=component(0, colour=1.0),
        shadowed=component(1, colour=0.9, texture=1.0),
        plus=component(2, background=1.0),
        minus=component(3, background=0.0),
        rare=component(4, shape=1.0),
    )
    return {**found, "null": component(5)} if null else found


def real(path: str) -> dict:
    """Components of somebody's own images: an .npz with x_train, y_train, x_test, y_test, or a folder
    split/class/*.png."""
    source = dict(name="arrays" if pathlib.Path(path).suffix == ".npz" else "folder", path=path)
    return dict(
        plain=dict(source=source),
        tinted=dict(source=source, transforms=dict(tint=dict(reliability=0.9))),
        rotated=dict(source=source, transforms=dict(rotate=dict(degrees=90))),
        blurred=dict(source=source, transforms=dict(blur=dict(radius=2.0))),
    )


def model(name: str, width: float) -> dict:
    if name == "mlp":
        return dict(name="mlp", width=round(128 * width), depth=3)
    if found := re.fullmatch(r"resnet(\d+)", name):
        return dict(name="resnet", depth=int(found[1]), width=width)
    if found := re.fullmatch(r"vit_(\w+)", name):
        return dict(name="vit", variant=found[1], patch=4, width=width)
    raise UserError("config argument model", name, "mlp, resnet<depth> or vit_<variant>, such as resnet20 or vit_tiny")
