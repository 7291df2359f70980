"""Hand-made rows of a small study's answer, as the stages would leave them."""

from bottleneck.rows import Finding, row

VERDICTS = {"left": "lost", "right": "retained", "noise": "untestable", "beyond": "inconclusive"}
BITS = {
    "left": dict(direct=0.9, mixture=0.1, alone=0.7, balanced=0.2, heads=0.85),
    "right": dict(direct=0.9, mixture=0.88, alone=0.93, balanced=0.89, heads=0.9),
    "noise": dict(direct=0.0, mixture=0.0, alone=0.0, balanced=0.0, heads=0.0),
    "beyond": dict(direct=0.9, mixture=0.8, heads=0.85),
}
CAUSES = (  # arm, cause, share, status, evidence, reason, factor
    ("balanced", "dilution", 0.125, "ruled out", "its weight raised from 0.01 to 0.2 restores 12%", "", None),
    ("heads", "label conflict", 0.9375, "named", "a head per component restores 94%", "", None),
    ("randomised", "competition", 0.55, "likely", "randomising it restores 55%", "", "colour"),
    ("longer", "unfinished training", None, "not asked", "", "training had ended", None),
)


def over_seeds(metric, value, unit="bits", half=0.04, *, kind="answer", seeds=3, extra=None, **at):
    """A mean over seeds with its interval; half=None for a number without one."""
    at = {"study": "small", "arm": "mixture", "n_seeds": seeds, "n_examples": 1500, "extra": extra, **at}
    if half is not None and value is not None:
        at |= {"ci95": [value - half, value + half], "ci_unit": "seeds and items"}
    return row(Finding(metric, value, unit, at), kind, 1)


def of_seed(metric, value, seed, unit="bits", *, kind="probe", **at):
    """A number of one seed, with an interval over its test items."""
    at = {"study": "small", "seed": seed, "n_seeds": 1, "n_examples": 1500, "label_space": "shared", **at}
    return row(Finding(metric, value, unit, {"ci95": [value - 0.1, value + 0.1], "ci_unit": "items", **at}), kind, 1)


def build(
    *,
    seeds=3,
    arms=("direct", "mixture", "alone", "balanced", "heads"),
    unit="bits",
    outside=("beyond",),
    representations=(),
    foreign=(),
    batchnorm=False,
    levels_of=BITS,
    verdicts=VERDICTS,
):
    """Rows of four targets: left is lost, right retained, noise untestable; beyond, outside, inconclusive."""
    rows = []
    for target, levels in levels_of.items():
        levels = {arm: level for arm, level in levels.items() if arm in arms} | {"random": 0.05, "pixels": 0.02}
        common = dict(target=target, protocol="linear_probe")
        rows += readings({**levels, **dict.fromkeys(foreign, 0.5)}, unit, seeds, common)
        for subject in ("mixture", *foreign):
            level = {**levels, **dict.fromkeys(foreign, 0.5)}[subject]
            rows += gap(
                levels["direct"], level, unit, seeds, verdicts[target], target in outside, arm=subject, **common
            )
        if "alone" in levels:
            rows += split(levels, unit, seeds, batchnorm, target)
        if verdicts[target] == "lost":
            rows += restored(levels["direct"] - levels["mixture"], unit, seeds, arms, common)
        for name, steps, gain in representations:
            rows += declared(name, steps, gain, levels["mixture"], unit, common)
    return rows


def readings(levels, unit, seeds, common):
    """What every arm reads: means, and every seed's probes, one scaling chosen and one not."""
    rows = []
    for arm, level in levels.items():
        for metric, value, of in (("information", level, unit), ("accuracy", 0.5 + level / 2, "fraction")):
            if unit == "r2" and metric == "accuracy":
                continue
            at = dict(arm=arm, train_steps=700, **common)
            rows.append(over_seeds(metric, value, of, seeds=seeds, **at))
            for seed in range(seeds):
                chosen = dict(scaling="raw", component_examples=4321, extra={"chosen": True, "at_edge": ""})
                rows.append(of_seed(metric, value + 0.01 * seed, seed, of, **chosen, **at))
                rows.append(of_seed(metric, 0.123, seed, of, scaling="whitened", extra={"chosen": False}, **at))
    return rows


def gap(direct, level, unit, seeds, verdict, outside, *, arm, target, protocol):
    """A gap with its verdict, in points too, and its distance from the margin."""
    contrast = dict(arm=arm, reference="direct", target=target, protocol=protocol, seeds=seeds)
    who = target if arm == "mixture" else f"{target} in {arm}"
    extra = {
        "verdict": verdict,
        "sentence": f"{who} is {verdict}: it reads so & so.",
        "margin": 0.9,
        "adjusted_p": None if verdict == "untestable" else 0.01,
        "outside": outside,
        "causes": ["label conflict"] if verdict == "lost" else [],
        "saturated": False,
        "provisional": seeds < 4,
    }
    points = [over_seeds("gap", 50 * (direct - level), "points", 2.0, **contrast)] if unit == "bits" else []
    return [
        over_seeds("gap", direct - level, unit, extra=extra, **contrast),
        over_seeds("margin", 0.9 * direct - level, unit, **contrast),
        *points,
    ]


def split(levels, unit, seeds, batchnorm, target):
    """Exposure and interference, and under BatchNorm normalisation, which takes 0.1 from interference."""
    protocol, apart = ("linear_probe_bn", 0.1) if batchnorm else ("linear_probe", 0.0)
    parts = [
        ("exposure", levels["direct"] - levels["alone"], "alone", "direct", protocol),
        ("interference", levels["alone"] - levels["mixture"] - apart, "mixture", "alone", protocol),
        *([("normalisation", apart, "mixture", "direct", None)] if batchnorm else []),
    ]
    return [
        over_seeds(
            name,
            scale * value,
            of,
            seeds=seeds,
            arm=arm,
            reference=reference,
            target=target,
            protocol=at,
            extra={"holds": "Exposure holds few draws."} if name == "exposure" else None,
        )
        for name, value, arm, reference, at in parts
        for of, scale in ((unit, 1), ("points", 50))
    ]


def restored(gap, unit, seeds, arms, common):
    """What the interventions restore of a lost target's gap: all that are known, where any was run."""
    return [
        over_seeds(
            "restored",
            None if share is None else share * gap,
            unit,
            seeds=seeds,
            arm=arm,
            reference="mixture",
            factor=factor,
            extra={"cause": cause, "share": share, "status": status, "evidence": evidence, "reason": reason},
            **common,
        )
        for arm, cause, share, status, evidence, reason, factor in CAUSES
        if "heads" in arms
    ]


def declared(name, steps, gain, level, unit, common):
    """A representation beside its control."""
    note = "1 member set: an interval, no verdict (needs 5); direct at ceiling"
    pair = [
        over_seeds("information", level + gain, unit, seeds=1, arm=arm, train_steps=steps, **common)
        for arm in (name, f"{name}|direct")
    ]
    gains = (("gain", gain), ("control_gain", gain / 4), ("excess_gain", 0.75 * gain))
    extra = {"verdict": "", "note": note}
    return [*pair, *(over_seeds(m, value, unit, seeds=1, arm=name, extra=extra, **common) for m, value in gains)]
