"""Representations: lists of members `run/seed@step:layer`, concatenated, optionally reduced.

One member is an ordinary network, n seeds are CAT_n (Zhang & Bottou 2023), n kept steps within the budget of one run
are Time-Cat (Yang, Zhang & Bottou 2025), n steps of one run are snapshots.
"""
from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from typing import Literal

import numpy as np

from bottleneck.errors import UserError

_MEMBER = re.compile(r"(?P<run>[\w.-]+)/(?P<seed>\*|\d+)@(?P<step>last|\d+/0*[1-9]\d*|\d+):(?P<layer>[\w.]+)")


@dataclasses.dataclass(frozen=True)
class RepresentationSpec:
    """Members `run/*@step:layer` (step: `last`, a number, or a fraction of the run such as `1/4`), taken `n` seeds at
    a time: each disjoint set of n seeds is one representation. `repeat` lists every member so many times over (a
    control: it can add nothing). `reduce` projects onto the principal components of the probe split, down to the
    dimension of one member. `combine="average"` averages the members' predictions instead of joining their features.
    """
    members: str
    n: int = 1
    repeat: int = 1
    reduce: bool = False
    combine: Literal["concatenate", "average"] = "concatenate"

    def __post_init__(self):
        if not _MEMBER.fullmatch(self.members):
            raise UserError("members", self.members, "run/seed@step:layer, such as mixture/*@last:features")
        for field in ("n", "repeat"):
            if getattr(self, field) < 1:
                raise UserError(field, getattr(self, field), "at least 1")


@dataclasses.dataclass(frozen=True)
class Member:
    """One network's layer: a run by name and seed, a step (0 is random initialisation) and a tap of its model."""
    run: str
    seed: int
    step: int
    layer: str

    def __str__(self):
        return f"{self.run}/{self.seed}@{self.step}:{self.layer}"


def sets(spec: RepresentationSpec, seeds: tuple[int, ...], steps_of, path: str) -> list[tuple[Member, ...]]:
    """The disjoint member sets of `spec`. `steps_of(run name) -> int` gives a run's length; raises UserError."""
    found = _MEMBER.fullmatch(spec.members)
    chosen = seeds if found["seed"] == "*" else (int(found["seed"]),)
    if not set(chosen) <= set(seeds):
        raise UserError(f"{path}.members", spec.members, f"seeds among {seeds}")
    if len(chosen) < spec.n:
        raise UserError(f"{path}.n", spec.n, f"at most the {len(chosen)} seeds of {spec.members}")
    total = steps_of(found["run"])
    step = total if found["step"] == "last" else round(total * Fraction(found["step"]))
    if "/" not in found["step"] and found["step"] != "last":
        step = int(found["step"])
    if not 0 <= step <= total:
        raise UserError(f"{path}.members", spec.members, f"a step of at most {total}")
    groups = [chosen[i:i + spec.n] for i in range(0, len(chosen) - spec.n + 1, spec.n)]
    return [tuple(Member(found["run"], s, step, found["layer"]) for s in group) * spec.repeat for group in groups]


def join(blocks: list[np.ndarray]) -> np.ndarray:
    """Concatenates members' features [n, p_m] along the features."""
    return np.concatenate(blocks, axis=1)


def principal(features: dict[str, np.ndarray], dim: int) -> dict[str, np.ndarray]:
    """Projects every split onto the `dim` leading principal components of the standardised probe split."""
    probe = features["probe"].astype(np.float64)
    mean, scale = probe.mean(0), probe.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    _, _, directions = np.linalg.svd((probe - mean) / scale, full_matrices=False)
    return {split: (x - mean) / scale @ directions[:dim].T for split, x in features.items()}
