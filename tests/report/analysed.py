"""Hand-made rows of a study of five components with every analysis, and of a sweep."""

import functools
import math

from bottleneck.rows import Finding, row
from tests.report import answered
from tests.report.answered import build, of_seed

SEEDS = range(5)
STEPS = (0, 12, 23, 47, 94, 188, 375, 750, 1500)
LAYERS = ("layer1", "layer2", "features")
FACTORS = ("shape", "colour", "texture", "background")
WEIGHTS = {"easy": 0.35, "shadowed": 0.35, "plus": 0.145, "minus": 0.145, "rare": 0.01}
LABELLED = {  # target -> the factor that is its label
    "easy": "colour",
    "shadowed": "texture",
    "plus": "background",
    "minus": "background",
    "rare": "shape",
}
# factor -> shares of the reference by protocol or layer, rung, course over steps, learning verdict, class over seeds
FATES = {
    "colour": (dict(prominent=0.99, linear=1.0, nonlinear=1.0, layer1=0.8, layer2=0.95), "prominent", "learned", "all"),
    "texture": (
        dict(prominent=0.55, linear=0.93, nonlinear=0.97, layer1=0.7, layer2=0.9),
        "linear",
        "still rising",
        "some",
    ),
    "background": (
        dict(prominent=0.2, linear=0.4, nonlinear=0.92, layer1=0.75, layer2=0.6),
        "nonlinear",
        "learned then lost",
        "undecided",
    ),
    "shape": (
        dict(prominent=0.01, linear=0.08, nonlinear=0.1, layer1=0.05, layer2=0.07),
        "nowhere",
        "never learned",
        "none",
    ),
}
RUNGS = ("prominent", "linear", "nonlinear", "earlier", "nowhere")
REFERENCE = 0.97  # bits
ANSWERS = {
    "easy": (0.99, "retained"),
    "shadowed": (0.86, "lost"),
    "plus": (0.26, "lost"),
    "minus": (0.24, "lost"),
    "rare": (0.12, "lost"),
}


def course(fate, step):
    """Bits at a step, of one of the ways things go."""
    x = math.log2(1 + step) / math.log2(1 + STEPS[-1])
    return {
        "learned": min(1.0, 2.2 * x),
        "still rising": 0.93 * x**3,
        "learned then lost": 0.8 * math.sin(2.6 * x) + 0.02,
        "never learned": 0.08 * x,
    }[fate]


def analysed(kind):
    """Functions for the rows of one kind: of a mean over seeds, and of both means and seeds, in bits and accuracy."""
    mean = functools.partial(answered.over_seeds, kind=kind, seeds=len(SEEDS))

    def readings(bits, **at):
        rows = []
        at = {"arm": "mixture", **at}
        for metric, value, unit in (("information", bits, "bits"), ("accuracy", 0.5 + bits / 2, "fraction")):
            rows += [of_seed(metric, value + 0.01 * (seed - 2), seed, unit, kind=kind, **at) for seed in SEEDS]
            rows.append(mean(metric, value, unit, 0.03, **at))
        return rows

    return mean, readings


def known(target):
    """(factor, the factor whose fate it shares) of a target's label and factors."""
    return [(None, LABELLED[target]), *((f, f) for f in FACTORS)]


def untestable(target, factor):
    return factor == "shape" and target != "rare"


def ladder():
    (mean, readings), rows = analysed("ladder"), []
    for target in WEIGHTS:
        for factor, like in known(target):
            shares, word = FATES[like][0], FATES[like][1]
            at, reference = dict(target=target, factor=factor, step=STEPS[-1]), f"direct-{'easy' if factor else target}"
            linear = dict(**at, protocol="linear", layer="features")
            for layer in LAYERS:
                level = shares["linear"] if layer == "features" else shares[layer]
                rows += readings(REFERENCE * level, **{**linear, "layer": layer})
                rows += readings(0.05, **{**linear, "layer": layer, "step": 0}, arm="random")
            for protocol in ("prominent", "nonlinear"):
                rows += readings(REFERENCE * shares[protocol], **{**linear, "protocol": protocol})
            rows += readings(REFERENCE, **linear, arm=reference)
            rows += readings(0.02, **{**at, "step": None}, arm="pixels", protocol="linear")
            rows.append(mean("selectivity", REFERENCE * shares["linear"] - 0.04, "bits", 0.03, **linear))
            if factor:
                rows.append(mean("disjoint_information", REFERENCE * shares["linear"] - 0.1, "bits", 0.03, **linear))
                rows.append(mean("disjoint_accuracy", 0.48 + shares["linear"] / 2, "fraction", 0.03, **linear))
            word = "untestable" if untestable(target, factor) else word
            word = "earlier" if (target, factor) == ("rare", "background") else word
            rows.append(rung(mean, word, like, shares, reference, at))
    return rows


