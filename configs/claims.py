"""Do small published results about what networks fail to learn hold up, under their own protocols?

    python -m bottleneck.main --config=configs/claims.py             # what needs no images
    python -m bottleneck.main --config=configs/claims.py:data=DIR    # all of them: DIR holds mnist.npz and cifar10.npz

Every study below is one published protocol; its claims, with what was published, stand beside it, and the rule that
judges them in bottleneck/analysis/claims.py: *reproduced* where our 95 % interval lies within the published number
+- max(2 sd, 2 points), *not reproduced* where the two are disjoint, else *undecided*. Where there is no number, or the
protocol is reduced, an interval on the named side of a threshold is the *same direction*, at best. Questions that the
originals do not ask are *measured*.

    lms5, ms57, noisy   a network ignores coordinates that would do, once a simpler one does; do three? do probes?
    moons               a gap that a line finds starves the curve; spectral decoupling feeds it
    mnist1d             a linear classifier, an MLP and a CNN, in order and shuffled
    warm                training on half of the images first costs accuracy on all
    dominoes            a digit over a vehicle: only the digit counts; does a new last layer find the vehicle?
    colored             ColoredMNIST: colour counts; spectral decoupling as released, over time, Adam reset

What to expect, in percent: published / here (AUC of lms5, ms57 and dominoes; test items as they are, with the feature
that the network uses randomised, with the others randomised):

    lms5      100 / 50.7 / 100       100.0 / 49.8 / 100.0   reproduced, as by the mean of three networks
    ms57      100 / 50.2 / 100       89.7 / 50.2 / 89.7     undecided: some are on the plateau after 60 epochs; of 180
                                     100.0 / 50.3 / 100.0   epochs, and of three networks, reproduced
    noisy     94.9 / 49.7 / 94.9     94.5 / 49.9 / 94.5     reproduced
    probes on frozen features, asked for the slabs: linear 49.9 and 49.8, non-linear 52.0 and 49.9: no more than in an
              untrained network, of LMS-5 2.4 less: the features are not there
    moons     pictures               51.1 with the separating coordinate resampled; 53.2 where the moons overlap and
              51.4 under spectral decoupling: not above 60, a criterion of ours that asks too much (BUILD_NOTES.md)
    mnist1d   32 / 68 / 94           32.2 / 69.7 / 92.7     reproduced, undecided, reproduced
              32 / 68 / 56           32.2 / 70.0 / 56.1     shuffled: the same
    warm      3.3                    1.3 (0.7 to 1.9)       same direction (10,000 of 50,000 images)
    dominoes  100 / 49.4 / 100       100.0 / 54.0 / 100.0   same direction, undecided, same direction (a small ResNet);
                                     a new last layer reads the vehicle no better than an untrained network's: 62.8
    colored   plain 23.7             22.9                   same direction (2,500 of 50,000 images)
              decoupled 68.4         59.0                   same direction; with Adam reset 69.1 after 20 more steps
                                                            and 25.0 at the end: a passage, not a solution

`smoke` with data took 13 minutes on one core beside another job; the topics of the CPU form about an hour on one.

What differs everywhere: kernels start from He's normal initialisation where the originals had PyTorch's uniform one
(ColoredMNIST: Xavier, as there), all seeds of a study see the same training items, and generated test sets are large,
so that what decides is not their size.

Arguments: `smoke` (fewer seeds and topics), `full` (the published sizes, for accelerators), `data=DIR`, `only=TOPIC`,
`offset=0`.
"""

import pathlib
import sys

import ml_collections

from bottleneck.config import parse_arg
from bottleneck.errors import UserError

SHAH = "Shah et al. 2020 (arXiv:2006.07710)"
PEZESHKI = "Pezeshki et al. 2021 (arXiv:2011.09468)"
ASH = "Ash & Adams 2020 (arXiv:1910.08475), table 1"
PLAIN = ("flipped", "mixture")
GREYDANUS = "Greydanus & Kobak 2024 (arXiv:2011.14439)"
CIFAR = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # mean and deviation


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, smoke=False, full=False, data="", only="", offset=0)
    form = "smoke" if arg.smoke else "full" if arg.full else "cpu"
    studies = chosen(form, arg.data, arg.only)
    config = ml_collections.ConfigDict()
    config.name = "claims"
    config.seed_offset = arg.offset
    config.arms = ("mixture",)
    config.probe = dict(protocols=("head",), arms=("mixture",))
    config.sweep = dict(points=tuple(dict(point=name, **study) for name, study in studies.items()))
    return config


