"""A sweep: one study at several points of named axes, from the config to one graph.

Every point is an ordinary study in the same work directory, its config the sweep's with some keys changed. What points
have in common has one key, and is carried out once. Their answer is the task `curve.Curve`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import ml_collections

from bottleneck import config as configs
from bottleneck import identity, models, typed
from bottleneck import study as studies
from bottleneck.arms import ARMS
from bottleneck.axes import DERIVED, NAMED, Axis, is_number
from bottleneck.claims import Claims
from bottleneck.curve import Curve
from bottleneck.errors import UserError
from bottleneck.graph import Graph
from bottleneck.items import ADAPTED, PROTOCOL
from bottleneck.law import FEWEST, Law, Trained
from bottleneck.planning import plan as plans
from bottleneck.planning.plan import Plan
from bottleneck.planning.planner import joined
from bottleneck.points import Place
from bottleneck.spread import Spread, Varied
from bottleneck.study import StudySpec, SweepSpec
from bottleneck.tasks import Task


@dataclass(frozen=True, eq=False)
class Point:
    """One study of a sweep: where it lies on the axes (dotted key -> value), its config and its plan."""

    at: dict
    config: ml_collections.ConfigDict
    plan: Plan


@dataclass(frozen=True, eq=False)
class Sweep:
    """The studies of a sweep and the graph of all their tasks. `study`: the config without its points; `others`: what
    joins points beside the curve."""

    study: StudySpec
    points: tuple[Point, ...]
    curve: Curve
    others: tuple[Task, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What is not one point's own, and what every point's claims say."""
        claims = (task for point in self.points for task in point.plan.tasks if isinstance(task, Claims))
        return (self.curve, *self.others, *claims)

    @functools.cached_property
    def graph(self) -> Graph:
        return Graph([*union(point.plan.tasks for point in self.points), self.curve, *self.others])

    @property
    def reading(self) -> dict[str, list[str]]:
        """What was read by any point, in lines, by component."""
        lines: dict[str, dict] = {}
        for point in self.points:
            for name, said in point.plan.reading.items():
                lines.setdefault(name, {}).update(dict.fromkeys(said))
        return {name: list(said) for name, said in lines.items()}


def plan(config) -> Plan | Sweep:
    """The plan of a study, or of one at all points of its sweep. Raises UserError."""
    study = spec(config)
    if not (study.sweep.axes or study.sweep.points):
        return plans.plan(study)
    config = configs.absolute(config)  # a place of data on an axis is the same point from anywhere
    study = spec(config)
    made = tuple(_point(at, each, study.sweep) for at, each in points(config, study.sweep))
    own = tuple(dict.fromkeys(name for point in made for name in point.plan.study.components))
    outside = tuple(dict.fromkeys(name for point in made for name in point.plan.study.targets))
    axes = tuple(Axis(name, study.sweep.per if name in study.sweep.log else "unit") for name in made[0].at)
    curve = Curve(axes, (own, outside), tuple(map(_place, made)))
    return Sweep(study, made, curve, (*law(study, made), *spread(made)))


def law(study: StudySpec, made: tuple[Point, ...]) -> tuple[Law, ...]:
    """The task that fits a law to the points that are not held out; none where no point is. Raises UserError."""
    left_out = sequences(study.sweep.held_out, "sweep.held_out")
    if not left_out:
        return ()
    weights = made[0].plan.study.mixture.weights
    plain = (
        dataclasses.replace(p.plan.study, mixture=dataclasses.replace(p.plan.study.mixture, weights=weights))
        for p in made
    )
    if len(set(map(identity.digest, plain))) > 1:
        raise UserError("sweep.held_out", study.sweep.held_out, "a sweep of mixture.weights alone")
    for key, values in left_out.items():
        if missing := [value for value in values if value not in [point.at.get(key) for point in made]]:
            raise UserError(f"sweep.held_out.{key}", missing[0], "a value of this axis")
    points = tuple(
        Trained(
            point.at,
            point.plan.episodes.shares,
            all(point.at[key] in values for key, values in left_out.items()),
            point.plan.probes_of("mixture", "direct"),
        )
        for point in made
    )
    if sum(not point.held_out for point in points) < FEWEST or not any(point.held_out for point in points):
        raise UserError("sweep.held_out", study.sweep.held_out, f"at least one point, and {FEWEST} others for a law")
    return (Law({name: made[0].plan.targets[name] for name in study.components}, points, study.margin, study.vary),)