def rung(mean, word, like, shares, reference, at):
    """Where the ladder lands a factor."""
    extra = {
        "rung": word,
        "certain": like != "texture",
        "untrained": None,
        "reference": reference,
        "reference_bits": REFERENCE,
        "entropy": 1.0,
        "shares": {} if word == "untestable" else shares,
        "control": "",
    }
    layer = {"nowhere": None, "untestable": None, "earlier": "layer1"}.get(word, "features")
    number = RUNGS.index(word) if word in RUNGS else None
    return mean("rung", number, None, None, **at, layer=layer, reference=reference, extra=extra)


def steps():
    (mean, readings), rows = analysed("steps"), []
    for target in WEIGHTS:
        for factor, like in known(target):
            fate, at = FATES[like][2], dict(target=target, factor=factor, layer="features")
            for step in STEPS:
                rows += readings(REFERENCE * course(fate, step), **at, protocol="linear", step=step)
            rows.append(learned(mean, fate, untestable(target, factor), at))
        fate = FATES[LABELLED[target]][2]
        for step in STEPS:
            rows += readings(
                0.9 * course(fate, step) - 0.05, target=target, protocol="head", layer="features", step=step
            )
            rows += of_step(mean, target, course(fate, step), step)
    for step in STEPS:
        x = math.log2(1 + step) / math.log2(1 + STEPS[-1])
        for reference, value in (("init", 1 - 0.6 * x), ("last", 0.4 + 0.6 * x), ("seed", 0.3 + 0.5 * x)):
            rows.append(mean("cka", value, None, 0.02, reference=reference, layer="features", step=step))
        for protocol in ("linear", "head"):
            at = dict(protocol=protocol, step=step)
            rows.append(mean("accuracy_balanced", 0.5 + 0.25 * x, "fraction", 0.01, **at))
            rows.append(mean("accuracy_mixed", 0.5 + 0.4 * x, "fraction", 0.01, **at))
            rows.append(mean("accuracy_spread", 0.1 * x, "fraction", 0.01, **at))
    return rows


def learned(mean, fate, nothing, at):
    """When a factor was learned."""
    peak = max(STEPS, key=lambda step: course(fate, step))
    best, last = (REFERENCE * course(fate, step) for step in (peak, STEPS[-1]))
    extra = {
        "verdict": "untestable" if nothing else fate,
        "peak": peak,
        "last": STEPS[-1],
        "peak_bits": best,
        "last_bits": last,
        "init_bits": REFERENCE * course(fate, 0),
        "reference": "direct-easy",
        "reference_bits": REFERENCE,
    }
    at = dict(**at, protocol="linear", step=STEPS[-1], reference="direct-easy")
    return mean("learning", best - last, "bits", 0.03, **at, extra=extra)


def of_step(mean, target, level, step):
    """Accuracies of groups, shapes and similarity of one target at one step."""
    x, at, rows = math.log2(1 + step), dict(target=target, step=step), []
    for protocol in ("linear", "head"):
        group = {"group": "label 1, colour 0"}
        rows.append(mean("accuracy_seed_sd", 0.012, "fraction", None, **at, protocol=protocol))
        worst = mean("accuracy_worst_group", 0.4 + 0.4 * level, "fraction", 0.05, **at, protocol=protocol, extra=group)
        rows.append(worst)
    shapes = dict(effective_rank=60 - 4 * x, participation_ratio=24 - 2 * x, class_separation=0.3 * level)
    rows += [mean(metric, value, None, 0.02 * value, **at, layer="features") for metric, value in shapes.items()]
    rows.append(mean("cka", 0.5 * level, None, 0.02, **at, reference="direct", layer="features"))
    return rows


