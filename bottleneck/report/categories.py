"""Values over names with their intervals: one panel each, what is compared side by side at every name."""

from __future__ import annotations

from bottleneck.report.curves import LEFT, Curve, extent, key
from bottleneck.report.drawing import MARKERS, panels
from bottleneck.report.section import Figure
from bottleneck.report.svg import short

ROOM = 34  # letters of names that stand beside each other under a panel; more are written at a slant
MOST = 16  # letters of a slanted name
APART = 0.6  # of the room between two names, over which their values are spread


def figure(
    name: str,
    title: str,
    caption: str,
    curves: dict[str, list[Curve | None]],
    names: list[str],
    *,
    ylabel: str = "",
    xlabel: str = "",
    notes: dict[str, str] | None = None,
) -> Figure | None:
    """A panel for every title in `curves`, all of one scale; a curve's steps are places in `names`. None without a
    curve."""
    drawn = {t: [c for c in each if c] for t, each in curves.items()}
    every = [c for each in drawn.values() for c in each]
    if not every:
        return None
    labels, room = list(dict.fromkeys(c.label for c in every)), extent(every)
    svgs = tuple(
        panel(f"{name}-{t}", t, each, names, labels, ylabel, xlabel, room, (notes or {}).get(t, ""))
        for t, each in drawn.items()
        if each
    )
    return Figure(name, title, caption, svgs, key(every))


def panel(name: str, title: str, curves: list[Curve], names, labels, ylabel: str, xlabel: str, room, note="") -> str:
    """One panel, with the names that it has values at; the curves of one label have one place beside every name in all
    panels."""
    used = sorted({int(step) for each in curves for step, *_ in each.points})
    names = [names[step] for step in used]
    longest = max(len(short(held, MOST)) for held in names)
    slanted = len(names) * (max(map(len, names)) + 1) > ROOM
    places = {label: APART * ((i + 0.5) / len(labels) - 0.5) for i, label in enumerate(labels)}

    def draw(axes, _):
        for each in curves:
            marker = MARKERS[labels.index(each.label) % len(MARKERS)]
            for step, value, low, high in each.points:
                x = used.index(step) + places[each.label]
                axes.plot([x, x], [low, high], color=each.colour, linewidth=1.4, solid_capstyle="butt", zorder=2)
                axes.plot([x], [value], marker=marker, markersize=4.5, color=each.colour, linestyle="", zorder=3)
        style = dict(rotation=50, ha="right", rotation_mode="anchor") if slanted else {}
        axes.set_xticks(range(len(names)), [short(held, MOST) if slanted else held for held in names], **style)
        axes.tick_params(axis="x", length=0)
        axes.set(xlim=(-0.6, len(names) - 0.4), ylim=room)
        axes.grid(axis="y", alpha=0.15, linewidth=0.6)

    below = 0.055 * longest if slanted else 0.0
    return panels(name, [title], draw, inner=1.7, left=LEFT, below=below, note=note, xlabel=xlabel, ylabel=ylabel)