def chosen(form: str, data: str, only: str) -> dict[str, dict]:
    """The studies of a form by name, of one topic where only that is asked for; what is left out is said."""
    topics = dict(lms5=lms5, ms57=ms57, noisy=noisy, moons=moons, mnist1d=mnist1d)
    pictured = dict(warm=warm, dominoes=dominoes, colored=colored)
    if form == "smoke":
        del topics["noisy"], pictured["warm"]
    if only and only not in (*topics, *pictured):
        raise UserError("config argument only", only, f"one of {', '.join((*topics, *pictured))}")
    if not data and only in pictured:
        raise UserError("config argument data", data, f"a directory with mnist.npz and cifar10.npz, for {only}")
    if not data and (missing := [name for name in pictured if only in ("", name)]):
        print(
            f"claims: without data=DIR (mnist.npz, cifar10.npz in it) these are left out: {', '.join(missing)}",
            file=sys.stderr,
        )
        pictured = {}
    made = {name: topic(form) for name, topic in topics.items()}
    made |= {name: topic(form, pathlib.Path(data)) for name, topic in pictured.items()}
    return {name: study for topic, each in made.items() if only in ("", topic) for name, study in each.items()}


def lone(name: str, source: dict, sizes: dict, seeds: int, claims: dict, **study) -> dict:
    """A study of one component, whose run is that of direct training."""
    component = dict(source=source) | ({"transforms": study.pop("transforms")} if "transforms" in study else {})
    variants = {target: dict(component, randomise=blocks) for target, blocks in study.pop("randomise", {}).items()}
    return dict(
        components={name: component},
        mixture=dict(weights={name: 1.0}),
        targets=variants | study.pop("targets", {}),
        data=sizes,
        seeds=seeds,
        claims=claims,
        **study,
    )


def sgd(lr: float, momentum: float = 0.0, decay: float = 0.0) -> dict:
    """As the originals have it: their weight decay is half of ours, of all parameters and part of the loss."""
    options = dict(momentum=momentum, nesterov=False, weight_decay=decay / 2, decay="coupled_all")
    return dict(name="sgd", lr=lr, **options)


def claim(says: str, target: str, published=None, source="", arm="mixture", protocol="head", **how) -> dict:
    """A claim about one reading; `minus`: (target, arm, protocol) of another."""
    reads = dict(target=target, arm=arm, protocol=protocol)
    if "minus" in how:
        how["minus"] = dict(zip(("target", "arm", "protocol"), (*how["minus"], "head")))
    said = dict(published=published, source=source) if published is not None else dict(source=source)
    return dict(says=says, reads=reads, **said, **how)


# Slabs


WORDS = dict(  # targets, as test items
    linear_random="with the linear coordinate randomised",
    slabs_random="with the slabs randomised",
    five_random="with the five-slab coordinate randomised",
    seven_random="with the seven-slab coordinates randomised",
    digits_random="with the digit randomised",
    vehicles_random="with the vehicle randomised",
)


def randomised(key: str, what: str, published: dict[str, float], where: str, arm: str = "mixture", **how) -> dict:
    """Claims about test sets in which some coordinates say nothing of the label. `published`: target -> number."""
    return {
        f"{key}_{target}": claim(
            f"{what}, test items {WORDS.get(target, 'as they are')}", target, number, f"{SHAH}, {where}", arm, **how
        )
        for target, number in published.items()
    }


def simplest_first(name: str, form: str, what: str, source: dict, sides: dict, simple: str, probed: str, **how) -> dict:
    """Slabs of two kinds, each of which alone would do. `sides`: target -> (what is randomised there, published AUC);
    `simple`: the side that randomises what networks use; `probed`: what probes on frozen features then look for."""
    seeds = dict(smoke=3, cpu=6, full=15)[form]
    published = {name: 100.0} | {side: number for side, (_, number) in sides.items()}
    claims = randomised(name, what, published, "notebook 01", metric="auc")
    claims |= randomised(f"{name}_three", f"{what}, three networks", published, "notebook 04", "three", metric="auc")
    how = dict(model=dict(name="mlp", width=100, depth=2), optimizer=sgd(0.1, decay=5e-5), **how)
    sizes = dict(train=100_000, test=50_000, probe=4000, val=1000)
    three = dict(three=dict(members="mixture/*@last:features", n=3, combine="average"))
    blocks = {side: (block,) for side, (block, _) in sides.items()}
    protocols = ("linear_probe", "nonlinear_probe")
    return {
        name: lone(name, source, sizes, seeds, claims, randomise=blocks, representations=three, **how),
        f"{name}_probed": lone(
            name,
            source,
            sizes,
            seeds,
            found(what, f"{name}_slabs", probed, simple, protocols),
            randomise={simple: blocks[simple]},
            probe=dict(protocols=("head", *protocols), arms=("mixture", "random")),
            **how,
        ),
    }


