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
SAVED = {"steps": "log2 steps", "examples": "log2 examples"}  # what is saved of each, in doublings


def section(kinds: dict) -> Section | None:
    """None without a curve."""
    rows = select(kinds.get(KIND, []), seed="all")
    parts = tuple(part for part in (over_steps(rows), over_examples(rows), table(rows)) if part is not None)
    return Section("recovery", "Recovery", sentence(rows), parts, methods(rows)) if parts else None


def sentence(rows: list[dict]) -> str:
    """For which targets the mixture's weights save fine-tuning steps, or examples, over random ones."""
    said = []
    for unit in UNITS:
        saved = select(rows, metric="saved", unit=SAVED[unit], arm="mixture")
        lists: dict[str, list[str]] = {"save": [], "cost": [], "neither clearly save nor cost": []}
        for r in saved:
            low, high = r["ci95"] or (None, None)
            surely = "save" if low is not None and low > 0 else "cost" if high is not None and high < 0 else None
            lists[surely or "neither clearly save nor cost"].append(r["target"])
        for word, names in lists.items():
            on = "every target" if len(names) == len(saved) > 1 else several(names)
            said += [f"the mixture's weights {word} {unit} over random ones on {on}"] * bool(names)
    return f"Fine-tuning: {'; '.join(said)}." if said else ""


def over_steps(rows: list[dict]) -> Figure | None:
    """Curves over fine-tuning steps on all examples."""
    read, drawn = select(rows, metric="information", protocol="finetune"), {}
    for target in targets(read):
        of = select(read, target=target)
        drawn[target] = starts([r for r in of if size(r) == max(map(size, of))])
    caption = (
        "Whole networks, on all of the target's examples; bits on test items, mean over seeds with 95% intervals, cut "
        "at the panel's edge."
    )
    return _figure("recovery-steps", "Fine-tuning steps", caption, drawn, "fine-tuning steps")


def over_examples(rows: list[dict]) -> Figure | None:
    """Bits at the last fine-tuning step over the number of examples."""
    read, drawn = select(rows, metric="information", protocol="finetune"), {}
    read = [r for r in read if r["step"] is not None and size(r)]
    for target in targets(read):
        of = select(read, target=target)
        drawn[target] = starts([{**r, "step": size(r)} for r in select(of, step=max(r["step"] for r in of))])
    caption = (
        "At the last fine-tuning step, on so many of the target's examples; mean over seeds with 95% intervals, cut at "
        "the panel's edge."
    )
    return _figure("recovery-examples", "Fine-tuning examples", caption, drawn, "examples")


def starts(rows: list[dict]) -> list[Curve | None]:
    """A curve for everything fine-tuning started from."""
    return [curve(select(rows, arm=arm), NAMES[arm], colour, dashed=arm == "random") for arm, colour in STARTS.items()]


def _figure(name: str, title: str, caption: str, drawn: dict, xlabel: str) -> Figure | None:
    """None where there is no more than one point."""
    if not any(len(c.points) > 1 for each in drawn.values() for c in each if c):
        return None
    return curves.figure(name, title, caption, drawn, ylabel="bits", xlabel=xlabel)


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
                    budget(find(of, metric="recovery", unit=unit)),
                    saving(find(of, metric="saved", unit=SAVED[unit])),
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
        f"{counts(select(rows, metric='saved'))}. The budget at which fine-tuning reaches the margin of "
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
    saved = select(rows, metric="saved")
    return (
        "Recovery is fine-tuning of whole networks from the mixture's, directly trained and random weights; savings "
        f"({counts(saved)}) are paired by seed."
    )
