"""What does a mixture of procedural images cost each of its components, and why?

    python -m bottleneck.main --config=configs/mixture.py
"""
import ml_collections

from bottleneck.config import parse_arg


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, smoke=False, model="mlp", seeds=5, width=1.0, offset=0)
    config = ml_collections.ConfigDict()
    config.name = "mixture"
    config.seeds = arg.seeds
    config.seed_offset = arg.offset
    config.data = dict(image_size=16, train=8000, probe=2000, val=1000, test=2000)

    seeds = iter(range(100))

    def component(**reliability):
        return dict(source=dict(name="factors", reliability=reliability, values=2, seed=next(seeds)))

    config.components = dict(
        easy=component(colour=1.0),
        shadowed=component(colour=0.9, texture=1.0),
        plus=component(background=1.0),
        minus=component(background=0.0),
        rare=component(shape=1.0))
    config.mixture = dict(weights=dict(easy=0.35, shadowed=0.35, plus=0.145, minus=0.145, rare=0.01), label_space="shared",
                          competitor="colour")
    config.model = dict(name="mlp", width=int(128 * arg.width), depth=3)
    config.optimizer = dict(name="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4, schedule="cosine", warmup=0.05)
    config.train = dict(steps=1500, batch=128)
    config.arms = ("mixture", "direct", "matched", "longer", "heads", "randomised")
    return config
