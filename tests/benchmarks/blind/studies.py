"""Draws studies: what is planted in them, and what is known of them in closed form.

Every number of a draw follows from its number. Draws from 0 on are the evaluation's and were fixed, with everything
that scores them, before the first of them was made; negative ones are for development and come from another stream.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bottleneck.data import factors

EVALUATION, DEVELOPMENT = 20261125, 715  # seeds of the two streams of draws
HARD = ("shape", "texture", "background")  # what an easier factor can shadow
EASY = ("colour", "background")
IMAGE_ARMS = (
    "mixture",
    "direct",
    "alone",
    "balanced",
    "scarce",
    "longer",
    "longest",
    "direct_half",
    "heads",
    "wider",
)
LINEAR_ARMS = tuple(arm for arm in IMAGE_ARMS if arm != "heads")  # regression has one label space
KEPT_APART = 1.6  # ratio of the last mode that a linear bottleneck keeps to the first that it loses


@dataclasses.dataclass(frozen=True)
class Draw:
    """One study. `planted`: component -> the cause its gap should have. `partner`: of a label conflict, the component
    whose labels were permuted. `known`: component -> (I_direct, I_mixture) in closed form. `ceiling`: component -> bits
    that the Bayes classifier of that component has.
    """

    number: int
    kind: str
    config: dict
    planted: dict[str, str] = dataclasses.field(default_factory=dict)
    partner: str | None = None
    known: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    ceiling: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"draw-{self.number:02d}" if self.number >= 0 else f"development-{-self.number:02d}"


def draw(number: int) -> Draw:
    """The study of this number; kinds take turns."""
    stream = (EVALUATION, number) if number >= 0 else (DEVELOPMENT, -number)
    kinds = tuple(KINDS)
    kind = kinds[number % len(kinds)]
    made = KINDS[kind](np.random.default_rng(stream))
    ceiling = {name: _ceiling(c["source"]) for name, c in made["config"]["components"].items() if _images(c)}
    known = {name: (0.0, 0.0) for name, bits in ceiling.items() if bits < 1e-12} | made.pop("known", {})
    return Draw(number, kind, known=known, ceiling=ceiling, **made)


def _images(component: dict) -> bool:
    return component["source"]["name"] == "factors"


def _ceiling(source: dict) -> float:
    """Bits of the exact posterior on the component alone; permuted labels have the same."""
    independent = dict.fromkeys(factors.FACTORS, 1 / source["values"])
    optima = factors.bayes({"it": independent | source["reliability"]}, {"it": 1.0}, source["values"])
    return optima["it"]["direct"]["bits"]


# Images


def nothing(rng) -> dict:
    """One task for all components: they help each other, and all are retained."""
    factor, names = _one(rng, factors.FACTORS), _names(rng, 2, 4)
    look, least = _look(rng), rng.uniform(0.8, 1.0)
    reliable = {name: {factor: _round(rng.uniform(least, 1.0))} for name in names}
    return dict(config=_study(rng, look, reliable, _even(rng, names)))


def mixed(rng) -> dict:
    """Nothing is planted: every component has one or two factors of its own, and one of them is named as competitor."""
    names, look = _names(rng, 2, 4), _look(rng)
    reliable = {name: _own_factors(rng) for name in names}
    used = sorted({factor for reliability in reliable.values() for factor in reliability})
    return dict(config=_study(rng, look, reliable, _even(rng, names), competitor=_one(rng, used)))


def untestable(rng) -> dict:
    """One label is independent of the image, one nearly so; others are as they come."""
    names, look = _names(rng, 1, 2), _look(rng)
    weak = 1 / look["values"] + rng.uniform(0.05, 0.22)
    reliable = {name: _own_factors(rng) for name in names}
    reliable |= {"null": {}, "weak": {_one(rng, factors.FACTORS): _round(weak)}}
    return dict(config=_study(rng, look, _shuffled(rng, reliable), _even(rng, reliable)))


def conflict(rng) -> dict:
    """Two components follow one factor; the labels of one are permuted."""
    names, look, factor = _names(rng, 2, 4), _look(rng), _one(rng, factors.FACTORS)
    others = [f for f in factors.FACTORS if f != factor]
    reliable = {name: {_one(rng, others): _round(rng.uniform(0.85, 1.0))} for name in names}
    reliable |= {name: {factor: _round(rng.uniform(0.75, 1.0))} for name in names[:2]}
    config = _study(rng, look, reliable, _even(rng, names))
    values, partner = look["values"], names[1]
    turned = {str(value): (value + 1) % values for value in range(values)}
    config["components"][partner]["transforms"] = {"labels": {"map": turned}}
    return dict(config=config, planted=dict.fromkeys(names[:2], "label conflict"), partner=partner)


def competition(rng) -> dict:
    """A component's own factor, beside one that nearly says the same and decides the labels of all others."""
    names, look, easy = _names(rng, 2, 3), _look(rng), _one(rng, EASY)
    own = _one(rng, [factor for factor in HARD if factor != easy])
    victim = names[0]
    reliable = {name: {easy: 1.0} for name in names}
    reliable[victim] = {easy: _round(rng.uniform(0.88, 0.97)), own: 1.0}
    weights = _with(victim, rng.uniform(0.15, 0.4), _even(rng, names[1:]))
    steps = int(rng.integers(700, 1201))  # direct training has to find the component's own factor
    config = _study(rng, look, _shuffled(rng, reliable), weights, competitor=easy, steps=steps)
    return dict(config=config, planted={victim: "competition"})


