"""The tables of declared representations: what they add, what they cost, beyond which controls, member by member."""

from __future__ import annotations

from bottleneck.report.lookup import (
    SUBJECT,
    control_names,
    counts,
    extra,
    find,
    mean,
    number,
    plain,
    representation_names,
    score,
    targets,
    unit,
    unit_name,
    whole,
)
from bottleneck.report.table import MISSING, Table, trim
from bottleneck.rows import select

GAINS = ("gain", "control_gain", "excess_gain", "over_single")


def table(rows: list[dict]) -> Table:
    """What representations cost and add to their own members, beside the control."""
    rows, names, scored = select(rows, seed="all"), representation_names(rows), score(rows) == "accuracy"
    used = [r for r in rows if r["arm"] in names]
    lines = [
        line
        for target in targets(rows)
        for arm in ([SUBJECT, *names] if names else ())
        if (line := _line(rows, used, target, arm, scored))
    ]
    caption = (
        f"{counts(used, None)}; steps are those of all members together. Gain: over the mean of its own members. "
        "Control: the same for directly trained members. Excess: their difference; a verdict rests on it where there "
        "are enough disjoint sets. Over single: over one whole run. 95% intervals, not adjusted for multiplicity."
    )
    header = (
        "target",
        "representation",
        "steps",
        "sets",
        unit_name(rows),
        *(["accuracy (%)"] if scored else []),
        "gain",
        "control",
        "excess",
        "over single",
        "verdict",
    )
    return trim(Table("representations", "Representations and what they add", caption, header, tuple(lines)))


def _line(rows: list[dict], used: list[dict], target: str, arm: str, scored: bool) -> tuple | None:
    """The line of one representation on one target, None where it was not read."""
    level = mean(rows, arm, target)
    if level is None:
        return None
    gain, control, excess, single = (find(used, arm=arm, target=target, metric=g, unit=unit(rows)) for g in GAINS)
    notes = (extra(excess).get("note") or "").split("; ")
    notes = ["no verdict" if "no verdict" in note else note for note in notes]
    return (
        target,
        "one network" if arm == SUBJECT else arm,
        whole(level["train_steps"]),
        whole(level["n_seeds"]),
        number(level, half=True),
        *([number(mean(rows, arm, target, "accuracy"), half=True)] if scored else []),
        *(number(row, half=True) for row in (gain, control, excess, single)),
        "; ".join(filter(None, [extra(excess).get("verdict"), *notes])) or MISSING,
    )


def prices(rows: list[dict]) -> Table:
    """What representations and their controls cost."""
    rows, names = select(rows, seed="all"), representation_names(rows)
    controls = {arm: said for arm, said in control_names(rows).items() if not said["control"].startswith("first")}
    lines, used = [], []
    for arm in (SUBJECT, *names, *controls) if names else ():
        level = next((row for target in targets(rows) if (row := mean(rows, arm, target))), None)
        if level is not None and extra(level).get("price"):
            used.append(level)
            lines.append(_price(arm, controls.get(arm), level))
    caption = (
        f"{counts(used, None)}. Steps of all distinct runs behind it; image-forwards: images passed through networks "
        "in training (steps times batch, and teachers' passes) and once by every network that is read; dimension: of "
        "the probe; parameters and operations: of all distinct networks as far as they are read and of the probe's "
        "classifier, two operations a multiply-add; training takes a step to cost three forward passes."
    )
    header = (
        "representation",
        "control of",
        "steps",
        "image-forwards",
        "dimension",
        "parameters",
        "MFLOPs an image",
        "training TFLOPs",
    )
    return trim(Table("prices", "What representations cost", caption, header, tuple(lines)))


def _price(arm: str, control: dict | None, level: dict) -> tuple:
    price = extra(level)["price"]
    operations = [(price["inference_flops"], 1e6), (price["training_flops"], 1e12)]
    return (
        "one network" if arm == SUBJECT else arm,
        control["control_of"] if control else MISSING,
        whole(level["train_steps"]),
        whole(level["image_forwards"]),
        whole(level["dim"]),
        whole(price["parameters"]),
        *(plain(None if count is None else count / unit, 3) for count, unit in operations),
    )


def controls(rows: list[dict]) -> Table:
    """What representations read beyond each of their controls."""
    rows, name = select(rows, seed="all"), unit_name(rows)
    beyond = select(rows, metric="beyond", unit=unit(rows))
    order = {target: i for i, target in enumerate(targets(rows))}
    beyond.sort(
        key=lambda r: (order.get(r["target"], len(order)), r["representation"], r["arm"] != r["representation"])
    )
    lines = tuple(
        (
            r["target"],
            r["arm"],
            r["reference"],
            extra(r).get("control") or MISSING,
            number(mean(rows, r["arm"], r["target"]), half=True),
            number(mean(rows, r["reference"], r["target"]), half=True),
            number(r),
            number(find(rows, **_place(r), metric="beyond", unit="points")),
            whole(r["n_seeds"]),
            "yes" if extra(r).get("paired") else "no",
        )
        for r in beyond
    )
    caption = (
        f"{counts(beyond, None)}. Paired: the difference is taken set by set, with the mean over a set's own networks "
        "where it has several; else the sets' and the seeds' variances add. 95% intervals, not adjusted for "
        "multiplicity."
    )
    header = ("target", "representation", "beyond", "which is", f"it ({name})", f"the other ({name})")
    header += (f"difference ({name})", "difference (points)", "sets", "paired")
    return trim(Table("controls", "Beyond which control", caption, header, lines))


def members(rows: list[dict]) -> Table:
    """What each member adds to those before it, and what goes away without it."""
    rows, name, lines = select(rows, seed="all"), unit_name(rows), []
    used = [r for r in rows if r["metric"] in ("added", "carried")]
    for target in targets(used) if used else ():
        for arm in dict.fromkeys(r["arm"] for r in used):
            of = select(used, arm=arm, target=target)
            for place in sorted({extra(r)["position"] for r in of}):
                at = [r for r in of if extra(r)["position"] == place]
                cells = [find(at, metric=m, unit=u) for m in ("added", "carried") for u in (unit(rows), "points")]
                weight = extra(cells[2]).get("mean_abs_weight")
                lines.append((target, arm, whole(place), *(number(row, half=True) for row in cells), plain(weight, 3)))
    caption = (
        f"{counts(used, None)}. Added: by the member of this place to those before it (the steps add up to what the "
        "whole set reads beyond its first member). Carried: what the fitted probe loses when the member's features are "
        "held at their mean, calibrated again and not refitted; weight: mean size of its standardised weights."
    )
    header = ("target", "representation", "member", f"added ({name})", "added (points)")
    header += (f"carried ({name})", "carried (points)", "weight")
    return trim(Table("members", "Member by member", caption, header, tuple(lines)))


def _place(row: dict) -> dict:
    return {key: row[key] for key in ("arm", "target", "reference", "representation")}


TABLES = (table, prices, controls, members)
