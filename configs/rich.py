"""Do richer representations bring back what the mixture lost, and at what price?

    python -m bottleneck.main --config=configs/rich.py

Three components share an easy feature (colour, reliability 0.9) and have a private one each (texture, shape,
background). Schedule-free runs, so that every kept step is a finished network. Against total training steps:

    cat2, cat5           features of 2 and 5 runs concatenated (2 and 5 times the budget)
    timecat2, timecat5   the same within the budget of one run: members stop at 1/2 and 1/5 of it
    short2, short5       one such short member alone: shorter training can help by itself
    twice                one member listed twice: can gain nothing
    reduced5             cat5 on as many principal components as one member has features
    averaged5            the same five members' predictions averaged

Each is judged beside the same representation of directly trained runs. About two minutes on 2 CPU cores. What to expect
from 10 seeds (bits of 2): Time-Cat 2 reads 0.11 more than one whole run of the same budget about the background and
0.07 more about the shape, but 0.05 less about the texture, whose probe rises only late in training. Arguments as
configs/mixture.py: `smoke`, `seeds=10`, `offset=0`.
"""

import ml_collections

from bottleneck.config import parse_arg


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, smoke=False, seeds=10, offset=0)
    config = ml_collections.ConfigDict()
    config.name = "rich"
    config.seeds = arg.seeds
    config.seed_offset = arg.offset
    config.data = dict(image_size=16, train=8000, probe=2000, val=1000, test=2000)

    def component(seed, private):
        return dict(source=dict(name="factors", values=4, reliability={"colour": 0.9, private: 1.0}, seed=seed))

    config.components = dict(
        texture=component(0, "texture"), shape=component(1, "shape"), background=component(2, "background")
    )
    config.mixture = dict(
        weights=dict(texture=1 / 3, shape=1 / 3, background=1 / 3), label_space="shared", schedule={}, competitor=None
    )
    config.model = dict(name="mlp", width=64, depth=3)
    config.optimizer = dict(name="schedule_free", lr=0.003, weight_decay=0.01, warmup=0.05, clip=None)
    config.train = dict(steps=1500, batch=128, sampling="iid", log_every=500, save_every=5000)
    config.arms = ("mixture", "direct")
    config.probe = dict(protocols=("head", "linear_probe"), layer="features")

    def members(step="last", **options):
        return dict(members=f"mixture/*@{step}:features", **options)

    config.representations = dict(
        short2=members("1/2"),
        short5=members("1/5"),
        twice=members(repeat=2),
        cat2=members(n=2),
        cat5=members(n=5),
        timecat2=members("1/2", n=2),
        timecat5=members("1/5", n=5),
        reduced5=members(n=5, reduce="pca"),
        averaged5=members(n=5, combine="average"),
    )
    if arg.smoke:
        config.seeds = 5
        config.train.steps = 100
        config.data = dict(image_size=16, train=1000, probe=400, val=200, test=400)
    return config
