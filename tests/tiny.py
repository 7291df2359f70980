"""A study of seconds, for tests: two procedural components, a small MLP, two seeds; keys that tests vary are here."""

import ml_collections

from bottleneck.config import parse_arg


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, steps=20)
    config = ml_collections.ConfigDict()
    config.name = "tiny"
    config.seeds = 2
    config.seed_offset = 0
    config.data = dict(image_size=8, train=100, probe=48, val=31, test=37)
    config.components = {
        name: dict(source=dict(name="factors", reliability={factor: 1.0}, seed=seed), transforms={})
        for seed, (name, factor) in enumerate((("first", "colour"), ("second", "background")))
    }
    config.mixture = dict(weights=dict(first=0.7, second=0.3), label_space="shared", competitor=None)
    config.model = dict(name="mlp", width=8, depth=2)
    config.optimizer = dict(name="sgd", lr=0.05, schedule="constant", clip=None)
    config.objective = dict(name="cross_entropy", label_smoothing=0.0)
    config.augment = dict(flip=False, crop=0)
    config.train = dict(
        steps=arg.steps, batch=16, dtype="float32", sampling="iid", feed="resident", log_every=4, save_every=6
    )
    config.arms = ("mixture", "direct")
    config.probe = dict(protocols=("head", "linear_probe"), scalings=("raw", "standardised"))
    config.targets = {}
    config.analysis = dict(kinds=())
    config.keep = ()
    config.recipes = {}
    config.representations = {}
    return config
