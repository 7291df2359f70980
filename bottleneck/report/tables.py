"""Tables of a study: pure functions from rows to plain tables, and those as text for a terminal or as CSV.

Every number shown is the value of a row. A number that no row has is an em dash.
"""
from __future__ import annotations

import csv
import io
import textwrap
from dataclasses import dataclass

from bottleneck.rows import select

MISSING = "\u2014"
PROBE = "linear_probe"       # the protocol of the verdicts
ARMS = ("direct", "mixture", "matched", "longer", "heads", "randomised", "wider")     # in reading order
FLOORS = ("random", "pixels", "majority")
GAINS = ("gain", "control_gain", "excess_gain", "over_single")
LABELS = {"random": "random init", "pixels": "pooled input", "bayes": "Bayes"}


@dataclass(frozen=True)
class Number:
    """A row's value and interval; `half` shows the interval as plus or minus half its width."""
    value: float
    low: float | None = None
    high: float | None = None
    digits: int = 2
    half: bool = False

    def __str__(self):
        def show(x):
            return f"{x:z,.{self.digits}f}"
        if self.low is None or self.high is None:
            return show(self.value)
        if self.half:
            return f"{show(self.value)} \u00b1{show((self.high - self.low) / 2)}"
        return f"{show(self.value)} [{show(self.low)}, {show(self.high)}]"


Cell = Number | str


@dataclass(frozen=True)
class Table:
    """Cells under a header; `caption` says the units, how many seeds and items, and what the columns mean."""
    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def text(table: Table, width: int = 120) -> str:
    """The table aligned for a terminal; words wrap in the last column where a line would pass `width`."""
    cells = [[str(cell) for cell in row] for row in table.rows]
    numeric = [is_numeric(column) for column in zip(*table.rows)] or [False] * len(table.header)
    room = [max([len(row[i]) for row in cells], default=0) for i in range(len(numeric))]
    heads = [textwrap.wrap(h, max(w, 11), break_long_words=False) if n else [h]
             for h, w, n in zip(table.header, room, numeric)]
    widths = [max(w, *map(len, head)) for w, head in zip(room, heads)]
    if not numeric[-1]:
        widths[-1] = min(widths[-1], max(16, width - sum(widths[:-1]) - 2 * (len(widths) - 1)))

    def line(parts):
        return "  ".join(p.rjust(w) if n else p.ljust(w) for p, w, n in zip(parts, widths, numeric)).rstrip()

    depth = max(map(len, heads))
    lines = [line([([""] * (depth - len(head)) + head)[i] for head in heads]) for i in range(depth)]
    lines.append("  ".join("-" * w for w in widths))
    for row in cells:
        wrapped = textwrap.wrap(row[-1], widths[-1]) or [""]
        lines.append(line([*row[:-1], wrapped[0]]))
        lines += [line([*("" for _ in row[:-1]), more]) for more in wrapped[1:]]
    return "\n".join([table.title, *textwrap.wrap(table.caption, width), "", *lines])


def to_csv(table: Table) -> str:
    """The table as CSV at full precision; a column with intervals becomes three."""
    columns = list(zip(*table.rows)) or [()] * len(table.header)
    widths = [3 if any(getattr(c, "low", None) is not None for c in column) else 1 for column in columns]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([h + end for h, w in zip(table.header, widths) for end in ("", " low", " high")[:w]])
    for row in table.rows:
        cells = [(c.strip(MISSING), "", "") if isinstance(c, str) else (c.value, c.low, c.high) for c in row]
        writer.writerow([value for cell, w in zip(cells, widths) for value in cell[:w]])
    return out.getvalue()


def is_numeric(column) -> bool:
    """Whether a column holds numbers (or nothing), so that it is aligned to the right."""
    numbers = [isinstance(cell, Number) for cell in column]
    return any(numbers) and all(n or cell == MISSING for n, cell in zip(numbers, column))


# What the rows say

def chosen(rows: list[dict]) -> list[dict]:
    """The linear probes' rows of single seeds, without the scalings that validation did not choose."""
    probes = select(rows, protocol=PROBE)
    return [r for r in probes if r["seed"] != "all" and extra(r).get("chosen") is not False]


def unit(rows: list[dict]) -> str:
    """`bits`, or `r2` for a regression study."""
    return "r2" if any(r["metric"] in ("r2", "gap_r2") for r in select(rows, seed="all")) else "bits"


