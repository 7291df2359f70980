"""Recipes: further runs of a study, by how they differ from those of an arm.

Cures that train (distillation, diversification), trained controls (the same total steps, n times the width, no label
smoothing) and members of other lengths are recipes; what is read of them is said by representations.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Literal

from bottleneck.errors import UserError
from bottleneck.training.run import Lesson

_TEACHERS = re.compile(r"(?P<source>\w+)/\*@(?P<step>last|\d+/0*[1-9]\d*|\d+)")


@dataclasses.dataclass(frozen=True)
class RecipeSpec:
    """Runs `like` the arm's, one a seed (and, like `direct`, a target), with `steps` times its steps, `width` times its
    width, and the keys of `optimizer`, `objective` and `model` changed.

    `teachers`, a pattern `source/*@step` taken `n` seeds at a time, makes students of them (DISTILL_n, Zhang & Bottou
    2023): one for each disjoint set, with a head a teacher, against their hard pseudo-labels or their soft
    probabilities (`targets`); `untrained` of each set, the last ones, are networks at step 0: a control.

    `rounds` makes each run the end of a chain (Bonsai, Zhang et al. 2022): rounds of discovery, the first `early` times
    as long as the arm's run and the others by group DRO (`rule`) over the items that earlier ones have right and wrong,
    then synthesis: a student of all rounds. `groups="random"` is the control: the same
    pattern of right and wrong, of other items of each component.
    """

    like: Literal["mixture", "direct"] = "mixture"
    steps: float = 1.0
    width: float = 1.0
    optimizer: dict[str, Any] = dataclasses.field(default_factory=dict)
    objective: dict[str, Any] = dataclasses.field(default_factory=dict)
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    teachers: str = ""
    n: int = 1
    targets: Literal["hard", "soft"] = "hard"
    untrained: int = 0
    rounds: int = 0
    early: float = 0.1
    rule: Literal["max", "exponentiated"] = "max"
    groups: Literal["errors", "random"] = "errors"

    def __post_init__(self):
        for field in ("steps", "width", "early"):
            if not 0 < getattr(self, field) < float("inf"):
                raise UserError(field, getattr(self, field), "a number above 0")
        if self.teachers and not _TEACHERS.fullmatch(self.teachers):
            raise UserError("teachers", self.teachers, "source/*@step, such as mixture/*@last")
        if self.teachers and self.rounds:
            raise UserError("rounds", self.rounds, "0 where there are teachers: a run learns from one or the other")
        if self.rounds == 1 or self.rounds < 0:
            raise UserError("rounds", self.rounds, "0, or at least 2: the first one alone is a short run")
        if self.teaches and self.like != "mixture":
            raise UserError("like", self.like, "'mixture' for students and rounds")
        self._check_unread()
        if self.n < 1 or (self.n > 1 and not self.teachers):
            raise UserError("n", self.n, "at least 1, and 1 without teachers")
        if not 0 <= self.untrained <= self.n or (self.untrained and not self.teachers):
            raise UserError("untrained", self.untrained, "at most n, and 0 without teachers")

    def _check_unread(self) -> None:
        """Raises UserError for what would be said and not read."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        unread = {"targets": bool(self.teachers), **dict.fromkeys(("early", "rule", "groups"), bool(self.rounds))}
        for field, read in unread.items():
            if not read and getattr(self, field) != defaults[field]:
                needed = "teachers" if field == "targets" else "rounds"
                raise UserError(field, getattr(self, field), f"{defaults[field]!r} in a recipe without {needed}")

    @property
    def teaches(self) -> bool:
        """Whether its runs learn from others, with a head for each of them."""
        return bool(self.teachers or self.rounds)

    @property
    def teacher(self) -> tuple[str, str]:
        """(source, step) of `teachers`."""
        parts = _TEACHERS.fullmatch(self.teachers)
        return parts["source"], parts["step"]

    @property
    def synthesis(self) -> Lesson:
        """What a student learns; of rounds, half of its examples are those on which they agree."""
        if self.teachers:
            return Lesson(self.targets)
        return Lesson("hard", examples="agreement", shuffled=self.groups == "random")

    @property
    def discovery(self) -> Lesson:
        """What a round after the first learns."""
        examples = "groups" if self.rule == "exponentiated" else "drawn"
        return Lesson(self.rule, examples=examples, shuffled=self.groups == "random")
