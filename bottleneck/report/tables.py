"""Tables of the main answer, and what a study prints at its end: pure functions from rows to plain tables.

Every number shown is the value of a row. A number that no row has is an em dash.
"""

from __future__ import annotations

import textwrap

from bottleneck.report import audit, causes, claims, findings, helped, law, removed, representations, spread, sweep
from bottleneck.report.lookup import (
    ARMS,
    FLOORS,
    LABELS,
    PARTS,
    PROBE,
    REMEASURED,
    SUBJECT,
    counts,
    extra,
    find,
    gaps,
    mean,
    number,
    outside,
    parts,
    representation_names,
    score,
    several,
    split,
    targets,
    unit,
    unit_name,
    whole,
)
from bottleneck.report.table import MISSING, Number, Table, encodable, text
from bottleneck.rows import select

JOINED = (audit, claims, removed, sweep, spread, law)  # what is said of an audit, or of the points of a sweep together
__all__ = ["MISSING", "Number", "Table", "all_tables", "terminal", "text"]  # what a table is made of, for its users
PROTOCOLS = {
    PROBE: "linear probe",
    REMEASURED: "linear probe, BatchNorm statistics re-measured",
    "two_stage": "two-stage fine-tuning",
    "two_stage_start": "fine-tuned members, logits averaged",
}
MEANINGS = {
    "exposure": "Exposure: direct minus alone, what is lost even when the other components' losses do not exist.",
    "interference": "Interference: alone minus mixture, what the others cost; below 0 they help.",
    "normalisation": (
        "Normalisation: what goes away when BatchNorm's statistics are re-measured on the target's own items; exposure "
        "and interference are of that reading."
    ),
}


def answer(rows: list[dict]) -> Table:
    """One line per target and subject: what the features lack, and how the gap splits."""
    rows, name = select(rows, seed="all"), unit_name(rows)
    gap_rows = gaps(rows)
    pieces = {r["target"]: parts(rows, r["target"]) for r in gap_rows if r["arm"] == SUBJECT}
    split_into = [p for p in PARTS if any(p in piece for piece in pieces.values())]
    optional = {
        "family": any(map(outside, gap_rows)),
        "features of": any(r["arm"] != SUBJECT for r in gap_rows),
        "against": any(r["reference"] not in ("direct", None) for r in gap_rows),
        "gap (points)": any(select(rows, metric="gap", unit="points")),
    }
    header = ("target", "family", "features of", "against", "verdict", f"direct ({name})", f"mixture ({name})")
    header += (f"gap ({name})", "gap (points)", *(f"{p} ({name})" for p in split_into))
    lines = []
    for gap in gap_rows:
        pieces_here = pieces.get(gap["target"], {}) if gap["arm"] == SUBJECT else {}
        cells = (*_sides(rows, gap), *(number(pieces_here.get(p), half=True) for p in split_into))
        lines.append(tuple(cell for head, cell in zip(header, cells) if optional.get(head, True)))
    header = tuple(h for h in header if optional.get(h, True))
    if optional["features of"]:
        header = tuple(h.replace("mixture (", "features (") for h in header)
    return Table("answer", "What is missing", _caption(gap_rows, split_into), header, tuple(lines))


def _sides(rows: list[dict], gap: dict) -> tuple:
    """The cells of one line: whose gap, its verdict, both sides and their difference."""
    target, reference = gap["target"], gap["reference"] or "direct"
    points = find(
        rows, target=target, arm=gap["arm"], reference=gap["reference"], metric="gap", unit="points", factor=None
    )
    return (
        target,
        "outside" if outside(gap) else "mixture",
        gap["arm"],
        reference,
        (extra(gap).get("verdict") or MISSING) + ("*" if extra(gap).get("provisional") else ""),
        number(mean(rows, reference, target), half=True),
        number(mean(rows, gap["arm"], target), half=True),
        number(gap),
        number(points, half=True),
    )


def _caption(gap_rows: list[dict], split_into: list[str]) -> str:
    words = [f"{counts(gap_rows)}; linear probe on the last layer; 95% intervals, not adjusted for multiplicity."]
    if split_into:
        words.append(f"The gap is the sum of {several(split_into)}.")
        words += [MEANINGS[p] for p in split_into]
    if any(extra(r).get("provisional") for r in gap_rows):
        words.append("* provisional: fewer than 4 seeds.")
    return " ".join(words)