def score(rows: list[dict]) -> str:
    """The metric shown per arm: accuracy, or `r2` for a regression study."""
    return "r2" if unit(rows) == "r2" else "accuracy"


def targets(rows: list[dict]) -> list[str]:
    """All targets, the mixture's own first, each family in the order in which its verdicts come."""
    verdicts = sorted(select(rows, seed="all", metric=f"gap_{unit(rows)}"), key=outside)
    rest = [r for r in rows if r["target"] is not None]
    return list(dict.fromkeys(r["target"] for r in [*verdicts, *rest]))


def extra(row: dict | None) -> dict:
    """What a row says beside its keys; nothing where there is no row."""
    return (row or {}).get("extra") or {}


def outside(row: dict | None) -> bool:
    """Whether the row is about a target outside the mixture."""
    return bool(extra(row).get("outside"))


def verdict(rows: list[dict], target: str) -> dict | None:
    """The row of a target's gap; its `extra` holds verdict, sentence, margin, causes."""
    return find(rows, target=target, metric=f"gap_{unit(rows)}")


def representation_names(rows: list[dict]) -> list[str]:
    """Declared representations: what is neither an arm of the study nor a floor, the cheapest first."""
    known = {*ARMS, *FLOORS, "bayes", None}
    found: dict[str, int] = {}
    for r in select(rows, seed="all"):
        if r["arm"] not in known and not r["arm"].endswith("|direct"):
            found[r["arm"]] = max(found.get(r["arm"], 0), r["train_steps"] or 0)
    return sorted(found, key=lambda name: (found[name], name))


def find(rows: list[dict], **values) -> dict | None:
    """The first row over all seeds with these values."""
    return next((r for r in rows if r["seed"] == "all" and all(r[k] == v for k, v in values.items())), None)


def number(row: dict | None, half: bool = False) -> Cell:
    """A row's value as a cell: accuracies in percent and points with 1 decimal, the rest with 2."""
    if row is None or row["value"] is None:
        return MISSING
    scale, digits = {"accuracy": (100, 1), "gap_points": (1, 1)}.get(row["metric"], (1, 2))
    ends = (None if end is None else scale * end for end in row["ci95"] or (None, None))
    return Number(scale * row["value"], *ends, digits, half)


def whole(value: float | None, scale: int = 1) -> Cell:
    """A number without decimals."""
    return MISSING if value is None else Number(scale * value, digits=0)


def counts(rows: list[dict], of: str | None = "seed") -> str:
    """On how many seeds (unless `of` is None) and test items `rows` rest, in words."""
    parts = []
    for key, word in (("n_seeds", of), ("n_examples", "test item")):
        found = sorted({r[key] for r in rows if r[key]})
        if found and word:
            parts.append(f"{span(found)} {word}{'' if found == [1] else 's'}")
    return ", ".join(parts) + " per target" if parts else "numbers of seeds and items unknown"


def span(values: list[int]) -> str:
    """Sorted numbers in words: the one there is, or the least and the largest."""
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


# Tables

def answer(rows: list[dict]) -> Table:
    """One line per target: what the mixture's features lack, and why."""
    rows, u = select(rows, seed="all"), unit(rows)
    name = "R2" if u == "r2" else "bits"
    gaps = select(rows, metric=f"gap_{u}")
    families, points = any(map(outside, gaps)), any(r["metric"] == "gap_points" for r in rows)
    header = ["target", *(["family"] if families else []), "verdict", f"direct ({name})", f"mixture ({name})",
              f"gap ({name})", *(["gap (points)"] if points else []), "cause"]
    lines = []
    for target in targets(rows):
        found = verdict(rows, target)
        if found is None:
            continue
        said = extra(found)
        sides = [find(rows, arm=arm, target=target, protocol=PROBE, metric=u) for arm in ARMS[:2]]
        lines.append((
            target, *(["outside" if outside(found) else "mixture"] if families else []),
            said.get("verdict", MISSING) + ("*" if said.get("provisional") else ""),
            *(number(side, half=True) for side in sides), number(found),
            *([number(find(rows, target=target, metric="gap_points"))] if points else []),
            _causes(rows, target, said, u)))
    caption = f"{counts(gaps)}; linear probe on the last layer; 95% intervals, not adjusted for multiplicity."
    if any(extra(r).get("provisional") for r in gaps):
        caption += " * provisional: fewer than 4 seeds."
    return Table("answer", "What is missing", caption, tuple(header), tuple(lines))


