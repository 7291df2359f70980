"""The study whose first run is timed: two procedural components, one seed. Model, batch and images are overridden."""

import ml_collections

CLASSES = 8


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.name = "bill"
    config.seeds = 1
    config.data = dict(image_size=8, train=256, probe=8, val=8, test=8)
    config.components = {
        factor: dict(source=dict(name="factors", values=CLASSES, reliability={factor: 1.0}), transforms={})
        for factor in ("colour", "shape")
    }
    config.mixture = dict(weights=dict(colour=0.7, shape=0.3), label_space="shared", competitor=None)
    config.model = dict(name="mlp")
    config.optimizer = dict(name="sgd", lr=1e-3, momentum=0.9, weight_decay=5e-4)
    config.objective = dict(name="cross_entropy")
    config.augment = dict(flip=False, crop=0)
    config.train = dict(steps=10**6, batch=128, dtype="float32")
    config.arms = ("mixture",)
    config.probe = dict(protocols=("head",))
    config.analysis = dict(kinds=())
    return config
