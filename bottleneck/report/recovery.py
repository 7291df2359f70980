"""The report's section on recovery: what fine-tuning takes to bring a label back, beside a random initialisation."""
from __future__ import annotations

from bottleneck.report import curves
from bottleneck.report.curves import curve
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
            word = "save" if low is not None and low > 0 else "cost" if high is not None and high < 0 else "neither clearly save nor cost"
            found[word].append(r["target"])
        said += [f"the mixture's weights {word} {unit} over random ones on {several(names) if len(names) < len(saved) or len(names) == 1 else 'every target'}"
                 for word, names in found.items() if names]
    words = "; ".join(said)
    return f"Fine-tuning: {words}." if said else ""


def over_steps(rows: list[dict]) -> Figure | None:
    """Curves over fine-tuning steps on all examples."""
    read = [r for r in select(rows, metric="bits", protocol="finetune") if r["step"] is not None]
    found = {}
    for target in targets(read):
        of = select(read, target=target)
        most = max(size(r) for r in of)
        found[target] = [c for arm, colour in STARTS.items()
                         if (c := curve([r for r in select(of, arm=arm) if size(r) == most], NAMES[arm], colour, dashed=arm == "random"))]
    caption = "Whole networks, on all of the target's examples; bits on test items, mean over seeds with 95% intervals."
    return _figure("recovery-steps", "Fine-tuning steps", caption, {t: f for t, f in found.items() if any(len(c.points) > 1 for c in f)},
                   "fine-tuning steps")


def over_examples(rows: list[dict]) -> Figure | None:
    """Bits at the last fine-tuning step over the number of examples."""
    read = [r for r in select(rows, metric="bits", protocol="finetune") if size(r)]
    found = {}
    for target in targets(read):
        of = select(read, target=target)
        last = {(r["arm"], size(r)): max(s["step"] or 0 for s in of if (s["arm"], size(s)) == (r["arm"], size(r))) for r in of}
        of = [{**r, "step": size(r)} for r in of if (r["step"] or 0) == last[r["arm"], size(r)]]
        found[target] = [c for arm, colour in STARTS.items() if (c := curve(select(of, arm=arm), NAMES[arm], colour, dashed=arm == "random"))]
    caption = "At the last fine-tuning step, on so many of the target's examples; mean over seeds with 95% intervals."
    return _figure("recovery-examples", "Fine-tuning examples", caption, {t: f for t, f in found.items() if any(len(c.points) > 1 for c in f)},
                   "examples")


def _figure(name, title, caption, found, xlabel) -> Figure | None:
    every = [c for each in found.values() for c in each]
    if not every:
        return None
    room = curves.extent(every)
    panels = tuple(curves.panel(f"{name}-{t}", t, each, ylabel="bits", xlabel=xlabel, room=room) for t, each in found.items())
    return Figure(name, title, caption, panels, curves.key(every))


def size(row: dict) -> int:
    """The number of examples fine-tuned on."""
    return extra(row).get("examples") or 0


def table(rows: list[dict]) -> Table | None:
    """Steps and examples to reach the margin of direct training, and what is saved over random."""
    lines = []
    for target in targets(rows):
        for arm in STARTS:
            of = select(rows, target=target, arm=arm)
            cells = [cell for unit in UNITS for cell in (budget(find(of, metric=f"{unit}_to_recover")), saving(find(of, metric=f"log2_{unit}_saved")))]
            if set(cells) != {MISSING}:
                lines.append((target, NAMES[arm], *cells))
    if not lines:
        return None
    header = ("target", "start", "steps to recover", "steps saved (log2)", "examples to recover", "examples saved (log2)")
    caption = (f"{counts([r for r in rows if 'saved' in r['metric']])}. The budget at which fine-tuning reaches the margin of direct training's bits, "
               "median over seeds; 'not reached' where it did not within what was tried. Saved over a random start, in "
               "doublings: 1 is half the budget; 95% intervals, not adjusted for multiplicity.")
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
    return f"at least {least:z.2f}" if least is not None else f"at most {most:z.2f}" if most is not None else "not known"


def methods(rows: list[dict]) -> str:
    saved = [r for r in rows if "saved" in r["metric"]]
    return ("Recovery is fine-tuning of whole networks from the mixture's, directly trained and random weights; savings "
            f"({counts(saved)}) are paired by seed.")
