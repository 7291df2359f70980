"""The plan of a study: every run and every evaluation, as plain data. `plan` writes nothing and trains nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from fractions import Fraction

import jax
import numpy as np

from bottleneck import analyses, models
from bottleneck import config as configs
from bottleneck.analyses import Analysis
from bottleneck.analysis import features
from bottleneck.data import component as components
from bottleneck.data import mixture
from bottleneck.data.component import Component
from bottleneck.errors import UserError
from bottleneck.representations import external
from bottleneck.representations.members import Member, RepresentationSpec, sets
from bottleneck.study import StudySpec
from bottleneck.training.run import Run, duration

LONGER, WIDER = 2, 4  # what the arms of these names multiply
FINETUNES = ("finetune", "probe_finetune")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One representation meeting one target: a task that writes rows."""

    arm: str  # the arm, or the name of a declared representation
    seed: int  # the run seed, or the index of the member set
    members: tuple[Member, ...]
    target: str
    protocol: str
    spec: RepresentationSpec | None = None
    shots: int | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    study: StudySpec
    components: dict[str, Component]  # of the mixture
    targets: dict[str, Component]  # all targets: components, then those outside
    variants: dict[str, Component]  # components as the `randomised` arm sees them
    runs: tuple[Run, ...]
    evaluations: tuple[Evaluation, ...]
    analyses: tuple[Analysis, ...]

    def run(self, name: str, seed: int) -> Run:
        return next(r for r in self.runs if (r.name, r.seed) == (name, seed))

    def pool_of(self, run: Run) -> tuple[Component, ...]:
        """The components a run draws from, with the data it sees."""
        source = self.variants if run.name == "randomised" else self.targets
        return tuple(source[name] for name in run.components)


def identity(component: Component) -> str:
    return hashlib.sha256(json.dumps(component.identity, sort_keys=True).encode()).hexdigest()[:12]


def plan(study: StudySpec) -> Plan:
    """Loads the data's index and lays out every run and evaluation. Pure: writes nothing, trains nothing."""
    data = dataclasses.replace(study.data, split_seed=study.data.split_seed + study.seed_offset)
    own = {name: _load(name, s, data, "components") for name, s in study.components.items()}
    outside = {name: _load(name, s, data, "targets") for name, s in study.targets.items()}
    variants = {}
    if "randomised" in study.arms:
        factor = study.mixture.competitor
        if not any(factor in c.splits["train"].factors for c in own.values()):
            known = sorted({f for c in own.values() for f in c.splits["train"].factors})
            raise UserError(
                "mixture.competitor", factor, f"a known factor of a component: {', '.join(known) or 'there are none'}"
            )
        variants = {
            name: _load(name, dataclasses.replace(study.components[name], randomise=(factor,)), data, "components")
            if factor in c.splits["train"].factors
            else c
            for name, c in own.items()
        }
    targets = {**own, **outside}
    _check_labels(study, own)
    _check_held_out(data, own, targets)
    for name, component in targets.items():
        if (study.objective.name == "regression") != (component.num_classes == 0):
            raise UserError(
                "objective.name",
                study.objective.name,
                f"the objective of the labels of {name!r} ({'classes' if component.num_classes else 'vectors'})",
            )
        if "k_shot" in study.probe.protocols and component.num_classes == 0:
            raise UserError("probe.protocols", "k_shot", f"protocols for vectors, which the labels of {name!r} are")
    runs = {(run.name, run.seed): run for seed in study.run_seeds for run in _runs(study, own, outside, variants, seed)}
    shape = next(iter(own.values())).splits["train"].fetch(np.arange(1)).shape[1:]
    taps = _taps(runs, shape)
    evaluations = _evaluations(study, own, outside, runs)
    declared = analyses.lay_out(
        study,
        tuple(own),
        tuple(outside),
        {name: run.steps for (name, _), run in runs.items()},
        tuple(taps["mixture", study.run_seeds[0]]),
    )
    _check(study, targets, shape, taps, evaluations, declared)
    kept: dict[tuple[str, int], set[int]] = {}
    read = [m for e in evaluations for m in e.members] + [m for a in declared for m, _ in a.reads]
    for member in read:
        kept.setdefault((member.run, member.seed), set()).add(member.step)
    for key, run in runs.items():
        if run.name == "mixture":
            kept.setdefault(key, set()).update(_steps(k, run.steps) for k in study.keep)
    return Plan(
        study,
        own,
        targets,
        variants,
        tuple(dataclasses.replace(r, keep=tuple(sorted(kept.get(k, ())))) for k, r in runs.items()),
        evaluations,
        declared,
    )


