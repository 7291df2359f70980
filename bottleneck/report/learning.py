"""The report's section on when: what probes and head read over the kept steps, and what the features do meanwhile."""

from __future__ import annotations

from dataclasses import replace

from bottleneck.report import curves, findings
from bottleneck.report.curves import curve
from bottleneck.report.drawing import GREY, INK
from bottleneck.report.lookup import counts, extra, factors, find, number, plain, span, targets, values, whole
from bottleneck.report.section import Figure, Section
from bottleneck.report.table import MISSING, Table
from bottleneck.rows import select

KINDS = ("steps", "gradients")
VERDICTS = ("learned then lost", "still rising", "never learned", "learned in part", "undecided", "learned")
SHAPES = {
    "effective_rank": "effective rank",
    "participation_ratio": "participation ratio",
    "class_separation": "class separation",
}
ACCURACIES = (
    "accuracy",
    "accuracy_seed_sd",
    "accuracy_worst_group",
    "accuracy_balanced",
    "accuracy_mixed",
    "accuracy_spread",
)
READERS = {"linear": "linear probe", "head": "head as it is"}
ALIKE = {"init": "the untrained network", "last": "the last step", "seed": "another seed", "direct": "direct training"}


def section(kinds: dict) -> Section | None:
    """None without a row over steps."""
    means = [r for kind in KINDS for r in select(kinds.get(kind, []), seed="all")]
    makers = (trajectories, table, accuracies, last_accuracies, shapes, gradients, similarity)
    parts = tuple(part for make in makers if (part := make(means)) is not None)
    return Section("steps", "When", sentence(means), parts, methods(means)) if parts else None


def sentence(rows: list[dict]) -> str:
    """Verdicts, what was lost on the way first."""
    lists = findings.grouped(select(rows, metric="learning"), "verdict", VERDICTS)
    return f"By the last step, {'; '.join(f'{word}: {names}' for word, names in lists.items())}." if lists else ""


def trajectories(rows: list[dict]) -> Figure | None:
    """Bits of linear probes over steps, one panel per target, with the head and direct training."""
    read, drawn = select(rows, metric="information", arm="mixture"), {}
    colours = {None: INK, **curves.hues(values(read, "factor"))}
    for target in targets(read):
        of, drawn[target] = select(read, target=target), []
        for factor in factors(of, target):
            level = extra(_learned(rows, target, factor)).get("reference_bits")
            linear, name = select(of, factor=factor, protocol="linear"), findings.name(factor)
            drawn[target].append(curve(linear, name, colours[factor], level=level, through=factor is None))
        drawn[target].append(curve(select(of, factor=None, protocol="head"), READERS["head"], INK, dashed=True))
    caption = (
        "Linear probes on the mixture's features, mean over seeds with 95% intervals, cut at the panel's edge; dashed, "
        "the pretrained head as it is, on the label. Thick ends at the right are what direct training reads of each "
        "factor, the thin line what it reads of the label. Steps are on a logarithmic scale."
    )
    return curves.figure("trajectories", "What is readable over training", caption, drawn, ylabel="bits")


def _learned(rows: list[dict], target: str, factor: str | None) -> dict | None:
    return findings.learning({"steps": rows}, target, factor)


def table(rows: list[dict]) -> Table | None:
    """Verdicts, with the peak that was chosen on validation and what was lost after it."""
    lines = tuple(
        _course(learned)
        for target in targets(rows)
        for factor in factors(rows, target)
        if (learned := _learned(rows, target, factor)) is not None
    )
    if not lines:
        return None
    caption = (
        f"{counts(select(rows, metric='learning'))}; bits by linear probe. The peak is chosen on validation and read "
        "on test, so that a noisy curve does not pass for forgetting. Forgetting: peak minus last, 95% intervals, not "
        "adjusted for multiplicity."
    )
    header = (
        "target",
        "factor",
        "verdict",
        "peak (step)",
        "last (step)",
        "at step 0 (bits)",
        "at the peak (bits)",
        "at the end (bits)",
        "forgetting (bits)",
        "direct (bits)",
    )
    return Table("learning", "Learned, and kept", caption, header, lines)


def _course(learned: dict) -> tuple:
    """The line of one label or factor."""
    said = extra(learned)
    return (
        learned["target"],
        findings.name(learned["factor"]),
        said.get("verdict") or MISSING,
        *(whole(said.get(key)) for key in ("peak", "last")),
        *(plain(said.get(key)) for key in ("init_bits", "peak_bits", "last_bits")),
        number(learned),
        plain(said.get("reference_bits")),
    )


def accuracies(rows: list[dict]) -> Figure | None:
    """Accuracy over steps: balanced and as mixed, per target, and in the worst group."""
    hues, drawn = curves.hues(targets(rows)), {"all targets": [], "per target": [], "worst group": []}
    for protocol in READERS:
        of, style = select(rows, protocol=protocol, factor=None), dict(scale=100, dashed=protocol == "head")
        drawn["all targets"] += [
            curve(select(of, metric="accuracy_balanced"), "balanced", INK, **style),
            curve(select(of, metric="accuracy_mixed"), "as mixed", GREY, **style),
        ]
        drawn["per target"] += curves.by_target(select(of, metric="accuracy", arm="mixture"), hues, **style)
        drawn["worst group"] += curves.by_target(select(of, metric="accuracy_worst_group"), hues, **style)
    caption = (
        "Percent of test items; whole lines are linear probes, dashed ones the head as it is. Balanced: the mean over "
        "targets. As mixed: weighted as the mixture. Worst group: of a label and a factor's value, where there are "
        "such groups."
    )
    shown = curves.figure(
        "accuracy-steps", "Accuracy over training", caption, drawn, ylabel="accuracy (%)", ceiling=100
    )  # the caption says what is dashed, so that the key need not
    return shown and replace(shown, key=tuple(entry for entry in shown.key if not entry[2]))


