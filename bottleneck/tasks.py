"""A task: one unit of work that reads outputs of other tasks from disk and leaves outputs of its own there.

Outputs are names: `runs/KEY@STEP` (a kept step), `features/KEY:LAYER`, `rows/KEY`. A task says what it needs and makes
by such names, never by other tasks, so that what makes an output may change without changing any key. A task whose
question nobody asks, or whose needs ended empty, ends *empty*: an outcome like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from bottleneck import identity

STAGES = ("pretrain", "transfer", "analyze", "report")


class Empty(Exception):
    """Raised by `Task.run` where there is nothing to do or to say; the text says why."""


@dataclass(frozen=True)
class Asked:
    """A question that a choice on disk answers: whether the rows of `chooser` (an output) hold `choice`."""

    chooser: str
    choice: str


class Task:
    """One unit of work. Subclasses are dataclasses (frozen, eq=False); two tasks of one key are the same task.

    `asks`: the task is wanted if any of these is answered yes; none: always. It decides whether there is anything to
    do, and is no part of the key, as the result does not depend on it.
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[int]
    STAGE: ClassVar[str]
    JOINS: ClassVar[bool] = False  # reads whatever there is: carried out though some of its needs ended empty
    PASSING: ClassVar[bool] = False  # made only while something that needs it is not done
    ALONE: ClassVar[bool] = False  # takes the whole machine: one at a time, in the main thread

    asks: tuple[Asked, ...] = ()

    @property
    def identity(self):
        """Plain data, or a dataclass: all that the result depends on beside the needs."""
        raise NotImplementedError

    @property
    def needs(self) -> tuple[str, ...]:
        """The outputs it reads: of a task that joins rows, those rows."""
        return tuple(dict.fromkeys(output for task in self.joined for output in task.makes))

    @property
    def makes(self) -> tuple[str, ...]:
        return (f"rows/{self.key}",)

    def holds(self, store) -> int:
        """The bytes of the features that it holds all together while it computes; 0 where it reads them in turn."""
        return 0

    @cached_property
    def key(self) -> str:
        """The hash of identity, kind, version and the outputs needed (whose names hold the keys of what they came
        from)."""
        return identity.digest([self.KIND, self.VERSION, self.identity, sorted(self.needs), *self._conditions()])

    @property
    def joined(self) -> tuple[Task, ...]:
        """The tasks whose rows it joins: which of them are asked for decides what a task that JOINS says."""
        return ()

    def _conditions(self) -> list:
        asked = sorted({(task.key, ask.chooser, ask.choice) for task in self.joined for ask in task.asks})
        return [asked] if asked else []

    def done(self, store) -> bool:
        """Whether all that it makes is there."""
        return all(store.has(output) for output in self.makes)

    def empty(self, store) -> bool:
        """Whether it was carried out and there was nothing to make."""
        return store.is_empty(self)

    def run(self, store) -> None:
        """Makes `makes`. Raises Empty where there is nothing to make."""
        raise NotImplementedError

    def __eq__(self, other):
        return isinstance(other, Task) and self.key == other.key

    def __hash__(self):
        return hash(self.key)

    def __repr__(self):
        return f"{type(self).__name__}({self.key})"