def _check_labels(study: StudySpec, own: dict) -> None:
    """A shared label space joins classes by position: refuses components that name the same position differently."""
    named = [
        c
        for c in own.values()
        if not all(name.isdigit() for name in c.classes)
        and not any(step[1] in ("Labels", "Classes") for step in c.identity["transforms"])
    ]
    for component in named if study.mixture.label_space == "shared" else ():
        if component.classes != named[0].classes:
            raise UserError(
                "mixture.label_space",
                "shared",
                f"the same classes in {named[0].name!r} and {component.name!r}, or a "
                "transform `labels` or `classes` that says which belong together, or 'disjoint'",
            )


def _check_held_out(data, own: dict, targets: dict) -> None:
    """Components of one file must hold out the same items, or one would train on what another's probes are fitted to."""
    for a in own.values():
        for b in targets.values():
            file, other = (c.identity["fingerprint"].partition("+")[0] for c in (a, b))  # of dominoes, the left one's
            if data.probe_split == "train" or not file or file != other:
                continue
            for split in ("probe", "val"):
                if np.isin(b.splits[split].ids, a.splits["train"].ids).any():
                    raise UserError(
                        "components",
                        b.name,
                        f"{split} items that {a.name!r} does not train on: components of one file "
                        "need the same sizes and the same classes before their labels are mapped",
                    )


def _taps(runs: dict, shape: tuple[int, ...]) -> dict[tuple[str, int], dict[str, int]]:
    """The layers of every run's model, by (name, seed), with their number of dimensions."""
    found, layers = {}, {}
    for key, run in runs.items():
        model = models.build(run.model, run.outputs, run.train.dtype, shape if len(shape) == 3 else None)
        if model not in layers:
            x = jax.ShapeDtypeStruct((1, *shape), np.float32)
            shapes = jax.eval_shape(lambda k, x, m=model: m.init_with_output(k, x)[0][1], jax.random.key(0), x)
            layers[model] = {name: len(tap.shape) for name, tap in shapes.items()}
        found[key] = layers[model]
    return found


def _check(study: StudySpec, targets: dict, shape: tuple[int, ...], taps: dict, evaluations, declared) -> None:
    """Raises UserError for what training or transfer would stumble over later: models, layers, few-shot sizes, durations."""
    try:
        study.augment.check(shape)
    except UserError as error:
        raise error.under("augment") from None
    if len(shape) != 3 and study.model.get("name") != "mlp":
        raise UserError("model.name", study.model.get("name"), "'mlp', for vectors")
    if "probe_finetune" in study.probe.protocols and study.model.get("use_bias") is False:
        raise UserError("model.use_bias", False, "True: 'probe_finetune' starts from a probe, which has an intercept")
    analyses.check(study, targets, study.objective.name == "regression")
    read = [
        ("probe.layer" if e.spec is None else f"representations.{e.arm.partition('|')[0]}.members", m)
        for e in evaluations
        for m in e.members
    ] + [("analysis.layers", m) for a in declared for m, _ in a.reads]
    for path, member in dict.fromkeys(read):
        try:
            tap, mode = features.tap_and_mode(member.layer)
        except UserError as error:
            raise UserError(path, member.layer, error.expected) from None
        known = taps[member.run, member.seed]
        if tap not in known:
            raise UserError(path, member.layer, f"a layer of the model: {', '.join(known)}")
        if mode == features.POSITIONS and (path != "analysis.layers" or known[tap] < 3):
            raise UserError(path, member.layer, "one vector per item here: pooled, or flattened")
    for evaluation in evaluations:
        if evaluation.spec is not None and evaluation.spec.external:
            try:
                external.load(pathlib.Path(evaluation.spec.external), targets[evaluation.target])
            except UserError as error:
                raise error.under(f"representations.{evaluation.arm}") from None
    for name, component in targets.items():
        duration(
            study.probe.finetune.steps,
            batch=study.train.batch,
            key="probe.finetune.steps",
            examples=len(component.splits["train"]),
        )
        if "k_shot" in study.probe.protocols and component.num_classes:
            least = np.bincount(component.splits["probe"].labels, minlength=component.num_classes).min()
            if max(study.probe.shots, default=0) > least:
                raise UserError(
                    "probe.shots",
                    study.probe.shots,
                    f"at most {least}, the probe items of the smallest class of {name!r}",
                )
        if "finetune" in study.probe.protocols and study.probe.finetune.shots and component.num_classes:
            least = np.bincount(component.splits["train"].labels, minlength=component.num_classes).min()
            if max(study.probe.finetune.shots) > least:
                raise UserError(
                    "probe.finetune.shots",
                    study.probe.finetune.shots,
                    f"at most {least}, the training items of the smallest class of {name!r}",
                )


