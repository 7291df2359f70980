"""How reliable must an easy shared feature be before a component's own feature is lost to it, and what helps?

    python -m bottleneck.main --config=configs/competition.py

A colour announces the label on every component, with a reliability from chance to 1; each component also has a feature
of its own that announces it always. What is asked for is that feature: the rows `colour randomised` are of items whose
colour says nothing, for the mixture, for direct training, and for the mixture trained with the colour of that component
randomised (`randomised`, where the feature is missing at all). Around a reliability of 0.9 weight decay, label
smoothing, the logit penalty (spectral decoupling) and dropout are varied, one at a time.

What to expect, from 5 seeds (bits of 1, on items whose colour says nothing; 10 minutes on 2 busy CPU cores):

    reliability    shape: direct  mixture  randomised  gap     texture: direct  mixture  randomised  gap
    0.5 (chance)            0.92     0.73              0.19               0.99     0.79              0.19
    0.7                     0.90     0.69        0.72  0.22               0.98     0.77        0.78  0.21
    0.85                    0.86     0.56        0.71  0.30               0.94     0.72        0.83  0.23
    0.9                     0.84     0.47        0.72  0.36               0.95     0.65        0.83  0.30
    0.95                    0.76     0.35        0.74  0.42               0.82     0.36        0.84  0.46
    1                       0.19     0.19             -0.01               0.00     0.00              0.00

So the feature goes gradually, and where the colour is always right direct training loses it too; nearly all of the gap
is interference. At 0.9 a weight decay of 5e-3 lowers the gap (to 0.25 and 0.15), label smoothing of 0.3, a logit
penalty of 0.1 and dropout of 0.5 raise it (to 0.50 and 0.57, 0.48 and 0.55, 0.49 and 0.39). Read on the items as they
are, colour included, the gap only falls with the reliability: the colour itself is information about the label.

Arguments: `smoke`, `full` (for accelerators: 32 pixels, a ResNet-18, more and farther points), `seeds=5`, `offset=0`,
`data=PATH` (an .npz or a folder of images instead: upright and rotated ones, a tint in place of the colour; chance is
that among the classes there).
"""

import pathlib

import ml_collections

from bottleneck.config import parse_arg
from bottleneck.data.source import DataSpec, load_source, source_spec

FORMS = dict(smoke=dict(seeds=2))
CENTRE = dict(reliability=0.9, weight_decay=5e-4, label_smoothing=0.0, logit_penalty=0.0, dropout=0.0)


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, FORMS, smoke=False, full=False, seeds=5, offset=0, data="")
    config = ml_collections.ConfigDict()
    config.name = "competition"
    config.seeds = arg.seeds
    config.seed_offset = arg.offset
    config.data = dict(image_size=16, train=4000, probe=1500, val=750, test=1500)
    config.components = components(CENTRE["reliability"], arg.data)
    weights = dict.fromkeys(config.components, 0.5)
    config.mixture = dict(weights=weights, label_space="shared", competitor="tint" if arg.data else "colour")
    config.model = dict(name="mlp", width=64, depth=2)
    config.optimizer = dict(
        name="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4, schedule="cosine", warmup=0.05, clip=1.0
    )
    config.objective = dict(name="cross_entropy", label_smoothing=0.0, logit_penalty=0.0, dropout=0.0)
    config.train = dict(steps=800, batch=128)
    config.arms = ("mixture", "direct", "alone", "randomised")
    config.arms_for = "all"
    config.probe = dict(protocols=("linear_probe",))
    chance = 1 / (classes(arg.data) if arg.data else 2)
    reliabilities, others = axes(chance, arg.full)
    if arg.full:
        config.data = dict(image_size=32, train=40000, probe=5000, val=2500, test=5000)
        config.model = dict(name="resnet", depth=18, width=1.0)
        config.train = dict(steps=5000, batch=256, dtype="bfloat16")
    if arg.data:
        config.data.update(train=None, test=2000)
    if arg.smoke:
        config.data.update(train=None if arg.data else 500, probe=300, val=150, test=300)
        config.train.steps = 30
        reliabilities, others = (chance, 0.9), {key: values[-1:] for key, values in others.items()}
    changes = [{"reliability": r} for r in reliabilities]
    changes += [{key: value} for key, values in others.items() for value in values]
    points = tuple(point({**CENTRE, **change}, arg.data) for change in changes)
    config.sweep = dict(points=points, log=("weight_decay",), per="decade")
    return config


def axes(chance: float, full: bool) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    """Reliabilities from chance to 1 with the centre's among them; for every other axis what it has beside that."""
    shares = (0.2, 0.4, 0.6, 0.7, 0.9, 0.95, 0.98, 1.0) if full else (0.4, 0.7, 0.9, 1.0)
    between = {round(chance + share * (1 - chance), 4) for share in shares}
    others = dict(weight_decay=(5e-5, 5e-3), label_smoothing=(0.1, 0.3), logit_penalty=(0.01, 0.1), dropout=(0.5, 0.9))
    if full:
        others = {key: (values[0] / 2, *values) for key, values in others.items()}
    return (chance, *sorted(between | {CENTRE["reliability"]})), others


def point(at: dict, path: str) -> dict:
    """One reliability and regularisation."""
    objective = {key: at[key] for key in ("label_smoothing", "logit_penalty", "dropout")}
    return dict(
        point=at,
        components=components(at["reliability"], path),
        optimizer=dict(weight_decay=at["weight_decay"]),
        objective=objective,
    )


def components(reliability: float, path: str) -> dict:
    if path:
        return real(reliability, path)

    def component(seed, own):
        source = dict(name="factors", values=2, reliability={"colour": reliability, own: 1.0}, seed=seed)
        return dict(source=source)

    return dict(texture=component(0, "texture"), shape=component(1, "shape"))


def classes(path: str) -> int:
    """How many there are of somebody's own images."""
    source = real(CENTRE["reliability"], path)["upright"]["source"]
    return len(load_source(source_spec(source), DataSpec()).classes)


def real(reliability: float, path: str) -> dict:
    """Somebody's own images under a tint: an .npz with x_train, y_train, x_test, y_test, or a folder
    split/class/*.png."""
    source = dict(name="arrays" if pathlib.Path(path).suffix == ".npz" else "folder", path=path)
    tint = dict(tint=dict(reliability=reliability))
    return dict(
        upright=dict(source=source, transforms=tint),
        rotated=dict(source=source, transforms=dict(rotate=dict(degrees=90), **tint)),
    )
