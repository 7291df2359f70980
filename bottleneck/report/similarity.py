"""The report's section on similarity: CKA between layers, steps, seeds and with direct training, as context."""

from __future__ import annotations

import re

from bottleneck.report import heatmap
from bottleneck.report.lookup import extra, number, plain, span
from bottleneck.report.section import Figure, Section
from bottleneck.report.table import Table, trim
from bottleneck.rows import select

KIND = "cka"
TITLES = {
    "layers": "Layers by layers",
    "steps": "Steps by steps",
    "seeds": "Seeds by seeds",
    "direct": "Mixture by direct training",
    "networks": "Networks by networks",
}
WARNING = "Context, never a verdict: a lost feature of little variance hardly moves it."
MEMBER = re.compile(r"(?P<run>.+)/(?P<seed>\d+)@(?P<step>\d+):(?P<layer>.+)")
# What the axes of each comparison's heatmaps run over.
AXES = {"layers": ("layer",), "steps": ("step",), "seeds": ("seed",), "direct": ("run", "seed", "step")}
AXES["networks"] = AXES["direct"]
WORDS = {"run": "{}", "seed": "seed {}", "step": "step {}", "layer": "{}"}


def section(kinds: dict) -> Section | None:
    """None without a pair."""
    rows = kinds.get(KIND, [])
    pairs = [r for r in select(rows, metric="cka") if r["value"] is not None and len(r["members"] or ()) == 2]
    if not pairs:
        return None
    figures = [figure(kind, select(pairs, reference=kind)) for kind in TITLES if select(pairs, reference=kind)]
    return Section("similarity", "Similarity (CKA)", sentence(pairs), (*figures, table(pairs)), methods(pairs))


def sentence(pairs: list[dict]) -> str:
    """The range of each comparison, and what they could not show."""
    said = []
    for kind, words in (
        ("networks", "networks"),
        ("direct", "mixture and direct training"),
        ("seeds", "seeds"),
        ("steps", "steps"),
        ("layers", "layers"),
    ):
        if alike := sorted(r["value"] for r in select(pairs, reference=kind) if r["members"][0] != r["members"][1]):
            said.append(f"{words} {_range(alike, 'z.2f')}")
    limits = sorted(v for r in pairs if (v := record(r).get("detection_limit")) is not None)
    blind = (
        (
            f" The loss of a feature with less than {_range(limits, '.0%')} of a representation's spread, depending on "
            "the pair, would not show."
        )
        if limits
        else ""
    )
    return f"Similarity between {', '.join(said)}: context, no verdict.{blind}" if said else ""


def _range(ordered: list[float], form: str) -> str:
    least, most = format(ordered[0], form), format(ordered[-1], form)
    return least if least == most else f"{least} to {most}"


def record(row: dict) -> dict:
    return extra(row).get("record") or {}


def setting(row: dict) -> str:
    """What the two members of a pair share or differ in beside the axes of their heatmap, in words."""
    axes, sides = AXES[row["reference"]], []
    for member in row["members"]:
        read = MEMBER.fullmatch(member)
        sides.append([WORDS[k].format(read[k]) for k in WORDS if k not in axes] if read else [])
    first, second = sides
    alone = [[w for w in side if w not in other] for side, other in ((first, second), (second, first))]
    shared = ", ".join(w for w in first if w in second)
    differ = " against ".join(", ".join(words) for words in alone if words)
    return ": ".join(filter(None, (shared, differ))) or TITLES[row["reference"]]


def figure(kind: str, pairs: list[dict]) -> Figure:
    """The heatmaps of one comparison: one for every setting."""
    groups: dict[str, list[dict]] = {}
    for r in pairs:
        groups.setdefault(setting(r), []).append(r)
    items = ", on the items of each component" if kind == "direct" else ""
    caption = f"Linear CKA within components, debiased{items}. {WARNING}"
    panels = tuple(heatmap.draw(grid(title, of)) for title, of in groups.items())
    return Figure(f"cka-{kind}", TITLES[kind], caption, panels, fixed=True)


def grid(title: str, pairs: list[dict]) -> heatmap.Grid:
    """Pairs of one setting by their labels; pairs that have the same ones by the seed of the first."""
    names = [(str(extra(r).get("y")), str(extra(r).get("x"))) for r in pairs]
    if len(set(names)) < len(names):
        firsts = [MEMBER.fullmatch(r["members"][0]) for r in pairs]
        names = [(y, f"seed {first['seed']}" if first else x) for (y, x), first in zip(names, firsts)]
    lines, columns = (_ordered(axis) for axis in zip(*names))
    values = {name: r["value"] for name, r in zip(names, pairs)}
    if set(lines) & set(columns):  # one half of a symmetric matrix says the other
        lines = columns = _ordered([*columns, *lines])
        values |= {(x, y): v for (y, x), v in values.items() if (x, y) not in values}
    cells = tuple(
        tuple((values[y, x], f"{values[y, x]:z.2f}") if (y, x) in values else None for x in columns) for y in lines
    )
    return heatmap.Grid(title, tuple(lines), tuple(columns), cells)


def _ordered(labels) -> list[str]:
    """Labels as they first come, numbers in their order."""
    once = list(dict.fromkeys(labels))
    return sorted(once, key=int) if all(label.isdigit() for label in once) else once


def table(pairs: list[dict]) -> Table:
    """The record of every pair."""
    floors = list(dict.fromkeys(name for r in pairs for name in record(r).get("floors") or {}))
    header = ("comparison", "a", "b", "CKA", "SE", "null", "null sd", *(f"floor: {name}" for name in floors))
    header += ("ceiling", "pooled", "detection limit", "R2 a to b", "R2 b to a", "Procrustes")
    items = sorted({n for r in pairs if (n := record(r).get("n") or r["n_examples"])})
    caption = (
        f"Members are run/seed@step:layer. Within components, debiased{f'; {span(items)} items' if items else ''}; 95% "
        "intervals and SE by jackknife over minibatches. Null: re-paired examples. Floors: similarity to the input and "
        "to an untrained network. Ceiling: two seeds of one recipe. Pooled: the same across components, which shared "
        "means inflate. Detection limit: the least share of spread whose loss would move CKA by two SE. R2 (ridge) and "
        "Procrustes on held-out items."
    )
    return trim(Table("cka", "Records of all pairs", caption, header, tuple(_line(r, floors) for r in pairs)))


def _line(row: dict, floors: list[str]) -> tuple:
    """One pair: where it comes from, its CKA, and everything that CKA must not be printed without."""
    said = record(row)
    return (
        row["reference"],
        *row["members"],
        number(row),
        plain(said.get("se"), 3),
        *(plain(said.get(key)) for key in ("null_mean", "null_sd")),
        *(plain((said.get("floors") or {}).get(name)) for name in floors),
        *(plain(said.get(key)) for key in ("ceiling", "pooled", "detection_limit", "r2_ab", "r2_ba", "procrustes")),
    )


def methods(pairs: list[dict]) -> str:
    batches = sorted({b for r in pairs if (b := record(r).get("batch_size"))})
    size = f" of {span(batches)} items" if batches else ""
    return (
        f"CKA is linear and debiased, within components, over minibatches{size} with jackknife intervals, of "
        f"{len(pairs):,} declared pairs: context, for no verdict."
    )
