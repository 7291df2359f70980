"""A study: everything a config may say, as typed data. What the arms mean stands in `arms`."""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import Any, Literal

from bottleneck import identity, models, typed
from bottleneck.arms import ARMS
from bottleneck.claims import ClaimSpec
from bottleneck.data import source as sources
from bottleneck.data import transforms
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.protocols import ProbeSpec
from bottleneck.recipes import RecipeSpec
from bottleneck.representations import RepresentationSpec, source_of
from bottleneck.training.augment import AugmentSpec
from bottleneck.training.objectives import ObjectiveSpec
from bottleneck.training.optimizers import OptimizerSpec
from bottleneck.training.run import TrainSpec

REFERENCES = ("random", "pixels", "majority", "bayes")  # what the rows of arms are shown beside


@dataclasses.dataclass(frozen=True)
class Phase:
    """Mixture weights from a step, a fraction of the run ("1/2") or a duration ("2 epochs") on."""

    start: int | str
    weights: dict[str, float]


@dataclasses.dataclass(frozen=True)
class MixtureSpec:
    """`weights` by component; `schedule` of later phases, by any names, makes training order part of the mixture.
    `competitor` names the factor which the `randomised` arm makes independent of the label."""

    weights: dict[str, float]
    label_space: Literal["shared", "disjoint", "per_component"] = "shared"
    schedule: dict[str, Phase] = dataclasses.field(default_factory=dict)
    competitor: str | None = None


@dataclasses.dataclass(frozen=True)
class AnalysisSpec:
    """What is asked of the kept steps beyond gaps and causes.

    `kinds`: how deep a feature lies (ladder), when it was learned (steps), in which seeds, how alike representations
    are (cka), what direct runs read of other targets (relatedness), what fine-tuning saves (recovery). `layers`: taps
    to look at, with a spatial mode after a dot if wanted; none means all, average-pooled. `halvings`: the mixture's
    steps T, T/2, ... T/2^halvings and 0 are looked at. `comparisons` by CKA, over minibatches of `batch` items.
    """

    kinds: tuple[Literal["ladder", "steps", "seeds", "cka", "relatedness", "recovery"], ...] = ()
    layers: tuple[str, ...] = ()
    halvings: int = 7
    comparisons: tuple[Literal["layers", "steps", "seeds", "direct"], ...] = ("layers", "steps", "seeds", "direct")
    batch: int = 64

    def __post_init__(self):
        if not 0 <= self.halvings <= 30:
            raise UserError("halvings", self.halvings, "0 to 30")
        if self.batch < 4:
            raise UserError("batch", self.batch, "at least 4, which debiased CKA needs")
        for field in ("kinds", "layers", "comparisons"):
            if len(set(getattr(self, field))) < len(getattr(self, field)):
                raise UserError(field, getattr(self, field), "each once")


@dataclasses.dataclass(frozen=True)
class GridSpec:
    """Learning rates and weight decays to choose from, for every arm that is tuned by itself: `direct` of each
    component by its own validation log-loss, arms that train the mixture by the weighted mean of all. The first seed
    chooses for all."""

    lr: tuple[float, ...] = ()
    weight_decay: tuple[float, ...] = ()

    def pairs(self, lr: float, weight_decay: float) -> tuple[tuple[float, float], ...]:
        """Every pair; what is not listed stays as the optimiser has it. One pair is no grid."""
        return tuple((a, b) for a in self.lr or (lr,) for b in self.weight_decay or (weight_decay,))


@dataclasses.dataclass(frozen=True)
class LongerSpec:
    """How many times as long the arms `longer` and `longest` train; the second only where training is still rising."""

    factors: tuple[int, int] = (2, 8)

    def __post_init__(self):
        if not 1 < self.factors[0] < self.factors[1]:
            raise UserError("factors", self.factors, "two numbers above 1, the smaller first")


