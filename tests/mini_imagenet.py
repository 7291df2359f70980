"""ImageNet in small, for tests: a folder of photographs, in two guises, streamed through an MLP or a ResNet-8."""

import ml_collections

from bottleneck.config import parse_arg


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, data="", model="mlp", seeds=1, size=32, steps=60, probe=80, val=40)
    config = ml_collections.ConfigDict()
    config.name = "mini_imagenet"
    config.seeds = arg.seeds
    config.data = dict(image_size=arg.size, probe=arg.probe, val=arg.val)
    source = dict(name="folder", path=arg.data)
    config.components = dict(
        plain=dict(source=source), tinted=dict(source=source, transforms=dict(tint=dict(reliability=0.9)))
    )
    config.mixture = dict(weights=dict(plain=0.8, tinted=0.2))
    resnet = dict(name="resnet", depth=8, width=0.25)
    config.model = resnet if arg.model == "resnet" else dict(name="mlp", width=32, depth=2)
    config.optimizer = dict(name="schedule_free", lr=0.003)
    config.augment = dict(flip=True)
    config.train = dict(steps=arg.steps, batch=16, feed="stream", log_every=20, save_every=5)
    config.arms = ("mixture", "direct")
    config.probe = dict(protocols=("head", "linear_probe"), scalings=("standardised",))
    return config
