"""The report's section on seeds: which of them keep each label and factor, and what they add up to."""

from __future__ import annotations

from bottleneck.report import findings
from bottleneck.report.drawing import GREEN, INK, PURPLE, VERMILLION, panels, reach, remark
from bottleneck.report.lookup import SUBJECT, counts, ends, extra, factors, find, number, plain, targets, whole
from bottleneck.report.section import Figure, Section
from bottleneck.report.table import MISSING, Table
from bottleneck.rows import select

KIND = "seeds"
CLASSES = ("some", "none", "all", "undecided")
PHRASES = {
    "some": "kept in some seeds and lost in others",
    "none": "lost in every seed",
    "all": "kept in every seed",
    "undecided": "undecided",
}


def section(kinds: dict) -> Section | None:
    """None without evidence per seed. What other analyses call untestable is left out: there is nothing to keep."""
    nothing = findings.untestable(kinds)
    rows = [r for r in kinds.get(KIND, []) if (r["target"], r["factor"]) not in nothing]
    means = select(rows, metric="evidence", seed="all", arm=SUBJECT)
    if not means:
        return None
    return Section("seeds", "Seeds", sentence(means), (figure(rows), table(rows)), methods(means))


def sentence(means: list[dict]) -> str:
    """What all, some or none of the seeds keep."""
    lists = findings.grouped(means, "class", CLASSES)
    words = "; ".join(f"{PHRASES[word]}: {names}" for word, names in lists.items())
    return words[:1].upper() + words[1:] + "." if words else ""


def figure(rows: list[dict]) -> Figure:
    """Evidence of every seed, one panel per target."""
    used = [r for r in select(rows, metric="evidence", arm=SUBJECT) if r["value"] is not None]
    room = reach([0.0, *(end for r in used if r["seed"] != "all" for end in joint(r)), *(r["value"] for r in used)])
    every = {t: factors(used, t) for t in targets(used)}
    high = max(map(len, every.values()), default=0)

    def draw(axes, target):
        axes.axvline(0, color=INK, linewidth=0.7, alpha=0.6)
        for y, factor in enumerate(every[target]):
            _strip(axes, y, select(used, target=target, factor=factor))
        axes.set(xlim=room, ylim=(high - 0.4, -0.6))
        axes.set_yticks(range(len(every[target])), list(map(findings.name, every[target])))
        axes.tick_params(axis="y", length=0)

    drawn = [
        panels(f"seeds-{t}", [t], draw, inner=0.3 * high, left=0.95, right=0.75, xlabel="evidence (bits)")
        for t in every
    ]
    caption = (
        "Bits of each seed beyond the margin of direct training's bits, with an interval over its test items (all "
        "seeds jointly at 95%): right of 0 the seed keeps the feature (green), left of it lost it (vermillion), across "
        "it undecided (purple). Upright lines are means."
    )
    return Figure("seeds", "Evidence per seed", caption, tuple(drawn))


def _strip(axes, y: int, rows: list[dict]) -> None:
    """One line of a panel: a dot and an interval per seed, their mean, and the class in words."""
    mean, seeds = find(rows), sorted((r for r in rows if r["seed"] != "all"), key=lambda r: r["seed"])
    for i, r in enumerate(seeds):
        place, (low, high) = y + 0.5 * ((i + 0.5) / len(seeds) - 0.5), joint(r)
        colour = GREEN if low > 0 else VERMILLION if high < 0 else PURPLE
        axes.plot([low, high], [place] * 2, color=colour, linewidth=0.9, alpha=0.7, solid_capstyle="butt")
        axes.plot([r["value"]], [place], marker="o", markersize=3.4, markeredgewidth=0, color=colour)
    if mean:
        axes.plot([mean["value"]] * 2, [y - 0.34, y + 0.34], color=INK, linewidth=1.4)
        remark(axes, y, extra(mean).get("class") or "")


def joint(row: dict) -> tuple[float, float]:
    """The interval that holds for all seeds at once; a mean has its own."""
    return tuple(extra(row).get("joint_ci") or ends(row))


def table(rows: list[dict]) -> Table:
    """Classes with their counts, spread and what concatenating the seeds adds."""
    means = select(rows, seed="all")
    lines = tuple(
        _line(means, kept)
        for target in targets(means)
        for factor in factors(means, target)
        if (kept := findings.evidence({KIND: means}, target, factor)) is not None
    )
    caption = (
        f"{counts(select(means, metric='evidence'))}. Evidence in bits: mean over seeds, 95% interval, not adjusted "
        "for multiplicity. Concatenated: one probe on the features of all seeds; gain over their mean; control: the "
        "same gain of untrained networks."
    )
    header = (
        "target",
        "factor",
        "seeds",
        "keep",
        "lose",
        "open",
        "evidence",
        "seed sd",
        "concatenated",
        "gain",
        "control gain",
    )
    return Table("seeds", "In which seeds", caption, header, lines)


def _line(means: list[dict], kept: dict) -> tuple:
    """The line of one label or factor."""
    said, of = extra(kept), dict(target=kept["target"], factor=kept["factor"])
    joined, gain, control = (
        number(find(means, **of, arm=arm, metric=metric), half=True)
        for arm, metric in (
            (SUBJECT, "concatenated"),
            (SUBJECT, "concatenated_gain"),
            ("random", "concatenated_gain"),
        )
    )
    return (
        kept["target"],
        findings.name(kept["factor"]),
        said.get("class") or MISSING,
        *(whole(said.get(key)) for key in ("retained", "lost", "undecided")),
        number(kept),
        plain(said.get("seed_sd")),
        joined,
        gain,
        control,
    )


def methods(means: list[dict]) -> str:
    return (
        f"Evidence of a seed is its bits minus the margin of the paired direct run's ({counts(means)}), with intervals "
        f"over items that hold jointly for its seeds, of {len(means)} labels and factors."
    )
