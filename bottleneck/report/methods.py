"""The methods paragraph: what was done, in sentences made from the rows."""

from __future__ import annotations

from bottleneck.report import lookup
from bottleneck.report.lookup import PROBE, counts, extra, outside, span
from bottleneck.report.section import Section
from bottleneck.rows import select


def methods(rows: list[dict]) -> list[str]:
    """Sentences on the main answer."""
    over_seeds, u = select(rows, seed="all"), lookup.unit(rows)
    gaps, probes = select(over_seeds, metric=f"gap_{u}"), select(lookup.chosen(rows), metric=u)
    said = []
    if gaps:
        steps = _values(select(over_seeds, arm="mixture", protocol=PROBE), "train_steps")
        length = f" for {span(steps)} steps" if steps else ""
        spaces = _values(select(probes, arm="mixture"), "label_space")
        space = f" in a {spaces[0].replace('_', '-')} label space" if len(spaces) == 1 else ""
        said.append(
            f"Networks were pretrained on the mixture{length}{space}, and for each target directly, "
            f"with the same seeds: {counts(gaps)}."
        )
    if probes:
        menu = ", ".join(_values(select(rows, protocol=PROBE), "scaling"))
        edge = sum(bool(extra(r).get("at_edge")) for r in probes)
        chosen = f"scaling ({menu}) and penalty" if menu else "penalty"
        said.append(
            f"Linear probes were fitted on frozen features, their {chosen} chosen on "
            f"{_either(probes, 'selected_on')}, and read on {_either(probes, 'split')}; {edge:,} of "
            f"{len(probes):,} chose a penalty at the edge of its grid."
        )
    said.append(
        "Values are R2 on held-out items."
        if u == "r2"
        else "Information is in bits per item: how "
        "much better the calibrated probe predicts the label than the class frequencies do."
    )
    if gaps:
        said.append(f"Intervals are 95%, over {_either(gaps, 'ci_unit')}, and not adjusted for multiplicity.")
    for side in (False, True):
        members = [r for r in gaps if outside(r) == side]
        tested = sum(extra(r).get("adjusted_p") is not None for r in members)
        family = "on targets outside the mixture, a family of their own," if side else "on components"
        if members:
            said.append(f"Verdicts {family} use Holm's adjustment over the testable ones ({tested} of {len(members)}).")
    if (margin := lookup.margin(rows)) is not None:
        said.append(f"Lost is less than {100 * margin:g}% of what direct training shows, retained is more.")
    if any(extra(r).get("provisional") for r in gaps):
        said.append("Verdicts from fewer than 4 seeds are provisional.")
    return said


def exploratory(sections: list[Section]) -> list[str]:
    """Sentences on every analysis, then on what their words are worth."""
    told = [section.methods for section in sections if section.methods]
    if told:
        told.append(
            "All of this is exploratory: 95% intervals and words that follow from them (rung, course, seeds), no verdicts, "
            "and no adjustment for the number of layers, steps, factors and pairs that were looked at. Verdicts are only "
            "those of linear probes at the final step and the last layer."
        )
    return told


def _values(rows: list[dict], key: str) -> list:
    return sorted({r[key] for r in rows if r[key]})


def _either(rows: list[dict], key: str) -> str:
    return " or ".join(_values(rows, key)) or "what no row says"
