"""Representations: lists of members `source/seed@step:layer`, concatenated, optionally reduced.

One member is an ordinary network, n seeds are CAT_n (Zhang & Bottou 2023), n kept steps within the budget of one run
are Time-Cat (Yang, Zhang & Bottou 2025), n steps of one run are snapshots.
"""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from typing import Literal, NamedTuple

from bottleneck.errors import UserError

_MEMBER = re.compile(
    r"(?P<source>[\w.-]+)/(?P<seed>\*|\d+)@(?P<step>last|\d+/0*[1-9]\d*|\d+):(?P<layer>[\w.]+)",
)


@dataclasses.dataclass(frozen=True)
class RepresentationSpec:
    """Members `source/*@step:layer`, one pattern or several (snapshots, several layers or runs). A source is a run by
    name (`mixture`, `direct`, `direct-rare`) or one of the study's `sources`; the step is `last`, a number, or a
    fraction of the run such as `1/4`. Taken `n` seeds at a time: each disjoint set of n seeds is one representation.

    `repeat` lists every member so many times over (a control: it can add nothing). `reduce` projects onto the principal
    components of the probe split, down to the dimension of one member. `combine="average"` averages the members'
    predictions instead of joining their features.
    """

    members: str | tuple[str, ...]
    n: int = 1
    repeat: int = 1
    reduce: bool = False
    combine: Literal["concatenate", "average"] = "concatenate"

    def __post_init__(self):
        for pattern in self.patterns:
            if not _MEMBER.fullmatch(pattern):
                raise UserError("members", pattern, "source/seed@step:layer, such as mixture/*@last:features")
        if not self.patterns:
            raise UserError("members", self.members, "at least one pattern")
        for field in ("n", "repeat"):
            if getattr(self, field) < 1:
                raise UserError(field, getattr(self, field), "at least 1")

    @property
    def patterns(self) -> tuple[str, ...]:
        return (self.members,) if isinstance(self.members, str) else self.members

    @property
    def is_single(self) -> bool:
        """Whether every representation is one member, once."""
        return self.n * self.repeat * len(self.patterns) == 1


class Place(NamedTuple):
    """One member as a pattern names it: a source by name, a seed, a step (0 is random initialisation) and a layer."""

    source: str
    seed: int
    step: int
    layer: str


def source_of(pattern: str) -> str:
    return pattern.partition("/")[0]


def sets(spec: RepresentationSpec, seeds_of, steps_of, path: str) -> list[tuple[Place, ...]]:
    """The disjoint member sets of `spec`. `seeds_of(source)`, `steps_of(source)`: its seeds, its last step."""
    groups = [_groups(pattern, spec.n, seeds_of, steps_of, path) for pattern in spec.patterns]
    if len({len(g) for g in groups}) > 1:
        raise UserError(f"{path}.members", spec.members, "patterns with equally many seeds")
    return [sum(parts, ()) * spec.repeat for parts in zip(*groups, strict=True)]


def _groups(pattern: str, n: int, seeds_of, steps_of, path: str) -> list[tuple[Place, ...]]:
    """The members of one pattern, `n` seeds at a time."""
    parts = _MEMBER.fullmatch(pattern)
    seeds = seeds_of(parts["source"])
    chosen = seeds if parts["seed"] == "*" else (int(parts["seed"]),)
    if not set(chosen) <= set(seeds):
        raise UserError(f"{path}.members", pattern, f"seeds among {seeds}")
    if len(chosen) < n:
        raise UserError(f"{path}.n", n, f"at most the {len(chosen)} seeds of {pattern}")
    total = steps_of(parts["source"])
    try:
        step = total if parts["step"] == "last" else round(_step(parts["step"], total))
    except ZeroDivisionError:
        raise UserError(f"{path}.members", pattern, "a fraction of the run such as 1/4") from None
    if not 0 <= step <= total:
        raise UserError(f"{path}.members", pattern, f"a step of at most {total}")
    return [
        tuple(Place(parts["source"], s, step, parts["layer"]) for s in chosen[i : i + n])
        for i in range(0, len(chosen) - n + 1, n)
    ]


def _step(text: str, total: int):
    return total * Fraction(text) if "/" in text else int(text)