def gradients():
    (mean, _), rows = analysed("gradients"), []
    for target in WEIGHTS:
        for step in STEPS:
            level, at = course(FATES[LABELLED[target]][2], step), dict(target=target, step=step)
            rows.append(mean("gradient_norm", 2.5 * math.exp(-0.2 * math.log2(1 + step) * level), None, 0.1, **at))
            cosine = 0.8 * (2 * level - 0.6)
            others = ("mixture", *(t for t in WEIGHTS if t < target))
            rows += [mean("gradient_cosine", cosine, None, 0.05, **at, reference=other) for other in others]
    return rows


def seeds():
    (mean, _), rows = analysed("seeds"), []
    of_class = {
        "all": (0.07,) * 5,
        "some": (0.2, 0.15, -0.2, -0.15, 0.01),
        "undecided": (-0.02, 0.03, -0.2, 0.02, -0.01),
        "none": (-0.8,) * 5,
    }
    for target in WEIGHTS:
        for factor, like in known(target):
            shares, word = FATES[like][0], FATES[like][3]
            evidence = [value + 0.01 * seed for seed, value in enumerate(of_class[word])]
            at = dict(target=target, factor=factor, protocol="linear", layer="features", step=STEPS[-1])
            for seed, value in enumerate(evidence):
                ci95 = [value - 0.05, value + 0.05]
                rows.append(of_seed("evidence", value, seed, kind="seeds", arm="mixture", **at, ci95=ci95))
            kept, lost = sum(v > 0.05 for v in evidence), sum(v < -0.05 for v in evidence)
            extra = {"class": word, "retained": kept, "lost": lost, "undecided": 5 - kept - lost, "seed_sd": 0.04}
            rows.append(mean("evidence", sum(evidence) / 5, "bits", 0.1, **at, extra=extra))
            for arm, gain in (("mixture", 0.06), ("random", 0.01)):
                rows.append(mean("concatenated", REFERENCE * shares["linear"] + gain, "bits", 0.03, **at, arm=arm))
                rows.append(mean("concatenated_gain", gain, "bits", 0.03, **at, arm=arm))
    return rows


def pair(reference, a, b, x, y, value, target=None):
    """One comparison of two representations, with its record."""
    record = {
        "se": 0.01,
        "n": 1500,
        "batch_size": 64,
        "pooled": 0.9,
        "null_mean": 0.0,
        "null_sd": 0.012,
        "floors": {"random init": 0.34, "pooled input": 0.21},
        "ceiling": 0.81,
        "r2_ab": 0.7,
        "r2_ba": 0.6,
        "procrustes": 0.8,
        "detection_limit": 0.2,
    }
    at = dict(arm="mixture", seed=int(a[len("mixture/")]), reference=reference, target=target, members=[a, b])
    at |= dict(ci95=[value - 0.02, value + 0.02], ci_unit="minibatches", n_examples=1500, n_seeds=1)
    return row(Finding("cka", value, None, {**at, "extra": {"x": x, "y": y, "record": record}}), "cka", 1)


def cka():
    rows = []
    for i, first in enumerate(LAYERS):
        for j, second in enumerate(LAYERS[i + 1 :], i + 1):
            names = (f"mixture/0@1500:{first}", f"mixture/0@1500:{second}")
            rows.append(pair("layers", *names, first, second, 1 - 0.2 * (j - i)))
    for i, first in enumerate(STEPS):
        for j, second in enumerate(STEPS[i + 1 :], i + 1):
            names = (f"mixture/0@{first}:features", f"mixture/0@{second}:features")
            rows.append(pair("steps", *names, str(first), str(second), 1 - 0.09 * (j - i)))
    for i in SEEDS:
        for j in SEEDS[i + 1 :]:
            names = (f"mixture/{i}@1500:features", f"mixture/{j}@1500:features")
            rows.append(pair("seeds", *names, f"seed {i}", f"seed {j}", 0.78 - 0.01 * j))
    for name in WEIGHTS:
        for i in SEEDS:
            names = (f"mixture/{i}@1500:features", f"direct-{name}/{i}@700:features")
            rows.append(pair("direct", *names, "mixture", f"direct-{name}", 0.2 + 0.5 * WEIGHTS[name] + 0.01 * i, name))
    return rows