def lms5(form: str) -> dict[str, dict]:
    """One linear coordinate and 49 five-slab ones."""
    source = dict(name="slabs", linear=1, slabs5=49)
    sides = dict(linear_random=("linear", 50.7), slabs_random=("slabs", 100.0))
    train = dict(steps="60 epochs", batch=256, sampling="stratified", stop_at_loss=1e-4)
    return simplest_first("lms5", form, "LMS-5", source, sides, "linear_random", "the slabs", train=train)


def ms57(form: str) -> dict[str, dict]:
    """One five-slab coordinate and 49 seven-slab ones: a long plateau, which the published networks leave within 38
    epochs. Some of ours had not after 60, so that three times as long stands beside it."""
    source = dict(name="slabs", linear=0, slabs5=1, slabs7=49)
    sides = dict(five_random=("slabs5", 50.2), seven_random=("slabs7", 100.0))

    def studies(name: str, epochs: int) -> dict:
        train = dict(steps=f"{epochs} epochs", batch=256, sampling="stratified", stop_at_loss=1e-4)
        what, slabs = f"MS-(5,7), at most {epochs} epochs", "the seven-slab coordinates"
        return simplest_first(name, form, what, source, sides, "five_random", slabs, train=train)

    made = studies("ms57", 60)
    return made if form == "smoke" else {**made, "ms57_longer": studies("ms57_longer", 180)["ms57_longer"]}


def found(who: str, key: str, what: str, target: str, protocols: tuple[str, ...]) -> dict:
    """What probes on frozen features read where the network itself reads nothing: a question nobody has answered."""
    claims = {}
    for protocol in protocols:
        words = (
            f"{who}, a {protocol.replace('_', ' ').replace('nonlinear', 'non-linear')} on frozen features finds {what}"
        )
        untrained = (target, "random", protocol)
        claims[f"{key}_{protocol}"] = claim(words, target, protocol=protocol)
        more = claim(f"{words}, beyond an untrained network's", target, protocol=protocol, minus=untrained)
        claims[f"{key}_{protocol}_trained"] = more
    return claims


def noisy(form: str) -> dict[str, dict]:
    """A linear coordinate that says nothing of a tenth of the items, and 49 seven-slab ones that say all."""
    source = dict(name="slabs", linear=1, slabs5=0, slabs7=49, noise=0.1)
    return dict(
        noisy=lone(
            "noisy",
            source,
            dict(train=40_000, test=50_000, probe=1000, val=1000),
            dict(smoke=2, cpu=3, full=10)[form],
            randomised("noisy", "noisy LMS-7", dict(noisy=94.9, linear_random=49.7, slabs_random=94.9), "notebook 03"),
            randomise=dict(linear_random=("linear",), slabs_random=("slabs",)),
            model=dict(name="mlp", width=300, depth=2),
            optimizer=sgd(0.1, momentum=0.9, decay=5e-4),
            train=dict(steps=40_000, batch=256, sampling="stratified"),
        )
    )


# Gradient starvation


def moons(form: str) -> dict[str, dict]:
    """Two moons with and without a gap that a line finds, with and without spectral decoupling. Published as pictures:
    the criterion is ours, 60 % of fresh items right when the separating coordinate is resampled."""

    def study(margin: float, penalty: float, steps: int, figure: int, says: str, decay=0.0, **expected) -> dict:
        source, says = dict(name="moons", margin=margin, noise=0.1), f"two moons {says}"
        of = f"{PEZESHKI}, figure {figure}"
        return lone(
            "moons",
            source,
            dict(train=300, test=4000, probe=100, val=200),
            dict(smoke=5, cpu=10, full=10)[form],
            dict(
                fits=claim(f"{says}, fresh items", "moons"),
                curved=claim(f"{says}, separating coordinate resampled", "across_random", source=of, **expected),
                along=claim(f"{says}, what the other coordinate adds", "moons", minus=("along_random", "mixture")),
            ),
            randomise=dict(across_random=("separating",), along_random=("along",)),
            model=dict(name="mlp", width=500, depth=1),
            optimizer=sgd(0.01, momentum=0.9, decay=decay),
            objective=dict(loss="softplus", logit_penalty=penalty),
            train=dict(steps=steps, sampling="full"),
        )

    return dict(
        moons_apart=study(0.1, 0.0, 1000, 1, "apart, cross-entropy", below=60.0),
        moons_longer=study(0.1, 0.0, 10_000, 3, "apart, cross-entropy for 10,000 steps", below=60.0),
        moons_overlapping=study(-0.1, 0.0, 1000, 1, "that overlap, cross-entropy", above=60.0),
        moons_decoupled=study(0.1, 0.003, 10_000, 2, "apart, spectral decoupling for 10,000 steps", 2e-4, above=60.0),
    )


