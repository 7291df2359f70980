"""The runs that recipes ask for: plain ones, students of sets of teachers, chains of discovery and synthesis."""

from __future__ import annotations

import dataclasses
from typing import Any

from bottleneck import models, representations, typed
from bottleneck.diagnosis.discovery import Discovery
from bottleneck.errors import UserError
from bottleneck.features.layers import LOGITS
from bottleneck.features.source import Kept
from bottleneck.planning.planner import Planner
from bottleneck.planning.references import seeds_of, steps_of
from bottleneck.planning.tuning import Tuning
from bottleneck.recipes import RecipeSpec
from bottleneck.representations import Place, RepresentationSpec
from bottleneck.training.run import Lesson, Run


class Recipes:
    """Asks for the runs of a study's recipes, each under the recipe's name; later ones may build on earlier ones."""

    def __init__(self, planner: Planner):
        self.planner, self.study = planner, planner.study
        self.tuning = Tuning(planner)
        self.seeds = planner.study.block(0)

    def add(self) -> tuple[Discovery, ...]:
        """The diagnoses of all chains of discovery."""
        found = []
        for name, spec in self.study.recipes.items():
            try:
                found += filter(None, [self.of(name, spec)])
            except UserError as error:
                raise error.under(f"recipes.{name}") from None
        return tuple(found)

    def of(self, name: str, spec: RecipeSpec) -> Discovery | None:
        if spec.teachers:
            for seed, teachers in self.teachers(name, spec):
                self.ask(self.run(name, spec, "mixture", seed), seed, spec, teachers, spec.synthesis)
        elif spec.rounds:
            return self.discover(name, spec)
        elif spec.like == "direct":
            for seed in self.seeds:
                for target in self.planner.episodes.targets:
                    self.ask(self.run(f"{name}-{target}", spec, f"direct-{target}", seed), seed, spec)
        else:
            for seed in self.seeds:
                self.ask(self.run(name, spec, "mixture", seed), seed, spec)
        return None

    def teachers(self, name: str, spec: RecipeSpec) -> list[tuple[int, tuple[Kept, ...]]]:
        """(first seed, teachers) of the disjoint sets; the untrained ones of a set are its last."""
        source, _ = spec.teacher
        plain = [r for r, other in self.study.recipes.items() if other.like == "mixture" and not other.teaches]
        known = ["mixture", *(r for r in plain if r != name)]
        made = {train.episode.name for train in self.planner.trains.values()}
        if source not in known or source not in made:
            raise UserError(
                "teachers", spec.teachers, f"the mixture or an earlier recipe of one head: {', '.join(known)}"
            )
        pattern = RepresentationSpec(f"{spec.teachers}:{LOGITS}", n=spec.n)
        sets = representations.sets(pattern, seeds_of(self.planner), steps_of(self.planner), "teachers")
        trained = spec.n - spec.untrained
        return [
            (places[0].seed, tuple(self.teacher(place, i < trained) for i, place in enumerate(places)))
            for places in sets
        ]

    def teacher(self, place: Place, trained: bool) -> Kept:
        if not trained:
            return self.planner.untrained(place.source, place.seed).source
        return self.planner.member(place.source, place.seed, place.step).source

    def discover(self, name: str, spec: RecipeSpec) -> Discovery:
        """The rounds of every seed, and the students of all of a seed's rounds."""
        chains = []
        for seed in self.seeds:
            rounds: list[Kept] = []
            for index in range(spec.rounds):
                run = self.run(f"{name}-round{index}", spec, "mixture", seed, spec.early if index == 0 else 1.0)
                run = self.ask(run, seed, spec, tuple(rounds), spec.discovery if index else None)
                rounds.append(self.planner.kept(run, run.steps, f"{run.name}/{seed}", LOGITS).source)
            self.ask(self.run(name, spec, "mixture", seed), seed, spec, tuple(rounds), spec.synthesis)
            chains.append(tuple(rounds))
        return self.planner.add(Discovery(name, tuple(chains), tuple(self.planner.episodes.components.values())))

    def run(self, name: str, spec: RecipeSpec, like: str, seed: int, length: float = 1.0) -> Run:
        """The arm's run of this seed, with what the recipe changes."""
        base = self.planner.plain_run(like, seed)
        model = models.widen(self.model(spec), spec.width) if spec.width != 1 else self.model(spec)
        if base.pretrained and model != base.model:
            key, value = ("width", spec.width) if spec.width != 1 else ("model", spec.model)
            raise UserError(key, value, "the study's own model, of which the weights are that runs start from (init)")
        factor = spec.steps * length
        steps = max(1, round(base.steps * factor))
        schedule = tuple((round(start * factor), weights) for start, weights in base.schedule)
        return dataclasses.replace(
            base,
            name=name,
            schedule=tuple((start, w) for start, w in schedule if start < steps),
            model=model,
            optimizer=changed(base.optimizer, spec.optimizer, "optimizer"),
            objective=changed(base.objective, spec.objective, "objective"),
            train=dataclasses.replace(base.train, steps=steps),
            keep=(),
        )

    def model(self, spec: RecipeSpec):
        """The study's model with some keys changed; another model where the recipe names one."""
        if not spec.model:
            return self.planner.episodes.model
        held = dict(typed.to_dict(self.study.model))
        same = spec.model.get("name", held.get("name")) == held.get("name")
        return models.resolved(models.spec({**(held if same else {}), **spec.model}), self.planner.episodes.shape)

    def ask(self, run: Run, seed: int, spec: RecipeSpec, teachers=(), lesson: Lesson | None = None) -> Run:
        """Asks for a run, under its name, and for what it learns from."""
        planner, chooser, grid = self.planner, "", ()
        if len(self.tuning.grid) > 1 and not {"lr", "weight_decay"} & set(spec.optimizer):
            arm, _, target = run.name.partition("-")
            choice, grid = self.tuning.choose("mixture" if spec.like == "mixture" else f"direct-{target}", ())
            run, chooser = dataclasses.replace(run, tuned=choice.key), choice.output
        if teachers:
            parents = tuple(f"{teacher.run.key}@{teacher.step}" for teacher in teachers)
            run = dataclasses.replace(run, parents=parents, lesson=lesson)
        planner.call(run.name, seed, run, stood_on(teachers, [(each, each.steps) for each in grid]))
        planner.lessons[run.key] = passed(teachers, sum(run.sizes))
        planner.train(run, chooser=chooser, teachers=teachers)
        for teacher in teachers:
            for component in planner.pool_of(run):
                planner.read(teacher, LOGITS, component, (), ("train",))
        return run


def stood_on(teachers: tuple[Kept, ...], others: list[tuple[Run, int]]) -> tuple[tuple[Run, int], ...]:
    """The runs that a student stands on, with the largest step used of each."""
    longest: dict[Run, int] = {}
    for run, step in [*others, *(pair for teacher in teachers for pair in teacher.ancestry.items())]:
        longest[run] = max(longest.get(run, 0), step)
    return tuple(longest.items())


def passed(teachers: tuple[Kept, ...], items: int) -> tuple[tuple[Run, int, int], ...]:
    """(run, step, images): what passed through networks so that a student could learn, and its teachers before it."""
    own = ((teacher.run, teacher.step, items) for teacher in teachers)
    return tuple(dict.fromkeys((*own, *(earlier for teacher in teachers for earlier in teacher.lessons))))


def changed(spec: Any, keys: dict[str, Any], path: str) -> Any:
    """A spec with some of its keys changed. Raises UserError under `path`."""
    if not keys:
        return spec
    held = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    return typed.build(type(spec), {**held, **keys}, path)
