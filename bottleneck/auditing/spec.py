"""An audit: everything a config of one may say, as typed data."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from bottleneck import identity, models
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.features.layers import POSITIONS, tap_and_mode
from bottleneck.features.networks import uses
from bottleneck.features.networks.preprocessing import InputSpec
from bottleneck.protocols import ProbeSpec
from bottleneck.study import MixtureSpec, StudySpec
from bottleneck.training.augment import AugmentSpec
from bottleneck.training.objectives import ObjectiveSpec
from bottleneck.training.optimizers import OptimizerSpec
from bottleneck.training.run import TrainSpec

BEST, DIRECT = "best", "direct"  # references that are no network of the audit
TAKEN = (BEST, DIRECT, "pixels", "random", "majority", "all")


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network as `uses` names it (features.networks.uses), or several texts: seeds of one recipe, whose intervals are
    then over seeds. `layers` that the ladder looks at, by the names of modules, besides the features; by default a few
    over the whole depth. `features`: the layer whose output the probes read; by default what goes into the classifier.
    `input`: what it is shown; by default timm's own configuration, or images as the study has them. `channels_last`:
    whether the maps of a PyTorch network have their channels last."""

    uses: str | tuple[str, ...]
    layers: tuple[str, ...] = ()
    features: str = ""
    input: InputSpec | None = None
    channels_last: bool = False

    def __post_init__(self):
        if not self.made_by:
            raise UserError("uses", self.uses, "at least one network")
        if len({each.kind for each in self.made_by}) > 1:
            raise UserError("uses", self.uses, "seeds of one recipe, all of one kind")
        if len(set(self.made_by)) < len(self.made_by):
            raise UserError("uses", self.uses, "another network for every seed")
        if self.is_arrays and (self.layers or self.features or self.input):
            raise UserError("uses", self.uses, "a network where layers, features or input are given: arrays have one")
        for layer in self.layers:
            if tap_and_mode(layer)[1] == POSITIONS:
                raise UserError("layers", layer, "one vector per image: pooled, or flattened")

    @property
    def made_by(self) -> tuple[uses.Uses, ...]:
        """One a seed."""
        texts = (self.uses,) if isinstance(self.uses, str) else self.uses
        return tuple(map(uses.parse, texts))

    @property
    def is_arrays(self) -> bool:
        return self.made_by[0].kind == "arrays"


@dataclasses.dataclass(frozen=True)
class AuditSpec:
    """Everything an audit may say.

    `reference`: what a network has to reach `margin` of on a component to serve it: "best", the best audited one there
    (chosen on validation); one of them by name; or "direct", networks of ours that are trained on the component's own
    train split (`model`, `optimizer`, `train`, `seeds` of them; with `init`, converted weights, fine-tuned copies).
    `scalings` of the probes; `shots`: examples a class of the few-shot curves, `draws` subsets each. `kinds`: what is
    asked beside the probes. `untrained`: whether the same architectures are read without training.
    """

    name: str
    components: dict[str, ComponentSpec]
    networks: dict[str, NetworkSpec]
    data: DataSpec = DataSpec()
    reference: str = BEST
    margin: float = 0.9
    scalings: tuple[Literal["raw", "standardised", "whitened"], ...] = ("raw", "standardised", "whitened")
    shots: tuple[int, ...] = (1, 4, 16)
    draws: int = 5
    kinds: tuple[Literal["ladder", "additions", "cka"], ...] = ("ladder", "additions", "cka")
    untrained: bool = True
    model: dict = dataclasses.field(default_factory=lambda: {"name": "mlp"})
    optimizer: OptimizerSpec = OptimizerSpec()
    objective: ObjectiveSpec = ObjectiveSpec()
    augment: AugmentSpec = AugmentSpec()
    train: TrainSpec = TrainSpec()
    seeds: int = 1
    init: str = identity.field(default="")
    retain_features: bool = identity.field(default=True)

    def __post_init__(self):
        if not self.components:
            raise UserError("components", {}, "at least one component")
        if not self.networks:
            raise UserError("networks", {}, "at least one network")
        for name in self.networks:
            if name in (*TAKEN, *self.components) or not re.fullmatch(r"\w+", name):
                expected = f"names of letters, digits and '_', other than {', '.join(TAKEN)} and the components have"
                raise UserError("networks", name, expected)
        if self.reference not in (BEST, DIRECT, *self.networks):
            raise UserError("reference", self.reference, f"one of {', '.join((BEST, DIRECT, *self.networks))}")
        if not 0 < self.margin <= 1:
            raise UserError("margin", self.margin, "a fraction in (0, 1]")
        if self.init and self.reference != DIRECT:
            raise UserError("init", self.init, f"reference={DIRECT!r}: networks that begin there are fine-tuned copies")
        if self.seeds < 1:
            raise UserError("seeds", self.seeds, "at least 1")
        self.probe  # noqa: B018  refuses scalings, shots and draws that cannot be

    @property
    def trained_here(self) -> str:
        """What the reference "direct" is, in words."""
        length = self.train.steps if isinstance(self.train.steps, str) else f"{self.train.steps} steps"
        made = f"{models.describe(models.spec(self.model))}, {length}"
        return f"a fine-tuned copy ({made})" if self.init else f"direct training ({made})"

    @property
    def probe(self) -> ProbeSpec:
        return ProbeSpec(("linear_probe",), scalings=self.scalings, shots=self.shots, draws=self.draws)

    @property
    def study(self) -> StudySpec:
        """The study whose components these are; of its runs only `direct` is ever trained."""
        return StudySpec(
            name=self.name,
            components=self.components,
            mixture=MixtureSpec(dict.fromkeys(self.components, 1.0), label_space="disjoint"),
            model=self.model,
            data=self.data,
            optimizer=self.optimizer,
            objective=self.objective,
            augment=self.augment,
            train=self.train,
            seeds=self.seeds,
            arms=("mixture", "direct"),
            probe=self.probe,
            margin=self.margin,
            init=self.init,
        )
