"""What the analyses say of a label or factor, in words: where it is readable, when it was learned, in which seeds."""

from __future__ import annotations

from bottleneck.report import lookup
from bottleneck.report.lookup import LABEL, SUBJECT, counts, extra, factors, find, several, targets
from bottleneck.report.table import MISSING, Table

UNTESTABLE = "untestable"
DEPTH = ("prominent", "linear", "nonlinear", "earlier", "nowhere")  # the rungs of the ladder, downwards
WHERE = {
    "prominent": "prominent at {layer}",
    "linear": "linearly readable at {layer}",
    "nonlinear": "readable only non-linearly at {layer}",
    "earlier": "readable only earlier, at {layer}",
    "nowhere": "readable in full nowhere in the network",
}
NEAREST = {"prominent": "prominently", "linear": "linearly", "nonlinear": "non-linearly"}
KEPT = {"all": "kept in all seeds", "some": "kept in some seeds", "none": "lost in all seeds"}


def rung(kinds: dict, target: str, factor: str | None) -> dict | None:
    """The row of where the ladder lands a factor in the mixture's network."""
    return find(kinds.get("ladder", []), arm=SUBJECT, target=target, factor=factor, metric="rung")


def learning(kinds: dict, target: str, factor: str | None) -> dict | None:
    """The row of when a factor was learned."""
    return find(kinds.get("steps", []), target=target, factor=factor, metric="learning")


def evidence(kinds: dict, target: str, factor: str | None) -> dict | None:
    """The row of the seeds that keep a factor."""
    return find(kinds.get("seeds", []), arm=SUBJECT, target=target, factor=factor, metric="evidence")


def untestable(kinds: dict) -> set[tuple[str, str | None]]:
    """The (target, factor) of which even direct training reads nothing."""
    return {
        (r["target"], r["factor"])
        for kind, metric, key in (("ladder", "rung", "rung"), ("steps", "learning", "verdict"))
        for r in kinds.get(kind, [])
        if r["metric"] == metric and extra(r).get(key) == UNTESTABLE
    }


def name(factor: str | None) -> str:
    return LABEL if factor is None else factor


def grouped(rows: list[dict], key: str, words) -> dict[str, str]:
    """word -> the labels and factors whose rows say it under `key`, as a list for a sentence; unsaid words left out.

    A factor that gets one word on all its targets is "in every target"; factors of the same targets are named together.
    """
    said = [(r["factor"], r["target"], extra(r).get(key)) for r in rows if extra(r).get(key) in words]
    said.sort(key=lambda each: each[0] is not None)  # labels first
    lists = {}
    for word in words:
        places: dict[tuple, list[str]] = {}
        for factor in dict.fromkeys(f for f, _, w in said if w == word):
            where, every = ([t for f, t, w in said if f == factor and w in wanted] for wanted in ((word,), words))
            places.setdefault(() if where == every and len(every) > 1 else tuple(where), []).append(name(factor))
        listed = [
            f"{several(names)} in {several(list(where)) if where else 'every target'}"
            for where, names in places.items()
        ]
        if listed:
            lists[word] = ", ".join(listed)
    return lists


def where(row: dict | None) -> str:
    """The rung in words, "" where there is none to tell."""
    words = WHERE.get(extra(row).get("rung"), "")
    if words and extra(row)["rung"] == "nowhere" and extra(row).get("untrained"):
        return f"readable in full at {extra(row)['untrained']} alone, where the same network untrained reads it too"
    if words and extra(row)["rung"] == "nowhere" and (share := best(row)):
        return f"{words} (at best {100 * share[1]:.0f}% of {lookup.held_against([row])}'s, {share[0]})"
    return words.format(layer=row["layer"] or "the last layer") if words else ""


def best(row: dict | None) -> tuple[str, float] | None:
    """The rung or layer that comes closest to the reference, in words, and its share of the reference's information."""
    shares = extra(row).get("shares") or {}
    if not shares:
        return None
    which = max(shares, key=shares.get)
    return NEAREST.get(which, f"at {which}"), shares[which]


def short_where(row: dict | None) -> str:
    """The rung and, for what is only earlier, its layer; * where the intervals do not decide."""
    word = extra(row).get("rung")
    if not word:
        return MISSING
    layer = f": {row['layer']}" if word == "earlier" and row["layer"] else ""
    return word + layer + ("*" if extra(row).get("certain") is False and word in DEPTH else "")


def seeds(row: dict | None) -> str:
    """In which seeds a factor is kept, in words."""
    said = extra(row)
    kept, lost, open_ = (said.get(k) for k in ("retained", "lost", "undecided"))
    if not said.get("class"):
        return ""
    if None in (kept, lost, open_):
        return KEPT.get(said["class"], "seeds undecided")
    total = kept + lost + open_
    every = {1: "the one seed", 2: "both seeds"}.get(total, f"all {total} seeds")
    whole = {"all": f"kept in {every}", "none": f"lost in {every}"}
    return whole.get(said["class"]) or f"kept in {kept}, lost in {lost}, undecided in {open_} of {total} seeds"


def summary(kinds: dict, target: str, factor: str | None) -> tuple[str, str, str]:
    """Where, when and in which seeds, in a word each."""
    nothing, landed = (target, factor) in untestable(kinds), rung(kinds, target, factor)
    most = best(landed) if extra(landed).get("rung") == "nowhere" else None
    return (
        short_where(landed) + (f" ({100 * most[1]:.0f}%)" if most else ""),
        extra(learning(kinds, target, factor)).get("verdict") or MISSING,
        MISSING if nothing else extra(evidence(kinds, target, factor)).get("class") or MISSING,
    )


def clauses(kinds: dict) -> dict[str, str]:
    """What the analyses add to the sentence of each target: when its label was learned, where it is, in which seeds."""
    added, nothing = {}, untestable(kinds)
    for target in targets(_read(kinds)):
        landed, learned = rung(kinds, target, None), learning(kinds, target, None)
        said = [extra(learned).get("verdict"), where(landed)]
        if any(said) and (target, None) not in nothing:
            added[target] = "Its label: " + "; ".join(filter(None, (*said, seeds(evidence(kinds, target, None))))) + "."
    return added


def _read(kinds: dict) -> list[dict]:
    """The rows of the analyses that read labels and factors."""
    return [r for kind in ("ladder", "steps", "seeds") for r in kinds.get(kind, [])]


def overview(kinds: dict) -> Table | None:
    """One line per label and factor that can be tested: where, when, in which seeds. None without such an analysis."""
    every = _read(kinds)
    lines, used, left_out, nothing = [], [], 0, untestable(kinds)
    for target in targets(every):
        for factor in factors(every, target):
            rows = [row for of in (rung, learning, evidence) if (row := of(kinds, target, factor)) is not None]
            used += rows
            left_out += bool(rows) and (target, factor) in nothing
            if rows and (target, factor) not in nothing:
                lines.append((target, name(factor), *summary(kinds, target, factor)))
    if not lines:
        return None
    caption = (
        f"{counts(used)}. Where the last step reads it in full, from prominent down to nowhere (and the most that is "
        "read of what direct training reads); when it was learned; which seeds keep it. Exploratory: intervals, no "
        "adjustment."
    )
    if any(line[2].endswith("*") for line in lines):
        caption += " * intervals do not decide."
    if left_out:
        caption += f" {left_out} without anything to read even in direct training left out."
    return Table("features", "Features", caption, ("target", "factor", "where", "when", "seeds"), tuple(lines))
