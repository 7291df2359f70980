"""The analyses of a study as plain data: which kept steps and layers each one reads. Nothing here computes."""

from __future__ import annotations

import dataclasses

from bottleneck.analysis import trajectory
from bottleneck.errors import UserError
from bottleneck.representations.members import Member
from bottleneck.study import StudySpec

LEAST = 20  # test items of a component, for CKA


@dataclasses.dataclass(frozen=True)
class Analysis:
    """One analysis: a task that writes rows. `subject` is a target, or for CKA a comparison."""

    kind: str
    subject: str
    reads: tuple[tuple[Member, str], ...]  # (member, the target on whose items it is read)


def lay_out(
    study: StudySpec, own: tuple[str, ...], outside: tuple[str, ...], last: dict[str, int], taps: tuple[str, ...]
) -> tuple[Analysis, ...]:
    """Every analysis the study declares. `last`: run name -> its last step; `taps`: the layers of the mixture's model."""
    spec, seeds, layer = study.analysis, study.run_seeds, study.probe.layer
    positions = tuple(found for found in spec.layers if found.endswith(".positions"))  # samples, for CKA alone
    layers = {*(taps if positions or not spec.layers else spec.layers), layer}
    depth = {tap: i for i, tap in enumerate(taps)}
    layers = tuple(
        sorted(layers, key=lambda found: (depth.get(found.partition(".")[0], 0), found))
    )  # from input to output
    steps = trajectory.log_steps(last["mixture"], spec.halvings)

    def mixture(step=last["mixture"], layer=layer, seeds=seeds):
        return [Member("mixture", s, step, layer) for s in seeds]

    def direct(component, layer=layer, seeds=seeds):
        return [Member(f"direct-{component}", s, last[f"direct-{component}"], layer) for s in seeds]

    def references(target):
        """Whose features say what direct training can read on `target`: every component's, and its own."""
        return [m for name in dict.fromkeys((*own, target)) for m in direct(name)]

    found = []
    for kind in spec.kinds:
        for target in (*own, *outside) if kind != "cka" else ():
            reads = references(target)
            if kind == "ladder":
                reads += [m for tap in layers for step in (0, last["mixture"]) for m in mixture(step, tap)]
            elif kind == "steps":
                reads += [m for step in steps for m in mixture(step)]
            elif kind in ("seeds", "recovery"):
                reads += mixture() + mixture(0)
            found.append(Analysis(kind, target, tuple((m, target) for m in reads)))
        if kind == "steps":
            found.append(
                Analysis("gradients", "", tuple((m, target) for step in steps for m in mixture(step) for target in own))
            )
        for comparison in spec.comparisons if kind == "cka" else ():
            members = {
                "layers": [
                    m
                    for tap in positions or layers
                    for step in (0, last["mixture"])
                    for m in mixture(step, tap, seeds[:2])
                ],
                "steps": [m for step in steps for m in mixture(step)],
                "seeds": mixture() + mixture(0),
                "direct": mixture() + mixture(0),
            }[comparison]
            reads = [(m, target) for m in members for target in own]
            if comparison in ("steps", "direct"):
                reads += [(m, target) for target in own for m in direct(target)]
            found.append(Analysis("cka", comparison, tuple(reads)))
    return tuple(found)


def check(study: StudySpec, targets: dict, regression: bool) -> None:
    """Raises UserError on analyses that a study cannot have. `targets`: name -> Component."""
    positions = [layer for layer in study.analysis.layers if layer.endswith(".positions")]
    if positions and len(positions) < len(study.analysis.layers):
        raise UserError(
            "analysis.layers",
            study.analysis.layers,
            "positions of all layers or of none: other modes have other samples",
        )
    wanted = [kind for kind in study.analysis.kinds if kind != "cka"]
    if regression and wanted:
        raise UserError("analysis.kinds", wanted[0], "'cka' alone where labels are vectors")
    for name, component in targets.items():
        if wanted and component.num_classes < 2:
            raise UserError("analysis.kinds", wanted[0], f"labels of at least two classes, not the one of {name!r}")
        if "cka" in study.analysis.kinds and len(component.splits["test"]) < LEAST:
            raise UserError(
                "analysis.kinds",
                "cka",
                f"at least {LEAST} test items, not the {len(component.splits['test'])} of {name!r}",
            )
