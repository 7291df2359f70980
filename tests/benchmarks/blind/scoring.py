"""Scores of records: what is true of each component, what the tool said, and what each goal of the benchmark counts."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy import special, stats

LEAST = 0.02  # of H(y): with less information from direct training a component has nothing to lose
EDGES = (0.05, 0.1, 0.2)  # of D / H(y), between sizes of a loss
HALF = 0.5  # of the gap: what taking a true cause away closes
LEVEL = 0.05
CERTAIN = 30.0  # a non-centrality beyond which power is 1 and scipy's series fails
TRUTHS = ("lost", "retained", "on the margin", "untestable", "unclear")
VERDICTS = ("lost", "retained", "inconclusive", "untestable")
STATUSES = ("named", "likely", "undecided", "ruled out", "not asked")


@dataclasses.dataclass(frozen=True)
class Scored:
    """One component of one draw: its truth as one word, and the true D = 0.9 I_direct - I_mixture, a share of H(y)."""

    draw: int
    kind: str
    name: str
    truth: str
    size: float
    record: dict

    @property
    def verdict(self) -> str:
        return self.record["verdict"]

    @property
    def where(self) -> str:
        return f"draw {self.draw}, {self.name}"


@dataclasses.dataclass(frozen=True)
class Asked:
    """One cause of one component that the tool calls lost, and the share of the gap that taking it away closes."""

    component: Scored
    cause: str
    said: dict
    planted: bool

    @property
    def closes(self) -> float:
        return self.said["removed"]["share"]

    @property
    def true(self) -> bool:
        """Whether there is a gap, and taking the cause away closes half of it."""
        return self.closes >= HALF and self.said["removed"]["gap"][1] > 0

    @property
    def surely(self) -> bool:
        """Whether the fresh seeds are sure on which side of half of the gap that is."""
        low, high = self.said["removed"]["half"]
        return low > 0 or high < 0


def scored(records: list[dict]) -> list[Scored]:
    each = []
    for record in records:
        for name, component in record["components"].items():
            size = component["truth"]["margin"][0] / component["truth"]["entropy"]
            each.append(Scored(record["draw"], record["kind"], name, true_side(component), size, component))
    return each


def true_side(component: dict) -> str:
    """lost | retained | on the margin (the oracle cannot tell) | untestable | unclear (whether it is)."""
    truth, ceiling = component["truth"], component["ceiling"]
    least, (_, low, high) = LEAST * truth["entropy"], truth["direct"]
    if high < least or ceiling is not None and ceiling < least:
        return "untestable"
    if low <= least:
        return "unclear"
    _, low, high = truth["margin"]
    return "lost" if low > 0 else "retained" if high < 0 else "on the margin"


def crossed(each: list[Scored]) -> dict[tuple[str, str], int]:
    """(truth, verdict) -> number of components."""
    return collections.Counter((one.truth, one.verdict) for one in each)


def false_verdicts(each: list[Scored]) -> list[Scored]:
    """Lost or retained, and it is surely the other, or there is nothing to lose."""
    wrong = {"lost": ("retained", "untestable"), "retained": ("lost", "untestable")}
    return [one for one in each if one.truth in wrong.get(one.verdict, ())]


def other_side(each: list[Scored]) -> list[Scored]:
    """Lost or retained, where the oracle cannot tell and its estimate is on the other side."""
    side = {"lost": -1, "retained": 1}
    return [one for one in each if one.truth == "on the margin" and side.get(one.verdict, 0) * one.size > 0]


def false_untestable(each: list[Scored]) -> list[Scored]:
    return [one for one in each if one.verdict == "untestable" and one.truth not in ("untestable", "unclear")]


@dataclasses.dataclass(frozen=True)
class Power:
    """Of components whose true loss is of one size: how many are found, and how many an ideal t test would find, on
    average, alone and at the first step of Holm's adjustment.
    """

    low: float
    high: float
    count: int
    found: int
    ideal: float
    adjusted: float

    @property
    def power(self) -> float:
        return self.found / self.count if self.count else float("nan")


def powers(each: list[Scored]) -> Iterator[Power]:
    """By true size of the loss, of all testable components that lose something."""
    losing = [one for one in each if one.truth in ("lost", "on the margin") and one.size > 0]
    for low, high in zip((0.0, *EDGES), (*EDGES, np.inf)):
        inside = [one for one in losing if low < one.size <= high]
        ideal = [ideal_power(one, LEVEL) for one in inside] or [np.nan]
        adjusted = [ideal_power(one, LEVEL / one.record["family"]) for one in inside] or [np.nan]
        found = sum(one.verdict == "lost" for one in inside)
        yield Power(low, high, len(inside), found, float(np.mean(ideal)), float(np.mean(adjusted)))


def ideal_power(one: Scored, level: float) -> float:
    """The chance that a two-sided t test on the seeds' means, with the oracle's D and its standard deviation over
    seeds, says lost.
    """
    truth, seeds = one.record["truth"], one.record["seeds"]
    if not truth["seed_sd"]:
        return 1.0
    away = truth["margin"][0] / (truth["seed_sd"] / np.sqrt(seeds))
    return float(stats.nct.sf(special.stdtrit(seeds - 1, 1 - level / 2), seeds - 1, min(away, CERTAIN)))


def asked(each: list[Scored]) -> list[Asked]:
    """Every cause that fresh seeds have judged: those that were planted or named, of components called lost."""
    return [
        Asked(one, cause, said, cause == one.record["planted"])
        for one in each
        for cause, said in one.record["causes"].items()
        if "removed" in said
    ]


def planted(causes: list[Asked]) -> list[Asked]:
    """The planted causes that are true: taking them away closes half of the gap."""
    return [one for one in causes if one.planted and one.true]


def named(causes: list[Asked]) -> list[Asked]:
    return [one for one in causes if one.said["status"] == "named"]


def false_names(causes: list[Asked]) -> list[Asked]:
    return [one for one in named(causes) if not one.true]
