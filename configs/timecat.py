"""Within the budget of one long run, do several short ones side by side transfer better, and if so, why?

    python -m bottleneck.main --config=configs/timecat.py:data=DIR

The Time-Cat table (Yang, Zhang & Bottou 2025) in miniature. Networks are pretrained on one set and probed on others:
DIR holds .npz files (x_train, y_train, x_test, y_test; uint8), `on` names the one that is pretrained on. Schedule-free
AdamW with label smoothing 0.2, so that every kept step is a finished network. Steps as 450 : 200 : 100 : 80,

    mixture   one run of 450                       cat2, cat4, cat5   2 runs stopped at 200, 4 at 100, 5 at 80

each beside what could explain its gain: one such short member alone, the same member several times, the concatenation
reduced to the dimension of one member in three ways, the members' predictions averaged; `snapshots` are five steps of
one run, `whole5` five whole runs (five times the budget). The released probe protocol stands beside ours, read as
released (the best epoch and decay on test, marked so) and on validation. Member sets are disjoint: 15 seeds make 3 sets
of 5 and of 4 and 7 of 2.

Accuracy to expect from 15 seeds (data=DIR with Fashion-MNIST and MNIST beside CIFAR-10; 36 minutes on 2 cores, of which
13 train 27,000 steps of a ResNet-8 and the rest solves 1,272 probes; smoke takes about two minutes):

    features          steps   CIFAR-10   Fashion   MNIST
    one run           1,800       61.7      78.9    87.3
    cat2 / cat5       1,600  58.3/53.6 81.3/82.3 92.0/94.7
    snapshots         1,800       61.3      82.4    94.0
    whole5            9,000       66.0      83.9    95.6

Arguments: `smoke` (5 seeds), `seeds=15`, `data=DIR`, `on=cifar10` (without data: procedural images, pretrained on
colour and texture), `offset=0`, `full` (ResNet-18 at 32 pixels, 90,000 steps: for accelerators), and `controls`: one
more run a seed, without label smoothing. `unsmoothed5`, five of these stopped at 80, is set against one whole one,
`unsmoothed`, and cat5 against `unsmoothed5`: do short runs side by side gain without the smoothing, too?
"""

import pathlib

import ml_collections

from bottleneck.config import parse_arg
from bottleneck.errors import UserError

FORMS = dict(smoke=dict(seeds=5))
SHARES = {2: "200/450", 4: "100/450", 5: "80/450"}  # members -> where each of them stops


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, FORMS, smoke=False, full=False, seeds=15, data="", on="cifar10", offset=0, controls=False)
    config = ml_collections.ConfigDict()
    config.name = "timecat"
    config.seeds = arg.seeds
    config.seed_offset = arg.offset
    config.data = dict(
        image_size=16, mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26), train=20_000, probe=4000, val=1000, test=4000
    )
    config.components, config.targets = files(arg.data, arg.on) if arg.data else procedural()
    (name,) = config.components
    config.mixture = dict(weights={name: 1.0})
    config.model = dict(name="resnet", depth=8)
    config.optimizer = dict(name="schedule_free", lr=0.003, b1=0.9, b2=0.9955, weight_decay=0.08, warmup=0.015)
    config.objective = dict(label_smoothing=0.2)
    config.augment = dict(flip=True, crop=2)
    config.train = dict(steps=1800, batch=64)
    config.arms = ("mixture",)
    config.probe = dict(protocols=("linear_probe", "released_probe"), arms=("mixture", "cat2", "cat4", "cat5"))

    def members(step, **options):
        return dict(members=f"mixture/*@{step}:features", **options)

    config.representations = dict(
        **{f"cat{n}": members(share, n=n) for n, share in SHARES.items()},
        whole5=members("last", n=5),
        snapshots=dict(members=tuple(f"mixture/*@{i}/5:features" for i in range(1, 6))),
    )
    if arg.controls:
        config.recipes = dict(unsmoothed=dict(objective=dict(label_smoothing=0.0)))
        config.representations.cat5.against = ("unsmoothed5",)
        config.representations.unsmoothed = dict(members="unsmoothed/*@last:features")
        config.representations.unsmoothed5 = dict(
            members=f"unsmoothed/*@{SHARES[5]}:features", n=5, against=("unsmoothed",)
        )
    if arg.full:
        config.model.depth = 18
        config.data.update(image_size=32, probe=10_000, val=5000)
        if arg.data:
            config.data.update(train=None, test=None)
        config.augment.crop = 4
        config.train.update(steps=90_000, batch=256, dtype="bfloat16")
    if arg.smoke:
        config.data.update(image_size=8, train=1000, probe=400, val=200, test=400)
        config.model = dict(name="mlp", width=32, depth=2)
        config.augment = dict(flip=True, crop=0)
        config.train.steps = 90
    return config


def files(folder: str, on: str) -> tuple[dict, dict]:
    """The set that is pretrained on, and the others."""
    found = {path.stem: dict(source=dict(name="arrays", path=str(path))) for path in pathlib.Path(folder).glob("*.npz")}
    if on not in found or len(found) < 2:
        expected = f"a directory with {on}.npz and others (it has {', '.join(sorted(found)) or 'none'})"
        raise UserError("config argument data", folder, expected)
    return {on: found.pop(on)}, dict(sorted(found.items()))


def procedural() -> tuple[dict, dict]:
    def component(seed, **reliability):
        return dict(source=dict(name="factors", values=4, reliability=reliability, seed=seed))

    return dict(trained=component(0, colour=0.9, texture=1.0)), dict(
        shape=component(1, shape=1.0), background=component(2, background=1.0), texture=component(3, texture=1.0)
    )
