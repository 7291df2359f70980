"""Representations: lists of members `source/seed@step:layer`, concatenated, optionally reduced, with their controls.

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


REDUCTIONS = ("pca", "whitened", "random")
CONTROLS = ("repeated", *REDUCTIONS, "averaged")  # free, as nothing more is trained for them
MOST_PREFIXES = 10  # members, beyond which their first 1, 2, ... are not probed


@dataclasses.dataclass(frozen=True)
class RepresentationSpec:
    """Members `source/*@step:layer`, one pattern or several (snapshots, several layers or runs). A source is a run by
    name (`mixture`, `direct`, `direct-rare`) or one of the study's `sources`; the step is `last`, a number, or a
    fraction of the run such as `1/4`. Taken `n` seeds at a time: each disjoint set of n seeds is one representation.

    `repeat` lists every member so many times over (a control: it can add nothing). `reduce` projects to the dimension
    of one member: onto principal components of the probe split, every member standardised ("pca"), onto the same with
    variance 1 ("whitened"), or at random. `combine="average"` averages the members' predictions instead of joining
    their features.

    A concatenation brings its controls along (see `derived`), unless `controls` is False, and probes of its first 2, 3,
    ... members, which say what each adds, unless `prefixes` is. `against`: further controls, which are declared or
    arms, such as one network of the same total steps.
    """

    members: str | tuple[str, ...]
    n: int = 1
    repeat: int = 1
    reduce: Literal["", "pca", "whitened", "random"] = ""
    combine: Literal["concatenate", "average"] = "concatenate"
    controls: bool = True
    prefixes: bool = True
    against: tuple[str, ...] = ()

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

    @property
    def is_concatenation(self) -> bool:
        """Whether it joins several members, each once, and is no control by itself."""
        joins = self.repeat == 1 and self.combine == "concatenate" and not self.reduce
        return joins and self.n * len(self.patterns) > 1

    @property
    def reads(self) -> tuple:
        """What makes its probes: two representations that read alike are one."""
        return self.patterns, self.n, self.repeat, self.reduce, self.combine


class Place(NamedTuple):
    """One member as a pattern names it: a source by name, a seed, a step (0: before training) and a layer."""

    source: str
    seed: int
    step: int
    layer: str


@dataclasses.dataclass(frozen=True)
class Derived:
    """What a concatenation brings along, of the same member sets: a control, or its first `first` members."""

    of: str
    kind: str  # one of CONTROLS, or "first2", "first3", ...
    spec: RepresentationSpec
    first: int = 0

    def take(self, members: tuple) -> tuple:
        """Its members, of those of a set of the concatenation."""
        if self.kind == "repeated":
            return members[:1] * len(members)
        return members[: self.first] if self.first else members


def derived(declared: dict[str, RepresentationSpec]) -> dict[str, Derived]:
    """The controls of all concatenations, and their first 2, 3, ... members, by name (`cat5-pca`, `cat5-first2`).

    "repeated" lists the first member of a set as often as there are members; the reductions are those of `reduce`;
    "averaged" averages the members' predictions. A control that is declared by itself has the name that it has there.
    Raises UserError where a declared name is taken.
    """
    reads = {spec.reads: name for name, spec in reversed(declared.items())}
    made: dict[str, Derived] = {}
    for of, spec in declared.items():
        if not spec.is_concatenation:
            continue
        specs = {kind: dataclasses.replace(spec, reduce=kind) for kind in REDUCTIONS}
        specs |= {"repeated": spec, "averaged": dataclasses.replace(spec, combine="average")}
        for kind in CONTROLS if spec.controls else ():
            known = reads.get(specs[kind].reads) if kind != "repeated" else None
            made[known or f"{of}-{kind}"] = Derived(of, kind, specs[kind])
        size = spec.n * len(spec.patterns)
        for first in range(2, size) if spec.prefixes and size <= MOST_PREFIXES else ():
            made[f"{of}-first{first}"] = Derived(of, f"first{first}", spec, first)
    for name, each in made.items():
        if name in declared and declared[name].reads != each.spec.reads:
            raise UserError(f"representations.{name}", name, f"another name: it is a control of {each.of!r}")
    return made


def alone(name: str, spec: RepresentationSpec) -> dict[str, str]:
    """Arm -> pattern of the members of a representation one by one: what a gain is measured from."""
    if spec.is_single:
        return {}
    numbers = range(1, len(spec.patterns) + 1) if len(spec.patterns) > 1 else ("",)
    return {f"{name}-member{i}": pattern for i, pattern in zip(numbers, spec.patterns, strict=True)}


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
