"""What the rows of a study say: finding rows, and turning them into cells. Nothing here shows or draws."""

from __future__ import annotations

from bottleneck.report.table import MISSING, Cell, Number
from bottleneck.rows import select

PROBE = "linear_probe"  # the protocol of the verdicts
ARMS = ("direct", "mixture", "matched", "longer", "heads", "randomised", "wider")  # in reading order
FLOORS = ("random", "pixels", "majority")
LABELS = {"random": "random init", "pixels": "pooled input", "bayes": "Bayes"}
LABEL = "label"  # how a component's own label is called among its factors
PERCENT = (
    "accuracy",
    "disjoint_accuracy",
    "accuracy_balanced",
    "accuracy_mixed",
    "accuracy_spread",
    "accuracy_seed_sd",
    "accuracy_worst_group",
)


def split(rows: list[dict]) -> tuple[list[dict], dict[str, list[dict]]]:
    """The rows of the main answer, and those of the analyses by kind."""
    main, kinds = [], {}
    for r in rows:
        kind = extra(r).get("analysis")
        (main if kind is None else kinds.setdefault(kind, [])).append(r)
    return main, kinds


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


def margin(rows: list[dict]) -> float | None:
    """The share of direct training's information that decides between lost and retained."""
    gaps = select(rows, seed="all", metric=f"gap_{unit(rows)}")
    return next((m for r in gaps if (m := extra(r).get("margin")) is not None), None)


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


def values(rows: list[dict], key: str) -> list:
    """What `key` is in these rows, in the order in which it first comes; null left out."""
    return list(dict.fromkeys(r[key] for r in rows if r[key] is not None))


def factors(rows: list[dict], target: str) -> list[str | None]:
    """The factors read on a target, its own label (null) first."""
    found = dict.fromkeys(r["factor"] for r in rows if r["target"] == target)
    return sorted(found, key=lambda factor: factor is not None)


def ends(row: dict) -> tuple[float, float]:
    """The interval's ends; the value itself where there is none."""
    low, high = row["ci95"] or (None, None)
    return (row["value"] if low is None else low, row["value"] if high is None else high)


def number(row: dict | None, half: bool = False, digits: int | None = None) -> Cell:
    """A row's value as a cell: accuracies in percent and points with 1 decimal, the rest with 2 unless told."""
    if row is None or row["value"] is None:
        return MISSING
    scale, usual = (100, 1) if row["metric"] in PERCENT else (1, 1) if row["metric"] == "gap_points" else (1, 2)
    limits = (None if end is None else scale * end for end in row["ci95"] or (None, None))
    return Number(scale * row["value"], *limits, usual if digits is None else digits, half)


def plain(value: float | None, digits: int = 2) -> Cell:
    """A number without an interval."""
    return MISSING if value is None else Number(value, digits=digits)


def whole(value: float | None, scale: int = 1) -> Cell:
    """A number without decimals."""
    return plain(None if value is None else scale * value, 0)


def counts(rows: list[dict], of: str | None = "seed") -> str:
    """On how many seeds (unless `of` is None) and test items `rows` rest, in words."""
    parts = []
    for key, word in (("n_seeds", of), ("n_examples", "test item")):
        found = sorted({r[key] for r in rows if r[key]})
        if found and word:
            parts.append(f"{span(found)} {word}{'' if found == [1] else 's'}")
    return ", ".join(parts) + " per target" if parts else "numbers of seeds and items unknown"


def span(found: list[int]) -> str:
    """Sorted numbers in words: the one there is, or the least and the largest."""
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def several(words: list[str], most: int = 4) -> str:
    """Words as a list in a sentence: a, b and c; beyond `most`, how many more there are."""
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else "none"