def relatedness():
    (_, readings), rows = analysed("relatedness"), []
    for first in WEIGHTS:
        for second in WEIGHTS:
            level = 0.6 if {first, second} == {"easy", "shadowed"} else 0.03
            level = REFERENCE if first == second or {first, second} == {"plus", "minus"} else level
            at = dict(arm=f"direct-{first}", reference=first, target=second, protocol="linear", layer="features")
            rows += readings(level, **at)
    for predictor, value, p in (
        ("weighted mean of the other components", -0.7, 0.19),
        ("best other component", -0.2, 0.73),
    ):
        extra = {"predictor": predictor, "p": p, "n": 5}
        rows.append(answered.over_seeds("relatedness", value, None, None, seeds=None, reference="direct", extra=extra))
    return rows


def recovery():
    (mean, _), rows = analysed("recovery"), []
    for target in WEIGHTS:
        for arm, speed in {"direct": 0.03, "mixture": 0.02, "random": 0.008}.items():
            at = dict(arm=arm, target=target, protocol="finetune")
            for examples in (20, 80, 320, 8000):
                for step in (12, 25, 50, 100, 200) if examples == 8000 else (200,):
                    level = REFERENCE * (1 - math.exp(-speed * step)) * min(1.0, math.log2(examples) / 10)
                    rows.append(mean("information", level, "bits", 0.03, **at, step=step, extra={"examples": examples}))
            rows.append(mean("recovery", 40 / speed / 20, "steps", None, **at))
            rows.append(mean("recovery", 900.0 if arm != "random" else None, "examples", None, **at))
            if arm != "random":
                at |= dict(reference="random")
                rows.append(mean("saved", 1.2, "log2 steps", 0.5, **at, extra={"at_least": 0.7, "at_most": 1.2}))
                bounds = dict(ci95=[0.3, None], extra={"at_least": 0.7, "at_most": None})
                rows.append(mean("saved", None, "log2 examples", **at, **bounds))
    return rows


def sweep(target="rare", arms=False):
    """The gap at five weights by two widths, and its slope over the weight; with `arms` their levels and its parts."""
    at = dict(kind="sweep", target=target, reference="direct", protocol="linear_probe", seeds=5)
    rows = []
    for weight in (0.01, 0.02, 0.04, 0.08, 0.16):
        for width in (32, 128):
            point, value = {"mixture.weights.rare": weight, "model.width": width}, 0.1 - 0.1 * math.log2(4 * weight)
            rows.append(answered.over_seeds("gap", value, "bits", 0.05, point=point, **at))
            rows.append(answered.over_seeds("gap", 50 * value, "points", 2.5, point=point, **at))
            for arm, level in dict(direct=1.0, mixture=1.0 - value, alone=1.0 - value / 4).items() if arms else ():
                where = {**at, "reference": None, "arm": arm, "point": point}
                rows.append(answered.over_seeds("information", level, "bits", 0.05, **where))
            for part, share in dict(exposure=0.25, interference=0.75).items() if arms else ():
                rows.append(answered.over_seeds(part, share * value, "bits", 0.05, point=point, **at))
    extra = {"axis": "mixture.weights.rare", "adjusted_p": 0.004, "lack_of_fit": 0.6}
    rows.append(answered.over_seeds("slope", -0.1, "bits per doubling", 0.02, extra=extra, **at))
    for part, share in dict(exposure=0.25, interference=0.75).items() if arms else ():
        of = {**extra, "measure": part}
        rows.append(answered.over_seeds("slope", -0.1 * share, "bits per doubling", 0.02, extra=of, **at))
    return rows


ANALYSES = {
    "ladder": ladder,
    "steps": steps,
    "gradients": gradients,
    "seeds": seeds,
    "cka": cka,
    "relatedness": relatedness,
    "recovery": recovery,
}


def build_analysed(kinds=tuple(ANALYSES), **options):
    """Rows of a study of five components with these analyses."""
    levels = {
        t: dict(direct=0.98, mixture=bits, alone=0.99 if t == "shadowed" else 0.9, balanced=0.5, heads=0.9)
        for t, (bits, _) in ANSWERS.items()
    }
    verdicts = {t: verdict for t, (_, verdict) in ANSWERS.items()}
    main = build(seeds=5, levels_of=levels, verdicts=verdicts, outside=(), **options)
    return [*main, *({**r} for kind in kinds for r in rows_of(kind))]


@functools.cache
def rows_of(kind):
    return ANALYSES[kind]()