def last_accuracies(rows: list[dict]) -> Table | None:
    """Accuracies at the last step, with their spread over seeds and targets."""
    scored = [r for r in rows if r["metric"] in ACCURACIES and r["factor"] is None and r["step"] is not None]
    if not any(r["metric"] != "accuracy" for r in scored):
        return None
    last = max(r["step"] for r in scored)
    scored = select(scored, step=last)
    subjects = [
        (t, dict(target=t, metric="accuracy"), dict(target=t, metric="accuracy_seed_sd")) for t in targets(scored)
    ]
    balanced, spread = (dict(target=None, metric=metric) for metric in ("accuracy_balanced", "accuracy_spread"))
    subjects += [
        ("all, balanced", balanced, spread),
        ("all, as mixed", dict(target=None, metric="accuracy_mixed"), None),
    ]
    lines = [
        _last(select(scored, protocol=protocol), name, words, mean, spread)
        for name, mean, spread in subjects
        for protocol, words in READERS.items()
        if find(scored, protocol=protocol, **mean)
    ]
    caption = (
        f"At step {last:,}, percent; {counts(scored)}. Spread: standard deviation between seeds; of all targets, "
        "between targets. Worst group: of a label and a factor's value, chosen on validation at this step and read on "
        "test. 95% intervals, not adjusted for multiplicity."
    )
    header = ("target", "read by", "accuracy (%)", "spread (%)", "worst group (%)", "which")
    return Table("accuracy-last", "Accuracy at the last step", caption, header, tuple(lines))


def _last(scored: list[dict], name: str, words: str, mean: dict, spread: dict | None) -> tuple:
    """The line of one target, or of all, as one protocol reads it."""
    worst = find(scored, target=mean["target"], metric="accuracy_worst_group") if mean["target"] else None
    return (
        name,
        words,
        number(find(scored, **mean), half=True),
        number(find(scored, **spread), half=True) if spread else MISSING,
        number(worst, half=True),
        extra(worst).get("group") or MISSING,
    )


def shapes(rows: list[dict]) -> Figure | None:
    """Spectrum and class separation of the features over steps."""
    used = [r for r in rows if r["metric"] in SHAPES]
    layers, items = values(used, "layer"), sorted({r["n_examples"] for r in used if r["n_examples"]})
    used = [r for r in used if r["layer"] in (None, *layers[-1:])]
    hues = curves.hues(targets(used))
    caption = (
        f"{'At ' + layers[-1] + ', on' if layers else 'On'} each target's test items, mean over seeds. Effective rank "
        f"and participation ratio cannot pass the number of items{f' (n = {span(items)})' if items else ''} and are "
        "biased well below it: compare only equal n. Class separation: the share of variance between classes, "
        "debiased. Context, never a verdict: neither sees whether a small direction carries the label."
    )
    drawn = {words: curves.by_target(select(used, metric=metric), hues) for metric, words in SHAPES.items()}
    return curves.figure("shapes", "Shape of the features", caption, drawn, shared=False)


def gradients(rows: list[dict]) -> Figure | None:
    """Gradient norm of every component over steps, and its cosine with the mixture's gradient."""
    norms, cosines = select(rows, metric="gradient_norm"), select(rows, metric="gradient_cosine", reference="mixture")
    hues = curves.hues(targets([*norms, *cosines]))
    caption = (
        "Of each component's own training loss at the kept steps, over all parameters, mean over seeds with 95% "
        "intervals, cut at the panel's edge. A component whose norm stays large while its cosine is small or negative "
        "is outvoted, not learned."
    )
    drawn = {"gradient norm": curves.by_target(norms, hues), "cosine with the mixture": curves.by_target(cosines, hues)}
    return curves.figure("gradients", "Gradients per component", caption, drawn, shared=False)


def similarity(rows: list[dict]) -> Figure | None:
    """CKA over steps, with the untrained network, the last step, another seed and direct training."""
    used = select(rows, metric="cka")
    hues = {None: INK, **curves.hues(targets(used))}
    drawn = {
        f"with {words}": curves.by_target(select(used, reference=reference), hues) for reference, words in ALIKE.items()
    }
    caption = (
        "Within-component, debiased CKA of each step's features with those of other networks, mean over seeds with 95% "
        "intervals. Context, never a verdict."
    )
    return curves.figure("cka-steps", "Similarity (CKA) over training", caption, drawn, ylabel="CKA")


def methods(rows: list[dict]) -> str:
    learned, read = select(rows, metric="learning"), select(rows, metric="information", protocol="linear")
    if not read:
        return ""
    steps = sorted({r["step"] for r in read if r["step"] is not None})
    over = f" at {len(steps)} steps from {steps[0]:,} to {steps[-1]:,}" if steps else ""
    peaks = (
        (f"; the peaks of {len(learned)} courses are chosen on {' or '.join(values(learned, 'selected_on'))}")
        if learned
        else ""
    )
    return f"Trajectories ({counts(read)}) are whitened ridge probes{over}, each fitted anew{peaks}."
