"""Hand-made rows of a small study, as the stages would leave them."""
import pytest

from bottleneck.rows import row

VERDICTS = {"left": "lost", "right": "retained", "noise": "untestable", "beyond": "inconclusive"}
BITS = {"left": dict(direct=0.9, mixture=0.1, matched=0.8, heads=0.85),
        "right": dict(direct=0.9, mixture=0.88, matched=0.89, heads=0.9),
        "noise": dict(direct=0.0, mixture=0.0, matched=0.0, heads=0.0),
        "beyond": dict(direct=0.9, mixture=0.8, heads=0.85)}


def over_seeds(value, half=0.04, *, seeds=3, **keys):
    return row(study="small", split="test", selected_on="val", seed="all", value=value, n_seeds=seeds,
               ci95=[value - half, value + half], ci_unit="seeds and items", n_examples=1500, **keys)


def of_seed(value, seed, **keys):
    return row(study="small", split="test", selected_on="val", seed=seed, value=value, n_seeds=1,
               ci95=[value - 0.1, value + 0.1], ci_unit="items", n_examples=1500, label_space="shared",
               **keys)


def build(*, seeds=3, arms=("direct", "mixture", "matched", "heads"), unit="bits", outside=("beyond",),
          representations=()):
    """Rows of four targets: left is lost, right retained, noise untestable; beyond, outside, inconclusive."""
    found = []
    for target, levels in BITS.items():
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
                    found.append(of_seed(value + 0.01 * seed, seed, scaling="raw", component_examples=4321,
                                         extra={"chosen": True, "at_edge": ""}, **common))
                    found.append(of_seed(0.123, seed, scaling="whitened", **common, extra={"chosen": False}))
        contrast = dict(arm="mixture", reference="direct", target=target, protocol="linear_probe")
        gap, verdict = levels["direct"] - levels["mixture"], VERDICTS[target]
        found.append(over_seeds(gap, seeds=seeds, **contrast, metric=f"gap_{unit}", extra={
            "verdict": verdict, "sentence": f"{target} is {verdict}: it reads so & so.", "margin": 0.9,
            "adjusted_p": None if verdict == "untestable" else 0.01, "outside": target in outside,
            "causes": ["label conflict"] if verdict == "lost" else [], "saturated": False,
            "provisional": seeds < 4}))
        margin = gap - 0.1 * levels["direct"]
        found.append(over_seeds(margin, seeds=seeds, **contrast, metric=f"margin_{unit}"))
        if unit == "bits":
            found.append(over_seeds(50 * gap, 2.0, seeds=seeds, **contrast, metric="gap_points"))
        for arm, cause, share, status in (("matched", "dilution", 0.125, "ruled out"),
                                          ("heads", "label conflict", 0.9375, "named")):
            if verdict == "lost" and arm in arms:
                found.append(over_seeds(share * gap, seeds=seeds, arm=arm, reference="mixture", target=target,
                                        protocol="linear_probe", metric=f"restored_{unit}",
                                        extra={"cause": cause, "share": share, "status": status}))
        for name, steps, gain in representations:
            note = "1 member set: an interval, no verdict (needs 5); direct at ceiling"
            common = dict(seeds=1, target=target, protocol="linear_probe")
            for arm in (name, f"{name}|direct"):
                level = levels["mixture"] + gain
                found.append(over_seeds(level, arm=arm, metric=unit, train_steps=steps, **common))
            for kind, value in (("gain", gain), ("control_gain", gain / 4), ("excess_gain", 0.75 * gain)):
                found.append(over_seeds(value, arm=name, metric=f"{kind}_{unit}", **common,
                                        extra={"verdict": "", "note": note}))
    return found


@pytest.fixture
def study():
    return build
