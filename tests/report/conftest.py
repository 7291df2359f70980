"""Hand-made rows of a small study, as the stages would leave them, and of one with every analysis."""

import functools
import math

import pytest

from bottleneck.report import html
from bottleneck.rows import row

VERDICTS = {"left": "lost", "right": "retained", "noise": "untestable", "beyond": "inconclusive"}
BITS = {
    "left": dict(direct=0.9, mixture=0.1, matched=0.8, heads=0.85),
    "right": dict(direct=0.9, mixture=0.88, matched=0.89, heads=0.9),
    "noise": dict(direct=0.0, mixture=0.0, matched=0.0, heads=0.0),
    "beyond": dict(direct=0.9, mixture=0.8, heads=0.85),
}


def over_seeds(value, half=0.04, *, seeds=3, **keys):
    return row(
        study="small",
        split="test",
        selected_on="val",
        seed="all",
        value=value,
        n_seeds=seeds,
        ci95=[value - half, value + half],
        ci_unit="seeds and items",
        n_examples=1500,
        **keys,
    )


def of_seed(value, seed, **keys):
    return row(
        study="small",
        split="test",
        selected_on="val",
        seed=seed,
        value=value,
        n_seeds=1,
        ci95=[value - 0.1, value + 0.1],
        ci_unit="items",
        n_examples=1500,
        label_space="shared",
        **keys,
    )


def build(
    *,
    seeds=3,
    arms=("direct", "mixture", "matched", "heads"),
    unit="bits",
    outside=("beyond",),
    representations=(),
    levels_of=BITS,
    verdicts=VERDICTS,
):
    """Rows of four targets: left is lost, right retained, noise untestable; beyond, outside, inconclusive."""
    found = []
    for target, levels in levels_of.items():
        levels = {**levels, "random": 0.05, "pixels": 0.02}
        for arm in (*arms, "random", "pixels"):
            if arm not in levels:
                continue
            for metric, value in ((unit, levels[arm]), ("accuracy", 0.5 + levels[arm] / 2)):
                if unit == "r2" and metric == "accuracy":
                    continue
                common = dict(arm=arm, target=target, protocol="linear_probe", metric=metric, train_steps=700)
                found.append(over_seeds(value, seeds=seeds, **common))
                for seed in range(seeds):
                    found.append(
                        of_seed(
                            value + 0.01 * seed,
                            seed,
                            scaling="raw",
                            component_examples=4321,
                            extra={"chosen": True, "at_edge": ""},
                            **common,
                        )
                    )
                    found.append(of_seed(0.123, seed, scaling="whitened", **common, extra={"chosen": False}))
        contrast = dict(arm="mixture", reference="direct", target=target, protocol="linear_probe")
        gap, verdict = levels["direct"] - levels["mixture"], verdicts[target]
        found.append(
            over_seeds(
                gap,
                seeds=seeds,
                **contrast,
                metric=f"gap_{unit}",
                extra={
                    "verdict": verdict,
                    "sentence": f"{target} is {verdict}: it reads so & so.",
                    "margin": 0.9,
                    "adjusted_p": None if verdict == "untestable" else 0.01,
                    "outside": target in outside,
                    "causes": ["label conflict"] if verdict == "lost" else [],
                    "saturated": False,
                    "provisional": seeds < 4,
                },
            )
        )
        margin = gap - 0.1 * levels["direct"]
        found.append(over_seeds(margin, seeds=seeds, **contrast, metric=f"margin_{unit}"))
        if unit == "bits":
            found.append(over_seeds(50 * gap, 2.0, seeds=seeds, **contrast, metric="gap_points"))
        for arm, cause, share, status in (
            ("matched", "dilution", 0.125, "ruled out"),
            ("heads", "label conflict", 0.9375, "named"),
        ):
            if verdict == "lost" and arm in arms:
                found.append(
                    over_seeds(
                        share * gap,
                        seeds=seeds,
                        arm=arm,
                        reference="mixture",
                        target=target,
                        protocol="linear_probe",
                        metric=f"restored_{unit}",
                        extra={"cause": cause, "share": share, "status": status},
                    )
                )
        for name, steps, gain in representations:
            note = "1 member set: an interval, no verdict (needs 5); direct at ceiling"
            common = dict(seeds=1, target=target, protocol="linear_probe")
            for arm in (name, f"{name}|direct"):
                level = levels["mixture"] + gain
                found.append(over_seeds(level, arm=arm, metric=unit, train_steps=steps, **common))
            for kind, value in (("gain", gain), ("control_gain", gain / 4), ("excess_gain", 0.75 * gain)):
                found.append(
                    over_seeds(value, arm=name, metric=f"{kind}_{unit}", **common, extra={"verdict": "", "note": note})
                )
    return found


