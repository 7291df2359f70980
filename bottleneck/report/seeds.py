"""The report's section on seeds: which of them keep each label and factor, and what they add up to."""

from __future__ import annotations

from bottleneck.report import findings
from bottleneck.report.drawing import GREEN, INK, PURPLE, VERMILLION, panels, reach
from bottleneck.report.lookup import counts, ends, extra, factors, find, number, plain, targets, whole
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
    """None without evidence per seed. What other analyses found untestable is left out: there is nothing to keep."""
    nothing = findings.untestable(kinds)
    rows = [r for r in kinds.get(KIND, []) if (r["target"], r["factor"]) not in nothing]
    means = select(rows, metric="evidence_bits", seed="all")
    if not means:
        return None
    return Section("seeds", "Seeds", sentence(means), (figure(rows), table(rows)), methods(means))


def sentence(means: list[dict]) -> str:
    """What all, some or none of the seeds keep."""
    found = findings.grouped(means, "class", CLASSES)
    words = "; ".join(f"{PHRASES[word]}: {names}" for word, names in found.items())
    return words[:1].upper() + words[1:] + "." if words else ""


def figure(rows: list[dict]) -> Figure:
    """Evidence of every seed, one panel per target."""
    used = [r for r in select(rows, metric="evidence_bits") if r["value"] is not None]
    room = reach([0.0, *(end for r in used if r["seed"] != "all" for end in joint(r)), *(r["value"] for r in used)])
    every = {t: factors(used, t) for t in targets(used)}
    lines = max(map(len, every.values()), default=0)

    def strip(axes, target):
        axes.axvline(0, color=INK, linewidth=0.7, alpha=0.6)
        for y, factor in enumerate(every[target]):
            of = select(used, target=target, factor=factor)
            mean, seeds = find(of), sorted((r for r in of if r["seed"] != "all"), key=lambda r: r["seed"])
            for i, r in enumerate(seeds):
                place, (low, high) = y + 0.5 * ((i + 0.5) / len(seeds) - 0.5), joint(r)
                colour = GREEN if low > 0 else VERMILLION if high < 0 else PURPLE
                axes.plot([low, high], [place] * 2, color=colour, linewidth=0.9, alpha=0.7, solid_capstyle="butt")
                axes.plot([r["value"]], [place], marker="o", markersize=3.4, markeredgewidth=0, color=colour)
            if mean:
                axes.plot([mean["value"]] * 2, [y - 0.34, y + 0.34], color=INK, linewidth=1.4)
                axes.text(1.03, y, extra(mean).get("class") or "", transform=axes.get_yaxis_transform(), va="center")
        axes.set(xlim=room, ylim=(lines - 0.4, -0.6))
        axes.set_yticks(range(len(every[target])), list(map(findings.name, every[target])))
        axes.tick_params(axis="y", length=0)

    drawn = [
        panels(f"seeds-{t}", [t], strip, inner=0.3 * lines, left=0.95, right=0.75, xlabel="evidence (bits)")
        for t in every
    ]
    caption = (
        "Bits of each seed beyond the margin of direct training's bits, with an interval over its test items (all seeds "
        "jointly at 95%): right of 0 the seed keeps the feature (green), left of it lost it (vermillion), across it "
        "undecided (purple). Upright lines are means."
    )
    return Figure("seeds", "Evidence per seed", caption, tuple(drawn))


def joint(row: dict) -> tuple[float, float]:
    """The interval that holds for all seeds at once; a mean has its own."""
    return tuple(extra(row).get("joint_ci") or ends(row))


def table(rows: list[dict]) -> Table:
    """Classes with their counts, spread and what concatenating the seeds adds."""
    lines, means = [], select(rows, seed="all")
    for target in targets(means):
        for factor in factors(means, target):
            kept, key = findings.evidence({KIND: rows}, target, factor), dict(target=target, factor=factor)
            if kept is None:
                continue
            said = extra(kept)
            joined, gain, control = (
                number(find(means, **key, arm=arm, metric=metric), half=True)
                for arm, metric in (
                    ("mixture", "concatenated_bits"),
                    ("mixture", "concatenated_gain_bits"),
                    ("random", "concatenated_gain_bits"),
                )
            )
            numbers = (whole(said.get(key)) for key in ("retained", "lost", "undecided"))
            lines.append(
                (
                    target,
                    findings.name(factor),
                    said.get("class") or MISSING,
                    *numbers,
                    number(kept),
                    plain(said.get("seed_sd")),
                    joined,
                    gain,
                    control,
                )
            )
    caption = (
        f"{counts(select(means, metric='evidence_bits'))}. Evidence in bits: mean over seeds, 95% interval, not adjusted "
        "for multiplicity. Concatenated: one probe on the features of all seeds; gain over their mean; control: the same "
        "gain of untrained networks."
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
    return Table("seeds", "In which seeds", caption, header, tuple(lines))


def methods(means: list[dict]) -> str:
    return (
        f"Evidence of a seed is its bits minus the margin of the paired direct run's ({counts(means)}), with intervals over "
        f"items that hold jointly for its seeds, of {len(means)} labels and factors."
    )