def spread(made: tuple[Point, ...]) -> Iterator[Spread]:
    """The tasks that compare points which train the same and differ in what their seeds vary."""
    alike: dict[str, dict[str, Varied]] = {}
    for point in made if len({point.plan.study.vary for point in made}) > 1 else ():
        study = point.plan.study
        first = point.plan.episodes.run(ARMS["mixture"], study.run_seeds[0])  # whose seeds are the same for all
        probes = point.plan.probes_of("mixture")
        group = alike.setdefault(identity.digest([first.identity, study.data]), {})
        if study.vary not in group or len(group[study.vary].probes) < len(probes):  # of several, that of most seeds
            group[study.vary] = Varied(point.at, study.vary, probes)
    targets = {name: component.num_classes > 0 for point in made[:1] for name, component in point.plan.targets.items()}
    yield from (Spread(targets, tuple(points.values())) for points in alike.values() if len(points) > 1)


def spec(config) -> StudySpec:
    """The typed study of a config, of one that leaves its components to its points at the first of these. Raises
    UserError."""
    plain = typed.to_dict(config)
    swept = plain.get("sweep")
    points = swept.get("points") if isinstance(swept, Mapping) and not plain.get("components") else ()
    if points and isinstance(points[0], Mapping):
        plain = _merged(plain, {key: value for key, value in points[0].items() if key != NAMED})
    return studies.spec(plain)


def _merged(node: Mapping, changes: Mapping) -> dict:
    """`node` with the values of `changes`, key by key at every depth."""
    both = {k: _merged(node[k], v) for k, v in changes.items() if isinstance(v, Mapping) and k in node}
    return {**node, **changes, **both}


def union(groups: Iterable[Iterable[Task]]) -> list[Task]:
    """The tasks of several studies, each once: wanted where any of them wants it, with the steps and layers of all."""
    tasks: dict[str, Task] = {}
    for task in itertools.chain.from_iterable(groups):
        held = tasks.get(task.key)
        tasks[task.key] = joined(held, task) if held else task
    return list(tasks.values())


def _point(at: dict, config, spec: SweepSpec) -> Point:
    """A point with its plan, and what of its coordinates is computed of that."""
    plan = _plan(at, config)
    return Point({**at, **{name: COMPUTED[name](plan) for name in spec.by}}, config, plan)


def _parameters(plan: Plan) -> int:
    """The number of parameters of the mixture's network."""
    return models.size(plan.episodes.run(ARMS["mixture"], plan.study.run_seeds[0]).module(), plan.episodes.shape)


COMPUTED = dict(zip(DERIVED, (_parameters,), strict=True))


def _place(point: Point) -> Place:
    """What of a point is read along the axes: every arm's linear probes, and those of untrained networks."""
    study, episodes = point.plan.study, point.plan.episodes
    factor = study.mixture.competitor
    read = {(PROTOCOL, None), (PROTOCOL, factor), (ADAPTED, None)}
    arms = {*study.arms, *study.recipes, *study.representations, "random"}
    probes = [p for p in point.plan.answer.probes if p.arm in arms and (p.protocol, p.factor) in read]
    recipes = tuple(name for name, recipe in study.recipes.items() if recipe.like == "mixture")
    at, seeds = point.at, study.run_seeds
    return Place(at, seeds, tuple(probes), study.margin, factor, episodes.unopposed, recipes, study.vary)


def _plan(at: dict, config) -> Plan:
    """The plan of one point; a mistake says where it is met."""
    try:
        return plans.plan(studies.spec(config))
    except UserError as error:
        key = f"sweep.axes.{error.key}" if error.key in at else error.key
        raise UserError(key, error.value, f"{error.expected} (at the point {_said(at)})") from None


