"""What all transforms of a source share, and where one stands in a component's chain."""

from __future__ import annotations

import dataclasses

from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError


@dataclasses.dataclass(frozen=True)
class Context:
    """Where a transform stands: its key in the component's `transforms`, the study's data (at the image size
    of this point of the chain), and the planted factors to make independent of the label.
    """

    key: str
    data: DataSpec
    randomise: tuple[str, ...]

    def stream(self, split: str, purpose: str) -> tuple:
        """The key of a stream of random numbers."""
        return ("transform", self.data.split_seed, split, self.key, purpose)


class Transform:
    """What all transforms share. `early` ones, listed first, act before the splits are made, so that sizes
    count what they leave.
    """

    early = False

    def plants(self, key: str) -> tuple[str, ...]:
        """Factors it adds that can be redrawn independently of the label."""
        return ()


def changed(source, change, classes=None, values=None):
    """`source` after `change(split, examples)`, with other `classes` and the names of the `values` of new factors."""
    splits = {split: change(split, examples) for split, examples in source.splits.items()}
    classes = source.classes if classes is None else classes
    # A factor that was there already keeps its name, and its values.
    return dataclasses.replace(source, splits=splits, classes=classes, values={**(values or {}), **source.values})


def with_factors(examples, added):
    return dataclasses.replace(examples, factors={**examples.factors, **added})


def probability(field, value):
    if not 0 <= value <= 1:
        raise UserError(field, value, "a number from 0 to 1")
