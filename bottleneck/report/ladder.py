"""The report's section on where and how deep: the first rung of the ladder that reads each label and factor."""

from __future__ import annotations

from bottleneck.report import findings, heatmap
from bottleneck.report.findings import DEPTH, UNTESTABLE
from bottleneck.report.lookup import (
    SUBJECT,
    counts,
    extra,
    factors,
    find,
    held_against,
    number,
    plain,
    targets,
    titled,
    values,
)
from bottleneck.report.section import Figure, Section
from bottleneck.report.table import MISSING, Table, trim
from bottleneck.rows import select

KIND = "ladder"
PHRASES = {
    "nowhere": "nowhere in full",
    "earlier": "only before the last layer",
    "nonlinear": "only non-linearly",
    "linear": "linearly though not prominently",
    "prominent": "prominently",
}
OTHERS = ("nonlinear", "prominent")  # columns after the layers


def section(kinds: dict) -> Section | None:
    """None without a rung."""
    means = select(kinds.get(KIND, []), seed="all")
    rungs = select(means, metric="rung")
    if not rungs:
        return None
    said = " ".join(sentence(select(rungs, arm=subject), subject) for subject in values(rungs, "arm"))
    parts = (figure(means, rungs), table(means, rungs))
    return Section("ladder", "Where and how deep", said, parts, methods(means, rungs))


def sentence(rungs: list[dict], subject: str = SUBJECT) -> str:
    """What of a subject is where, the deepest first."""
    lists = findings.grouped(rungs, "rung", DEPTH[::-1])
    if not lists:
        return f"No label or factor can be tested: {held_against(rungs)} reads none."
    landed = [r for r in rungs if extra(r).get("rung") in DEPTH]
    unsure = sum(extra(r).get("certain") is False for r in landed)
    sure = f" In {unsure} of {len(landed)} the intervals do not decide." if unsure else ""
    who = "At its last step the mixture reads" if subject == SUBJECT else f"{subject} reads"
    return f"{who} {'; '.join(f'{PHRASES[word]}: {names}' for word, names in lists.items())}.{sure}"


def figure(rows: list[dict], rungs: list[dict]) -> Figure:
    """Per target and subject: what each layer and protocol reads, as a share of the reference."""
    panels = []
    for subject in values(rungs, "arm"):
        layers, of = order(select(rows, arm=subject)), select(rungs, arm=subject)
        others = tuple(o for o in OTHERS if any(share(r, o, layers) is not None for r in of))
        panels += [_panel(_of(of, target), layers, others) for target in targets(of)]
    caption = (
        f"Bits as a percentage of what the best reading of {held_against(rungs)} has: by linear probe at each layer; "
        "at the last layer also by a nonlinear probe, and in its prominent directions. To the right, the first rung "
        "that reads it."
    )
    unsure = " * intervals do not decide." if any(extra(r).get("certain") is False for r in rungs) else ""
    return Figure("ladder-layers", "Readable where", caption + unsure, tuple(panels), fixed=True)


def _panel(rungs: list[dict], layers: list[str], others: tuple[str, ...]) -> str:
    columns = (*layers, *others)
    cells = tuple(tuple(_cell(share(r, column, layers)) for column in columns) for r in rungs)
    names, notes = (tuple(findings.name(r["factor"]) for r in rungs), tuple(map(findings.short_where, rungs)))
    return heatmap.draw(heatmap.Grid(titled(rungs[0]), names, columns, cells, notes, breaks=(len(layers),)))


def _of(rungs: list[dict], target: str) -> list[dict]:
    """A target's rungs, that of its label first."""
    return [r for factor in factors(rungs, target) for r in select(rungs, target=target, factor=factor)]


def order(rows: list[dict]) -> list[str]:
    """A subject's layers as they come, the last one of all, where the rungs are read, at the end."""
    layers = values(select(rows, protocol="linear"), "layer")
    last = values([r for r in rows if r["protocol"] in OTHERS], "layer")
    return [*(layer for layer in layers if layer not in last), *last]


def share(row: dict, column: str, layers: list[str]) -> float | None:
    """The fraction of the reference's bits in one column; the last layer's is that of the linear rung."""
    shares = extra(row).get("shares") or {}
    return shares.get(column, shares.get("linear") if layers and column == layers[-1] else None)


def _cell(fraction: float | None):
    return None if fraction is None else (fraction, f"{100 * fraction:z.0f}")


def table(rows: list[dict], rungs: list[dict]) -> Table:
    """Rungs with what supports them."""
    used = [r for r in rows if r["arm"] in values(rungs, "arm")]
    lines = [
        _line(used, landed)
        for subject in values(rungs, "arm")
        for target in targets(rungs)
        for landed in _of(select(rungs, arm=subject), target)
    ]
    header = (
        "target",
        "factor",
        "rung",
        "certain",
        "layer",
        "untrained",
        f"{held_against(rungs).removesuffix(' training').removeprefix('the ')} (bits)",
        "linear (bits)",
        "selectivity (bits)",
        "type-disjoint (%)",
        "no control because",
    )
    untrained = "Untrained: a layer at which an untrained network reads as much. "
    word = header[6].partition(" ")[0].capitalize()
    caption = (
        f"{counts(select(used, metric='information'))}. Certain: the intervals decide the rung. "
        f"{untrained if any(extra(r).get('untrained') for r in rungs) else ''}{word}: the best reading of "
        f"{held_against(rungs)}. Selectivity: minus the bits of a control task that only a lookup of combinations "
        "solves. Type-disjoint: fitted on some combinations of factor values, read on others; it can fall below chance."
    )
    return trim(Table("ladder", "The ladder", caption, header, tuple(lines)))


def _line(rows: list[dict], landed: dict) -> tuple:
    """A rung, how sure it is, and the readings at the last layer that support it."""
    said = extra(landed)
    key = dict(arm=landed["arm"], target=landed["target"], factor=landed["factor"])
    layers = order(select(rows, arm=landed["arm"]))
    linear = select(rows, metric="information", protocol="linear", layer=layers[-1] if layers else None)
    sure = {True: "yes", False: "no"}.get(said.get("certain"), MISSING)
    return (
        titled(landed),
        findings.name(landed["factor"]),
        said.get("rung") or MISSING,
        MISSING if said.get("rung") == UNTESTABLE else sure,
        landed["layer"] or MISSING,
        said.get("untrained") or MISSING,
        plain(said.get("reference_bits")),
        number(find(linear, **key), half=True),
        number(find(rows, **key, metric="selectivity", protocol="linear"), half=True),
        number(find(rows, **key, metric="disjoint_accuracy"), half=True),
        said.get("control") or MISSING,
    )


def methods(rows: list[dict], rungs: list[dict]) -> str:
    used = [r for r in select(rows, metric="information") if r["arm"] in values(rungs, "arm")]
    task = "the pretraining task" if SUBJECT in values(rungs, "arm") else "the target's own label"
    return (
        f"The ladder ({counts(used)}) asks in turn: raw-scale ridge at the penalty that serves {task} "
        "best (prominent), whitened ridge (linear), logistic regression on quadratic and radial features (nonlinear), "
        "whitened ridge at an earlier layer where an untrained network does not read it (earlier), else nowhere; a "
        f"rung reads what reaches the margin of the best reading of {held_against(rungs)}. It looked at {len(rungs)} "
        "labels and factors."
    )
