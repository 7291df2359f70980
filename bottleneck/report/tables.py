"""Tables of the main answer, and what a study prints at its end: pure functions from rows to plain tables.

Every number shown is the value of a row. A number that no row has is an em dash.
"""

from __future__ import annotations

import textwrap

from bottleneck.report import findings
from bottleneck.report.lookup import (
    ARMS,
    FLOORS,
    LABELS,
    PROBE,
    counts,
    extra,
    find,
    number,
    outside,
    representation_names,
    score,
    split,
    targets,
    unit,
    verdict,
    whole,
)
from bottleneck.report.table import MISSING, Number, Table, text
from bottleneck.rows import select

__all__ = ["MISSING", "Number", "Table", "all_tables", "terminal", "text"]  # what a table is made of, for its users
GAINS = ("gain", "control_gain", "excess_gain", "over_single")


def answer(rows: list[dict]) -> Table:
    """One line per target: what the mixture's features lack, and why."""
    rows, u = select(rows, seed="all"), unit(rows)
    name = "R2" if u == "r2" else "bits"
    gaps = select(rows, metric=f"gap_{u}")
    families, points = any(map(outside, gaps)), any(r["metric"] == "gap_points" for r in rows)
    header = [
        "target",
        *(["family"] if families else []),
        "verdict",
        f"direct ({name})",
        f"mixture ({name})",
        f"gap ({name})",
        *(["gap (points)"] if points else []),
        "cause",
    ]
    lines = []
    for target in targets(rows):
        found = verdict(rows, target)
        if found is None:
            continue
        said = extra(found)
        sides = [find(rows, arm=arm, target=target, protocol=PROBE, metric=u) for arm in ARMS[:2]]
        lines.append(
            (
                target,
                *(["outside" if outside(found) else "mixture"] if families else []),
                said.get("verdict", MISSING) + ("*" if said.get("provisional") else ""),
                *(number(side, half=True) for side in sides),
                number(found),
                *([number(find(rows, target=target, metric="gap_points"))] if points else []),
                _causes(rows, target, said, u),
            )
        )
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
    lines = [
        (target, *(number(find(probes, arm=arm, target=target), half=True) for arm in arms)) for target in targets(rows)
    ]
    name = "R2" if metric == "r2" else "Accuracy"
    caption = (
        f"Mean over seeds \u00b1 half the 95% interval{'' if metric == 'r2' else ', percent'}; "
        f"{counts(probes)}; linear probe on the last layer."
    )
    return Table("accuracy", f"{name} per target and arm", caption, ("target", *arms), tuple(lines))


def limits(rows: list[dict]) -> Table:
    """Floors, ceilings and bounds per target, with the examples the mixture drew."""
    u, metric, names = unit(rows), score(rows), targets(rows)
    examples = {
        r["target"]: r["component_examples"]
        for r in select(rows, arm="mixture", protocol=PROBE)
        if r["seed"] != "all" and r["component_examples"]
    }
    rows = select(rows, seed="all")
    name = "R2" if u == "r2" else "%"
    columns = {f"{LABELS[arm]} ({name})": dict(arm=arm, metric=metric, protocol=PROBE) for arm in FLOORS[:2]}
    columns[f"majority ({name})"] = dict(arm="majority", metric=metric)
    columns[f"mixture's head as it is ({name})"] = dict(arm="mixture", metric=metric, protocol="head")
    columns |= {
        f"Bayes, {words} (%)": dict(arm="bayes", reference=kind, metric="accuracy")
        for kind, words in (("direct", "direct"), ("shared", "shared head"), ("heads", "own head"))
    }
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
    parts = {
        "": f"{counts(select(rows, arm='mixture', protocol=PROBE))}.",
        "random": "Floors: linear probes on an untrained network and on the pooled input.",
        "Bayes": "Ceilings: exact Bayes optima.",
        "mixture's": "The head is read as it is: its errors are no loss of features.",
        "interference": "Interference: matched minus mixture.",
        "bound": "The bound on the gap, from the mixture's head, holds in the population.",
    }
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
    caption = (
        f"Lost targets only; {counts(restored)}. Restored: arm minus mixture (dilution: direct minus "
        "matched). A cause is named when its share is at least half and the interval above 0; shares "
        "need not add up."
    )
    name = "R2" if u == "r2" else u
    header = ("target", "suspected cause", "arm", f"restored ({name})", "share of the gap (%)", "status")
    return Table("causes", "Why: what each intervention restores", caption, header, tuple(lines))


def protocols(rows: list[dict]) -> Table:
    """Fine-tuning, few-shot and other protocols beside the linear probe."""
    rows = select(rows, seed="all")
    metric = score(rows)
    scored = [
        r
        for r in select(rows, metric=metric)
        if r["arm"] in ("mixture", "direct") and r["protocol"] not in (None, "head")
    ]
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
            lines.append(
                (
                    target,
                    "one network" if arm == "mixture" else arm,
                    whole(mean["train_steps"]),
                    whole(mean["n_seeds"]),
                    number(mean, half=True),
                    *([number(hits, half=True)] if metric == "accuracy" else []),
                    number(gain, half=True),
                    number(control, half=True),
                    number(excess, half=True),
                    number(single, half=True),
                    "; ".join(filter(None, [extra(excess).get("verdict"), *notes])) or MISSING,
                )
            )
    caption = (
        f"{counts(used, None)}; steps are those of all members together. Gain: over the mean of its "
        "own members. Control: the same for directly trained members. Excess: their "
        "difference; a verdict rests on it where there are enough disjoint sets. Over single: over one whole "
        "run. 95% intervals, not adjusted for multiplicity."
    )
    header = (
        "target",
        "representation",
        "steps",
        "sets",
        "R2" if u == "r2" else "bits",
        *(["accuracy (%)"] if metric == "accuracy" else []),
        "gain",
        "control",
        "excess",
        "over single",
        "verdict",
    )
    return Table("representations", "Representations and what they add", caption, header, tuple(lines))


def sentences(rows: list[dict], clauses: dict[str, str]) -> list[tuple[str, str]]:
    """(verdict, sentence) of every target that has one, with what the analyses add to it."""
    found = [(target, extra(verdict(rows, target))) for target in targets(rows)]
    return [
        (said.get("verdict", ""), " ".join(filter(None, (said["sentence"], clauses.get(target)))))
        for target, said in found
        if said.get("sentence")
    ]


def all_tables(rows: list[dict]) -> list[Table]:
    """Every table of the main answer that has lines, in reading order."""
    found = [make(rows) for make in (answer, accuracy, causes, limits, protocols, representations)]
    return [table for table in found if table.rows]


def terminal(rows: list[dict], width: int = 120) -> str:
    """What a study prints at its end: one sentence per target, then the tables."""
    main, kinds = split(rows)
    said = [textwrap.fill(s, width, subsequent_indent="  ") for _, s in sentences(main, findings.clauses(kinds))]
    shown = [table for table in all_tables(main) if table.name not in ("causes", "protocols")]
    shown += filter(None, [findings.overview(kinds)])
    return "\n\n".join(["\n".join(said)] * bool(said) + [text(table, width) for table in shown]) + "\n"
