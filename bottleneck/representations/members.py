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
    """Members `run/*@step:layer`, one pattern or several (snapshots, several layers or runs), the step being `last`, a
    number, or a fraction of the run such as `1/4`; taken `n` seeds at a time: each disjoint set of n seeds is one
    representation. `repeat` lists every member so many times over (a control: it can add nothing). `reduce` projects onto the principal components of the probe split, down to the
    dimension of one member. `combine="average"` averages the members' predictions instead of joining their features.
    `external`, instead of members, is a directory of features from elsewhere (see representations.external).
    """

    members: str | tuple[str, ...] = ()
    n: int = 1
    repeat: int = 1
    reduce: bool = False
    combine: Literal["concatenate", "average"] = "concatenate"
    external: str = ""

    def __post_init__(self):
        for pattern in self.patterns:
            if not _MEMBER.fullmatch(pattern):
                raise UserError("members", pattern, "run/seed@step:layer, such as mixture/*@last:features")
        if bool(self.patterns) == bool(self.external):
            raise UserError(
                "members", self.members, "at least one pattern, or else 'external', a directory of features"
            )
        if self.external and (self.n, self.repeat, self.reduce, self.combine) != (1, 1, False, "concatenate"):
            raise UserError(
                "external", self.external, "no n, repeat, reduce or combine beside it, which are about members"
            )
        for field in ("n", "repeat"):
            if getattr(self, field) < 1:
                raise UserError(field, getattr(self, field), "at least 1")

    @property
    def patterns(self) -> tuple[str, ...]:
        return (self.members,) if isinstance(self.members, str) else self.members


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
    groups = [_groups(pattern, spec.n, seeds, steps_of, path) for pattern in spec.patterns]
    if len({len(g) for g in groups}) > 1:
        raise UserError(f"{path}.members", spec.members, "patterns with equally many seeds")
    return [sum(parts, ()) * spec.repeat for parts in zip(*groups, strict=True)]


def _groups(pattern: str, n: int, seeds: tuple[int, ...], steps_of, path: str) -> list[tuple[Member, ...]]:
    """The members of one pattern, `n` seeds at a time."""
    found = _MEMBER.fullmatch(pattern)
    chosen = seeds if found["seed"] == "*" else (int(found["seed"]),)
    if not set(chosen) <= set(seeds):
        raise UserError(f"{path}.members", pattern, f"seeds among {seeds}")
    if len(chosen) < n:
        raise UserError(f"{path}.n", n, f"at most the {len(chosen)} seeds of {pattern}")
    total = steps_of(found["run"])
    if found["step"] == "last":
        step = total
    elif "/" in found["step"]:
        numerator, denominator = map(int, found["step"].split("/"))
        if not denominator:
            raise UserError(f"{path}.members", pattern, "a fraction of the run such as 1/4")
        step = round(total * Fraction(numerator, denominator))
    else:
        step = int(found["step"])
    if not 0 <= step <= total:
        raise UserError(f"{path}.members", pattern, f"a step of at most {total}")
    return [
        tuple(Member(found["run"], s, step, found["layer"]) for s in chosen[i : i + n])
        for i in range(0, len(chosen) - n + 1, n)
    ]


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
