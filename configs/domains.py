"""Leave one domain out: what does a mixture of the others know of it, in its features and in its classifier?

    python -m bottleneck.main --config=configs/domains.py:data=DIR
    python -m bottleneck.main --config=configs/domains.py             # procedural domains

A mixture of all domains, and one without each of them, in one label space. The row `head` of a domain at the point
that leaves it out is the accuracy that leave-one-domain-out benchmarks report; beside it stands a linear probe on the
same features, fitted on that domain, and a network that was trained on it directly. Where the probe is as good as
direct training and the head is not, the features are there and the classifier is what does not carry over; where
neither is, the others' mixture has not learned them. Every direct run is trained once for all points.

DIR holds a folder for each domain, with train/CLASS/ and test/CLASS/, or with a metadata.csv that says path, split and
label of every image (PACS, VLCS, OfficeHome and the like ship class folders without a split). Classes are the same in
all domains.

Published for networks that start from ImageNet weights, accuracy on the domain left out, mean over domains (Zhang &
Bottou 2024, read off a plot; fine-tuned, and with very large dropout): PACS 86.5 and 88.4, VLCS 78.7 and 80.0,
OfficeHome 70.8 and 73.4, TerraIncognita 51.3 and 53.6. These start from random numbers, so that no head will come near;
ours are unmeasured at this size.

The procedural domains tell the label by shape; `coloured`, `textured` and `placed` add their own factor at 0.9.

Arguments: `smoke` (2 seeds, few steps; 48 s of one core, 2026-11-29), `seeds=5`, `data=DIR`, `model=resnet18` (any of
configs/mixture.py; with data), `offset=0`.
"""

import pathlib

import ml_collections

from bottleneck import config as configs
from bottleneck.config import parse_arg
from bottleneck.errors import UserError

LEAST = 3  # domains: what is left is a mixture


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, dict(smoke=dict(seeds=2)), smoke=False, seeds=5, data="", model="resnet18", offset=0)
    given = f"seeds={arg.seeds},offset={arg.offset}" + f",model={arg.model}" * bool(arg.data)
    config = configs.get(pathlib.Path(__file__).with_name("mixture.py"), given)
    config.name = "domains"
    config.components = folders(pathlib.Path(arg.data).expanduser()) if arg.data else procedural()
    config.mixture = dict(weights=dict.fromkeys(config.components, 1.0), label_space="shared")
    config.arms = ("mixture", "direct")
    config.probe.protocols = ("head", "linear_probe")
    config.analysis.kinds = ()
    if arg.data:
        config.data.update(image_size=224, train=None, probe=300, val=100, test=None, fingerprint="names")
        config.augment.flip = True
        config.train.update(steps=5000, batch=128, dtype="bfloat16", feed="stream")
    if arg.smoke:
        config.data.update(image_size=32 if arg.data else 8)
        config.train.steps = 60
    points = [dict(point=dict(left_out="none"), mixture=dict(weights=config.mixture.weights.to_dict()))]
    for name in config.components:
        weights = {**config.mixture.weights, name: 0.0}
        points.append(dict(point=dict(left_out=name), mixture=dict(weights=weights)))
    config.sweep = dict(points=tuple(points))
    return config


def folders(place: pathlib.Path) -> dict:
    """A domain for each folder in `place`."""
    found = sorted(path for path in place.glob("[!.]*") if path.is_dir())
    if len(found) < LEAST:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError("config argument data", str(place), f"a folder of at least {LEAST} domains (it has {names})")
    return {path.name: dict(source=dict(name="folder", path=str(path))) for path in found}


def procedural() -> dict:
    def domain(seed, **factor):
        return dict(source=dict(name="factors", values=2, reliability=dict(shape=1.0, **factor), seed=seed))

    return dict(
        plain=domain(0),
        coloured=domain(1, colour=0.9),
        textured=domain(2, texture=0.9),
        placed=domain(3, background=0.9),
    )