@dataclasses.dataclass(frozen=True)
class SourceSpec:
    """Features that another tool left on disk: a directory for each seed (see features.foreign). Probed, judged against
    `reference` (the study's own `direct` runs, or another source) and analysed like a network of ours."""

    arrays: str | tuple[str, ...] = dataclasses.field(metadata={"identity": False})
    reference: str = "direct"

    @property
    def directories(self) -> tuple[str, ...]:
        return (self.arrays,) if isinstance(self.arrays, str) else self.arrays


@dataclasses.dataclass(frozen=True)
class SweepSpec:
    """The study at several points, each the study with some keys changed.

    `axes` mirrors the config, with the values of a key where the config has one:
    `dict(mixture=dict(weights=dict(rare=(0.005, 0.01, 0.05))))`. The points are the product of the axes. `points` lists
    them instead, each a dictionary that mirrors the config, all with the same keys; or any keys beside `point`, which
    then says where it lies, by a name or by axes of its own: `dict(point="wide", model=dict(width=512))`,
    `dict(point=dict(size=512), ...)`. `by`: further axes that are computed of each point (`parameters` of the mixture's
    network). `log`: axes ("mixture.weights.rare", "parameters") whose slopes are `per` doubling or decade. `held_out`
    mirrors the config, too, with values of axes of mixture weights: a data-mixture law is fitted to the other points,
    and tested on those that have these values.
    """

    axes: dict[str, Any] = dataclasses.field(default_factory=dict)
    points: tuple[dict[str, Any], ...] = ()
    by: tuple[Literal["parameters"], ...] = ()
    log: tuple[str, ...] = ()
    per: Literal["doubling", "decade"] = "doubling"
    held_out: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.axes and self.points:
            raise UserError("points", self.points, "axes or points, not both")
        for field in ("log", "by", "held_out"):
            if getattr(self, field) and not (self.axes or self.points):
                raise UserError(field, getattr(self, field), "no key where nothing is swept")
        for field in ("log", "by"):
            if len(set(getattr(self, field))) < len(getattr(self, field)):
                raise UserError(field, getattr(self, field), "each once")


