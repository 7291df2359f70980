"""The report's section on a data-mixture law: what it says at mixtures that it was not fitted to, beside its rivals.

Rows of kind law: `loss` and `predicted_loss` at every `point`, whose `extra` holds the component's `share` and whether
the point was `held_out`; `law_error`, `nearest_error`, `interpolated_error` and `law_gain`, of single points or, where
`point` is null, means over the held-out ones; where the target is null, over all components. `margin` at every point,
with its `state`; `edge`, with a `sentence`: where components fall off.
"""

from __future__ import annotations

from bottleneck.report.lookup import counts, extra, find, number, values
from bottleneck.report.table import MISSING, Number, Table
from bottleneck.rows import select

KIND = "law"
FORMS = {
    "constant": "c",
    "power": "c + k r^-a",
    "saturating": "c + (h - c) / (1 + (r / m)^a)",
    "exponential": "c + k exp(t . r)",
    "levels": "c + (h - c) / (1 + (r / m)^a), h fitted",
}


def sentences(kinds: dict) -> list[str]:
    """Where components fall off, and what the law is worth over all of them."""
    rows = kinds.get(KIND, [])
    said = find(rows, metric="edge"), find(rows, metric="law_error", target=None, point=None, unit="fraction")
    return [words for r in said if (words := extra(r).get("sentence"))]


def tables(kinds: dict) -> list[Table]:
    """What a terminal shows."""
    return [summary(kinds[KIND])] if kinds.get(KIND) else []


def unit(rows: list[dict]) -> str:
    return "r2" if any(r["unit"] == "r2" for r in rows) else "bits"


def summary(rows: list[dict]) -> Table:
    """One line a component: the form that was chosen, and how far it and its rivals are off at held-out points."""
    said, shown = unit(rows), select(rows, point=None)
    between = any(r["metric"] == "interpolated_error" for r in shown)
    lines, used = [], {extra(r).get("form") for r in select(rows, metric="predicted_loss")}
    for target in (*values(rows, "target"), None):
        of = select(shown, target=target, unit="fraction")
        form = extra(next(iter(select(rows, metric="predicted_loss", target=target)), None)).get("form")
        cells = [find(of, metric="law_error"), find(of, metric="nearest_error")]
        cells += [find(of, metric="law_gain", reference="nearest")]
        cells += [find(of, metric="interpolated_error")] if between else []
        absolute = find(shown, target=target, unit=said, metric="law_error")
        lines.append((target or "all", form or MISSING, *map(number, cells), number(absolute, digits=3)))
    header = ("component", "law", "law, error (%)", "nearest trained (%)", "nearest - law (points)")
    header += ("line between neighbours (%)",) if between else ()
    held = extra(find(shown, metric="law_error")).get("held_out")
    caption = (
        f"Mean relative error of the predicted loss at {held} mixtures that were not fitted, with 95% intervals over "
        f"these mixtures, given the fitted ones; {counts(rows)}. Last: the law's mean error, absolute. Laws, r being "
        f"shares: {'; '.join(f'{form} {FORMS[form]}' for form in FORMS if form in used)}."
    )
    name = "R2" if said == "r2" else "bits"
    return Table("law", "Data-mixture law", caption, (*header, f"law, error ({name})"), tuple(lines))


def points(rows: list[dict]) -> Table:
    """Every point: what was measured and what is predicted."""
    lines, name = [], "1 - R2" if unit(rows) == "r2" else "bits"
    for measured in select(rows, metric="loss"):
        of = select(rows, target=measured["target"], point=measured["point"])
        predicted, held_out = find(of, metric="predicted_loss"), extra(measured).get("held_out")
        cells = [number(measured, digits=3), number(predicted, digits=3)]
        cells += [number(find(of, metric=f"{by}_error")) for by in ("law", "nearest")]
        share, margin = Number(100 * extra(measured)["share"], digits=2), find(of, metric="margin")
        cells.append(extra(margin).get("state") or ("undecided" if margin else MISSING))
        lines.append((measured["target"], share, "held out" if held_out else "fitted", *cells))
    lines.sort(key=lambda line: (values(rows, "target").index(line[0]), line[1].value))
    header = ("component", "its share (%)", "mixture", f"loss ({name})", f"law ({name})")
    header += ("law, error (%)", "nearest trained, error (%)", "the mixture has it")
    caption = (
        "The loss of the linear probe on the mixture's features, with 95% intervals over seeds and items; the law's, "
        "and errors at held-out mixtures, (predicted - measured) / measured, over seeds (jackknife)."
    )
    return Table("law-points", "Loss and law at every mixture", caption, header, tuple(lines))


def methods(rows: list[dict]) -> str:
    return (
        f"A data-mixture law ({counts(rows)}) is fitted to a component's mean loss at the trained mixtures by least "
        "squares of relative errors: constant; a power law in its share; a sigmoid of its logarithm, from what one "
        "who knows nothing loses, or from a level that is fitted; or the exponential of a weighted sum of all shares "
        "(Ye et al. 2024). The form is chosen by leave-one-out over the fitted mixtures between the outermost; those "
        "held out are met once. Nearest: by Hellinger's distance."
    )
