"""What an audit says, as sentences and tables: what each network serves, and what one adds to another."""

from __future__ import annotations

from bottleneck.report import lookup
from bottleneck.report.lookup import PROBE, extra, find, number, plain, several, values
from bottleneck.report.table import MISSING, Number, Table, trim
from bottleneck.rows import select

KIND = "audit"
BLANK = "-untrained"
BESIDE = {  # what columns mean that not every audit has
    "untrained (bits)": "Untrained: the same architecture.",
    "pixels (bits)": "Pixels: pooled to at most 1,024.",
    "label (bits)": "Label: its entropy.",
}


def sentences(kinds: dict[str, list[dict]]) -> list[str]:
    """One for every network and component."""
    return [extra(r)["sentence"] for r in judged(kinds.get(KIND, []))]


def tables(kinds: dict[str, list[dict]]) -> list[Table]:
    """What the terminal shows."""
    rows = kinds.get(KIND, [])
    return [each for each in (table(rows), added(rows)) if each.rows] if rows else []


def judged(rows: list[dict]) -> list[dict]:
    """The rows that say whether a network serves a component."""
    return select(rows, metric="served")


def verdicts(rows: list[dict]) -> list[dict]:
    """What is decided of every component and network, one plain dictionary each (report.tables.verdicts)."""
    each = []
    for r in judged(rows):
        against = read(rows, r["reference"], r["target"])
        beside = find(rows, arm=r["arm"], reference=r["reference"], target=r["target"], metric="gap", unit="bits")
        low, high = (beside and beside["ci95"]) or (None, None)
        each.append(
            {
                "target": r["target"],
                "subject": r["arm"],
                "reference": r["reference"],
                "verdict": extra(r)["status"],
                "provisional": extra(r)["provisional"],
                "information": r["value"],
                "reference_information": against and against["value"],
                "gap": beside and beside["value"],
                "low": low,
                "high": high,
                **{key: r[key] for key in ("unit", "n_seeds", "n_examples")},
                "sentence": extra(r)["sentence"],
            }
        )
    return each


def networks(rows: list[dict]) -> list[str]:
    return values(judged(rows), "arm")


def read(rows: list[dict], arm: str, target: str, metric: str = "information", **more) -> dict | None:
    """What an arm reads of a component, by linear probe."""
    return find(rows, arm=arm, target=target, metric=metric, **{"protocol": PROBE, **more})


def table(rows: list[dict]) -> Table:
    """One line per component and network."""
    lines = []
    for r in judged(rows):
        target, name = r["target"], r["arm"]
        against = read(rows, r["reference"], target)
        share = 100 * r["value"] / against["value"] if against and against["value"] > 0 else None
        lines.append(
            (
                target,
                name,
                extra(r)["status"] + ("*" if extra(r).get("provisional") else ""),
                number(r),
                number(read(rows, name, target, "accuracy"), half=True),
                r["reference"],
                plain(share, 0),
                number(find(rows, arm=name, reference=r["reference"], target=target, metric="gap", unit="bits")),
                number(read(rows, f"{name}{BLANK}", target), half=True),
                number(read(rows, "pixels", target), half=True),
                plain(extra(r)["entropy"]),
            )
        )
    header = ("component", "network", "verdict", "bits", "accuracy (%)", "against", "% of it", "gap (bits)")
    header += ("untrained (bits)", "pixels (bits)", "label (bits)")
    margin = next((extra(r)["margin"] for r in judged(rows)), 0.9)
    caption = (
        f"{lookup.counts(judged(rows))}. Served: at least {100 * margin:g}% of the bits of the network in the column "
        "against, tested with Holm's adjustment over all ordered pairs of networks and components; printed intervals "
        "are 95%, unadjusted."
    )
    if any(extra(r).get("provisional") for r in judged(rows)):
        caption += " * provisional: fewer than 4 seeds."
    return trim(Table("served", "What each network serves", caption, header, tuple(lines)), BESIDE)


def added_rows(rows: list[dict], control: str = "") -> list[dict]:
    return [r for r in select(rows, metric="added") if extra(r)["control"] == control]


def added_sentence(rows: list[dict]) -> str:
    """Which additions are real, the largest first."""
    real = [r for r in added_rows(rows) if extra(r).get("real")]
    if not added_rows(rows):
        return ""
    if not real:
        return "No network surely adds to another more than its own features twice would (Holm's adjustment over all)."
    real.sort(key=lambda r: -r["value"])
    each = [f"{r['arm']} to {r['reference']} on {r['target']} ({r['value']:z.2f} bits)" for r in real]
    kept = sum(extra(r)["dimension"] for r in real)
    said = f"Beyond the same features twice (Holm's adjustment over all): {several(each, 6)}."
    return f"{said} In {kept} of {len(real)} both have more in as many dimensions as the first alone, by the interval."