# MNIST-1D


def mnist1d(form: str) -> dict[str, dict]:
    """A linear classifier, an MLP and a CNN on MNIST-1D, in order and shuffled."""
    models = dict(
        linear=(dict(name="mlp", depth=0), 32.0, 32.0),
        mlp=(dict(name="mlp", width=256, depth=2, residual=True), 68.0, 68.0),
        cnn=(dict(name="cnn1d", width=25), 94.0, 56.0),
    )
    studies = {}
    for name, (model, ordered, shuffled) in models.items():
        for kind, published in (("ordered", ordered), ("shuffled", shuffled)):
            words = f"MNIST-1D {'shuffled, ' if kind == 'shuffled' else ', '}{name}".replace(" , ", ", ")
            studies[f"mnist1d_{name}_{kind}"] = lone(
                "digits",
                dict(name="mnist1d", shuffled=kind == "shuffled"),
                dict(train=4000, test=10_000, probe=200, val=200),
                dict(smoke=3, cpu=5, full=10)[form],
                {f"{name}_{kind}": claim(words, "digits", published, f"{GREYDANUS}, read me")},
                model=model,
                optimizer=dict(name="adam", lr=0.01, weight_decay=0.0),
                train=dict(steps=8000, batch=100, sampling="stratified"),
            )
    return studies


# Images


def warm(form: str, data: pathlib.Path) -> dict[str, dict]:
    """Training on half of CIFAR-10 first costs accuracy on all of it: the run on `whole`, fresh, against the one that
    goes on from `half`, each until 99 % of what it trains on is right (over two epochs of `half`, one of `whole`), or
    for `steps`."""
    source = dict(name="arrays", path=str(data / "cifar10.npz"))
    held_out, images = 200, 50_000 if form == "full" else 10_000
    steps = 140_000 if form == "full" else 40_000  # at most so many
    whole, reduced = (None, "") if form == "full" else (images - 2 * held_out, f"{images:,} of 50,000 images")
    fresh, gone_on = ("whole", "direct", "head"), ("whole", "mixture", "warm_start")

    def number(says: str, reading: tuple, published: float, **how) -> dict:
        target, arm, protocol = reading
        published = None if reduced and "above" not in how else published  # fewer images reach less
        return claim(f"CIFAR-10, MLP, Adam, {says}", target, published, ASH, arm, protocol, reduced=reduced, **how)

    costs = dict(minus=gone_on, **(dict(above=0.0) if reduced else {}))

    study = lone(
        "half",
        source,
        dict(train=whole, image_size=32, mean=CIFAR[0], std=CIFAR[1], probe=held_out, val=held_out, test=10_000),
        dict(smoke=2, cpu=3, full=5)[form],
        dict(
            fresh=number("all at once", fresh, 39.4),
            warm=number("half of it first", gone_on, 36.1),
            warm_costs=number("what half of it first costs", fresh, 3.3, **costs),
        ),
        targets=dict(whole=dict(source=source)),
        arms=("mixture", "direct"),
        probe=dict(
            protocols=("head", "linear_probe", "warm_start"),
            arms=("mixture",),
            scalings=("standardised",),
            finetune=dict(steps=steps, lr=0.001),
        ),
        model=dict(name="mlp", width=100, depth=3, activation="tanh"),
        optimizer=dict(name="adam", lr=0.001, weight_decay=0.0),
        train=dict(steps=steps, batch=128, sampling="stratified", stop_at_accuracy=0.99, stop_window="2 epochs"),
    )
    study["components"]["half"]["sizes"] = dict(train=images // 2 - held_out)
    return dict(warm=study)


def dominoes(form: str, data: pathlib.Path) -> dict[str, dict]:
    """MNIST digits over CIFAR-10 cars and trucks; and whether a new last layer, fitted where the digit says nothing,
    finds the vehicle."""
    digits = dict(name="arrays", path=str(data / "mnist.npz"), fit="pad")
    vehicles = dict(name="arrays", path=str(data / "cifar10.npz"))
    transforms = dict(
        classes=dict(keep=("0", "1"), balanced=True),
        dominoes=dict(source=vehicles, transforms=dict(classes=dict(keep=("1", "9"))), below=True),
    )
    reduced = "" if form == "full" else "ResNet-8 of half the width instead of ResNet-50"
    sides = dict(dominoes=(100.0, dict(above=95.0)), digits_random=(49.4, dict(above=45.0, below=55.0)))
    sides |= dict(vehicles_random=(100.0, dict(above=95.0)))
    claims = found("MNIST over CIFAR-10", "vehicle", "the vehicle", "digits_random", ("linear_probe",))
    for target, (published, expected) in sides.items():
        how = dict(reduced=reduced, **expected) if reduced else {}
        where = "notebook 02"
        claims |= randomised("dominoes", "MNIST over CIFAR-10", {target: published}, where, metric="auc", **how)
    return dict(
        dominoes=lone(
            "dominoes",
            digits,
            dict(image_size=(64, 32), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), probe=1500, val=500),
            dict(smoke=1, cpu=3, full=5)[form],
            {name: {**each, "reduced": reduced} for name, each in claims.items()},
            transforms=transforms,
            randomise=dict(digits_random=("top",), vehicles_random=("bottom",)),
            probe=dict(protocols=("head", "linear_probe"), arms=("mixture", "random")),
            model=dict(name="resnet", depth=50) if form == "full" else dict(name="resnet", depth=8, width=0.5),
            optimizer=sgd(0.05, decay=5e-5),
            train=dict(
                steps=dict(smoke=150, cpu=300, full=600)[form],
                batch=256,
                sampling="stratified",
                stop_at_loss=0.01,
                stop_window="10 steps",
            ),
        )
    )