def _causes(rows, target, said, u) -> str:
    if said.get("verdict") != "lost" or find(rows, target=target, metric=f"restored_{u}") is None:
        return MISSING
    named = ", ".join(said.get("causes") or ()) or "none established"
    return named + (" (saturated)" if said.get("saturated") else "")


def accuracy(rows: list[dict]) -> Table:
    """The linear probe's accuracy (R2 for regression) per target and arm."""
    rows = select(rows, seed="all")
    metric = score(rows)
    probes = [r for r in select(rows, metric=metric, protocol=PROBE) if r["arm"] in ARMS]
    arms = [arm for arm in ARMS if any(r["arm"] == arm for r in probes)]
    lines = [(target, *(number(find(probes, arm=arm, target=target), half=True) for arm in arms))
             for target in targets(rows)]
    name = "R2" if metric == "r2" else "Accuracy"
    caption = (f"Mean over seeds \u00b1 half the 95% interval{'' if metric == 'r2' else ', percent'}; "
               f"{counts(probes)}; linear probe on the last layer.")
    return Table("accuracy", f"{name} per target and arm", caption, ("target", *arms), tuple(lines))


def limits(rows: list[dict]) -> Table:
    """Floors, ceilings and bounds per target, with the examples the mixture drew."""
    u, metric, names = unit(rows), score(rows), targets(rows)
    examples = {r["target"]: r["component_examples"] for r in select(rows, arm="mixture", protocol=PROBE)
                if r["seed"] != "all" and r["component_examples"]}
    rows = select(rows, seed="all")
    name = "R2" if u == "r2" else "%"
    columns = {f"{LABELS[arm]} ({name})": dict(arm=arm, metric=metric, protocol=PROBE) for arm in FLOORS[:2]}
    columns[f"majority ({name})"] = dict(arm="majority", metric=metric)
    columns[f"mixture's head as it is ({name})"] = dict(arm="mixture", metric=metric, protocol="head")
    columns |= {f"Bayes, {words} (%)": dict(arm="bayes", reference=kind, metric="accuracy")
                for kind, words in (("direct", "direct"), ("shared", "shared head"), ("heads", "own head"))}
    columns[f"interference ({'R2' if u == 'r2' else u})"] = dict(metric=f"interference_{u}")
    columns["bound on the gap (bits)"] = dict(metric="bound_bits")
    found = {}
    for h, key in columns.items():
        cells = [number(find(rows, target=t, **key), half=True) for t in names]
        if set(cells) != {MISSING}:
            found[h] = cells
    if examples:
        found["examples drawn"] = [whole(examples.get(t)) for t in names]
    lines = [(t, *(cells[i] for cells in found.values())) for i, t in enumerate(names)] if found else []
    parts = {"": f"{counts(select(rows, arm='mixture', protocol=PROBE))}.",
             "random": "Floors: linear probes on an untrained network and on the pooled input.",
             "Bayes": "Ceilings: exact Bayes optima.",
             "mixture's": "The head is read as it is: its errors are no loss of features.",
             "interference": "Interference: matched minus mixture.",
             "bound": "The bound on the gap, from the mixture's head, holds in the population."}
    caption = " ".join(words for start, words in parts.items() if any(h.startswith(start) for h in found))
    return Table("limits", "Floors, ceilings and bounds", caption, ("target", *found), tuple(lines))


def causes(rows: list[dict]) -> Table:
    """What each intervention restores of a lost target's gap."""
    rows, u = select(rows, seed="all"), unit(rows)
    restored = select(rows, metric=f"restored_{u}")
    lines = []
    for target in targets(rows):
        for r in sorted(select(restored, target=target), key=lambda r: -(extra(r).get("share") or 0)):
            cause, status = extra(r).get("cause", MISSING), extra(r).get("status", MISSING)
            lines.append((target, cause, r["arm"], number(r), whole(extra(r).get("share"), 100), status))
    caption = (f"Lost targets only; {counts(restored)}. Restored: arm minus mixture (dilution: direct minus "
               "matched). A cause is named when its share is at least half and the interval above 0; shares "
               "need not add up.")
    name = "R2" if u == "r2" else u
    header = ("target", "suspected cause", "arm", f"restored ({name})", "share of the gap (%)", "status")
    return Table("causes", "Why: what each intervention restores", caption, header, tuple(lines))