def added(rows: list[dict]) -> Table:
    """Every addition with its controls."""
    lines = []
    for r in added_rows(rows):
        same = dict(target=r["target"], arm=r["arm"], reference=r["reference"])
        controls = {extra(c)["control"]: c for c in select(rows, metric="added", **same) if extra(c)["control"]}
        said = extra(r)
        lines.append(
            (
                r["target"],
                r["reference"],
                r["arm"],
                number(r),
                number(controls.get("matched")),
                number(controls.get("repeated")),
                MISSING if "real" not in said else "yes" if said["real"] else "no",
                MISSING if said.get("restores") is None else "yes" if said["restores"] else "no",
            )
        )
    header = ("component", "to", "adds", "bits", "same dimension (bits)", "twice (bits)", "adds more", "restores")
    dims = several(sorted({str(r["dim"]) for r in added_rows(rows, "matched")}))
    caption = "Conditional usable information: both side by side less the first alone; 95% intervals, unadjusted."
    meanings = {
        "same dimension (bits)": f"Same dimension: both reduced to {dims} principal components (at most the first's "
        "dimensions and a quarter of the probe items) less the first reduced likewise.",
        "twice (bits)": "Twice: the first's features twice instead.",
        "adds more": "Adds more: than nothing and than the first's features twice (Holm's adjustment over all).",
        "restores": "Restores: where the first does not serve the component and the second adds more, whether both "
        "together surely reach the margin of the reference (Holm's adjustment over all that are asked).",
    }
    return trim(Table("additions", "What each adds", caption, header, tuple(lines)), meanings)


def pairs(rows: list[dict]) -> Table | None:
    """Every ordered pair and component: the family of tests."""
    tested = [r for r in select(rows, metric="gap", unit="bits") if "adjusted_p" in extra(r)]
    family = sum(extra(r)["adjusted_p"] is not None for r in tested)
    lines = [
        (
            r["target"],
            r["arm"],
            r["reference"],
            {"retained": "as well", "lost": "less"}.get(extra(r)["verdict"], extra(r)["verdict"]),
            number(r),
            MISSING if extra(r)["adjusted_p"] is None else Number(extra(r)["adjusted_p"], digits=4),
        )
        for r in tested
    ]
    caption = (
        f"As well: the network surely reaches the margin of the other's bits; less: it surely does not. One family of "
        f"{family} tests, Holm's adjustment; intervals are 95%, unadjusted."
    )
    header = ("component", "network", "beside", "verdict", "gap (bits)", "adjusted p")
    return trim(Table("pairs", "Every two networks", caption, header, tuple(lines))) if lines else None


def groups(rows: list[dict]) -> Table | None:
    """The group of each component on which a network is right least often."""
    worst = [r for r in select(rows, metric="group_accuracy") if extra(r)["lowest"]]
    lines = [
        (
            r["target"],
            r["arm"],
            extra(r)["group"],
            plain(r["n_examples"], 0),
            number(r),
            number(read(rows, r["arm"], r["target"], "accuracy")),
        )
        for r in worst
    ]
    caption = (
        "The lowest of all classes and known factors, found on the test items themselves: lower than on new ones. "
        f"{several(sorted({str(extra(r)['groups']) for r in worst}))} groups per component; all are rows."
    )
    few = {r["target"]: extra(r)["few"] for r in worst if extra(r)["few"]}
    if few:
        left = several([f"{count} of {target}" for target, count in few.items()])
        caption += f" Left out, with fewer than 10 test items: {left}."
    header = ("component", "network", "group", "items", "accuracy (%)", "on all (%)")
    return trim(Table("groups", "Lowest groups", caption, header, tuple(lines))) if lines else None


def methods(rows: list[dict]) -> str:
    """How verdicts came about."""
    ours = judged(rows)
    chosen = several(sorted({r["reference"] for r in ours}))
    against = f"{chosen}, declared"
    if any(extra(r)["best"] for r in ours):
        against = f"the audited network that reads it best on validation ({chosen})"
    said = (
        "Features were read once in evaluation mode, float32; linear probes were fitted on probe items, chosen on "
        f"validation and read on test once. A component is held against {against}. Verdicts test D, the margin's share "
        "of the reference's information less the network's, against 0; of the reference itself nothing is tested."
    )
    if any(r["n_seeds"] == 1 for r in ours):
        said += " Where a network is one checkpoint, intervals are over test items and speak of this checkpoint."
    return said