def dilution(rng) -> dict:
    """A component of little weight, with a factor of its own."""
    return _rare(rng, "dilution", (0.004, 0.02), _look(rng), _one(rng, factors.FACTORS))


def scarcity(rng) -> dict:
    """Few steps on small batches: of a factor that takes many examples, the mixture draws some hundred."""
    few = dict(steps=int(rng.integers(250, 451)), batch=32)
    return _rare(rng, "scarcity", (0.005, 0.02), _look(rng) | {"values": 4}, _one(rng, ("shape", "texture")), **few)


def _rare(rng, cause: str, weight: tuple[float, float], look: dict, own: str, **train) -> dict:
    names, rare = _names(rng, 2, 4), "c0"
    common = _one(rng, [factor for factor in factors.FACTORS if factor != own])
    reliable = {name: {common: _round(rng.uniform(0.9, 1.0))} for name in names}
    reliable[rare] = {own: _round(rng.uniform(0.95, 1.0))}
    weights = _with(rare, math.exp(rng.uniform(*np.log(weight))), _even(rng, names[1:]))
    config = _study(rng, look, _shuffled(rng, reliable), weights, **train)
    return dict(config=config, planted={rare: cause})


def _study(rng, look: dict, reliable: dict, weights: dict, competitor: str | None = None, **train) -> dict:
    """A study of images; `train` overrides steps and batch."""
    components = {
        name: dict(source=dict(name="factors", reliability=reliability, seed=seed, **look))
        for seed, (name, reliability) in enumerate(reliable.items())
    }
    adam = dict(name="adamw", lr=_one(rng, (0.001, 0.002, 0.004)), weight_decay=0.01)
    sgd = dict(name="sgd", lr=_one(rng, (0.03, 0.05, 0.08)), momentum=0.9, weight_decay=5e-4)
    return dict(
        components=components,
        mixture=dict(weights=weights, label_space="shared", competitor=competitor),
        data=dict(
            image_size=_one(rng, (10, 12, 14, 16)),
            train=4000,
            probe=_one(rng, (800, 1200)),
            val=500,
            test=_one(rng, (1000, 1500)),
            split_seed=int(rng.integers(10**4, 10**6)),
        ),
        model=dict(name="mlp", width=_one(rng, (16, 24, 32, 48, 64)), depth=_one(rng, (2, 3))),
        optimizer=dict(schedule="cosine", warmup=0.05, clip=1.0, **_one(rng, (adam, sgd))),
        train=dict(steps=int(rng.integers(400, 901)), batch=64) | train,
        arms=IMAGE_ARMS + (("randomised",) if competitor else ()),
        **_common(rng),
    )


def _look(rng) -> dict:
    """How images look, and the number of classes."""
    return dict(
        values=_one(rng, (2, 2, 4)),
        noise=_round(rng.uniform(0.06, 0.1)),
        relief=_round(rng.uniform(0.22, 0.3)),
        shading=_round(rng.uniform(0.03, 0.055)),
    )


def _own_factors(rng) -> dict[str, float]:
    chosen = rng.permutation(factors.FACTORS)[: rng.integers(1, 3)].tolist()
    return {factor: _round(rng.uniform(0.75, 1.0)) for factor in chosen}


