"""What recipes give back of what interference took, at every point of a sweep: a table and a sentence a recipe.

Rows of kind sweep, metric `removed`: `arm` a recipe, `reference` the mixture (then `extra` has the `interference` and
what is left `beyond_half` of it, each a value with its ends, and the `share`) or a rival; `target` None: of all.
"""

from __future__ import annotations

from bottleneck.report.lookup import LABELS, counts, ends, extra, find, number, plain, several, unit_name, values
from bottleneck.report.section import Section
from bottleneck.report.sweep import UNADJUSTED, axes, points, value
from bottleneck.report.table import MISSING, Number, Table, trim
from bottleneck.rows import select

NAME, TITLE = "removed", "What recipes remove of interference"
HALF = {True: "yes", False: "no", None: "undecided"}


def rows(kinds: dict) -> list[dict]:
    """Beside the mixture, where there is interference or not."""
    return select(points(kinds, "removed"), reference="mixture")


def section(kinds: dict) -> Section | None:
    """The section; None without a recipe that has interference to remove."""
    parts = tuple(tables(kinds))
    return Section(NAME, TITLE, headline(kinds), parts, points=tuple(sentences(kinds))) if parts else None


def headline(kinds: dict) -> str:
    """Which recipes remove half of it, and where."""
    found: dict[str, list[str]] = {}
    for r in (r for r in rows(kinds) if r["target"] is None and interfered(r) and at_least_half(r)):
        found.setdefault(r["arm"], []).append(place(r))
    if not found:
        return "No recipe is shown to remove half of the interference with all targets."
    said = [f"{recipe} at {several(where, len(where))}" for recipe, where in found.items()]
    return f"At least half of the interference with all targets is shown to be removed by {'; '.join(said)}."


def tables(kinds: dict) -> list[Table]:
    """Over all targets of a point, and target by target."""
    over = [r for r in rows(kinds) if r["target"] is None]
    each = [r for r in rows(kinds) if r["target"] is not None]
    made = (table(kinds, NAME, TITLE, over), table(kinds, f"{NAME}_each", f"{TITLE}, target by target", each))
    return [trim(one) for one in made if one.rows]


def table(kinds: dict, name: str, title: str, ours: list[dict]) -> Table:
    """One line a point, target and recipe."""
    every = points(kinds, "removed")
    names, rivals = axes(every), [arm for arm in values(every, "reference") if arm != "mixture"]
    lines = tuple(
        (
            *(value(r["point"].get(name)) for name in names),
            r["target"] or "all",
            r["arm"],
            Number(*extra(r)["interference"]),
            number(r),
            plain(extra(r)["share"], 2),
            HALF[at_least_half(r)] if interfered(r) else MISSING,
            *(number(find(every, arm=r["arm"], reference=x, target=r["target"], point=r["point"])) for x in rivals),
        )
        for r in ours
    )
    caption = (
        f"In {unit_name(every)}; {counts(ours)}; {UNADJUSTED}. Interference: alone less the mixture. Removed: the "
        "recipe less the mixture. Share: of the interference, where that lies above 0; at least half: whether the "
        "interval of what is removed less half of it lies above 0 (yes) or below (no). Above 1: what exposure took "
        "comes back, too. Beyond: the recipe less a rival."
    )
    shown = ("interference", "removed", "share", "at least half", *(f"beyond {LABELS.get(x, x)}" for x in rivals))
    return Table(name, title, caption, (*names, "target", "recipe", *shown), lines)


def interfered(row: dict) -> bool:
    return extra(row)["interference"][1] > 0


def at_least_half(row: dict) -> bool | None:
    """Whether half of the interference is shown to be removed; None where neither that nor the opposite is."""
    _, low, high = extra(row)["beyond_half"]
    return True if low > 0 else False if high < 0 else None


def sentences(kinds: dict) -> list[str]:
    return [sentence(kinds, recipe) for recipe in values(rows(kinds), "arm")]


def sentence(kinds: dict, recipe: str) -> str:
    """Where a recipe removes half of the interference of all targets, what it costs, and whether rivals do more."""
    every = select(points(kinds, "removed"), arm=recipe)
    ours = select(every, reference="mixture")
    over = [r for r in ours if r["target"] is None and interfered(r)]
    half = [r for r in over if at_least_half(r)]
    less = [f"{r['target']} at {place(r)} ({r['value']:z.2g})" for r in ours if r["target"] and ends(r)[1] < 0]
    shares = [f"{100 * extra(r)['share']:z.0f}% at {place(r)}" for r in over]
    words = f"{recipe}: there is no interference to remove"
    if over:
        words = (
            f"{recipe}: of the interference with all targets it removes {several(shares, len(shares))}, shown to be "
        )
        words += f"at least half at {len(half)} of {len(over)} points"
    words += f"; it is shown to read less than the mixture {f'for {several(less, 8)}' if less else 'nowhere'}"
    better = [r for r in over if beats_all(every, r)]
    words += f"; more than each of its rivals at {len(better)} of {len(over)} points" if over else ""
    return words + (f" ({several([place(r) for r in better], 8)})." if better else ".")


def beats_all(every: list[dict], row: dict) -> bool:
    rivals = [r for r in select(every, target=row["target"], point=row["point"]) if r["reference"] != "mixture"]
    return bool(rivals) and all(ends(r)[0] > 0 for r in rivals)


def place(row: dict) -> str:
    return ", ".join(f"{held}" for held in row["point"].values())