def colored(form: str, data: pathlib.Path) -> dict[str, dict]:
    """ColoredMNIST: plain training reads the colour, which is wrong in nine of ten items of the other environment.

    Spectral decoupling as released: from step 450 on both the loss and the penalty count 2e-5 times, with Adam's state
    carried over, which the new gradients are small beside; `reset` is the same with Adam started anew. Both are read
    over time: is what they reach a solution, or a passage?
    """
    digits = dict(name="colored_digits", path=str(data / "mnist.npz"))
    images = dict(smoke=1000, cpu=2500, full=50_000)[form]
    reduced = "" if form == "full" else f"{images:,} of 50,000 images"
    table, switch = f"{PEZESHKI}, table 1 and its released code", ((450, 2e-5, 2e-5),)
    decoupled, long = dict(logit_penalty=2e-5, switch=switch), 2001 / 1001

    def number(says: str, published: float, sd: float, arm: str = "mixture", **expected) -> dict:
        how = dict(reduced=reduced, **expected) if reduced else {}
        return claim(f"ColoredMNIST, {says}", "flipped", published, table, arm, sd=sd, **how)

    claims = dict(
        plain=number("plain training", 23.70, 0.76, below=50.0),
        plain_own=claim("ColoredMNIST, plain training, fresh items of the training environments", "digits"),
        decoupled=number("spectral decoupling", 68.40, 1.24, "decoupled_end", above=50.0),
        decoupled_gains=claim(
            "ColoredMNIST, what spectral decoupling gains", "flipped", arm="decoupled_end", minus=PLAIN, above=10.0
        ),
        reset=claim("ColoredMNIST, spectral decoupling, Adam reset, last step", "flipped", arm="reset_end"),
        reset_costs=claim(
            "ColoredMNIST, what carrying Adam's state adds",
            "flipped",
            arm="decoupled_end",
            minus=("flipped", "reset_end"),
        ),
    )
    kept = {}
    for recipe, words in (("decoupled", ""), ("reset", ", Adam reset")):
        for step in (450, 470, 500, 700, 1000, 1500, "end"):
            at = "last" if step == "end" else step
            kept[f"{recipe}_{step}"] = dict(members=f"{recipe}/*@{at}:features", combine="average")
            if step != "end":
                says = f"ColoredMNIST, spectral decoupling{words}, after {step:,} steps"
                claims[f"{recipe}_at_{step:04}"] = claim(says, "flipped", arm=f"{recipe}_{step}")
    return dict(
        colored=lone(
            "digits",
            digits,
            dict(train=images, probe=500, val=500, test=10_000),
            dict(smoke=2, cpu=3, full=10)[form],
            {name: {**each, "reduced": reduced} for name, each in claims.items()},
            targets=dict(flipped=dict(source=dict(digits, flips=(0.9,)))),
            model=dict(name="mlp", width=300, depth=2, init="xavier"),
            optimizer=dict(name="adam", lr=1e-4, weight_decay=0.0),
            objective=dict(loss="softplus"),
            train=dict(steps=1001, sampling="full"),
            recipes=dict(
                decoupled=dict(steps=long, objective=decoupled),
                reset=dict(steps=long, objective=dict(decoupled, reset_optimizer=True)),
            ),
            representations=kept,
        )
    )