def _said(at: dict) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in at.items())


def points(config, spec: SweepSpec) -> Iterator[tuple[dict, ml_collections.ConfigDict]]:
    """(point, its config), each value as the spec types it on the command line. Raises UserError."""
    plain = typed.to_dict(config)
    base = {key: value for key, value in plain.items() if key != "sweep"}
    where, seen = "points" if spec.points else "axes", set()
    for asked in listed(spec.points) if spec.points else product(spec.axes):
        changed, at = ml_collections.ConfigDict(base), {}
        named = asked.pop(NAMED, {}) if spec.points else {}
        for key, value in asked.items():
            at[key] = _set(changed, key, value, f"sweep.{where}.{key}")
        at = named or at  # two names may be given to one study
        if (text := identity.digest(at)) in seen:
            raise UserError(f"sweep.{where}", _said(at), "each point once")
        seen.add(text)
        _check_log(spec, at)
        yield at, changed


def product(axes: dict) -> Iterator[dict]:
    """Every combination of the axes' values, the last axis fastest."""
    values = sequences(axes, "sweep.axes")
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def sequences(axes: dict, where: str) -> dict[str, tuple]:
    """dotted key -> its values."""
    values = dict(_leaves(axes))
    for key, held in values.items():
        if isinstance(held, str):  # as the command line gives it: a,b
            values[key] = held = typed.read(tuple, held, f"{where}.{key}")
        if not isinstance(held, list | tuple) or not held:
            raise UserError(f"{where}.{key}", held, "the values of this key, in a sequence")
    return values


def listed(given: tuple[dict, ...]) -> Iterator[dict]:
    """The points that a config lists; `point`: where one lies by what the config calls it."""
    keys = None
    for point in given:
        if not isinstance(point, Mapping) or not point:
            raise UserError("sweep.points", point, "a dictionary that mirrors the config")
        at = dict(_leaves({key: value for key, value in point.items() if key != NAMED}))
        named = _named(point[NAMED]) if NAMED in point else None
        keys = keys or (named is not None, *(named or at))
        if (named is not None) != keys[0]:
            raise UserError("sweep.points", _said(at), f"{NAMED!r} for every point, or for none")
        if set(named or at) != set(keys[1:]):
            raise UserError("sweep.points", _said(named or at), f"the keys of the first point: {', '.join(keys[1:])}")
        yield {key: at[key] for key in keys[1:]} if named is None else {**at, NAMED: {k: named[k] for k in keys[1:]}}


def _named(given) -> dict:
    """Where a point lies by its name, or by coordinates of the config's own."""
    where = {NAMED: given} if isinstance(given, str) else given
    if not isinstance(where, Mapping) or not where or any(isinstance(held, Mapping) for held in where.values()):
        raise UserError(f"sweep.points.{NAMED}", given, "a name, or a dictionary of coordinates")
    if taken := set(DERIVED) & set(where):
        raise UserError(f"sweep.points.{NAMED}", given, f"another name than {taken.pop()!r}, which `by` computes")
    return dict(where)


def _leaves(node: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, value) of every value that is no dictionary."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _set(config: ml_collections.ConfigDict, key: str, value, where: str):
    """Sets the dotted `key`; the value that it now has."""
    if key.partition(".")[0] == "sweep":
        raise UserError(where, value, "a key of the study")
    value = value.item() if hasattr(value, "item") else value
    try:
        configs.override(config, key, value if isinstance(value, str) else repr(value), StudySpec, studies.spec_of)
    except UserError as error:
        raise UserError(where, value, error.expected) from None
    held = config
    for name in key.split("."):
        held = held[name]
    return typed.to_dict(held)


def _check_log(spec: SweepSpec, at: dict) -> None:
    for key in spec.log:
        if key in spec.by:
            continue
        if key not in at:
            raise UserError("sweep.log", key, f"axes of the sweep: {', '.join((*at, *spec.by))}")
        if not (is_number(at[key]) and at[key] > 0):
            raise UserError("sweep.log", key, f"an axis of numbers above 0 (one is {at[key]!r})")