# A study with every analysis

SEEDS = range(5)
STEPS = (0, 12, 23, 47, 94, 188, 375, 750, 1500)
LAYERS = ("layer1", "layer2", "features")
FACTORS = ("shape", "colour", "texture", "background")
WEIGHTS = {"easy": 0.35, "shadowed": 0.35, "plus": 0.145, "minus": 0.145, "rare": 0.01}
OWN = {
    "easy": "colour",
    "shadowed": "texture",
    "plus": "background",
    "minus": "background",
    "rare": "shape",
}  # the label's factor
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
ENTROPY, REFERENCE = 1.0, 0.97


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
    """Functions for the rows of one analysis: over seeds, of one seed, and both at once for bits and accuracy."""

    def whole(value, half=0.03, *, extra=None, **keys):
        return over_seeds(
            value, half, seeds=len(SEEDS), **{"arm": "mixture", **keys}, extra={"analysis": kind, **(extra or {})}
        )

    def readings(bits, **keys):
        found = []
        for metric, value in (("bits", bits), ("accuracy", 0.5 + bits / 2)):
            found += [
                {
                    **of_seed(value + 0.01 * (seed - 2), seed, **{"arm": "mixture", **keys}, metric=metric),
                    "extra": {"analysis": kind},
                }
                for seed in SEEDS
            ]
            found.append(whole(value, metric=metric, **keys))
        return found

    return whole, readings


def known(target):
    """(factor, the factor whose fate it shares) of a target's label and factors."""
    return [(None, OWN[target]), *((f, f) for f in FACTORS)]


def ladder():
    (whole, readings), found = analysed("ladder"), []
    for target in WEIGHTS:
        for factor, like in known(target):
            shares, rung, _, _ = FATES[like]
            key, reference = (
                dict(target=target, factor=factor, step=STEPS[-1]),
                f"direct-{'easy' if factor else target}",
            )
            untestable = factor == "shape" and target != "rare"
            for layer in LAYERS:
                level = shares["linear"] if layer == "features" else shares[layer]
                found += readings(REFERENCE * level, **key, protocol="linear", layer=layer)
                found += readings(0.05, **{**key, "step": 0}, arm="random", protocol="linear", layer=layer)
            for protocol in ("prominent", "nonlinear"):
                found += readings(REFERENCE * shares[protocol], **key, protocol=protocol, layer="features")
            found += readings(REFERENCE, **key, arm=reference, protocol="linear", layer="features")
            found += readings(0.02, **{**key, "step": None}, arm="pixels", protocol="linear")
            found.append(
                whole(
                    REFERENCE * shares["linear"] - 0.04,
                    **key,
                    protocol="linear",
                    layer="features",
                    metric="selectivity_bits",
                )
            )
            if factor:
                found += [
                    whole(
                        REFERENCE * shares["linear"] - 0.1,
                        **key,
                        protocol="linear",
                        layer="features",
                        metric="disjoint_bits",
                    ),
                    whole(
                        0.48 + shares["linear"] / 2,
                        **key,
                        protocol="linear",
                        layer="features",
                        metric="disjoint_accuracy",
                    ),
                ]
            word = "untestable" if untestable else "earlier" if (target, factor) == ("rare", "background") else rung
            found.append(
                row(
                    **{
                        **whole(
                            0.0,
                            **key,
                            metric="rung",
                            reference=reference,
                            extra={
                                "rung": word,
                                "certain": like != "texture",
                                "untrained": None,
                                "reference": reference,
                                "reference_bits": REFERENCE,
                                "entropy": ENTROPY,
                                "shares": {} if untestable else shares,
                            },
                        ),
                        "value": RUNGS.index(word) if word in RUNGS else None,
                        "ci95": None,
                        "layer": None
                        if word in ("nowhere", "untestable")
                        else "layer1"
                        if word == "earlier"
                        else "features",
                    }
                )
            )
    return found


