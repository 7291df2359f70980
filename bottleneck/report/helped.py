"""What helped, in sentences: which representation reads more than its controls, by how much, and beyond which of them.

A control counts that took no more training steps; one network trained on the mixture always counts. A representation
*reads more* than a control where the 95% interval of their difference lies above 0; it *helped* where that holds for
all that count. Reductions to one member's dimension are no rivals of the representation they come from: they say
whether its gain is one of dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

from bottleneck.report.lookup import (
    SUBJECT,
    ends,
    extra,
    find,
    mean,
    representation_names,
    several,
    targets,
    trained_controls,
    unit,
)
from bottleneck.representations import REDUCTIONS
from bottleneck.rows import select

RIVALS = "one network and its controls of no more training steps"
MIN_SETS = 5  # of a verdict; see analysis.concatenation
WORDS = {
    "repeated": "its first member listed as often",
    "averaged": "its members' averaged predictions",
}


@dataclass(frozen=True)
class Case:
    """A representation on a target: the rows of what it reads beyond its controls, and what these read."""

    target: str
    arm: str
    level: dict
    beyond: tuple[dict, ...]  # of the controls that count, the strongest last
    levels: dict[str, float]  # control -> what it reads

    @property
    def beaten(self) -> list[dict]:
        return [r for r in self.beyond if ends(r)[0] > 0]

    @property
    def unbeaten(self) -> list[dict]:
        return [r for r in self.beyond if not ends(r)[0] > 0]

    @property
    def helped(self) -> bool:
        return bool(self.beyond) and not self.unbeaten


def cases(rows: list[dict]) -> dict[str, list[Case]]:
    """Target -> the representations that have controls, and are none themselves."""
    rows = select(rows, seed="all")
    names = [name for name in representation_names(rows) if name not in trained_controls(rows)]
    found = {}
    for target in targets(rows):
        each = [case for name in names if (case := _case(rows, target, name)) is not None]
        if each:
            found[target] = each
    return found


def _case(rows: list[dict], target: str, arm: str) -> Case | None:
    level = mean(rows, arm, target)
    if level is None or level["value"] is None:
        return None
    beyond, levels = [], {}
    for r in select(rows, metric="beyond", arm=arm, target=target, unit=unit(rows)):
        control = mean(rows, r["reference"], target)
        cheap = control and (control["train_steps"] or 0) <= (level["train_steps"] or 0)
        counts = cheap or (control and r["reference"] == SUBJECT)
        if counts and extra(r).get("control") not in REDUCTIONS and r["value"] is not None:
            beyond.append(r)
            levels[r["reference"]] = control["value"]
    beyond.sort(key=lambda r: levels[r["reference"]])
    return Case(target, arm, level, tuple(beyond), levels) if beyond else None


def sentences(rows: list[dict]) -> tuple[str, tuple[str, ...]]:
    """(one over all targets, one for each target); ("", ()) without representations that have controls."""
    rows, found = select(rows, seed="all"), cases(rows)
    if not found:
        return "", ()
    return overall(rows, found), tuple(sentence(rows, target, each) for target, each in found.items())


def overall(rows: list[dict], found: dict[str, list[Case]]) -> str:
    """Which representations read more than all controls that count, and where."""
    helped: dict[str, list[Case]] = {}
    for case in (case for each in found.values() for case in each if case.helped):
        helped.setdefault(case.arm, []).append(case)
    every = [r for each in found.values() for case in each for r in case.beyond]
    if helped:
        said = [f"{arm} ({steps(of[0].level)}) on {several([c.target for c in of])}" for arm, of in helped.items()]
        words = f"More than {RIVALS} reads {'; '.join(said)}."
    else:
        words = f"No representation is shown to read more than {RIVALS}."
    words += f" 95% intervals, not adjusted for the {len(every)} comparisons"
    least = min((r["n_seeds"] or 0 for r in every), default=0)
    return words + (f"; no verdicts where there are fewer than {MIN_SETS} member sets." if least < MIN_SETS else ".")


def sentence(rows: list[dict], target: str, each: list[Case]) -> str:
    """What helped on one target: the representation that reads most among those that helped; else what came closest."""
    helped = [case for case in each if case.helped]
    if helped:
        case = max(helped, key=lambda c: c.level["value"])
        return (
            f"{target}: {case.arm} ({steps(case.level)}) reads {amount(rows, case, case.beyond[-1])} more than "
            f"{control(case.beyond[-1])}, the strongest of {RIVALS}"
            f"{dimension(rows, case)}{excess(rows, case)}."
        )
    partly = [case for case in each if case.beaten]
    if partly:
        case = max(partly, key=lambda c: c.level["value"])
        rival = case.unbeaten[-1]
        return (
            f"{target}: {case.arm} ({steps(case.level)}) reads {amount(rows, case, case.beaten[-1])} more than "
            f"{control(case.beaten[-1])}, but is not shown to read more than {control(rival)} "
            f"({difference(rows, rival)})."
        )
    case = max(each, key=lambda c: min(ends(r)[0] for r in c.beyond))
    rival = min(case.beyond, key=lambda r: ends(r)[0])
    return (
        f"{target}: nothing is shown to read more than any of {RIVALS}; closest comes "
        f"{case.arm}, {difference(rows, rival)} beside {control(rival)}."
    )


def control(row: dict) -> str:
    """A control in words."""
    kind, name = extra(row).get("control"), row["reference"]
    if kind in WORDS:
        return WORDS[kind]
    if name == SUBJECT:
        return "one network"
    return f"one member alone ({name})" if kind == "member" else f"{name}"


def steps(level: dict) -> str:
    return f"{level['train_steps'] or 0:,} steps"


def amount(rows: list[dict], case: Case, row: dict) -> str:
    """How much more, with its interval, in points too, and over how many sets."""
    points = find(rows, metric="beyond", arm=case.arm, target=case.target, reference=row["reference"], unit="points")
    also = f", {points['value']:z.1f} points" if points and points["value"] is not None else ""
    return f"{decimal(row)} {name(rows)} (95% interval {interval(row)}{also}; {over(row)})"


def difference(rows: list[dict], row: dict) -> str:
    return f"{decimal(row)} {name(rows)} more, {interval(row)}"


def decimal(row: dict, number: float | None = None) -> str:
    """A number of a row as it is printed: with a third decimal where the row's are small."""
    digits = 2 if max(abs(row["value"]), *map(abs, ends(row))) >= 0.095 else 3
    return f"{row['value'] if number is None else number:z.{digits}f}"