# Linear networks


def capacity(rng) -> dict:
    """The solvable bottleneck, trained to its end: of J modes it keeps the `width` largest weight * scale."""
    count = int(rng.integers(4, 7))
    width = int(rng.integers(2, count - 1))
    # Four times the width is still far less than the input: what width alone reads must not be called capacity.
    dim, noise = width * int(rng.integers(20, 33)), _round(rng.uniform(0.05, 0.3))
    while True:
        scales, weights = rng.uniform(0.7, 1.3, count), rng.dirichlet(np.full(count, 4.0))
        modes = np.sort(weights * scales)[::-1]
        if modes[width - 1] > KEPT_APART * modes[width] and modes[-1] > 0.03:
            break
    optimizer = dict(name="adamw", lr=0.01, weight_decay=0.0, schedule="cosine")
    config = _linear(rng, scales, weights, dim, noise, width, optimizer, int(rng.integers(2000, 3001)))
    names, kept = list(config["components"]), np.argsort(weights * scales)[::-1][:width]
    readable = scales**2 / (scales**2 + noise**2)
    known = {name: (float(r), float(r) * (j in kept)) for j, (name, r) in enumerate(zip(names, readable))}
    lost = [name for name, (_, mixture) in known.items() if not mixture]
    return dict(config=config, planted=dict.fromkeys(lost, "capacity"), known=known)


def unfinished(rng) -> dict:
    """A linear network wide enough for all modes, and too few steps."""
    count = int(rng.integers(3, 7))
    width = int(rng.integers(count + 1, 2 * count + 2))
    scales, weights = rng.uniform(0.6, 1.2, count), rng.dirichlet(np.full(count, 6.0))
    optimizer = dict(name="sgd", lr=0.05, momentum=0.9, weight_decay=0.0, schedule="cosine", clip=1.0)
    dim, noise = int(rng.integers(20, 33)), _round(rng.uniform(0.1, 0.25))
    config = _linear(rng, scales, weights, dim, noise, width, optimizer, int(rng.integers(35, 101)))
    return dict(config=config, planted=dict.fromkeys(config["components"], "unfinished training"))


def _linear(rng, scales, weights, dim, noise, width, optimizer, steps) -> dict:
    directions = int(rng.integers(1000))
    shared = dict(name="gaussian", dim=dim, outputs=len(scales), noise=noise, seed=directions)
    components = {f"c{j}": dict(source=dict(index=j, scale=float(scale), **shared)) for j, scale in enumerate(scales)}
    return dict(
        components=components,
        mixture=dict(weights={f"c{j}": float(w) for j, w in enumerate(weights)}, label_space="shared"),
        data=dict(train=4000, probe=800, val=400, test=1000, split_seed=int(rng.integers(10**4, 10**6))),
        model=dict(name="mlp", width=width, depth=1, activation="none", use_bias=False),
        objective=dict(name="regression"),
        optimizer=optimizer,
        train=dict(steps=steps, batch=64),
        arms=LINEAR_ARMS,
        **_common(rng),
    )


# What draws share


def _common(rng) -> dict:
    return dict(name="blind", seeds=_one(rng, (3, 4, 5, 5)), probe=dict(protocols=("linear_probe",)))


def _names(rng, least: int, most: int) -> list[str]:
    return [f"c{index}" for index in range(rng.integers(least, most + 1))]


def _even(rng, names) -> dict[str, float]:
    """Weights of one order of magnitude."""
    parts = rng.uniform(0.5, 1.5, len(names))
    return {name: float(part) for name, part in zip(names, parts / parts.sum())}


def _with(name: str, share: float, others: dict[str, float]) -> dict[str, float]:
    """Weights in which one component has this share."""
    return {name: float(share), **{other: weight * (1 - float(share)) for other, weight in others.items()}}


def _shuffled(rng, each: dict) -> dict:
    """In another order, so that no place gives a role away."""
    return {name: each[name] for name in rng.permutation(list(each)).tolist()}


def _one(rng, options):
    return options[rng.integers(len(options))]


def _round(value: float) -> float:
    return round(float(value), 3)


KINDS = {
    "nothing": nothing,
    "label conflict": conflict,
    "competition": competition,
    "dilution": dilution,
    "scarcity": scarcity,
    "capacity": capacity,
    "unfinished training": unfinished,
    "untestable": untestable,
    "mixed": mixed,
}
