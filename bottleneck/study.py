"""A study: everything a config may say, as typed data.

The arms are the reasons runs exist: `mixture` is the object of study, `direct` its reference, the others are
interventions that would undo one cause each (matched: dilution, longer: unfinished training, heads: label conflict,
randomised: competition, wider: capacity).
"""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from bottleneck import config as configs
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.representations.members import RepresentationSpec
from bottleneck.training.augment import AugmentSpec
from bottleneck.training.objectives import ObjectiveSpec
from bottleneck.training.optimizers import OptimizerSpec
from bottleneck.training.run import TrainSpec

ARMS = ("mixture", "direct", "matched", "longer", "heads", "randomised", "wider")
PROTOCOLS = ("head", "linear_probe", "linear_probe_bn", "k_shot", "finetune", "probe_finetune")
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
class FinetuneSpec:
    """Fine-tuning on a target's own train split, whole network. `shots` adds runs on so many examples per class;
    `halvings` keeps the steps T/2 ... T/2^halvings too."""

    steps: int | str = 200
    lr: float = 0.01
    shots: tuple[int, ...] = ()
    halvings: int = 0

    def __post_init__(self):
        if not 0 <= self.lr < float("inf"):
            raise UserError("lr", self.lr, "a number of at least 0")
        if min(self.shots, default=1) < 1 or len(set(self.shots)) < len(self.shots):
            raise UserError("shots", self.shots, "numbers of at least 1, each once")
        if not 0 <= self.halvings <= 30:
            raise UserError("halvings", self.halvings, "0 to 30")


@dataclasses.dataclass(frozen=True)
class ProbeSpec:
    """How representations meet targets. Protocols other than the head and the linear probe are for `arms` ("random": an
    untrained network). `shots`: examples per class of the k-shot probes, `draws` subsets each."""

    protocols: tuple[str, ...] = ("head", "linear_probe")
    arms: tuple[str, ...] = ("mixture", "direct")
    layer: str = "features"
    scalings: tuple[Literal["raw", "standardised", "whitened"], ...] = ("raw", "standardised", "whitened")
    shots: tuple[int, ...] = (1, 4, 16)
    draws: int = 5
    finetune: FinetuneSpec = FinetuneSpec()

    def __post_init__(self):
        for protocol in self.protocols:
            if protocol not in PROTOCOLS:
                raise UserError("protocols", protocol, f"protocols among {', '.join(PROTOCOLS)}")
        for arm in self.arms:
            if arm not in (*ARMS, "random"):
                raise UserError("arms", arm, f"arms among {', '.join((*ARMS, 'random'))}")
        if "linear_probe" not in self.protocols:
            raise UserError("protocols", self.protocols, "'linear_probe' among them: verdicts are about it")
        for field in ("protocols", "scalings", "shots"):
            if len(set(getattr(self, field))) < len(getattr(self, field)):
                raise UserError(field, getattr(self, field), "each once")
        if not self.scalings:
            raise UserError("scalings", self.scalings, "at least one of 'raw', 'standardised', 'whitened'")
        for field, least in (("draws", self.draws), ("shots", min(self.shots, default=1))):
            if least < 1:
                raise UserError(field, getattr(self, field), "at least 1")


@dataclasses.dataclass(frozen=True)
class AnalysisSpec:
    """What is asked of the kept steps beyond gaps and causes.

    `kinds`: how deep a feature lies (ladder), when it was learned (steps), in which seeds, how alike representations are
    (cka), what direct runs read of other targets (relatedness), what fine-tuning saves (recovery). `layers`: taps to look
    at, with a spatial mode after a dot if wanted; none means all, average-pooled. `halvings`: the mixture's steps T,
    T/2, ... T/2^halvings and 0 are looked at. `comparisons` by CKA, over minibatches of `batch` items.
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
class StudySpec:
    """Everything a config may say. `seeds` runs per arm; `seed_offset` shifts every run, split and generation seed.

    `arms` other than mixture and direct are interventions. `targets` lie outside the mixture. `keep` lists further
    steps to keep (numbers or fractions such as "1/4"). `representations` beyond the arms' own single networks.
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
    seeds: int = 5
    seed_offset: int = 0
    arms: tuple[str, ...] = ("mixture", "direct", "matched", "longer", "heads")
    targets: dict[str, ComponentSpec] = dataclasses.field(default_factory=dict)
    probe: ProbeSpec = ProbeSpec()
    analysis: AnalysisSpec = AnalysisSpec()
    keep: tuple[int | str, ...] = ()
    representations: dict[str, RepresentationSpec] = dataclasses.field(default_factory=dict)
    margin: float = 0.9

    def __post_init__(self):
        if not re.fullmatch(r"[\w-][\w.-]*", self.name):
            raise UserError("name", self.name, "letters, digits, '_', '-', and '.' after the first")
        if not self.components:
            raise UserError("components", {}, "at least one component")
        if self.seeds < 1 or self.seed_offset < 0:
            raise UserError(
                "seeds" if self.seeds < 1 else "seed_offset",
                min(self.seeds, self.seed_offset),
                "at least 1 seed, offset at least 0",
            )
        if self.seed_offset + self.seeds > 2**31:
            raise UserError("seed_offset", self.seed_offset, "run seeds below 2**31")
        for name in self.representations:
            if name in (*ARMS, *REFERENCES) or not re.fullmatch(r"[\w-]+", name):
                raise UserError(
                    "representations",
                    name,
                    f"names of letters, digits, '_' and '-', other than {', '.join((*ARMS, *REFERENCES))}",
                )
        for arm in self.arms:
            if arm not in ARMS:
                raise UserError("arms", arm, f"arms among {', '.join(ARMS)}")
        for arm in ("mixture", "direct"):
            if arm not in self.arms:
                raise UserError("arms", self.arms, f"{arm!r} among them: it is one side of the gap")
        for name in self.mixture.weights:
            if name not in self.components:
                raise UserError(
                    f"mixture.weights.{name}", self.mixture.weights[name], f"a component: {', '.join(self.components)}"
                )
        for name in self.components:
            if name not in self.mixture.weights:
                raise UserError("mixture.weights", self.mixture.weights, f"a weight for component {name!r}")
        for name in (*self.components, *self.targets):
            if not re.fullmatch(r"[\w-]+", name):
                raise UserError("components", name, "names of letters, digits, '_' and '-'")
        both = set(self.components) & set(self.targets)
        if both:
            raise UserError("targets", sorted(both)[0], "a name no component has")
        if ("randomised" in self.arms) != (self.mixture.competitor is not None):
            raise UserError(
                "mixture.competitor",
                self.mixture.competitor,
                "a factor if and only if the arm 'randomised' is asked for",
            )
        tuned = "finetune" in self.probe.protocols and {"mixture", "random"} <= set(self.probe.arms)
        if "recovery" in self.analysis.kinds and not tuned:
            raise UserError(
                "analysis.kinds",
                "recovery",
                "'finetune' among probe.protocols, with 'mixture' and 'random' among probe.arms",
            )
        if not 0 < self.margin <= 1:
            raise UserError("margin", self.margin, "a fraction in (0, 1]")

    @property
    def run_seeds(self) -> tuple[int, ...]:
        return tuple(self.seed_offset + s for s in range(self.seeds))


def spec(config) -> StudySpec:
    """The typed study of a config. Raises UserError."""
    return configs.build(StudySpec, config)
