"""How representations meet targets: the protocols, as a config asks for them."""

from __future__ import annotations

import dataclasses
from typing import Literal

from bottleneck.analysis.released import ReleasedSpec
from bottleneck.errors import UserError

PROTOCOLS = (
    "head",
    "linear_probe",
    "linear_probe_bn",
    "nonlinear_probe",
    "k_shot",
    "released_probe",
    "finetune",
    "probe_finetune",
    "dropout_finetune",
    "two_stage",
    "warm_start",
)


@dataclasses.dataclass(frozen=True)
class FinetuneSpec:
    """Fine-tuning on a target's own train split, whole network. `shots` adds runs on so many examples per class;
    `halvings` keeps the steps T/2 ... T/2^halvings too. `dropout`: the rate of `dropout_finetune` on the features.
    `head_steps` at `head_lr`: the second stage of `two_stage`, of the head alone (Zhang & Bottou 2023: a tenth of the
    rate, 2 epochs)."""

    steps: int | str = 200
    lr: float = 0.01
    shots: tuple[int, ...] = ()
    halvings: int = 0
    dropout: float = 0.9
    head_steps: int | str = "2 epochs"
    head_lr: float = 0.001

    def __post_init__(self):
        for field in ("lr", "head_lr"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise UserError(field, getattr(self, field), "a number of at least 0")
        if not 0 <= self.dropout < 1:
            raise UserError("dropout", self.dropout, "a number in [0, 1)")
        if min(self.shots, default=1) < 1 or len(set(self.shots)) < len(self.shots):
            raise UserError("shots", self.shots, "numbers of at least 1, each once")
        if not 0 <= self.halvings <= 30:
            raise UserError("halvings", self.halvings, "0 to 30")


@dataclasses.dataclass(frozen=True)
class ProbeSpec:
    """How representations meet targets. Protocols other than the head and the linear probe are for `arms`, among them
    representations of the study ("random": an untrained network). `shots`: examples per class of the k-shot probes,
    `draws` subsets each."""

    protocols: tuple[str, ...] = ("head", "linear_probe")
    arms: tuple[str, ...] = ("mixture", "direct")
    layer: str = "features"
    scalings: tuple[Literal["raw", "standardised", "whitened"], ...] = ("raw", "standardised", "whitened")
    shots: tuple[int, ...] = (1, 4, 16)
    draws: int = 5
    finetune: FinetuneSpec = FinetuneSpec()
    released: ReleasedSpec = ReleasedSpec()

    def __post_init__(self):
        for protocol in self.protocols:
            if protocol not in PROTOCOLS:
                raise UserError("protocols", protocol, f"protocols among {', '.join(PROTOCOLS)}")
        if not self.protocols:
            raise UserError("protocols", self.protocols, "at least one")
        for field in ("protocols", "scalings", "shots"):
            if len(set(getattr(self, field))) < len(getattr(self, field)):
                raise UserError(field, getattr(self, field), "each once")
        if not self.scalings:
            raise UserError("scalings", self.scalings, "at least one of 'raw', 'standardised', 'whitened'")
        for field, least in (("draws", self.draws), ("shots", min(self.shots, default=1))):
            if least < 1:
                raise UserError(field, getattr(self, field), "at least 1")
