"""The report's section on relatedness: what the features of one component's direct training read of another's label."""

from __future__ import annotations

from bottleneck.report import heatmap
from bottleneck.report.lookup import counts, extra, find, number, values
from bottleneck.report.section import Figure, Section
from bottleneck.report.table import Table
from bottleneck.rows import select

KIND = "relatedness"


def section(kinds: dict) -> Section | None:
    """None without the matrix."""
    rows = select(kinds.get(KIND, []), seed="all")
    cells = [r for r in select(rows, metric="information") if r["reference"] is not None and r["value"] is not None]
    if not cells:
        return None
    said = list(filter(None, map(prediction, select(rows, metric="relatedness"))))
    return Section("relatedness", "Relatedness", sentence(cells, said), (figure(cells), table(cells)), methods(cells))


def prediction(row: dict) -> str:
    """How well relatedness orders the gaps, in words."""
    said = extra(row)
    if row["value"] is None:
        return said.get("reason") or ""
    p = f", p\u00a0=\u00a0{said['p']:.2f}" if said.get("p") is not None else ""
    n = f", n\u00a0=\u00a0{said['n']}" if said.get("n") is not None else ""
    by = f" of the {said['predictor']}" if said.get("predictor") else ""
    return f"Spearman correlation{by} with the gaps: {row['value']:z.2f}{n}{p}"


def sentence(cells: list[dict], predictions: list[str]) -> str:
    """The pair that is most related, and whether relatedness predicts the gaps."""
    apart = [r for r in cells if r["reference"] != r["target"]]
    best = max(apart, key=lambda r: r["value"], default=None)
    said = (
        (
            f"Of pairs of different components, training on {best['reference']} reads most of {best['target']} "
            f"({best['value']:z.2f} bits)."
        )
        if best
        else ""
    )
    return " ".join(filter(None, (said, *(words[:1].upper() + words[1:].rstrip(".") + "." for words in predictions))))


def figure(cells: list[dict]) -> Figure:
    """The matrix: a line for each component trained on, a column for each target."""
    lines, columns = values(cells, "reference"), values(cells, "target")
    top = max(max(r["value"] for r in cells), 1e-9)
    by = {(r["reference"], r["target"]): r["value"] for r in cells}
    shown = tuple(tuple((by[i, j] / top, f"{by[i, j]:z.2f}") if (i, j) in by else None for j in columns) for i in lines)
    svg = heatmap.draw(
        heatmap.Grid(
            "direct features by target", tuple(lines), tuple(columns), shown, across="target", down="trained on"
        )
    )
    caption = f"Bits by linear probe on directly trained features, mean over seeds; {counts(cells)}."
    return Figure("relatedness", "What direct training on one component reads of another", caption, (svg,), fixed=True)


def table(cells: list[dict]) -> Table:
    """The matrix with its intervals."""
    columns = values(cells, "target")
    lines = tuple(
        (i, *(number(find(cells, reference=i, target=j), half=True) for j in columns))
        for i in values(cells, "reference")
    )
    caption = (
        f"Bits; a line for each component trained on, a column for each target. {counts(cells)}; 95% intervals, not "
        "adjusted for multiplicity."
    )
    return Table("relatedness", "Relatedness in bits", caption, ("trained on", *columns), lines)


def methods(cells: list[dict]) -> str:
    return (
        f"Relatedness ({counts(cells)}) is read by whitened ridge probes; its correlation with the gaps rests on as "
        "many targets as there are components."
    )
