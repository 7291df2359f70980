"""From a study to the graph of its tasks. Pure: what depends on results does so by key, never by value."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from dataclasses import dataclass

import jax
import numpy as np

from bottleneck import representations
from bottleneck.answer import Answer, Subject
from bottleneck.data import component as components
from bottleneck.data.component import Component
from bottleneck.data.reading import describe
from bottleneck.data.resample import EmptyCell
from bottleneck.errors import UserError
from bottleneck.graph import Graph
from bottleneck.items import PROTOCOL
from bottleneck.planning import checks, claims, references
from bottleneck.planning import representations as cures
from bottleneck.planning.diagnoses import Diagnoses
from bottleneck.planning.episodes import Episodes
from bottleneck.planning.interventions import Interventions
from bottleneck.planning.planner import Planner
from bottleneck.planning.recipes import Recipes
from bottleneck.planning.tuning import TUNING
from bottleneck.probing import Probe
from bottleneck.study import StudySpec
from bottleneck.tasks import Task
from bottleneck.training.run import Run


@dataclass(frozen=True, eq=False)
class Plan:
    """A study and its tasks, in no order; `graph` orders them."""

    study: StudySpec
    episodes: Episodes
    tasks: tuple[Task, ...]
    answer: Answer

    @functools.cached_property
    def graph(self) -> Graph:
        return Graph(self.tasks)

    def probes_of(self, *arms: str) -> tuple[Probe, ...]:
        """The linear probes of these arms on every target, as it is."""
        return tuple(p for p in self.answer.probes if p.arm in arms and (p.protocol, p.factor) == (PROTOCOL, None))

    @property
    def points(self) -> tuple:
        """None: a sweep has them."""
        return ()

    @property
    def targets(self) -> dict[str, Component]:
        return self.episodes.targets

    @property
    def reading(self) -> dict[str, list[str]]:
        """What was read, in lines, by component, and what of it other components train on."""
        lines = {name: describe(component.reading) for name, component in self.targets.items()}
        for a, b in itertools.product(self.episodes.components.values(), self.targets.values()):
            for split, count in components.copies(a, b).items():
                lines[b.name].append(f"  exact duplicates: {count:,} {split} items are in {a.name}'s train split")
        return lines


def plan(study: StudySpec) -> Plan:
    """Loads the data's index and lays out every task."""
    episodes = load(study)
    checks.data(study, episodes.components, episodes.targets)
    checks.model(episodes)
    checks.start(episodes)
    checks.shots(episodes)
    checks.analyses(study, episodes.targets)
    checks.sources(study, episodes.targets)
    checks.members(study)
    episodes.tables  # noqa: B018  refuses weights and batches that cannot be drawn, before anything is planned
    planner = Planner(study, episodes)
    taps, batch_norm = shapes(planner.plain_run("mixture", study.run_seeds[0]), episodes.shape)
    check_layers(study, taps)
    references.add(planner, batch_norm)
    interventions = Interventions(planner, batch_norm)
    interventions.add()
    subjects = [Subject("mixture", planner.deciders), *references.add_sources(planner)]
    discoveries = Recipes(planner).add()
    check_recipes(planner)
    cures.add(planner)
    claims.add(planner)
    diagnoses = (*Diagnoses(planner, tuple(taps)).add(), *discoveries)
    answer = Answer(
        study=study,
        targets=episodes.targets,
        subjects=tuple(subjects),
        probes=tuple(probe for probe in planner.probes if probe.protocol != TUNING),
        diagnoses=diagnoses,
        not_asked=interventions.not_asked(),
        raised={name: (episodes.share(name), 1 / len(episodes.components)) for name in episodes.components},
        drawn={name: episodes.unique_share(name) for name in episodes.components if episodes.share(name)},
    )
    planner.add(answer)
    return Plan(study, episodes, planner.everything(), answer)


def load(study: StudySpec) -> Episodes:
    """The components, the targets outside the mixture, and the variants in which the competing factor says nothing."""
    data = dataclasses.replace(study.data, split_seed=study.data.split_seed + study.seed_offset)
    inside = {name: _load(name, spec, data, "components") for name, spec in study.components.items()}
    outside = {name: _load(name, spec, data, "targets") for name, spec in study.targets.items()}
    variants, unopposed, factor = dict(inside), [], study.mixture.competitor
    if factor is not None:
        having = [name for name, c in inside.items() if factor in c.splits["train"].factors]
        if not having:
            known = sorted({f for c in inside.values() for f in c.splits["train"].factors})
            expected = f"a known factor of a component: {', '.join(known) or 'there are none'}"
            raise UserError("mixture.competitor", factor, expected)
        for name in having:
            try:
                spec = dataclasses.replace(study.components[name], randomise=(factor,))
                variant = _load(name, spec, data, "components")
            except EmptyCell:
                continue  # a combination of label and factor that does not occur: not asked of this component
            before, after = (c.splits["train"].factors[factor] for c in (inside[name], variant))
            if np.array_equal(before, after):
                unopposed.append(name)
            else:
                variants[name] = variant
    return Episodes(study, inside, outside, variants, tuple(unopposed))


def _load(name, component_spec, data, path):
    try:
        return components.load(name, component_spec, data)
    except UserError as error:
        error.key = error.key.replace("components.", f"{path}.", 1)
        raise


@functools.cache
def shapes(run: Run, shape: tuple[int, ...]) -> tuple[dict[str, int], bool]:
    """The taps of a run's model with their numbers of dimensions, and whether it has BatchNorm."""
    model = run.module()
    x = jax.ShapeDtypeStruct((1, *shape), np.float32)
    (_, taps), variables = jax.eval_shape(lambda k, x: model.init_with_output(k, x), jax.random.key(0), x)
    return {name: len(tap.shape) for name, tap in taps.items()}, "batch_stats" in variables


def check_layers(study: StudySpec, taps: dict[str, int]) -> None:
    """Whether every layer that is read is there."""
    read = [("probe.layer", study.probe.layer), *(("analysis.layers", layer) for layer in study.analysis.layers)]
    for name, spec in study.representations.items():
        others = (*study.sources, *study.recipes)
        patterns = [p for p in spec.patterns if representations.source_of(p) not in others]
        read += [(f"representations.{name}.members", pattern.rpartition(":")[2]) for pattern in patterns]
    checks.layers((path, layer, taps) for path, layer in read)


def check_recipes(planner: Planner) -> None:
    """The same of members that recipes train, which may be other models."""
    study, read = planner.study, []
    for name, spec in study.represented.items():
        for pattern in spec.patterns:
            source = representations.source_of(pattern)
            if source in study.recipes:
                own = f"-{next(iter(planner.episodes.targets))}" if study.recipes[source].like == "direct" else ""
                taps, _ = shapes(planner.run(source + own, study.run_seeds[0]), planner.episodes.shape)
                read.append((f"representations.{name}.members", pattern.rpartition(":")[2], taps))
    checks.layers(read)