def accuracy(rows: list[dict]) -> Table:
    """The linear probe's accuracy (R2 for regression) per target and arm."""
    rows, metric = select(rows, seed="all"), score(rows)
    subjects = dict.fromkeys(r["arm"] for r in gaps(rows))
    probes = [r for r in select(rows, metric=metric, protocol=PROBE, factor=None) if r["arm"] in (*ARMS, *subjects)]
    shown = [arm for arm in dict.fromkeys((*ARMS, *subjects)) if any(r["arm"] == arm for r in probes)]
    lines = tuple(
        (target, *(number(find(probes, arm=arm, target=target), half=True) for arm in shown))
        for target in (targets(rows) if probes else ())
    )
    percent = "" if unit(rows) == "r2" else ", percent"
    caption = (
        f"Mean over seeds \u00b1 half the 95% interval{percent}; {counts(probes)}; linear probe on the last layer, on "
        "the items of the target as they are."
    )
    title = f"{'R2' if unit(rows) == 'r2' else 'Accuracy'} per target and arm"
    return Table("accuracy", title, caption, ("target", *shown), lines)


def limits(rows: list[dict]) -> Table:
    """Floors, ceilings and bounds per target, with the examples the mixture drew."""
    names = targets(rows)
    drawn = {
        r["target"]: r["component_examples"]
        for r in select(rows, arm=SUBJECT, protocol=PROBE)
        if r["seed"] != "all" and r["component_examples"]
    }
    rows = select(rows, seed="all")
    columns = {
        head: [_limit(find(rows, target=t, factor=None, **key)) for t in names]
        for head, key in _limit_columns(rows).items()
    }
    columns["examples drawn"] = [whole(drawn.get(t)) for t in names]
    columns = {head: cells for head, cells in columns.items() if set(cells) - {MISSING}}
    lines = tuple((t, *(cells[i] for cells in columns.values())) for i, t in enumerate(names)) if columns else ()
    sayings = {
        "": f"{counts(select(rows, arm=SUBJECT, protocol=PROBE))}.",
        "random": "Floors: linear probes on an untrained network and on the pooled input.",
        "Bayes": "Ceilings: exact Bayes optima.",
        "mixture's": "The head is read as it is: its errors are no loss of features.",
        "bound": (
            "The bound on the gap, from the mixture's head, holds in the population"
            f"{silence(select(rows, metric='bound'))}."
        ),
    }
    caption = " ".join(words for start, words in sayings.items() if any(head.startswith(start) for head in columns))
    return Table("limits", "Floors, ceilings and bounds", caption, ("target", *columns), lines)


def _limit_columns(rows: list[dict]) -> dict[str, dict]:
    """header -> the keys of its rows."""
    metric, name = score(rows), "R2" if unit(rows) == "r2" else "%"
    columns = {f"{LABELS[arm]} ({name})": dict(arm=arm, metric=metric, protocol=PROBE) for arm in FLOORS[:2]}
    columns[f"majority ({name})"] = dict(arm="majority", metric=metric)
    columns[f"mixture's head as it is ({name})"] = dict(arm=SUBJECT, metric=metric, protocol="head")
    optima = (("direct", "direct"), ("shared", "shared head"), ("heads", "own head"))
    columns |= {f"Bayes, {words} (%)": dict(arm="bayes", reference=of, metric="accuracy") for of, words in optima}
    return {**columns, "bound on the gap (bits)": dict(metric="bound")}


def _limit(row: dict | None):
    """A limit's cell; a bound that says nothing is "none"."""
    return "none" if row and row["metric"] == "bound" and row["value"] is None else number(row, half=True)


def silence(bounds: list[dict]) -> str:
    """Why some bounds are "none", each reason once; "" where all say something."""
    reasons = dict.fromkeys(extra(r).get("reason") or "it says nothing" for r in bounds if r["value"] is None)
    return f"; none: {'; '.join(reasons)}" if reasons else ""