def steps():
    (whole, readings), found = analysed("steps"), []
    for target in WEIGHTS:
        for factor, like in known(target):
            fate, key = FATES[like][2], dict(target=target, factor=factor, layer="features")
            untestable = factor == "shape" and target != "rare"
            for step in STEPS:
                found += readings(REFERENCE * course(fate, step), **key, protocol="linear", step=step)
            peak = max(STEPS, key=lambda step: course(fate, step))
            best, last = (REFERENCE * course(fate, step) for step in (peak, STEPS[-1]))
            found.append(
                whole(
                    best - last,
                    **key,
                    protocol="linear",
                    step=STEPS[-1],
                    metric="learning",
                    reference="direct-easy",
                    extra={
                        "verdict": "untestable" if untestable else fate,
                        "peak": peak,
                        "last": STEPS[-1],
                        "peak_bits": best,
                        "last_bits": last,
                        "init_bits": REFERENCE * course(fate, 0),
                        "reference": "direct-easy",
                        "reference_bits": REFERENCE,
                        "rise": 0.1,
                        "rise_ci": [0.05, 0.15],
                    },
                )
            )
        fate = FATES[OWN[target]][2]
        for step in STEPS:
            level, x = course(fate, step), math.log2(1 + step)
            found += readings(0.9 * level - 0.05, target=target, protocol="head", layer="features", step=step)
            for protocol in ("linear", "head"):
                found.append(
                    row(
                        **{
                            **whole(0.012, target=target, protocol=protocol, step=step, metric="accuracy_seed_sd"),
                            "ci95": None,
                        }
                    )
                )
                found.append(
                    whole(
                        0.4 + 0.4 * level,
                        0.05,
                        target=target,
                        protocol=protocol,
                        step=step,
                        metric="accuracy_worst_group",
                        extra={"group": "label 1, colour 0"},
                    )
                )
            for metric, value in (
                ("effective_rank", 60 - 4 * x),
                ("participation_ratio", 24 - 2 * x),
                ("class_separation", 0.3 * level),
            ):
                found.append(whole(value, 0.02 * value, target=target, layer="features", step=step, metric=metric))
            found.append(whole(2.5 * math.exp(-0.2 * x * level), 0.1, target=target, step=step, metric="gradient_norm"))
            for reference in ("mixture", *(t for t in WEIGHTS if t < target)):
                found.append(
                    whole(
                        0.8 * (2 * level - 0.6),
                        0.05,
                        target=target,
                        reference=reference,
                        step=step,
                        metric="gradient_cosine",
                    )
                )
            found.append(
                whole(0.5 * level, 0.02, target=target, reference="direct", layer="features", step=step, metric="cka")
            )
    for step in STEPS:
        x = math.log2(1 + step) / math.log2(1 + STEPS[-1])
        for reference, value in (("init", 1 - 0.6 * x), ("last", 0.4 + 0.6 * x), ("seed", 0.3 + 0.5 * x)):
            found.append(whole(value, 0.02, reference=reference, layer="features", step=step, metric="cka"))
        for protocol in ("linear", "head"):
            for metric, value in (
                ("accuracy_balanced", 0.5 + 0.25 * x),
                ("accuracy_mixed", 0.5 + 0.4 * x),
                ("accuracy_spread", 0.1 * x),
            ):
                found.append(whole(value, 0.01, protocol=protocol, step=step, metric=metric))
    return found


