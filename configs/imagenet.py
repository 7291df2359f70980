"""The Time-Cat table at its own size: ImageNet networks, short ones side by side, and what of them transfers.

    python -m bottleneck.main --config=configs/imagenet.py:data=DIR,transfer=DIR --dry_run --images_per_second=5000
    launch/slurm.sh ... -- --config=configs/imagenet.py:data=DIR,transfer=DIR --workdir=DIR

Five ResNet-50 in the manner of the public AlgoPerf submission that the released checkpoints point to: schedule-free
AdamW, label smoothing 0.2, batches of 1,024, 450,000 steps, read at steps 80, 100, 200 and 450 thousand. `cat2`, `cat4`
and `cat5` are 2 runs stopped at 200, 4 at 100 and 5 at 80, each beside what could explain its gain: one such member
alone or several times, the reduced concatenation, averaged predictions; `snapshots` are the four steps of one run,
`whole5` five whole runs. Both protocols: the released probe (best epoch and decay on test, marked so, and on
validation), and the probe that is solved. Probes are fitted on training items, as published.

Published (Yang, Zhang & Bottou 2025, released probe, one set of members each, no intervals), accuracy in percent:

    features      steps     ImageNet   iNaturalist 2018   CIFAR-100   CIFAR-10
    one run     450,000         78.4               33.7        71.0       90.4
    cat2        400,000         78.5               40.4        74.2       91.2
    cat4        400,000         78.3               42.9        76.8       92.7
    cat5        400,000         77.8               46.2        77.1       92.8

Ours are unmeasured at this size, and so is its wall time; `smoke` (no data, a ResNet-8 on procedural images) shows the
same rows in less than two minutes of one core (126 s with one more transfer set, 2026-11-30). What differs from the
published recipe: images are cropped to their middle square and scaled to 224 pixels where they evaluate at 256 and
crop; probes see every image once, without augmentation; BatchNorm is measured anew at each kept step.

Host memory at this size, by arithmetic from probes of 200,000 items (BUILD_NOTES.md), not measured. Passes: a few
batches. Probes of one network (1.28 million items x 2,048): 10 GB of features, which stay on disk, and 21 GB of float64
coordinates. Of `cat5` (x 10,240): 52 GB of joined features, 105 GB of coordinates, and 52 GB more where half of the
accelerator's memory does not hold them in float32; its reduction 105 GB of standardised members and 21 GB more; its
released probe 52 GB, and as much of the accelerator, without which it fails. Probes of a job share half of a
machine's memory (workers.py; those of several shards on one machine do not know of each other): what wants more has all
of that to itself, and may take more than there is. To ask for less, fit probes on
fewer items: all of this is in proportion to data.probe (argument `probe=200000`: `cat5` 8, 16 and 8 GB). Probes of
fewer items read less, and are no longer the published protocol.

`data`: a folder of train/CLASS/ and test/CLASS/ (links to ILSVRC's train and val), or imagenet2012 as
tensorflow-datasets has prepared it (DIR/imagenet2012, an array_record). `transfer`: a folder of further sets, each such
a folder, an .npz (cifar10.npz) or a prepared set. Every class needs an item to choose by: for iNaturalist's smallest
classes give a val folder of your own; of the prepared one, the first quarter of its validation set chooses.

Arguments: `resnet152`, the same with that network; `vit`, ViT-S/16 in the manner of Beyer, Zhai & Kolesnikov 2022 (90
epochs of AdamW at 1e-3 with decay 1e-4, here 0.1 as it is multiplied by the rate, cosine after 10,000 steps of warm-up,
gradients clipped at 1; 76.5 % published), whose short members are runs of their own, since a cosine stops once. It
lacks their mixup and RandAugment, and has a learned position and a class token where they have a fixed position and an
average. `smoke`, `seeds=5`, `offset=0`, `probe=1300000` (items that a probe is fitted on, at most).
"""

import pathlib

import ml_collections

from bottleneck import config as configs
from bottleneck.config import parse_arg
from bottleneck.errors import UserError

