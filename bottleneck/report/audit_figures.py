"""The report of an audit: its sections, and its figures."""

from __future__ import annotations

from bottleneck.report import audit, curves, heatmap
from bottleneck.report.audit import BLANK, KIND, added_rows, judged, networks, read
from bottleneck.report.curves import curve, hues
from bottleneck.report.drawing import BLUE, GREEN, INK, OCHRE, PURPLE, VERMILLION, panels, reach
from bottleneck.report.lookup import ends, extra, find, values
from bottleneck.report.section import Figure, Section
from bottleneck.report.table import Table
from bottleneck.rows import select

STATUSES = {"served": GREEN, "not served": VERMILLION, "inconclusive": PURPLE, "untestable": INK, "reference": BLUE}


def sections(kinds: dict[str, list[dict]]) -> list[Section]:
    """In reading order; none without an audit."""
    rows = kinds.get(KIND, [])
    if not rows:
        return []
    made = (
        Section("audit", "What each network serves", "", (figure(rows), audit.table(rows)), audit.methods(rows)),
        Section(
            "additions", "What another network adds", audit.added_sentence(rows), tuple(filter(None, additions(rows)))
        ),
        Section("few-shot", "From few examples", "", tuple(filter(None, [few_shot(rows)]))),
        Section("pairs", "Every two networks", "", tuple(filter(None, [audit.pairs(rows)]))),
        Section("groups", "Where each network is worst", "", tuple(filter(None, [audit.groups(rows)]))),
    )
    return [section for section in made if section.parts]


def figure(rows: list[dict]) -> Figure:
    """Per component: the bits of every network, of the same untrained, and of the pixels."""
    names = networks(rows)
    every = [v for name in names for r in select(judged(rows), arm=name) for v in (0.0, r["value"], *ends(r))]
    room = reach([*every, *(extra(r)["entropy"] for r in judged(rows))])

    def draw(axes, target):
        pixels = read(rows, "pixels", target)
        if pixels:
            axes.axvline(pixels["value"], color=INK, linewidth=0.8, linestyle=(0, (1.5, 2.5)), alpha=0.6)
        for y, name in enumerate(names):
            r = find(judged(rows), arm=name, target=target)
            colour = STATUSES.get(extra(r)["status"], INK)
            axes.plot(ends(r), [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([r["value"]], [y], marker="o", markersize=6, color=colour, linestyle="")
            blank = read(rows, f"{name}{BLANK}", target)
            if blank:
                style = dict(marker="o", markersize=5, markerfacecolor="none", color=OCHRE, linestyle="")
                axes.plot([blank["value"]], [y], **style)
        axes.axvline(extra(find(judged(rows), target=target))["entropy"], color=INK, linewidth=0.7, alpha=0.4)
        axes.set(xlim=room, ylim=(len(names) - 0.4, -0.6))
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)

    size = dict(inner=0.3 * max(2, len(names)), left=0.3 + 0.075 * max(map(len, names)))
    drawn = tuple(
        panels(f"served-{target}", [target], draw, xlabel="bits", **size) for target in values(judged(rows), "target")
    )
    shown = [status for status in STATUSES if any(extra(r)["status"] == status for r in judged(rows))]
    key = (*((status, STATUSES[status].replace(INK, "currentColor"), False) for status in shown),)
    key += (("untrained", OCHRE, False),) * any(r["arm"].endswith(BLANK) for r in rows if r["arm"])
    caption = (
        "What a linear probe reads of a component's label, with 95% intervals. Dotted: the pixels; thin line: all that "
        "there is to read."
    )
    return Figure("served", "Bits that are readable", caption, drawn, key)


def additions(rows: list[dict]) -> list[Figure | Table | None]:
    return [added_figure(rows), audit.added(rows) if added_rows(rows) else None]


def added_figure(rows: list[dict]) -> Figure | None:
    """Per component: networks by what each other one adds."""
    of = added_rows(rows)
    if not of:
        return None
    names = networks(rows)
    columns = (*names, *(["all others"] if any(r["reference"] == "all others" for r in of) else []))
    most = max(max(r["value"] for r in of), 1e-9)
    drawn = []
    for target in values(of, "target"):
        cells = []
        for name in names:
            row = []
            for column in columns:
                both = dict(arm=name, reference=column) if column == "all others" else dict(arm=column, reference=name)
                r = find(of, target=target, **both)
                row.append(None if r is None else (min(1.0, max(0.0, r["value"] / most)), f"{r['value']:z.2f}"))
            cells.append(tuple(row))
        breaks = (len(names),) if len(columns) > len(names) else ()
        grid = heatmap.Grid(target, tuple(names), columns, tuple(cells), breaks=breaks, across="adds", down="to")
        drawn.append(heatmap.draw(grid))
    last = " Last column: what the network adds to all others together." if len(columns) > len(names) else ""
    caption = f"Bits that the features of the column add to those of the line, side by side.{last}"
    return Figure("added", "Bits added", caption, tuple(drawn), fixed=True)


def few_shot(rows: list[dict]) -> Figure | None:
    """Accuracy over the examples a class, per component."""
    few = [{**r, "step": r["n_shot"]} for r in select(rows, metric="accuracy", protocol="k_shot", seed="all")]
    colours = hues(networks(rows))
    drawn = {}
    for target in values(few, "target"):
        drawn[target] = []
        for name, hue in colours.items():
            full = read(rows, name, target, "accuracy")
            level = 100 * full["value"] if full else None
            drawn[target].append(curve(select(few, arm=name, target=target), name, hue, 100, level=level))
    caption = "Linear probes on so many examples a class, mean over draws with 95% intervals; beside each, on all."
    return curves.figure(
        "few-shot", "Few-shot probes", caption, drawn, xlabel="examples per class", ylabel="accuracy (%)", ceiling=100
    )
