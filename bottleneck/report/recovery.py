"""The report's section on recovery: what fine-tuning takes to bring a label back, beside a random initialisation."""

from __future__ import annotations

from bottleneck.report import curves
from bottleneck.report.curves import Curve, curve
from bottleneck.report.drawing import BLUE, INK, VERMILLION
from bottleneck.report.lookup import counts, extra, find, number, several, targets, whole
from bottleneck.report.section import Figure, Section
from bottleneck.report.table import MISSING, Number, Table, trim
from bottleneck.rows import select

KIND = "recovery"
STARTS = {"mixture": VERMILLION, "direct": BLUE, "random": INK}
NAMES = {"mixture": "from the mixture", "direct": "from direct training", "random": "from random"}
UNITS = ("steps", "examples")


def section(kinds: dict) -> Section | None:
    """None without a curve."""
    rows = select(kinds.get(KIND, []), seed="all")
    parts = tuple(part for part in (over_steps(rows), over_examples(rows), table(rows)) if part is not None)
    return Section("recovery", "Recovery", sentence(rows), parts, methods(rows)) if parts else None


def sentence(rows: list[dict]) -> str:
    """For which targets the mixture's weights save fine-tuning steps, or examples, over random ones."""
    said = []
    for unit in UNITS:
        saved = select(rows, metric=f"log2_{unit}_saved", arm="mixture")
        found: dict[str, list[str]] = {"save": [], "cost": [], "neither clearly save nor cost": []}
        for r in saved:
            low, high = r["ci95"] or (None, None)
            surely = "save" if low is not None and low > 0 else "cost" if high is not None and high < 0 else None
            found[surely or "neither clearly save nor cost"].append(r["target"])
        for word, names in found.items():
            on = "every target" if len(names) == len(saved) > 1 else several(names)
            said += [f"the mixture's weights {word} {unit} over random ones on {on}"] * bool(names)
    return f"Fine-tuning: {'; '.join(said)}." if said else ""


def over_steps(rows: list[dict]) -> Figure | None:
    """Curves over fine-tuning steps on all examples."""
    read, found = select(rows, metric="bits", protocol="finetune"), {}
    for target in targets(read):
        of = select(read, target=target)
        found[target] = starts([r for r in of if size(r) == max(map(size, of))])
    caption = (
        "Whole networks, on all of the target's examples; bits on test items, mean over seeds with 95% intervals, cut at "
        "the panel's edge."
    )
    return _figure("recovery-steps", "Fine-tuning steps", caption, found, "fine-tuning steps")


def over_examples(rows: list[dict]) -> Figure | None:
    """Bits at the last fine-tuning step over the number of examples."""
    read, found = [r for r in select(rows, metric="bits", protocol="finetune") if r["step"] is not None and size(r)], {}
    for target in targets(read):
        of = select(read, target=target)
        found[target] = starts([{**r, "step": size(r)} for r in select(of, step=max(r["step"] for r in of))])
    caption = (
        "At the last fine-tuning step, on so many of the target's examples; mean over seeds with 95% intervals, cut at the "
        "panel's edge."
    )
    return _figure("recovery-examples", "Fine-tuning examples", caption, found, "examples")


def starts(rows: list[dict]) -> list[Curve | None]:
    """A curve for everything fine-tuning started from."""
    return [curve(select(rows, arm=arm), NAMES[arm], colour, dashed=arm == "random") for arm, colour in STARTS.items()]


def _figure(name: str, title: str, caption: str, found: dict, xlabel: str) -> Figure | None:
    """None where there is no more than one point."""
    if not any(len(c.points) > 1 for each in found.values() for c in each if c):
        return None
    return curves.figure(name, title, caption, found, ylabel="bits", xlabel=xlabel)


def size(row: dict) -> int:
    """The number of examples fine-tuned on."""
    return extra(row).get("examples") or 0


def table(rows: list[dict]) -> Table | None:
    """Steps and examples to reach the margin of direct training, and what is saved over random."""
    lines = []
    for target in targets(rows):
        for arm in STARTS:
            of = select(rows, target=target, arm=arm)
            cells = [
                cell
                for unit in UNITS
                for cell in (
                    budget(find(of, metric=f"{unit}_to_recover")),
                    saving(find(of, metric=f"log2_{unit}_saved")),
                )
            ]
            if set(cells) != {MISSING}:
                lines.append((target, NAMES[arm], *cells))
    if not lines:
        return None
    header = (
        "target",
        "start",
        "steps to recover",
        "steps saved (log2)",
        "examples to recover",
        "examples saved (log2)",
    )
    caption = (
        f"{counts([r for r in rows if 'saved' in r['metric']])}. The budget at which fine-tuning reaches the margin of "
        "direct training's bits, median over seeds; 'not reached' where it did not within what was tried. Saved over a "
        "random start, in doublings: 1 is half the budget; 95% intervals, not adjusted for multiplicity."
    )
    return trim(Table("recovery", "What it takes to recover", caption, header, tuple(lines)))


def budget(row: dict | None) -> Number | str:
    """A budget, or that what was tried did not suffice."""
    if row is None:
        return MISSING
    return whole(row["value"]) if row["value"] is not None else "not reached"


def saving(row: dict | None) -> Number | str:
    """What was saved; where some seeds never recovered, between what bounds it lies."""
    if row is None or row["value"] is not None:
        return number(row)
    least, most = (extra(row).get(key) for key in ("at_least", "at_most"))
    if None not in (least, most):
        return f"{least:z.2f} to {most:z.2f}"
    return (
        f"at least {least:z.2f}" if least is not None else f"at most {most:z.2f}" if most is not None else "not known"
    )


def methods(rows: list[dict]) -> str:
    saved = [r for r in rows if "saved" in r["metric"]]
    return (
        "Recovery is fine-tuning of whole networks from the mixture's, directly trained and random weights; savings "
        f"({counts(saved)}) are paired by seed."
    )