SHARES = {2: "200/450", 4: "100/450", 5: "80/450"}  # members -> where each of them stops
PREPARED = dict(  # what of a set has labels
    imagenet2012=dict(test="validation"),
    i_naturalist2018=dict(val="validation[:25%]", test="validation[25%:]"),
)


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(
        arg, smoke=False, resnet152=False, vit=False, seeds=5, data="", transfer="", probe=1_300_000, offset=0
    )
    if arg.resnet152 and arg.vit:
        raise UserError("config argument", "resnet152,vit", "resnet152 or vit, not both")
    config = ml_collections.ConfigDict()
    config.name = "imagenet"
    config.seeds = arg.seeds
    config.seed_offset = arg.offset
    config.data = dict(
        image_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        probe_split="train",
        probe=arg.probe,
        val=5000,
        fingerprint="names",
    )
    config.components, config.targets = procedural() if arg.smoke and not arg.data else sets(arg.data, arg.transfer)
    config.mixture = dict(weights=dict.fromkeys(config.components, 1.0))
    config.update(transformer() if arg.vit else residual(152 if arg.resnet152 else 50))
    config.augment = dict(flip=True, resized_crop=(0.08, 1.0) if arg.data else None)
    config.train.update(batch=1024, dtype="bfloat16", feed="stream")
    config.arms = ("mixture",)
    config.probe = dict(
        protocols=("linear_probe", "released_probe"),
        arms=("mixture", *(f"cat{n}" for n in SHARES)),
        scalings=("standardised",),
        released=dict(weight_decay=(1e-6, 1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2)),
    )
    if arg.smoke:
        config.data.update(image_size=16, train=400, probe=200, val=100, test=200)
        config.model = dict(name="vit", patch=4) if arg.vit else dict(name="resnet", depth=8, width=0.5)
        config.train.update(steps=45, batch=16)
        config.probe.released.epochs = 4
    return config


def residual(depth: int) -> dict:
    """Whole at every step that is kept: short members are steps of the same runs."""
    short = {f"cat{n}": members(f"mixture/*@{share}", n=n, against=("mixture",)) for n, share in SHARES.items()}
    snapshots = members(*(f"mixture/*@{share}" for share in SHARES.values()), "mixture/*@last")
    return dict(
        model=dict(name="resnet", depth=depth, zero_residual=True),
        optimizer=dict(
            name="schedule_free",
            lr=0.0025,
            b1=0.9,
            b2=0.9955159689799007,
            weight_decay=0.08121616522670176,
            warmup=2940 / 450_000,
        ),
        objective=dict(label_smoothing=0.2),
        train=dict(steps=450_000),
        representations=dict(**short, whole5=members("mixture/*@last", n=5), snapshots=snapshots),
    )


def transformer() -> dict:
    short = {f"cat{n}": members(f"short{n}/*@last", n=n, against=("mixture",)) for n in SHARES}
    return dict(
        model=dict(name="vit", variant="S", patch=16),
        optimizer=dict(
            name="adamw",
            lr=0.001,
            b2=0.999,
            weight_decay=0.1,
            schedule="cosine",
            warmup=10_000 / 112_603,
            clip=1.0,
        ),
        train=dict(steps=round(90 * 1_281_167 / 1024)),
        recipes={f"short{n}": dict(steps=1 / n) for n in SHARES},
        representations=dict(**short, whole5=members("mixture/*@last", n=5)),
    )


def members(*patterns: str, **options) -> dict:
    return dict(members=tuple(f"{pattern}:features" for pattern in patterns), prefixes=False, **options)


def sets(data: str, transfer: str) -> tuple[dict, dict]:
    """The set that is pretrained on, and those in a folder of others."""
    if not data:
        raise UserError("config argument data", data, "the folder of ImageNet (or `smoke`, which needs none)")
    others = sorted(pathlib.Path(transfer).expanduser().glob("[!.]*")) if transfer else ()
    if transfer and not others:
        raise UserError("config argument transfer", transfer, "a folder of folders, .npz files or prepared sets")
    return dict(imagenet=labelled(pathlib.Path(data))), {path.stem: labelled(path) for path in others}


def labelled(path: pathlib.Path) -> dict:
    """A set by where it lies: an .npz, what tensorflow-datasets has prepared (NAME/VERSION/), or a folder of images."""
    if path.suffix == ".npz":
        return dict(source=dict(name="arrays", path=str(path)))
    if list(path.expanduser().glob("*/dataset_info.json")):
        return dict(
            source=dict(name="tfds", dataset=path.name, data_dir=str(path.parent), **PREPARED.get(path.name, {}))
        )
    return dict(source=dict(name="folder", path=str(path)))


def procedural() -> tuple[dict, dict]:
    """Those of configs/timecat.py."""
    config = configs.get(pathlib.Path(__file__).with_name("timecat.py"), "smoke")
    return config.components, dict(shape=config.targets.shape)