def interval(row: dict) -> str:
    return " to ".join(decimal(row, end) for end in ends(row))


def over(row: dict) -> str:
    """What the interval is over, in words."""
    count, unit_of = row["n_seeds"] or 0, row["ci_unit"] or ""
    if "sets" in unit_of and count > 1:
        return f"{count} member sets"
    return f"{count} seeds" if count > 1 else "these networks alone"


def dimension(rows: list[dict], case: Case) -> str:
    """Whether anything of the gain is left in the dimension of one member, as a clause."""
    held = select(rows, metric="beyond", representation=case.arm, target=case.target, unit=unit(rows))
    held = [r for r in held if r["arm"] != case.arm and extra(r).get("control") == "member" and r["value"] is not None]
    if not held:
        return ""
    reductions = {r["arm"]: [s for s in held if s["arm"] == r["arm"]] for r in held}
    over_strongest = [min(of, key=lambda r: r["value"]) for of in reductions.values()]  # member of several patterns
    best = max(over_strongest, key=lambda r: r["value"])
    kept = f"{decimal(best)} ({interval(best)}) over one member"
    if ends(best)[0] > 0:
        return f"; reduced to one member's dimension it keeps {kept}"
    return f"; reduced to one member's dimension nothing of it is shown to be left: {kept}"


def excess(rows: list[dict], case: Case) -> str:
    """What directly trained members gain by the same, as a clause."""
    row = find(rows, metric="excess_gain", arm=case.arm, target=case.target, unit=unit(rows))
    if row is None or row["value"] is None:
        return ""
    low, high = ends(row)
    who = "directly trained members" + (", at their ceiling," if "ceiling" in (extra(row).get("note") or "") else "")
    said = f"by {decimal(row, abs(row['value']))} (difference {interval(row)})"
    if low > 0:
        return f"; {who} gain less by it, {said}"
    if high < 0:
        return f"; {who} gain more by it, {said}"
    return f"; {who} are not shown to gain less by it (difference {interval(row)})"


def name(rows: list[dict]) -> str:
    return "R2" if unit(rows) == "r2" else "bits"
