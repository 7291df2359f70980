"""Do richer representations bring back what the mixture lost, at what price, and beyond which control?

    python -m bottleneck.main --config=configs/rich.py

The mixture of configs/mixture.py, trained schedule-free so that every kept step is a finished network. Against one
network trained on the mixture:

    cat2, cat5            features of 2 and 5 runs side by side (CAT_n)
    timecat2, timecat5    the same within the budget of one run: members stop at 1/2 and 1/5 of it
    snapshots, cycles     five steps of one run; the ends of the five cycles of one cyclic run (CAT-S)
    layers, widths, depths   all layers of one run; two runs of other width or depth
    hard5, soft5          one network with a head for each of 5 teachers, at one run's steps; hard5_long at three times
    bonsai2, bonsai3      rounds of discovery by group DRO and their synthesis; bonsai_exp with exponentiated gradients

and, as controls, beside those every concatenation has (one member, one member several times, reduced to one member's
dimension in three ways, averaged predictions, the same of directly trained runs):

    long2, long5          one network with as many total steps
    wide2, wide5          one network of as many units
    untrained5            hard5 with one teacher that was never trained
    bonsai_random         bonsai2 with groups at random; bonsai_exp_random: bonsai_exp with such

What to expect, from 10 seeds (bits of 1; cat5, timecat5 and students are 2 sets, whose intervals are wide; 33 minutes
of processor time, 28 min on 2 busy cores; `seeds=5`: half, and one set of five):

                 steps    minus   rare  shadowed                     steps    minus   rare  shadowed
    direct       1,500     1.00   0.98      0.99       hard5         9,000     0.54   0.21      0.89
    one network  1,500     0.39   0.12      0.83       untrained5    7,500     0.54   0.23      0.85
    cat2         3,000     0.62   0.23      0.88       soft5         9,000     0.26   0.12      0.88
    cat5         7,500     0.86   0.42      0.94       bonsai2       3,150     0.52   0.14      0.86
    timecat2     1,500     0.56   0.26      0.91       bonsai_random 3,150     0.67   0.24      0.59
    timecat5     1,500     0.83   0.49      0.61       bonsai_exp    3,150     0.59   0.22      0.64
    snapshots    1,500     0.77   0.35      0.88       long5         7,500     0.28   0.12      0.60
    cycles       1,500     0.67   0.37      0.54       wide5         1,500     0.61   0.17      0.81

At one run's price `snapshots` read 0.38, 0.23 and 0.06 bits more than the run, and 0.21, 0.10 and 0.03 more than their
averaged predictions; pixels hold all of `minus`, an untrained network 0.39. Students and rounds are not shown to do
more than their controls (but for `shadowed`), and rounds do less for the opposed pair, whose groups no round can have
right. `finetune,seeds=5` (20 minutes on one core): 100 steps on the target bring one network to 0.99, 0.77 and 0.93,
from the probe's head and in two stages alike, with dropout to 0.99, 0.41 and 0.79. `dominoes=DIR,seeds=5` (30 minutes
on one core): CIFAR-10 beside any digit reads 0.17 bits, 0.88 trained directly, 0.31 untrained; cat5 0.32, bonsai_exp
0.27 (random groups 0.19), all layers 0.36, soft5 0.08.

Arguments: `smoke` (5 seeds), `seeds=10` (at least 5), `offset=0`, `finetune` (cat2 and one network are fine-tuned, too:
plainly, from the probe's head, with dropout 0.9, in two stages), `data=PATH` (copies of your images, as
configs/mixture.py), `dominoes=DIR` (of mnist.npz and cifar10.npz: MNIST beside CIFAR-10 announces the label at 0.95, so
that CIFAR-10 itself may be left unlearned), `full` (ResNet-20 at 32 pixels, 20,000 steps: for accelerators).
"""

import pathlib

import ml_collections

from bottleneck import config as configs
from bottleneck.config import parse_arg