def protocols(rows: list[dict]) -> Table:
    """Fine-tuning, few-shot and other protocols beside the linear probe."""
    rows = select(rows, seed="all")
    metric = score(rows)
    scored = [r for r in select(rows, metric=metric)
              if r["arm"] in ("mixture", "direct") and r["protocol"] not in (None, "head")]
    kinds = list(dict.fromkeys((r["protocol"], r["n_shot"]) for r in scored))
    kinds.sort(key=lambda kind: (kind[0] != PROBE, kind[0], kind[1] or 0))
    lines = []
    for target in targets(rows) if len(kinds) > 1 else ():
        for protocol, shots in kinds:
            key = dict(target=target, protocol=protocol, n_shot=shots)
            sides = [find(scored, arm=arm, **key) for arm in ARMS[:2]]
            words = f"{shots}-shot probe" if shots else protocol.replace("_", " ")
            lines.append((target, words, *map(number, sides)))
    name = "R2" if metric == "r2" else "%"
    caption = f"{counts(scored)}; 95% intervals, not adjusted for multiplicity."
    header = ("target", "protocol", f"direct ({name})", f"mixture ({name})")
    return Table("protocols", "By protocol", caption, header, tuple(lines))


def representations(rows: list[dict]) -> Table:
    """Declared representations: what they cost and what they add to their own members, beside the control."""
    rows, u, metric, names = select(rows, seed="all"), unit(rows), score(rows), representation_names(rows)
    used = [r for r in rows if r["arm"] in names]
    lines = []
    for target in targets(rows):
        for arm in ["mixture", *names] if names else ():
            mean = find(rows, arm=arm, target=target, protocol=PROBE, metric=u)
            if mean is None:
                continue
            hits = find(rows, arm=arm, target=target, protocol=PROBE, metric="accuracy")
            gain, control, excess, single = (find(used, arm=arm, target=target, metric=f"{g}_{u}") for g in GAINS)
            notes = (extra(excess).get("note") or "").split("; ")
            notes = ["no verdict" if "no verdict" in note else note for note in notes]
            lines.append((
                target, "one network" if arm == "mixture" else arm,
                whole(mean["train_steps"]), whole(mean["n_seeds"]), number(mean, half=True),
                *([number(hits, half=True)] if metric == "accuracy" else []),
                number(gain, half=True), number(control, half=True), number(excess, half=True), number(single, half=True),
                "; ".join(filter(None, [extra(excess).get("verdict"), *notes])) or MISSING))
    caption = (f"{counts(used, None)}; steps are those of all members together. Gain: over the mean of its "
               "own members. Control: the same for directly trained members. Excess: their "
               "difference; a verdict rests on it where there are enough disjoint sets. Over single: over one whole "
               "run. 95% intervals, not adjusted for multiplicity.")
    header = ("target", "representation", "steps", "sets", "R2" if u == "r2" else "bits",
              *(["accuracy (%)"] if metric == "accuracy" else []), "gain", "control", "excess", "over single",
              "verdict")
    return Table("representations", "Representations and what they add", caption, header, tuple(lines))


def sentences(rows: list[dict]) -> list[tuple[str, str]]:
    """(verdict, sentence) of every target that has one."""
    found = [extra(verdict(rows, target)) for target in targets(rows)]
    return [(said.get("verdict", ""), said["sentence"]) for said in found if said.get("sentence")]


def all_tables(rows: list[dict]) -> list[Table]:
    """Every table that has lines, in reading order."""
    found = [make(rows) for make in (answer, accuracy, causes, limits, protocols, representations)]
    return [table for table in found if table.rows]


def terminal(rows: list[dict], width: int = 120) -> str:
    """What a study prints at its end: one sentence per target, then the tables."""
    said = [textwrap.fill(s, width, subsequent_indent="  ") for _, s in sentences(rows)]
    shown = [table for table in all_tables(rows) if table.name not in ("causes", "protocols")]
    return "\n\n".join(["\n".join(said)] * bool(said) + [text(table, width) for table in shown]) + "\n"
