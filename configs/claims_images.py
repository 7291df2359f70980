"""The studies of configs/claims.py that need images; its docstring says what they ask and what to expect.

    python -m bottleneck.main --config=configs/claims_images.py:data=DIR,only=colored

Arguments: `data=DIR` (mnist.npz and cifar10.npz in it), `only` (`warm`, `dominoes` or `colored`), `form` (`smoke`,
`cpu`, `full`), `offset=0`.
"""

import pathlib

import ml_collections

from bottleneck.config import parse_arg
from bottleneck.errors import UserError
from bottleneck.published import claim, lone, probed, randomised, sgd

SHAH = "Shah et al. 2020 (arXiv:2006.07710), notebook 02"
PEZESHKI = "Pezeshki et al. 2021 (arXiv:2011.09468), table 1 and its released code"
ASH = "Ash & Adams 2020 (arXiv:1910.08475), table 1"
FORMS = ("smoke", "cpu", "full")
CIFAR = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # mean and deviation


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, form="cpu", data=".", only="colored", offset=0)
    topics = dict(warm=warm, dominoes=dominoes, colored=colored)
    for key, known in (("form", FORMS), ("only", topics)):
        if arg[key] not in known:
            raise UserError(f"config argument {key}", arg[key], f"one of {', '.join(known)}")
    config = ml_collections.ConfigDict()
    config.name = "claims"
    config.seed_offset = arg.offset
    config.arms = ("mixture",)
    config.probe = dict(protocols=("head",), arms=("mixture",))
    studies = topics[arg.only](arg.form, pathlib.Path(arg.data))
    config.sweep = dict(points=tuple(dict(point=name, **study) for name, study in studies.items()))
    return config


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


WORDS = dict(digits_random="with the digit randomised", vehicles_random="with the vehicle randomised")


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
    claims = probed("MNIST over CIFAR-10", "vehicle", "the vehicle", "digits_random", ("linear_probe",))
    for target, (published, expected) in sides.items():
        how = dict(reduced=reduced, **expected) if reduced else {}
        number = {target: published}
        claims |= randomised("dominoes", "MNIST over CIFAR-10", number, WORDS, SHAH, metric="auc", **how)
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
    switch = ((450, 2e-5, 2e-5),)
    decoupled, long = dict(logit_penalty=2e-5, switch=switch), 2001 / 1001

    def number(says: str, published: float, sd: float, arm: str = "mixture", **expected) -> dict:
        how = dict(reduced=reduced, **expected) if reduced else {}
        return claim(f"ColoredMNIST, {says}", "flipped", published, PEZESHKI, arm, sd=sd, **how)

    claims = dict(
        plain=number("plain training", 23.70, 0.76, below=50.0),
        plain_own=claim("ColoredMNIST, plain training, fresh items of the training environments", "digits"),
        decoupled=number("spectral decoupling", 68.40, 1.24, "decoupled_end", above=50.0),
        decoupled_gains=claim(
            "ColoredMNIST, what spectral decoupling gains",
            "flipped",
            arm="decoupled_end",
            minus=("flipped", "mixture"),
            above=10.0,
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
