"""The benchmark's table, in Markdown, from the records of its draws."""

from __future__ import annotations

import json
import pathlib

from blind import scoring
from blind.scoring import STATUSES, TRUTHS, VERDICTS


def read(out: pathlib.Path) -> list[dict]:
    """The records in a directory, by number."""
    return sorted((json.loads(path.read_text()) for path in out.glob("*.json")), key=lambda record: record["draw"])


def markdown(records: list[dict]) -> str:
    """The whole table: what was drawn, verdicts, power, causes, and every miss with its reason."""
    if not records:
        return "no draws"
    each = scoring.scored(records)
    causes = scoring.asked(each)
    parts = [drawn(records, each), verdicts(each), power(each), names(causes), misses(each, causes)]
    return "\n\n".join("\n".join(part) for part in parts)


def drawn(records: list[dict], each: list) -> list[str]:
    commits = sorted({record["commit"] for record in records})
    hours = sum(record["cpu_seconds"] for record in records) / 3600
    return [
        f"{len(records)} draws, {len(each)} components, {hours:.1f} CPU hours.",
        f"Generator, scoring and tool as of commit {', '.join(commits)}.",
    ]


def verdicts(each: list) -> list[str]:
    """Truths against verdicts, and what is false among them."""
    counts = scoring.crossed(each)
    lines = ["| truth | " + " | ".join(VERDICTS) + " |", "|---" * (len(VERDICTS) + 1) + "|"]
    lines += [f"| {t} | " + " | ".join(str(counts[t, v]) for v in VERDICTS) + " |" for t in TRUTHS]
    said = sum(one.verdict in ("lost", "retained") for one in each)
    testable = sum(one.truth not in ("untestable", "unclear") for one in each)
    apart = [one.record["truth"]["apart"] for one in each if one.record["truth"]["closed"]]
    return [
        *lines,
        "",
        f"False verdicts: {len(scoring.false_verdicts(each))} of {said} (goal 0). On the other side of an estimate of "
        f"which the oracle is not sure itself: {len(scoring.other_side(each))}.",
        f"False untestable: {len(scoring.false_untestable(each))} of {testable} (goal 0).",
        *(
            [f"Closed forms of {len(apart)} components; no fresh seed is further than {max(apart):.2f}."]
            if apart
            else []
        ),
    ]


def power(each: list) -> list[str]:
    lines = [
        "| true loss, of H(y) | components | lost | power | ideal t test | difference, points | ideal, Holm's first |",
        "|---" * 7 + "|",
    ]
    for bin in scoring.powers(each):
        size = f"{bin.low:g} to {bin.high:g}" if bin.high < float("inf") else f"over {bin.low:g}"
        less = 100 * (bin.power - bin.ideal)
        values = (f"{100 * value:.0f}%" if bin.count else "-" for value in (bin.power, bin.ideal, bin.adjusted))
        first, second, third = values
        difference = f"{less:+.0f}" if bin.count else "-"
        lines.append(f"| {size} | {bin.count} | {bin.found} | {first} | {second} | {difference} | {third} |")
    return lines


def names(causes: list) -> list[str]:
    """Planted causes that are true, by status; and names that are false."""
    true = scoring.planted(causes)
    lines = ["| planted, true | components | " + " | ".join(STATUSES) + " |", "|---" * (len(STATUSES) + 2) + "|"]
    for cause in sorted({one.cause for one in causes if one.planted}):
        own = [one for one in true if one.cause == cause]
        counts = [sum(one.said["status"] == status for one in own) for status in STATUSES]
        lines.append(f"| {cause} | {len(own)} | " + " | ".join(map(str, counts)) + " |")
    reached = sum(one.said["status"] in ("named", "likely") for one in true)
    ruled_out = sum(one.said["status"] == "ruled out" for one in true)
    untrue = sum(one.planted for one in causes) - len(true)
    named, false = scoring.named(causes), scoring.false_names(causes)
    sure = sum(one.surely for one in false)
    return [
        *lines,
        "",
        f"Named or likely: {_share(reached, len(true))} (goal 90%); ruled out: {ruled_out} (goal 0). "
        f"Planted, but taking it away closes less than half: {untrue}, not scored.",
        f"Named: {len(named)}; false: {_share(len(false), len(named))} (goal at most 5%), {sure} of them surely.",
    ]


def misses(each: list, causes: list) -> list[str]:
    """One line for each."""
    lines = ["Misses:"]
    for words, wrong in (
        ("false verdict", scoring.false_verdicts(each)),
        ("other side of an unsure estimate", scoring.other_side(each)),
        ("false untestable", scoring.false_untestable(each)),
    ):
        lines += [f"- {one.where} ({one.kind}): {words}: {one.record['sentence']}" for one in wrong]
    missed = [one for one in scoring.planted(causes) if one.said["status"] not in ("named", "likely")]
    for one in missed + scoring.false_names(causes):
        share = one.said["share"]
        said = "nothing read" if share is None else f"its arm restores {100 * share:.0f}%"
        lines.append(
            f"- {one.component.where} ({one.component.kind}): {one.cause} is {one.said['status']} ({said}"
            f"{', ' + one.said['reason'] if one.said['reason'] else ''}); taking it away closes {100 * one.closes:.0f}%"
        )
    return lines if len(lines) > 1 else ["No misses."]


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f" ({100 * part / whole:.0f}%)" if whole else "")