def seeds():
    (whole, _), found = analysed("seeds"), []
    for target in WEIGHTS:
        for factor, like in known(target):
            shares, _, _, verdict = FATES[like]
            evidence = {
                "all": (0.07,) * 5,
                "some": (0.2, 0.15, -0.2, -0.15, 0.01),
                "undecided": (-0.02, 0.03, -0.2, 0.02, -0.01),
                "none": (-0.8,) * 5,
            }[verdict]
            evidence = [value + 0.01 * seed for seed, value in enumerate(evidence)]
            key = dict(target=target, factor=factor, protocol="linear", layer="features", step=STEPS[-1])
            for seed, value in enumerate(evidence):
                found.append(
                    {
                        **of_seed(value, seed, arm="mixture", **key, metric="evidence_bits"),
                        "ci95": [value - 0.05, value + 0.05],
                        "extra": {"analysis": "seeds"},
                    }
                )
            kept, lost = sum(v > 0.05 for v in evidence), sum(v < -0.05 for v in evidence)
            found.append(
                whole(
                    sum(evidence) / 5,
                    0.1,
                    **key,
                    metric="evidence_bits",
                    extra={
                        "class": verdict,
                        "retained": kept,
                        "lost": lost,
                        "undecided": 5 - kept - lost,
                        "seed_sd": 0.04,
                        "seed_sd_ci": [0.02, 0.1],
                    },
                )
            )
            for arm, gain in (("mixture", 0.06), ("random", 0.01)):
                found += [
                    whole(REFERENCE * shares["linear"] + gain, **key, arm=arm, metric="concatenated_bits"),
                    whole(gain, **key, arm=arm, metric="concatenated_gain_bits"),
                ]
    return found


def cka():
    found = []

    def pair(reference, a, b, x, y, value, target=None):
        record = {
            "a": a,
            "b": b,
            "value": value,
            "one_minus": 1 - value,
            "ci95": [value - 0.02, value + 0.02],
            "se": 0.01,
            "dof": 30.0,
            "estimator": "linear, debiased",
            "n": 1500,
            "p1": 128,
            "p2": 128,
            "batch_size": 64,
            "batches": 23,
            "pooled": 0.9,
            "null_mean": 0.0,
            "null_sd": 0.012,
            "z": value / 0.012,
            "floors": {"random init": 0.34, "pooled input": 0.21},
            "ceiling": 0.81,
            "lambda1_share": [0.4, 0.4],
            "effective_dims": [5.0, 5.0],
            "max_example_share": [0.01, 0.01],
            "without_top": value,
            "r2_ab": 0.7,
            "r2_ba": 0.6,
            "procrustes": 0.8,
            "detection_limit": 0.2,
            "ids_sha256": "00",
            "dtype": ["float32"] * 2,
            "eval_mode": True,
            "spatial": "vectors",
        }
        found.append(
            row(
                study="small",
                split="test",
                seed=int(a[len("mixture/")]),
                arm="mixture",
                metric="cka",
                reference=reference,
                target=target,
                members=[a, b],
                value=value,
                ci95=[value - 0.02, value + 0.02],
                ci_unit="minibatches",
                n_examples=1500,
                n_seeds=1,
                extra={"analysis": "cka", "x": x, "y": y, "record": record},
            )
        )

    for i, first in enumerate(LAYERS):
        for second in LAYERS[i + 1 :]:
            pair(
                "layers",
                f"mixture/0@1500:{first}",
                f"mixture/0@1500:{second}",
                first,
                second,
                1 - 0.2 * (LAYERS.index(second) - i),
            )
    for i, first in enumerate(STEPS):
        for second in STEPS[i + 1 :]:
            pair(
                "steps",
                f"mixture/0@{first}:features",
                f"mixture/0@{second}:features",
                str(first),
                str(second),
                1 - 0.09 * (STEPS.index(second) - i),
            )
    for i in SEEDS:
        for j in SEEDS[i + 1 :]:
            pair(
                "seeds",
                f"mixture/{i}@1500:features",
                f"mixture/{j}@1500:features",
                f"seed {i}",
                f"seed {j}",
                0.78 - 0.01 * j,
            )
    for name in WEIGHTS:
        for i in SEEDS:
            pair(
                "direct",
                f"mixture/{i}@1500:features",
                f"direct-{name}/{i}@700:features",
                "mixture",
                f"direct-{name}",
                0.2 + 0.5 * WEIGHTS[name] + 0.01 * i,
                name,
            )
    return found