FORMS = dict(smoke=dict(seeds=5))
MLP, RESNET = ("layer1", "layer2", "features"), ("stem", "stage1", "stage2", "stage3", "features")
FINETUNED = ("finetune", "probe_finetune", "dropout_finetune", "two_stage")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, FORMS, smoke=False, full=False, seeds=10, offset=0, finetune=False, data="", dominoes="")
    given = f"offset={arg.offset},data={arg.data}" + ",smoke" * arg.smoke
    config = configs.get(pathlib.Path(__file__).with_name("mixture.py"), given)
    config.name = "rich"
    config.seeds = arg.seeds
    config.mixture.competitor = None
    config.optimizer = dict(name="schedule_free", lr=0.003, weight_decay=0.01, warmup=0.05, clip=None)
    config.arms = ("mixture", "direct")
    config.analysis.kinds = ()
    config.probe.update(
        protocols=("head", "linear_probe", *(FINETUNED if arg.finetune else ())),
        arms=("mixture", "cat2"),
        scalings=("standardised",),  # of the menu of three: a third of the probes' time
        finetune=dict(steps=100, lr=0.001, head_steps=50, head_lr=0.0001),
    )
    if arg.dominoes:
        config.components, config.targets = pairs(pathlib.Path(arg.dominoes))
        config.mixture.weights = dict(paired=0.5, digits=0.5)
        config.data.update(image_size=32, train=10_000, test=2000)
    if arg.full:
        config.model = dict(name="resnet", depth=20)
        config.data.update(image_size=32, train=50_000, probe=5000, val=2000, test=5000)
        config.train.update(steps=20_000, batch=256, dtype="bfloat16")
    config.recipes = recipes(narrow=0.5, depth=dict(depth=32 if arg.full else 5))
    config.representations = representations(RESNET if arg.full else MLP)
    if arg.smoke:
        config.train.steps = 60
        config.probe.finetune.update(steps=20, head_steps=10)
    return config


def recipes(narrow: float, depth: dict) -> dict:
    """Runs beyond the mixture's and direct training's: members of other kinds, cures that train, trained controls."""
    five = dict(teachers="mixture/*@last", n=5)
    return dict(
        narrow=dict(width=narrow),
        deep=dict(model=depth),
        cyclic=dict(optimizer=dict(name="sgd", lr=0.1, schedule="cyclic", cycles=5, warmup=0.0, clip=1.0)),
        hard5=five,
        soft5=dict(**five, targets="soft"),
        hard5_long=dict(**five, steps=3.0),
        bonsai2=dict(rounds=2),
        bonsai3=dict(rounds=3),
        bonsai_exp=dict(rounds=2, rule="exponentiated"),
        long2=dict(steps=2.0),
        long5=dict(steps=5.0),
        wide2=dict(width=2.0),
        wide5=dict(width=5.0),
        untrained5=dict(**five, untrained=1),
        bonsai_random=dict(rounds=2, groups="random"),
        bonsai_exp_random=dict(rounds=2, rule="exponentiated", groups="random"),
    )


def representations(layers: tuple[str, ...]) -> dict:
    """Whose features stand side by side, and against what. `layers`: of the mixture's network."""

    def members(*patterns, **options):
        return dict(members=tuple(f"{pattern}:features" for pattern in patterns), **options)

    return dict(
        cat2=members("mixture/*@last", n=2, against=("long2", "wide2")),
        cat5=members("mixture/*@last", n=5, against=("long5", "wide5")),
        timecat2=members("mixture/*@1/2", n=2, against=("mixture",)),
        timecat5=members("mixture/*@1/5", n=5, against=("mixture",)),
        snapshots=members(*(f"mixture/*@{i}/5" for i in range(1, 6)), prefixes=False),
        cycles=members(*(f"cyclic/*@{i}/5" for i in range(1, 6)), prefixes=False),
        layers=dict(members=tuple(f"mixture/*@last:{layer}" for layer in layers), prefixes=False),
        widths=members("mixture/*@last", "narrow/*@last"),
        depths=members("mixture/*@last", "deep/*@last"),
        hard5=members("hard5/*@last", against=("mixture", "untrained5", "long5")),
        soft5=members("soft5/*@last", against=("mixture", "untrained5", "long5")),
        hard5_long=members("hard5_long/*@last", against=("long5",)),
        bonsai2=members("bonsai2/*@last", against=("mixture", "bonsai_random", "long2")),
        bonsai3=members("bonsai3/*@last", against=("mixture", "bonsai2", "long2")),
        bonsai_exp=members("bonsai_exp/*@last", against=("mixture", "bonsai_exp_random", "long2")),
    )


def pairs(folder: pathlib.Path) -> tuple[dict, dict]:
    """CIFAR-10 on the left and MNIST on the right: which of them tells the label; and CIFAR-10 beside any digit."""

    def component(**domino):
        source = dict(name="arrays", path=str(folder / "cifar10.npz"))
        digits = dict(name="arrays", path=str(folder / "mnist.npz"))
        return dict(source=source, transforms=dict(dominoes=dict(source=digits, **domino)))

    inside = dict(paired=component(announces="both", reliability=0.95), digits=component(announces="right"))
    return inside, dict(objects=component(announces="left"))
