"""The report's section on where and how deep: the first rung of the ladder that reads each label and factor."""

from __future__ import annotations

from bottleneck.report import findings, heatmap
from bottleneck.report.findings import DEPTH, UNTESTABLE
from bottleneck.report.lookup import counts, extra, factors, find, number, plain, targets, values
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
OTHERS = ("nonlinear", "prominent")  # columns beside the layers


def section(kinds: dict) -> Section | None:
    """None without a rung."""
    means = select(kinds.get(KIND, []), seed="all")
    rungs = select(means, metric="rung")
    if not rungs:
        return None
    layers = order(means)
    return Section(
        "ladder",
        "Where and how deep",
        sentence(rungs),
        (figure(rungs, layers), table(means, rungs, layers)),
        methods(means, rungs),
    )


def sentence(rungs: list[dict]) -> str:
    """What is where, the deepest first."""
    found = findings.grouped(rungs, "rung", DEPTH[::-1])
    if not found:
        return "No label or factor can be tested: direct training reads none."
    told = [r for r in rungs if extra(r).get("rung") in DEPTH]
    unsure = sum(extra(r).get("certain") is False for r in told)
    sure = f" In {unsure} of {len(told)} the intervals do not decide." if unsure else ""
    return f"At its last step the mixture reads {'; '.join(f'{PHRASES[word]}: {names}' for word, names in found.items())}.{sure}"


def figure(rungs: list[dict], layers: list[str]) -> Figure:
    """Per target: what each layer and protocol reads, as a share of the reference."""
    others = tuple(o for o in OTHERS if any(share(r, o, layers) is not None for r in rungs))
    panels = []
    for target in targets(rungs):
        found = _of(rungs, target)
        cells = tuple(tuple(_cell(share(r, column, layers)) for column in (*layers, *others)) for r in found)
        lines, notes = (
            tuple(words(r) for r in found) for words in (lambda r: findings.name(r["factor"]), findings.short_where)
        )
        panels.append(
            heatmap.draw(heatmap.Grid(target, lines, (*layers, *others), cells, notes, breaks=(len(layers),)))
        )
    caption = (
        "Bits as a percentage of what the best reading of direct training has: by linear probe at each layer; at the last "
        "layer also by a nonlinear probe, and in its prominent directions. Beside it, the first rung that reads it."
    )
    unsure = " * intervals do not decide." if any(extra(r).get("certain") is False for r in rungs) else ""
    return Figure("ladder-layers", "Readable where", caption + unsure, tuple(panels), fixed=True)


def _of(rungs: list[dict], target: str) -> list[dict]:
    """A target's rungs, that of its label first."""
    return [r for factor in factors(rungs, target) for r in select(rungs, target=target, factor=factor)]


def order(rows: list[dict]) -> list[str]:
    """The mixture's layers as they come, the last one of all, where the rungs are read, at the end."""
    layers = values(select(rows, arm="mixture", protocol="linear"), "layer")
    last = values([r for r in rows if r["arm"] == "mixture" and r["protocol"] in OTHERS], "layer")
    return [*(layer for layer in layers if layer not in last), *last]


def share(row: dict, column: str, layers: list[str]) -> float | None:
    """The fraction of the reference's bits in one column; the last layer's is that of the linear rung."""
    shares = extra(row).get("shares") or {}
    return shares.get(column, shares.get("linear") if layers and column == layers[-1] else None)


def _cell(found: float | None):
    return None if found is None else (found, f"{100 * found:z.0f}")


def table(rows: list[dict], rungs: list[dict], layers: list[str]) -> Table:
    """Rungs with what supports them."""
    lines, mixture = [], select(rows, arm="mixture")
    linear = [r for r in select(mixture, protocol="linear", metric="bits") if r["layer"] in layers[-1:]]
    for landed in (r for target in targets(rungs) for r in _of(rungs, target)):
        said, key = extra(landed), dict(target=landed["target"], factor=landed["factor"])
        sure = (
            {True: "yes", False: "no"}.get(said.get("certain"), MISSING) if said.get("rung") != UNTESTABLE else MISSING
        )
        lines.append(
            (
                landed["target"],
                findings.name(landed["factor"]),
                said.get("rung") or MISSING,
                sure,
                landed["layer"] or MISSING,
                said.get("untrained") or MISSING,
                plain(said.get("reference_bits")),
                number(find(linear, **key), half=True),
                number(find(mixture, **key, metric="selectivity_bits", protocol="linear"), half=True),
                number(find(mixture, **key, metric="disjoint_accuracy"), half=True),
            )
        )
    layer = (
        ("Untrained: a layer at which an untrained network reads as much. ")
        if any(extra(r).get("untrained") for r in rungs)
        else ""
    )
    caption = (
        f"{counts(select(mixture, metric='bits'))}. Certain: the intervals decide the rung. {layer}Direct: the best "
        "reading of direct training. Selectivity: minus the bits of a control task that only a lookup of combinations "
        "solves. Type-disjoint: fitted on some combinations of factor values, read on others; it can fall below "
        "chance."
    )
    header = (
        "target",
        "factor",
        "rung",
        "certain",
        "layer",
        "untrained",
        "direct (bits)",
        "linear (bits)",
        "selectivity (bits)",
        "type-disjoint (%)",
    )
    return trim(Table("ladder", "The ladder", caption, header, tuple(lines)))


def methods(rows: list[dict], rungs: list[dict]) -> str:
    return (
        f"The ladder ({counts(select(rows, arm='mixture', metric='bits'))}) asks in turn: raw-scale ridge at the penalty that "
        "serves the pretraining task best (prominent), whitened ridge (linear), logistic regression on quadratic and radial "
        "features (nonlinear), whitened ridge at an earlier layer where an untrained network does not read it (earlier), else "
        "nowhere; a rung reads what reaches the "
        f"margin of the best reading of direct training. It looked at {len(rungs)} labels and factors."
    )
