"""The methods paragraphs: what was done, in sentences made from the rows."""

from __future__ import annotations

from collections import Counter

from bottleneck.analysis.gap import UNTESTABLE
from bottleneck.report import causes, lookup
from bottleneck.report.lookup import PARTS, PROBE, REMEASURED, SUBJECT, counts, extra, outside, span
from bottleneck.report.section import Section
from bottleneck.rows import select

LEVEL = 0.05
LIMITS = (
    "Shares need not add up. While training is still rising, capacity and dilution are at most likely and unfinished "
    "training is not ruled out; where a wider network reads the label untrained, capacity is undecided."
)


def methods(rows: list[dict]) -> list[str]:
    """Sentences on the main answer: training, probes, information, intervals, verdicts, the split, its causes."""
    gap_rows = lookup.gaps(rows)
    return [
        *training(rows, gap_rows),
        *probes(rows),
        information(rows),
        *(intervals(gap_rows) if gap_rows else ()),
        *(verdicts(gap_rows) if gap_rows else ()),
        *splits(rows),
        *([f"Causes of a lost target's gap. {causes.RULE}. {LIMITS}"] if causes.restored(rows) else ()),
    ]


def training(rows: list[dict], gap_rows: list[dict]) -> list[str]:
    """What was trained, on how much the gaps rest, and whose features came from elsewhere."""
    ours = select(gap_rows, arm=SUBJECT)
    foreign = [name for name in lookup.values(gap_rows, "arm") if name != SUBJECT]
    read = select(rows, metric="information", arm=SUBJECT, protocol=PROBE)
    steps, spaces = _values(read, "train_steps"), _values(read, "label_space")
    length = f" for {span(steps)} steps" if steps else ""
    space = f" in a {spaces[0].replace('_', '-')} label space" if len(spaces) == 1 else ""
    said = []
    if ours:
        said.append(
            f"Networks were pretrained on the mixture{length}{space}, and for each target directly, with the same "
            f"seeds: {counts(ours)}."
        )
    if began := sorted({extra(r)["init"] for r in read if extra(r).get("init")}):
        said.append(
            f"These runs began from weights that were trained elsewhere ({', '.join(began)}), with a fresh classifier; "
            "networks that are called untrained, or random, did not. Prices count what was trained here."
        )
    if foreign:
        of = [r for r in gap_rows if r["arm"] in foreign]
        said.append(
            f"The features of {lookup.several(foreign)} were not trained here; they are read alike ({counts(of)})."
        )
    return said


def probes(rows: list[dict]) -> list[str]:
    """How the linear probes were fitted and chosen."""
    read = select(lookup.chosen(rows), metric="information")
    if not read:
        return []
    menu = ", ".join(_values(select(rows, protocol=PROBE), "scaling"))
    edge = sum(bool(extra(r).get("at_edge")) for r in read)
    choice = f"scaling ({menu}) and penalty" if menu else "penalty"
    return [
        f"Linear probes were fitted on frozen features, their {choice} chosen on {_either(read, 'selected_on')}, and "
        f"read on {_either(read, 'split')}; {edge:,} of {len(read):,} chose a penalty at the edge of its grid."
    ]


def information(rows: list[dict]) -> str:
    """What is measured."""
    if lookup.unit(rows) == "r2":
        return "Values are R2 on held-out items."
    return (
        "Information is in bits per item: log2 of the calibrated probe's probability of the label, less that of a "
        "probe of no features: class frequencies of train and probe items, half an item added to each class, tempered "
        "on validation by the same rule, and one for all arms."
    )


def intervals(gap_rows: list[dict]) -> list[str]:
    """What the intervals hold for."""
    said = [
        f"Printed intervals are 95% t intervals over {_either(gap_rows, 'ci_unit')}, with seeds and items as crossed "
        "samples; conditional on the training data and on the probe split, and not adjusted for multiplicity."
    ]
    if any(extra(r).get("provisional") for r in gap_rows):
        said.append("Verdicts from fewer than 4 seeds are provisional.")
    if any(r["n_seeds"] == 1 for r in gap_rows):
        said.append("With one seed a verdict is about this checkpoint, not about the recipe.")
    return said


def verdicts(gap_rows: list[dict]) -> list[str]:
    """The rule, its two families and its looks."""
    margin = lookup.margin(gap_rows)
    said = [
        f"A target is untestable where the upper limit of direct training's information is below {100 * UNTESTABLE:g}% "
        "of the label's entropy, and inconclusive where only the lower one is."
    ]
    if margin is not None:
        said.append(
            f"Else D, {100 * margin:g}% of direct training's information minus that of the features, is tested against "
            f"0, two-sided: at an adjusted p below {LEVEL:g}, divided by the number of planned looks where there are "
            "several, a target is lost if D is above 0 and retained if it is below; else it is inconclusive."
        )
    for side in (False, True):
        members = [r for r in gap_rows if outside(r) == side]
        tested = sum(extra(r).get("adjusted_p") is not None for r in members)
        family = "on targets outside the mixture, a family of their own," if side else "on components"
        if members:
            said.append(
                f"Verdicts {family} use Holm's adjustment over those that are not untestable "
                f"({tested} of {len(members)})."
            )
    ours = select(gap_rows, arm=SUBJECT)
    if len({r["look"] for r in ours}) > 1:
        each = [f"{count} at {seeds} seeds" for seeds, count in sorted(Counter(r["n_seeds"] for r in ours).items())]
        said.append(
            f"Looks were planned before the first: {', '.join(each)}; a decided target was not asked again, and p "
            "values are conservative."
        )
    return said


def splits(rows: list[dict]) -> list[str]:
    """What the parts of the gap are, where it was split."""
    split = select(rows, seed="all", metric=PARTS[0])
    if not split:
        return []
    said = [
        "The gap splits exactly into exposure (direct minus alone) and interference (alone minus mixture), where alone "
        "trains on the mixture's own batches with the losses of all other components masked.",
        *sorted({holds for row in split if (holds := extra(row).get("holds"))}),
    ]
    if select(split, protocol=REMEASURED):
        said.append(
            "Both are read with BatchNorm's statistics re-measured on the component's probe items; what of the gap "
            "goes away by that is normalisation."
        )
    return said


def exploratory(sections: list[Section]) -> list[str]:
    """Sentences on every analysis, then on what their words are worth."""
    said = [section.methods for section in sections if section.methods]
    if said:
        said.append(
            "All of this is exploratory: 95% intervals and words that follow from them (rung, course, seeds), no "
            "verdicts, and no adjustment for the number of layers, steps, factors and pairs that were looked at. "
            "Verdicts are only those of linear probes at the final step and the last layer."
        )
    return said


def _values(rows: list[dict], key: str) -> list:
    return sorted({r[key] for r in rows if r[key]})


def _either(rows: list[dict], key: str) -> str:
    return " or ".join(_values(rows, key)) or "what no row says"