def _load(name, component_spec, data, path):
    try:
        return components.load(name, component_spec, data)
    except UserError as error:
        raise UserError(error.key.replace("components.", f"{path}.", 1), error.value, error.expected) from None


def _steps(value: int | str, total: int, key: str = "keep") -> int:
    """A step of a run of `total`: a number, or a fraction of the run as text."""
    try:
        step = round(total * Fraction(value)) if isinstance(value, str) else value
    except (ValueError, ZeroDivisionError):
        raise UserError(key, value, "a step, or a fraction of the run such as '1/4'") from None
    if not 0 <= step <= total:
        raise UserError(key, value, f"a step of at most {total}")
    return step


def _runs(study: StudySpec, own: dict, outside: dict, variants: dict, seed: int):
    """Every training run of one seed."""
    names, batch = tuple(own), study.train.batch
    regression = study.objective.name == "regression"
    examples = sum(len(own[n].splits["train"]) for n, w in study.mixture.weights.items() if w > 0)
    total = duration(study.train.steps, batch=batch, key="train.steps", examples=examples)
    schedule = _schedule(study, total, examples)
    space = study.mixture.label_space

    def run(name, among: dict, weights, *, steps=total, label_space=space, model=study.model, scheme=None):
        layout = mixture.label_space(label_space, [c.output_dim for c in among.values()], regression)
        return Run(
            name,
            seed,
            tuple(among),
            tuple(identity(c) for c in among.values()),
            scheme or ((0, weights),),
            label_space,
            tuple(int(o) for o in layout.offset),
            tuple(stop - start for start, stop in layout.blocks),
            layout.outputs,
            configs.to_dict(model),
            study.optimizer,
            study.objective,
            study.augment,
            dataclasses.replace(study.train, steps=steps),
        )

    whole = tuple(study.mixture.weights[n] for n in names)
    try:
        tables = mixture.tables(names, [len(c.splits["train"]) for c in own.values()], schedule, batch, LONGER * total)
    except UserError as error:
        raise error.under("train" if error.key in ("batch", "steps") else "mixture") from None
    drawn = mixture.drawn(tables, total, batch)
    for arm in study.arms:
        if arm == "mixture":
            yield run(arm, own, whole, scheme=schedule)
        elif arm == "longer":
            yield run(arm, own, whole, scheme=tuple((LONGER * start, w) for start, w in schedule), steps=LONGER * total)
        elif arm == "heads" and space != "per_component":
            yield run(arm, own, whole, scheme=schedule, label_space="per_component")
        elif arm == "randomised":
            yield run(arm, variants, whole, scheme=schedule)
        elif arm == "wider":
            yield run(arm, own, whole, scheme=schedule, model=models.widen(study.model, WIDER))
        elif arm in ("direct", "matched"):
            for j, name in enumerate(names):
                alone = tuple(float(n == name) for n in names)
                # In a shared space all arms have one classifier and share an executable; else a component has its own.
                among, weights = (own, alone) if space == "shared" else ({name: own[name]}, (1.0,))
                steps = total if arm == "direct" else max(1, int(drawn[j]) // batch) if drawn[j] else 0
                if steps:  # a component that is never drawn has no matched run
                    yield run(f"{arm}-{name}", among, weights, steps=steps, label_space="shared")
            if arm == "direct":
                for name, component in outside.items():
                    yield run(f"{arm}-{name}", {name: component}, (1.0,), label_space="shared")


def _schedule(study: StudySpec, total: int, examples: int) -> tuple[tuple[int, tuple[float, ...]], ...]:
    names = tuple(study.components)
    phases = [(0, tuple(study.mixture.weights[n] for n in names))]
    for key, phase in study.mixture.schedule.items():
        for name in (*names, *phase.weights):
            if name not in phase.weights or name not in names:
                raise UserError(
                    f"mixture.schedule.{key}.weights", phase.weights, f"one weight for each of {', '.join(names)}"
                )
        where = f"mixture.schedule.{key}.start"
        start = (
            _steps(phase.start, total, where)
            if isinstance(phase.start, int) or "/" in phase.start
            else duration(phase.start, batch=study.train.batch, examples=examples, key=where)
        )
        if start >= total:
            raise UserError(where, phase.start, f"a step below {total}")
        phases.append((start, tuple(phase.weights[n] for n in names)))
    return tuple(phases)


def _shots(study: StudySpec, protocol: str) -> tuple[int | None, ...]:
    """Examples per class a protocol is run on; None is all of them."""
    return {"k_shot": study.probe.shots, "finetune": (None, *study.probe.finetune.shots)}.get(protocol, (None,))


def _evaluations(study: StudySpec, own: dict, outside: dict, runs: dict) -> tuple[Evaluation, ...]:
    """Which representation meets which target how: the arms' last step, random initialisation, what the config declares."""
    found, layer = [], study.probe.layer
    last = {name: run.steps for (name, _), run in runs.items()}
    for (name, seed), run in runs.items():
        arm, _, target = name.partition("-")
        for met in (target,) if target else (*own, *outside):
            for protocol in study.probe.protocols:
                if protocol not in ("head", "linear_probe") and arm not in study.probe.arms:
                    continue
                if (
                    protocol == "head"
                    and met in outside
                    and not target
                    and (run.label_space != "shared" or outside[met].output_dim != run.outputs)
                ):
                    continue  # the mixture's head has no classes for it
                for shots in _shots(study, protocol):
                    found.append(
                        Evaluation(arm, seed, (Member(name, seed, run.steps, layer),), met, protocol, shots=shots)
                    )
            if arm == "mixture":  # what an untrained network of the same seed offers at that layer
                found += [
                    Evaluation("random", seed, (Member(name, seed, 0, layer),), met, protocol, shots=shots)
                    for protocol in study.probe.protocols
                    for shots in _shots(study, protocol)
                    if protocol == "linear_probe" or protocol in ("k_shot", "finetune") and "random" in study.probe.arms
                ]
    for met in (*own, *outside):
        found.append(Evaluation("pixels", 0, (), met, "linear_probe"))
    for name, declared in _declared(study).items():
        path = f"representations.{name}"
        if declared.external:
            found += [Evaluation(name, 0, (), met, "linear_probe", declared) for met in (*own, *outside)]
            continue
        names = [pattern.partition("/")[0] for pattern in declared.patterns]
        for run_name in names:
            if run_name not in last and run_name != "direct":
                raise UserError(f"{path}.members", declared.members, f"runs among {', '.join((*last, 'direct'))}")
        for met in (*own, *outside):
            # Every representation is judged beside the same one of direct runs.
            for arm, bases in (
                (name, [f"direct-{met}" if n == "direct" else n for n in names]),
                (f"{name}|direct", [f"direct-{met}"] * len(names)),
            ):
                patterns = tuple(
                    p.replace(n, base, 1) for p, n, base in zip(declared.patterns, names, bases, strict=True)
                )
                for index, members in enumerate(
                    sets(dataclasses.replace(declared, members=patterns), study.run_seeds, last.__getitem__, path)
                ):
                    found.append(Evaluation(arm, index, members, met, "linear_probe", declared))
    return tuple(found)


def _declared(study: StudySpec) -> dict[str, RepresentationSpec]:
    """The study's representations and, where they are not declared, their members alone: what a gain is measured from."""
    found = dict(study.representations)
    for name, spec in study.representations.items():
        for i, pattern in enumerate(spec.patterns):
            alone = RepresentationSpec(pattern)
            step = pattern.partition("@")[2].partition(":")
            is_arm = step[0] == "last" and step[2] == study.probe.layer and "/*@" in pattern
            if (
                spec.n * spec.repeat * len(spec.patterns) > 1
                and not is_arm
                and alone
                not in [RepresentationSpec(s.members) for s in found.values() if s.patterns and s.n * s.repeat == 1]
            ):
                found[f"{name}-member{i + 1 if len(spec.patterns) > 1 else ''}"] = alone
    return found