@dataclasses.dataclass(frozen=True)
class StudySpec:
    """Everything a config may say. `seeds` runs per arm, or a plan of looks such as (5, 10): decided targets are not
    asked again. `seed_offset` shifts every run, split and generation seed.

    `arms` other than mixture and direct are interventions, trained for the targets that are `arms_for`: "lost", "all",
    or names; without `direct` nothing is trained on a target, and no gap is asked about. `targets` lie outside the
    mixture. `sources` are foreign features. `keep` lists further steps to keep (numbers or fractions such as "1/4").
    `recipes` are further runs; `representations` beyond the arms' own single networks and each recipe's. `vary`: what
    differs between seeds, the initial parameters, the order of batches, augmentation and dropout, or both. `margin`:
    the share of direct training's information that decides between lost and retained. `retain_features`: whether
    features stay on disk once all that reads them is done. `claims`: published results that its rows are held against.
    `init`: a directory of converted weights (python -m bottleneck.convert) that the runs of all arms start from, with a
    fresh classifier; what is called untrained, or random, still never saw any data.
    With a `sweep`, all this at several points.
    """

    name: str
    components: dict[str, ComponentSpec]
    mixture: MixtureSpec
    model: dict
    data: DataSpec = DataSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    objective: ObjectiveSpec = ObjectiveSpec()
    augment: AugmentSpec = AugmentSpec()
    train: TrainSpec = TrainSpec()
    grid: GridSpec = GridSpec()
    seeds: int | tuple[int, ...] = 5
    seed_offset: int = 0
    arms: tuple[str, ...] = (
        "mixture",
        "direct",
        "alone",
        "balanced",
        "scarce",
        "longer",
        "longest",
        "direct_half",
        "heads",
    )
    arms_for: Literal["lost", "all"] | tuple[str, ...] = "lost"
    longer: LongerSpec = LongerSpec()
    targets: dict[str, ComponentSpec] = dataclasses.field(default_factory=dict)
    sources: dict[str, SourceSpec] = dataclasses.field(default_factory=dict)
    probe: ProbeSpec = ProbeSpec()
    analysis: AnalysisSpec = AnalysisSpec()
    keep: tuple[int | str, ...] = ()
    recipes: dict[str, RecipeSpec] = dataclasses.field(default_factory=dict)
    representations: dict[str, RepresentationSpec] = dataclasses.field(default_factory=dict)
    vary: Literal["both", "init", "order"] = "both"
    margin: float = 0.9
    retain_features: bool = identity.field(default=True)
    init: str = identity.field(default="")  # runs say by digest what it holds
    claims: dict[str, ClaimSpec] = dataclasses.field(default_factory=dict)
    sweep: SweepSpec = SweepSpec()

    def __post_init__(self):
        if not re.fullmatch(r"[\w-][\w.-]*", self.name):
            raise UserError("name", self.name, "letters, digits, '_', '-', and '.' after the first")
        if not 0 < self.margin <= 1:
            raise UserError("margin", self.margin, "a fraction in (0, 1]")
        self._check_seeds()
        self._check_names()
        self._check_arms()
        tuned = "finetune" in self.probe.protocols and {"mixture", "random"} <= set(self.probe.arms)
        if "recovery" in self.analysis.kinds and not tuned:
            expected = "'finetune' among probe.protocols, with 'mixture' and 'random' among probe.arms"
            raise UserError("analysis.kinds", "recovery", expected)

    def _check_seeds(self):
        looks = self.looks
        if not looks or looks[0] < 1 or any(a >= b for a, b in zip(looks, looks[1:])):
            raise UserError("seeds", self.seeds, "at least 1, or numbers of seeds that grow, such as (5, 10)")
        if self.seed_offset < 0 or self.seed_offset + looks[-1] > 2**31:
            raise UserError("seed_offset", self.seed_offset, "at least 0, and run seeds below 2**31")

    def _check_names(self):
        if not self.components:
            raise UserError("components", {}, "at least one component")
        for key, names in (("components", self.components), ("targets", self.targets)):
            for name in names:
                if not re.fullmatch(r"[\w-]+", name):
                    raise UserError(key, name, "names of letters, digits, '_' and '-'")
        for name in self.recipes:
            if name in (*ARMS, *REFERENCES, *self.sources) or not re.fullmatch(r"\w+", name):
                raise UserError("recipes", name, "names of letters, digits and '_', other than arms and sources have")
        for key in ("representations", "sources"):
            for name in getattr(self, key):
                if name in (*ARMS, *REFERENCES) or not re.fullmatch(r"[\w-]+", name):
                    taken = ", ".join((*ARMS, *REFERENCES))
                    raise UserError(key, name, f"names of letters, digits, '_' and '-', other than {taken}")
        for name, source in self.sources.items():
            if source.reference != "direct" and source.reference not in self.sources:
                known = ", ".join(("direct", *self.sources))
                raise UserError(f"sources.{name}.reference", source.reference, f"one of {known}")
        if shared := set(self.components) & set(self.targets):
            raise UserError("targets", sorted(shared)[0], "a name no component has")
        for name in self.mixture.weights:
            if name not in self.components:
                known = ", ".join(self.components)
                raise UserError(f"mixture.weights.{name}", self.mixture.weights[name], f"a component: {known}")
        for name in self.components:
            if name not in self.mixture.weights:
                raise UserError("mixture.weights", self.mixture.weights, f"a weight for component {name!r}")

    def _check_arms(self):
        for arm in self.arms:
            if arm not in ARMS:
                raise UserError("arms", arm, f"arms among {', '.join(ARMS)}")
        if "mixture" not in self.arms:
            raise UserError("arms", self.arms, "'mixture' among them: it is one side of the gap")
        if "direct" not in self.arms and (judged := self._judged()):
            raise UserError("arms", self.arms, f"'direct' among them: {judged} are judged against it")
        if "direct" in self.arms and "linear_probe" not in self.probe.protocols:
            raise UserError("probe.protocols", self.probe.protocols, "'linear_probe' among them: verdicts are about it")
        if "randomised" in self.arms and self.mixture.competitor is None:
            raise UserError("mixture.competitor", None, "the factor that the arm 'randomised' makes independent")
        if "randomised" not in self.arms and self.mixture.competitor is not None:
            expected = "None (--config.mixture.competitor=None) where the arm 'randomised' is not asked for"
            raise UserError("mixture.competitor", self.mixture.competitor, expected)
        if "longest" in self.arms and not {"longer", "direct_half"} <= set(self.arms):
            raise UserError(
                "arms", "longest", "'longer' and 'direct_half' beside it: they say whether training is rising"
            )
        if "scarce" in self.arms and self.train.stops:
            raise UserError(
                "arms", self.arms, "no 'scarce' where runs may stop early: it sees what the whole run draws"
            )
        if "scarce" in self.arms and "alone" not in self.arms:
            raise UserError("arms", "scarce", "'alone' beside it: scarcity is a part of exposure")
        for name in self.arms_for if isinstance(self.arms_for, tuple) else ():
            if name not in (*self.components, *self.targets):
                known = ", ".join((*self.components, *self.targets))
                raise UserError("arms_for", name, f"'lost', 'all', or names among {known}")

    def _judged(self) -> str:
        """What the study asks for that needs direct training, in words; "" where nothing does."""
        asked = {
            "interventions": set(self.arms) - {"mixture"},
            "analyses": self.analysis.kinds,
            "sources": self.sources,
            "looks": self.looks[1:],
        }
        return " and ".join(name for name, given in asked.items() if given)

    @property
    def looks(self) -> tuple[int, ...]:
        """The number of seeds at each look."""
        return (self.seeds,) if isinstance(self.seeds, int) else self.seeds

    @property
    def run_seeds(self) -> tuple[int, ...]:
        return tuple(self.seed_offset + s for s in range(self.looks[-1]))

    @property
    def represented(self) -> dict[str, RepresentationSpec]:
        """The representations; a recipe that none of them reads is one by itself."""
        read = {source_of(pattern) for spec in self.representations.values() for pattern in spec.patterns}
        alone = [name for name in self.recipes if name not in {*read, *self.representations}]
        return {
            **self.representations,
            **{name: RepresentationSpec(f"{name}/*@last:{self.probe.layer}") for name in alone},
        }

    def block(self, look: int) -> tuple[int, ...]:
        """The run seeds that look `look` (from 0) adds."""
        return self.run_seeds[self.looks[look - 1] if look else 0 : self.looks[look]]

    def asked_for(self, target: str) -> bool:
        """Whether interventions may be trained for a target."""
        return isinstance(self.arms_for, str) or target in self.arms_for


def spec(config) -> StudySpec:
    """The typed study of a config. Raises UserError."""
    return typed.build(StudySpec, config)


def spec_of(path: tuple[str, ...], node) -> type | None:
    """The dataclass of the dictionary `node` at `path` of a config, a model, source or transform; None if unknown.

    Its `name` says which; a transform may go by its key.
    """
    name = node.get("name")
    if path[:1] == ("sweep",):  # it mirrors the config, with several values where that has one
        return None
    if path == ("model",):
        return models.MODULES[name][0] if name in models.MODULES else None
    if path[-1:] == ("source",) and name in sources._SOURCES:
        module, cls = sources._SOURCES[name]
        return getattr(importlib.import_module(module), cls)
    return transforms.TRANSFORMS.get(name or path[-1]) if path[-2:-1] == ("transforms",) else None
