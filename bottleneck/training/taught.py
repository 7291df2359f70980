"""What parents teach: their predictions on a run's training items, as the arrays that its batches carry.

Pseudo-labels and groups of right and wrong items are those of Zhang, Lopez-Paz and Bottou 2022 (2203.15516), for any
number of classes and components: groups are over all components together, examples are drawn again within each.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from bottleneck.training.run import Lesson, Run


class Taught(NamedTuple):
    """Of all training items, component after component: what each parent says, and which item a drawn one stands for.

    said: int32 [N, parents] (a class among the outputs, or 1 for right and 0 for wrong) or float32 [N, parents,
    outputs] (probabilities). rows: int32 [N], None where items are drawn as they are.
    """

    said: np.ndarray
    rows: np.ndarray | None


class Undiscovered(ValueError):
    """A parent is right about every training item, or wrong: no example is left to be discovered."""


def taught(run: Run, logits: Sequence[Sequence[np.ndarray]], labels: Sequence[np.ndarray]) -> Taught:
    """`logits`: for each parent, for each component of `run`, [n_j, outputs]. `labels`: for each component, its own
    classes [n_j]. Raises Undiscovered."""
    lesson = run.lesson
    masked = [allowed(run, parent) for parent in logits]
    predicted = [[of.argmax(1) for of in parent] for parent in masked]
    right = [np.stack(each, axis=1) for each in zip(*(is_right(run, parent, labels) for parent in logits), strict=True)]
    drawn = np.concatenate([right[j] for j in run.drawn])
    if not lesson.distils and not all(0 < share < 1 for share in drawn.mean(0)):
        raise Undiscovered("no example is left to be discovered: an earlier round is right about all of them, or none")
    rngs = [np.random.default_rng([run.seed, zlib.crc32(name.encode())]) for name in run.components]
    if lesson.shuffled:  # whole rows, so that agreement of rounds is as rare as it is
        right = [rng.permutation(each) for rng, each in zip(rngs, right, strict=True)]
    rows = None if lesson.examples == "drawn" else _again(lesson, right, rngs)
    return Taught(_said(lesson, masked, predicted, right), rows)


def allowed(run: Run, logits: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Logits of each component with those that its examples do not use at minus infinity."""
    return [np.where(mask, of, -np.inf) for mask, of in zip(run.space().mask, logits, strict=True)]


def is_right(run: Run, logits: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Whether each item of each component is classified as its label says, [n_j]."""
    offset = run.space().offset
    return [of.argmax(1) == y + offset[j] for j, (of, y) in enumerate(zip(allowed(run, logits), labels, strict=True))]


def _said(lesson: Lesson, masked, predicted, right) -> np.ndarray:
    if not lesson.distils:
        return np.concatenate(right).astype(np.int32)
    if lesson.kind == "hard":
        return np.stack([np.concatenate(parent) for parent in predicted], axis=1).astype(np.int32)
    return np.stack([special.softmax(np.concatenate(parent), axis=1) for parent in masked], axis=1).astype(np.float32)


def _again(lesson: Lesson, right: list[np.ndarray], rngs) -> np.ndarray:
    """Rows drawn once, with replacement, as many as there are: as often from one part of a component as another."""
    rows, start = [], 0
    for of, rng in zip(right, rngs, strict=True):
        if lesson.examples == "agreement":
            agreed = of.all(1) | ~of.any(1)
            parts = [agreed, ~agreed]
        else:
            parts = [part for parent in of.T for part in (parent, ~parent)]
        pools = [np.flatnonzero(part) for part in parts if part.any()]
        sizes = np.diff(np.linspace(0, len(of), len(pools) + 1).round().astype(int))
        drawn = [rng.choice(pool, size) for pool, size in zip(pools, sizes, strict=True)]
        rows.append(start + rng.permutation(np.concatenate(drawn)))
        start += len(of)
    return np.concatenate(rows).astype(np.int32)
