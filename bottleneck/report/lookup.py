"""What the rows of a study say: picking rows, and turning them into cells. Nothing here shows or draws."""

from __future__ import annotations

from bottleneck import arms
from bottleneck.report.table import MISSING, Cell, Number
from bottleneck.rows import kind, select

PROBE = "linear_probe"  # the protocol of the verdicts
REMEASURED = "linear_probe_bn"  # the same with BatchNorm statistics of the target's own items
SUBJECT = "mixture"  # whose features the verdicts are about, unless a row's arm names a foreign source
ARMS = ("direct", "mixture", *(name for name in arms.ARMS if name not in ("direct", "mixture")))  # in reading order
FLOORS = ("random", "pixels", "majority")
LABELS = {"random": "random init", "pixels": "pooled input", "bayes": "Bayes"}
LABEL = "label"  # how a component's own label is called among its factors
ANSWERED = ("probe", "choose", "answer")  # the kinds of rows that the main answer rests on
PARTS = ("exposure", "interference", "normalisation")  # of a gap, in the order in which they are shown
SCALES = {"fraction": (100, 1), "points": (1, 1)}  # unit -> factor and decimals of a printed number; others (1, 2)


def split(rows: list[dict]) -> tuple[list[dict], dict[str, list[dict]]]:
    """The rows of the main answer, and those of the analyses by kind. How relatedness predicts the gaps is its own; an
    audit's answer, which holds all that is shown of its probes, is of the kind `audit`."""
    main, kinds = [], {}
    if any(kind(r) == "audit" for r in rows):
        rows = [r for r in rows if kind(r) not in ANSWERED]
    for r in rows:
        of = "relatedness" if r["metric"] == "relatedness" else kind(r)
        (main if of in ANSWERED else kinds.setdefault(of, [])).append(r)
    return main, kinds


def chosen(rows: list[dict]) -> list[dict]:
    """The linear probes' rows of single seeds, without the scalings that validation did not choose."""
    probes = select(rows, protocol=PROBE)
    return [r for r in probes if r["seed"] != "all" and extra(r).get("chosen") is not False]


def unit(rows: list[dict]) -> str:
    """In what the study measures information: `bits`, or `r2` for regression."""
    return "r2" if any(r["unit"] == "r2" for r in rows) else "bits"


def unit_name(rows: list[dict]) -> str:
    """The unit of information as it is printed."""
    return "R2" if unit(rows) == "r2" else "bits"


def score(rows: list[dict]) -> str:
    """The metric shown per arm: accuracy, or information (R2) for a regression study."""
    return "information" if unit(rows) == "r2" else "accuracy"


def gaps(rows: list[dict]) -> list[dict]:
    """The gap rows in the unit of information: the mixture's own targets first, a target's foreign subjects last."""
    every = [r for r in select(rows, seed="all", metric="gap", unit=unit(rows)) if r["factor"] is None]
    order = list(dict.fromkeys(r["target"] for r in every))
    return sorted(every, key=lambda r: (outside(r), order.index(r["target"]), r["arm"] != SUBJECT))


def gap(rows: list[dict], target: str, subject: str = SUBJECT) -> dict | None:
    """The row of a target's gap; its `extra` holds verdict, sentence, margin, causes."""
    return next((r for r in gaps(rows) if (r["target"], r["arm"]) == (target, subject)), None)


def targets(rows: list[dict]) -> list[str]:
    """The targets that have a gap, the mixture's own first; all there are where none has one."""
    return values(gaps(rows), "target") or values(rows, "target")


def titled(row: dict) -> str:
    """A row's target; with whose features it is about, where they are not the mixture's."""
    return row["target"] if row["arm"] == SUBJECT else f"{row['target']}, {row['arm']}"


def parts(rows: list[dict], target: str) -> dict[str, dict]:
    """The rows of what a gap splits into: part -> row, in the order of `PARTS`; {} where it was not split.

    Where BatchNorm's statistics have a part of their own, the others are those of the reading with re-measured ones.
    """
    of, u = select(rows, target=target, seed="all"), unit(rows)
    for protocol in (REMEASURED, PROBE):
        shown = {p: find(of, metric=p, unit=u, protocol=protocol) for p in PARTS[:2]}
        if all(shown.values()):
            apart = find(of, metric=PARTS[2], unit=u) if protocol == REMEASURED else None
            return {**shown, **({PARTS[2]: apart} if apart else {})}
    return {}