def relatedness():
    (whole, readings), found = analysed("relatedness"), []
    for i, first in enumerate(WEIGHTS):
        for j, second in enumerate(WEIGHTS):
            bits = (
                REFERENCE
                if i == j or {first, second} == {"plus", "minus"}
                else 0.6
                if {first, second} == {"easy", "shadowed"}
                else 0.03
            )
            found += readings(
                bits, arm=f"direct-{first}", reference=first, target=second, protocol="linear", layer="features"
            )
    for predictor, value, p in (
        ("weighted mean of the other components", -0.7, 0.19),
        ("best other component", -0.2, 0.73),
    ):
        found.append(
            row(
                **{
                    **whole(
                        value,
                        reference="direct",
                        protocol="linear",
                        metric="relatedness_spearman",
                        extra={"predictor": predictor, "p": p, "n": 5},
                    ),
                    "ci95": None,
                    "n_seeds": None,
                }
            )
        )
    return found


def recovery():
    (whole, _), found = analysed("recovery"), []
    rate = {"direct": 0.03, "mixture": 0.02, "random": 0.008}
    for target in WEIGHTS:
        for arm, speed in rate.items():
            for examples in (20, 80, 320, 8000):
                for step in (12, 25, 50, 100, 200) if examples == 8000 else (200,):
                    level = REFERENCE * (1 - math.exp(-speed * step)) * min(1.0, math.log2(examples) / 10)
                    found.append(
                        whole(
                            level,
                            arm=arm,
                            target=target,
                            protocol="finetune",
                            metric="bits",
                            step=step,
                            extra={"examples": examples},
                        )
                    )
            for unit, value in (("steps", 40 / speed / 20), ("examples", 900.0 if arm != "random" else None)):
                found.append(
                    row(
                        **{
                            **whole(
                                value or 0.0,
                                arm=arm,
                                target=target,
                                protocol="finetune",
                                metric=f"{unit}_to_recover",
                                extra={"censored": 0 if value else 5},
                            ),
                            "value": value,
                            "ci95": None,
                        }
                    )
                )
                if arm != "random":
                    common = dict(
                        arm=arm, reference="random", target=target, protocol="finetune", metric=f"log2_{unit}_saved"
                    )
                    known = unit == "steps"
                    found.append(
                        row(
                            **{
                                **whole(1.2, 0.5, **common, extra={"at_least": 0.7, "at_most": 1.2 if known else None}),
                                **({} if known else {"value": None, "ci95": [0.3, None]}),
                            }
                        )
                    )
    return found


ANALYSES = {
    "ladder": ladder,
    "steps": steps,
    "seeds": seeds,
    "cka": cka,
    "relatedness": relatedness,
    "recovery": recovery,
}
ANSWERS = {
    "easy": (0.99, "retained"),
    "shadowed": (0.86, "lost"),
    "plus": (0.26, "lost"),
    "minus": (0.24, "lost"),
    "rare": (0.12, "lost"),
}


def build_analysed(kinds=tuple(ANALYSES), **options):
    """Rows of a study of five components with these analyses."""
    levels = {t: dict(direct=0.98, mixture=bits, matched=0.9, heads=0.9) for t, (bits, _) in ANSWERS.items()}
    main = build(
        seeds=5, levels_of=levels, verdicts={t: verdict for t, (_, verdict) in ANSWERS.items()}, outside=(), **options
    )
    return [*main, *({**r} for kind in kinds for r in rows_of(kind))]


@functools.cache
def rows_of(kind):
    return ANALYSES[kind]()


@pytest.fixture
def study():
    return build


@pytest.fixture(scope="session")
def analysed_rows():
    """Rows of a study with every analysis; not to be changed."""
    return build_analysed(representations=(("cat5", 3500, 0.08),))


@pytest.fixture(scope="session")
def content(analysed_rows):
    """What its report shows, drawn once for all tests."""
    return html.read(analysed_rows)


@pytest.fixture
def with_analyses():
    return build_analysed
