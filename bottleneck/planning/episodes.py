"""The runs of a study's arms: from the table of arms to training episodes as plain data."""

from __future__ import annotations

import dataclasses
import functools
from fractions import Fraction
from functools import cached_property

from bottleneck import converted, identity, models
from bottleneck.analysis import trajectory
from bottleneck.analysis.causes import NEARLY_ALL
from bottleneck.arms import ARMS, Arm
from bottleneck.converted import Converted
from bottleneck.data import mixture
from bottleneck.data.component import Component
from bottleneck.errors import UserError
from bottleneck.study import StudySpec
from bottleneck.training.run import Draws, Run, duration

UNTRAINED = "random"  # the runs of networks that have seen no data, where step 0 of an arm's has
DOUBLED = 2.0  # equal weights must at least double a component's weight for dilution to be asked about


@dataclasses.dataclass(frozen=True, eq=False)
class Episodes:
    """Runs by arm, target and seed. `variants`: components as the arm `randomised` sees them; `unopposed`: those of
    whose label the competing factor says nothing as they are."""

    study: StudySpec
    components: dict[str, Component]  # of the mixture
    outside: dict[str, Component]
    variants: dict[str, Component]
    unopposed: tuple[str, ...] = ()

    @property
    def targets(self) -> dict[str, Component]:
        return {**self.components, **self.outside}

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of one item."""
        return next(iter(self.components.values())).shape

    @cached_property
    def examples(self) -> int:
        """One epoch: the training items of all components that are drawn."""
        return sum(len(self.components[n].splits["train"]) for n, w in self.study.mixture.weights.items() if w > 0)

    @cached_property
    def batch(self) -> int:
        """Examples in a batch of the mixture's run."""
        return self.examples if self.study.train.sampling == "full" else self.study.train.batch

    def batch_of(self, among: dict[str, Component], schedule) -> int:
        """Examples in a batch of a run over the components `among`."""
        if self.study.train.sampling != "full":
            return self.study.train.batch
        positive = [any(weights) for weights in zip(*(weights for _, weights in schedule), strict=True)]
        return sum(len(c.splits["train"]) for c, drawn in zip(among.values(), positive, strict=True) if drawn)

    @cached_property
    def window(self) -> dict[str, int]:
        """`stop_window` in steps, where anything is to stop: an epoch is the mixture's, whatever the run."""
        window, key = self.study.train.stop_window, "train.stop_window"
        steps = duration(window, batch=self.batch, key=key, examples=self.examples)
        return {"stop_window": steps} if self.study.train.stops else {}

    @cached_property
    def steps(self) -> int:
        return duration(self.study.train.steps, batch=self.batch, key="train.steps", examples=self.examples)

    @cached_property
    def schedule(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """(from step, weights) of the mixture's run. Raises UserError."""
        study, names = self.study, tuple(self.components)
        phases = [(0, tuple(study.mixture.weights[n] for n in names))]
        for key, phase in study.mixture.schedule.items():
            where = f"mixture.schedule.{key}"
            if set(phase.weights) != set(names):
                raise UserError(f"{where}.weights", phase.weights, f"one weight for each of {', '.join(names)}")
            start = self.step(phase.start, f"{where}.start")
            if start >= self.steps:
                raise UserError(f"{where}.start", phase.start, f"a step below {self.steps}")
            phases.append((start, tuple(phase.weights[n] for n in names)))
        return tuple(sorted(phases, key=lambda phase: phase[0]))  # a config knows its phases by name, in no order

    def step(self, value: int | str, key: str = "keep") -> int:
        """A step of the mixture's run: a number, a fraction of the run ("1/4"), or a duration ("2 epochs")."""
        if isinstance(value, str) and "/" not in value:
            return duration(value, batch=self.batch, examples=self.examples, key=key)
        try:
            step = round(self.steps * Fraction(value)) if isinstance(value, str) else value
        except (ValueError, ZeroDivisionError):
            raise UserError(key, value, "a step, or a fraction of the run such as '1/4'") from None
        if not 0 <= step <= self.steps:
            raise UserError(key, value, f"a step of at most {self.steps}")
        return step

    @cached_property
    def tables(self) -> mixture.Tables:
        """The mixture's sampler. Raises UserError on weights, batch and schedule."""
        sizes = [len(c.splits["train"]) for c in self.components.values()]
        longest = round(self.steps * max(self.factor(ARMS[arm]) for arm in self.study.arms))
        try:
            sampling = self.study.train.sampling
            return mixture.tables(tuple(self.components), sizes, self.schedule, self.batch, longest, sampling)
        except UserError as error:
            raise error.under("train" if error.key in ("batch", "steps") else "mixture") from None

    def factor(self, arm: Arm) -> float:
        """Times as many steps as the mixture's run."""
        return dict(zip(("longer", "longest"), self.study.longer.factors)).get(arm.name, arm.steps)

    def share(self, name: str) -> float:
        """The share of the mixture's examples that a component has, over all phases."""
        return self.shares[name]

    @cached_property
    def shares(self) -> dict[str, float]:
        """Of every component."""
        tables, batch = self.tables, self.batch
        if self.study.train.sampling == "full":  # all are drawn: what counts is the weight, as of any other batch
            batch = self.study.train.batch
            tables = mixture.tables(tuple(self.components), tables.sizes, self.schedule, batch)
        drawn = mixture.drawn(tables, self.steps, batch)
        return dict(zip(self.components, (drawn / drawn.sum()).tolist(), strict=True))

    def unique_share(self, name: str) -> float:
        """The expected share of a component's training items that the mixture draws at least once."""
        size, index = len(self.components[name].splits["train"]), list(self.components).index(name)
        return mixture.expected_unique(self.tables, self.steps, self.batch, self.study.train.sampling, index) / size

    def unasked(self, arm: Arm, target: str) -> str:
        """Why an arm is not asked of a target whatever its verdict, in words; "" where it may be."""
        study, inside = self.study, target in self.components
        if arm.name not in study.arms:
            return "not among the study's arms"
        if not inside and not arm.outside:
            return "the target lies outside the mixture"
        if not study.asked_for(target) and arm.name not in ("mixture", "direct"):
            return "the study asks for other targets"
        if arm.width != 1 and study.init:
            return "the weights that runs start from (init) are of one width"
        if arm.heads and study.mixture.label_space == "per_component":
            return "the mixture has a head per component already"
        if arm.heads and study.objective.loss == "softplus":
            return "its one output serves all components"
        if arm.heads and study.objective.name == "regression":
            return "its labels are vectors, which have one space"
        if arm.randomised and (target not in self.variants or self.variants[target] is self.components.get(target)):
            return f"no factor {study.mixture.competitor!r} competes in it"
        if inside and (arm.masked or arm.unique or arm.equal_weights or arm.randomised):
            share = self.share(target)
            if not share:
                return "the mixture never draws it"
            if arm.equal_weights and share * DOUBLED > 1 / len(self.components):
                return "equal weights would not double its weight"
        return ""

    def never_scarce(self, target: str) -> bool:
        """Whether the mixture sees (nearly) all of a component's training items: no run is needed to rule it out."""
        return target in self.components and self.unique_share(target) >= NEARLY_ALL

    def run(self, arm: Arm, seed: int, target: str = "") -> Run:
        """The run of an arm; `target` for arms of one run a component."""
        among = self.randomised(target) if arm.randomised else self.components
        seed, init = self.seeds(seed)
        space, schedule, extra = self.study.mixture.label_space, self.schedule, {}
        steps = max(1, round(self.steps * self.factor(arm)))
        if arm.own_weight:
            # In a shared space all arms have one classifier and share an executable; else a component has its own.
            among = among if space == "shared" and target in among else {target: self.targets[target]}
            schedule, space = ((0, tuple(float(name == target) for name in among)),), "shared"
        elif arm.equal_weights:
            schedule = ((0, (1.0,) * len(among)),)
        else:
            schedule = tuple((round(start * self.factor(arm)), weights) for start, weights in schedule)
        if arm.heads or arm.masked and space == "disjoint":
            space = "per_component"  # `alone` learns its own block of a disjoint space
        if arm.masked:
            extra["only"] = target
        if arm.unique:
            extra["unique"] = self.draws(target)
        if init is not None:
            extra["init_seed"] = init
        if self.converted is not None:
            extra["init"] = self.converted.start
        model = models.widen(self.model, arm.width) if arm.width != 1 else self.model
        return self.episode(
            f"{arm.name}-{target}" if target else arm.name, seed, among, schedule, space, steps, model, **extra
        )

    def seeds(self, seed: int) -> tuple[int, int | None]:
        """Of a run: its own, and that of its initial parameters where it is another. What does not vary is the first
        seed's."""
        first = self.study.run_seeds[0]
        if self.study.vary == "both" or seed == first:
            return seed, None
        return (first, seed) if self.study.vary == "init" else (seed, first)

    def randomised(self, target: str) -> dict[str, Component]:
        """The mixture's components, with the competing factor independent of the label in one of them."""
        return {**self.components, target: self.variants[target]}

    @cached_property
    def model(self):
        """The model's spec, what it leaves open decided by the images."""
        return models.resolved(models.spec(self.study.model), self.shape)

    @cached_property
    def converted(self) -> Converted | None:
        """The weights that all arms' runs start from; None: random ones. Raises UserError."""
        return converted.read(self.study.init) if self.study.init else None

    def untrained(self, run: Run) -> Run:
        """A run whose step 0 is the network of `run` with random weights, of the same seed, where those of `run` have
        been trained elsewhere. Its one step is of no use."""
        train = dataclasses.replace(run.train, steps=1)
        return dataclasses.replace(
            run, name=UNTRAINED, init="", tuned="", schedule=run.schedule[:1], train=train, keep=()
        )

    def draws(self, target: str) -> Draws:
        """Which examples of a component the mixture's run draws, as the sampler that draws them."""
        mixed = self.run(ARMS["mixture"], 0)
        return mixed.draws(mixed.sizes, target)

    def episode(self, name, seed, among: dict, schedule, space: str, steps: int, model, **extra) -> Run:
        study = self.study
        study.augment.check_stored(among.values(), study.train.feed)
        regression = study.objective.name == "regression"
        layout = mixture.label_space(space, [c.output_dim for c in among.values()], regression)
        return Run(
            name=name,
            seed=seed,
            components=tuple(among),
            data=tuple(seen(component, study) for component in among.values()),
            sizes=tuple(len(component.splits["train"]) for component in among.values()),
            schedule=schedule,
            label_space=space,
            offset=tuple(int(o) for o in layout.offset),
            blocks=tuple(stop - start for start, stop in layout.blocks),
            outputs=layout.outputs,
            model=model,
            optimizer=extra.pop("optimizer", study.optimizer),
            objective=extra.pop("objective", study.objective),
            augment=study.augment,
            train=dataclasses.replace(study.train, steps=steps, batch=self.batch_of(among, schedule), **self.window),
            **extra,
        )

    def finetuned(
        self,
        name: str,
        parents: tuple[tuple[Run, int], ...],
        target: str,
        component: Component,
        protocol: str,
        seed: int,
        shots: int | None,
    ) -> Run:
        """Fine-tuning: direct training on a target with `init`. The kept steps are T/2^k, or the last alone where it is
        of few shots or of the head alone."""
        study, spec, head_alone = self.study, self.study.probe.finetune, protocol == "two_stage"
        key = "head_steps" if head_alone else "steps"
        batch, examples = self.batch_of({target: component}, ((0, (1.0,)),)), len(self.targets[target].splits["train"])
        steps = duration(getattr(spec, key), batch=batch, key=f"probe.finetune.{key}", examples=examples)
        dropout = {"dropout_finetune": spec.dropout, "two_stage": 0.0}.get(protocol, study.objective.dropout)
        heads = {"probe_finetune": self.solved(target), "two_stage": "mean", "warm_start": "mean"}
        seed, init_seed = self.seeds(seed)
        run = self.episode(
            f"{protocol}-{name}-{target}",
            seed,
            {target: component},
            ((0, (1.0,)),),
            "shared",
            steps,
            models.side_by_side([parent.model for parent, _ in parents]),
            optimizer=dataclasses.replace(study.optimizer, lr=spec.head_lr if head_alone else spec.lr),
            objective=dataclasses.replace(study.objective, dropout=dropout),
            init=",".join(f"{parent.key}@{step}" for parent, step in parents),
            head=heads.get(protocol, "fresh"),
            trained="head" if head_alone else "all",
            init_seed=init_seed,
        )
        keep = (steps,) if shots or head_alone else trajectory.log_steps(steps, spec.halvings)[1:]
        return dataclasses.replace(run, keep=tuple(keep))

    def solved(self, target: str) -> str:
        """The identity of a target's solved probe: its menu, and the items that it is fitted and chosen on."""
        prints = self.targets[target].fingerprints
        items = identity.digest([prints["probe"], prints["val"]])
        return f"probe:{','.join(self.study.probe.scalings)} on {items}"


def seen(component: Component, study: StudySpec) -> str:
    """What training sees of a component: its training items, as they are normalised."""
    return _seen(component.fingerprints["train"], study.data.mean, study.data.std)


@functools.cache
def _seen(fingerprint: str, mean, std) -> str:
    return identity.digest([fingerprint, mean, std])