def mean(rows: list[dict], arm: str, target: str, metric: str = "information", **keys) -> dict | None:
    """The mean over seeds of what an arm's features hold of a target's own label, by linear probe."""
    return find(rows, arm=arm, target=target, metric=metric, factor=None, **{"protocol": PROBE, **keys})


def extra(row: dict | None) -> dict:
    """What a row says that has no key; nothing where there is no row."""
    return (row or {}).get("extra") or {}


def outside(row: dict | None) -> bool:
    """Whether the row is about a target outside the mixture."""
    return bool(extra(row).get("outside"))


def margin(rows: list[dict]) -> float | None:
    """The share of direct training's information that decides between lost and retained."""
    return next((m for r in gaps(rows) if (m := extra(r).get("margin")) is not None), None)


def lost(rows: list[dict]) -> list[dict]:
    """The gaps of the mixture whose verdict is lost."""
    return [r for r in gaps(rows) if r["arm"] == SUBJECT and extra(r).get("verdict") == "lost"]


def representation_names(rows: list[dict]) -> list[str]:
    """Declared representations: neither an arm of the study, a floor, a side of a gap, nor there for another one; the
    cheapest first."""
    sides = {r[key] for r in gaps(rows) for key in ("arm", "reference")}
    known, steps = {*ARMS, *FLOORS, "bayes", "wider_untrained", None, *sides, *control_names(rows)}, {}
    for r in select(rows, seed="all"):
        if r["arm"] not in known and not r["arm"].endswith("|direct"):
            steps[r["arm"]] = max(steps.get(r["arm"], 0), r["train_steps"] or 0)
    return sorted(steps, key=lambda name: (steps[name], name))


def control_names(rows: list[dict]) -> dict[str, dict]:
    """Arm -> what its row says of it (`control_of`, `control`), of all that are there for a representation."""
    return {r["arm"]: extra(r) for r in rows if extra(r).get("control_of") and not r["arm"].endswith("|direct")}


def trained_controls(rows: list[dict]) -> set[str]:
    """The arms that some representation names as a control and that name none themselves."""
    named_by = [r for r in select(rows, metric="beyond") if extra(r).get("control") == "declared"]
    return {r["reference"] for r in named_by} - {r["arm"] for r in named_by}


def held_against(rows: list[dict]) -> str:
    """What diagnoses hold features against: direct training, or of an audit its reference."""
    references = values(rows, "reference")
    trained = any(r == "direct" or r.startswith("direct-") for r in references)
    return "direct training" if trained or not references else "the reference"


def find(rows: list[dict], **values) -> dict | None:
    """The first row over all seeds with these values."""
    return next((r for r in rows if r["seed"] == "all" and all(r[k] == v for k, v in values.items())), None)


def values(rows: list[dict], key: str) -> list:
    """What `key` is in these rows, in the order in which it first comes; null left out."""
    return list(dict.fromkeys(r[key] for r in rows if r[key] is not None))


def factors(rows: list[dict], target: str) -> list[str | None]:
    """The factors read on a target, its own label (null) first."""
    read = dict.fromkeys(r["factor"] for r in rows if r["target"] == target)
    return sorted(read, key=lambda factor: factor is not None)


def ends(row: dict) -> tuple[float, float]:
    """The interval's ends; the value itself where there is none."""
    low, high = row["ci95"] or (None, None)
    return (row["value"] if low is None else low, row["value"] if high is None else high)


def number(row: dict | None, half: bool = False, digits: int | None = None) -> Cell:
    """A row's value as a cell: fractions in percent and points with 1 decimal, the rest with 2 unless told."""
    if row is None or row["value"] is None:
        return MISSING
    scale, usual = SCALES.get(row["unit"], (1, 2))
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
    words = []
    for key, word in (("n_seeds", of), ("n_examples", "test item")):
        numbers = sorted({r[key] for r in rows if r[key]})
        if numbers and word:
            words.append(f"{span(numbers)} {word}{'' if numbers == [1] else 's'}")
    return ", ".join(words) + " per target" if words else "numbers of seeds and items unknown"


def span(numbers: list[int]) -> str:
    """Sorted numbers in words: the one there is, or the least and the largest."""
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"


def several(words: list[str], most: int = 4) -> str:
    """Words as a list in a sentence: a, b and c; beyond `most`, how many more there are."""
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else "none"