def protocols(rows: list[dict]) -> Table:
    """Fine-tuning, few-shot and other protocols beside the linear probe: of the mixture and of direct training, and of
    the representations that meet targets by any of them."""
    rows = select(rows, seed="all")
    scored = [r for r in select(rows, metric=score(rows), factor=None) if r["protocol"] not in (None, "head")]
    others = {r["arm"] for r in scored if r["protocol"] != PROBE}
    arms = [*ARMS[:2], *(name for name in representation_names(rows) if name in others)]
    scored = [r for r in scored if r["arm"] in arms]
    kinds = list(dict.fromkeys((r["protocol"], r["n_shot"], r["selected_on"]) for r in scored))
    kinds.sort(key=lambda kind: (kind[0] != PROBE, kind[0], kind[1] or 0, kind[2] == "test"))
    lines = []
    for target in targets(rows) if len(kinds) > 1 else ():
        for protocol, shots, chosen in kinds:
            at = dict(target=target, protocol=protocol, n_shot=shots, selected_on=chosen)
            sides = [find(scored, arm=arm, **at) for arm in arms]
            words = f"{shots}-shot probe" if shots else PROTOCOLS.get(protocol, protocol.replace("_", " "))
            words += ", the largest test accuracy (no estimate)" if chosen == "test" else ""
            lines.append((target, words, *map(number, sides)))
    name = "R2" if unit(rows) == "r2" else "%"
    caption = f"{counts(scored)}; 95% intervals, not adjusted for multiplicity."
    header = ("target", "protocol", *(f"{arm} ({name})" for arm in arms))
    return Table("protocols", "By protocol", caption, header, tuple(lines))


def sentences(rows: list[dict], clauses: dict[str, str]) -> list[dict]:
    """verdict, sentence and what the analyses add to it, of every gap that has a sentence."""
    return [
        {
            "row": gap,
            "verdict": extra(gap).get("verdict") or "",
            "sentence": extra(gap)["sentence"],
            "clause": clauses.get(gap["target"], "") if gap["arm"] == SUBJECT else "",
        }
        for gap in gaps(rows)
        if extra(gap).get("sentence")
    ]


def all_tables(rows: list[dict]) -> list[Table]:
    """Every table of the main answer that has lines, in reading order."""
    made = [make(rows) for make in (answer, causes.table, accuracy, limits, protocols, representations.table)]
    return [table for table in made if table.rows]


def verdicts(rows: list[dict]) -> list[dict]:
    """What is decided of every target and subject, one plain dictionary each: both sides' information, the gap between
    them with its interval, and the sentence."""
    main, kinds = split(rows)
    if audit.KIND in kinds:
        return audit.verdicts(kinds[audit.KIND])
    return [_verdict(main, said) for said in sentences(main, findings.clauses(kinds))]


def _verdict(rows: list[dict], said: dict) -> dict:
    gap = said["row"]
    reference = gap["reference"] or "direct"
    low, high = gap["ci95"] or (None, None)
    return {
        "target": gap["target"],
        "subject": gap["arm"],
        "reference": reference,
        "verdict": said["verdict"],
        "provisional": bool(extra(gap).get("provisional")),
        "information": _value(mean(rows, gap["arm"], gap["target"])),
        "reference_information": _value(mean(rows, reference, gap["target"])),
        "gap": gap["value"],
        "low": low,
        "high": high,
        **{key: gap[key] for key in ("unit", "n_seeds", "n_examples")},
        "sentence": _whole(said),
    }


def _value(row: dict | None) -> float | None:
    return row["value"] if row else None


def _whole(said: dict) -> str:
    """A target's sentence and what the analyses add to it."""
    return " ".join(filter(None, (said["sentence"], said["clause"])))


def every_sentence(rows: list[dict]) -> list[str]:
    """All that a study says in sentences: of each target, of what helped, of the points of a sweep."""
    main, kinds = split(rows)
    overall, points = helped.sentences(main)
    return [
        *map(_whole, sentences(main, findings.clauses(kinds))),
        *filter(None, [overall]),
        *points,
        *(words for part in JOINED for words in part.sentences(kinds)),
    ]


def terminal(rows: list[dict], width: int = 120, encoding: str = "utf-8") -> str:
    """What a study prints at its end: one sentence per target, then the tables, in what `encoding` can hold."""
    main, kinds = split(rows)
    said = every_sentence(rows)
    lines = [encodable(textwrap.fill(words, width, subsequent_indent="  "), encoding) for words in said]
    shown = [
        causes.short(main) if table.name == "restored" else table
        for table in all_tables(main)
        if table.name != "protocols"
    ]
    shown += filter(None, [findings.overview(kinds)])
    shown += [table for part in JOINED for table in part.tables(kinds)]
    return "\n\n".join(["\n".join(lines)] * bool(lines) + [text(table, width, encoding) for table in shown]) + "\n"
