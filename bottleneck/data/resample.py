"""Choosing items: so that a factor known only as a column, which cannot be redrawn, is independent of the label, or so
that classes are of one size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bottleneck.data import keyed
from bottleneck.data.source import Examples, Source, apportion
from bottleneck.errors import UserError


class EmptyCell(UserError):
    """No item of a split has this label together with this value of the factor, so they cannot be made independent."""

    def under(self, prefix: str) -> EmptyCell:
        return EmptyCell(f"{prefix}.{self.key}" if prefix else self.key, self.value, self.expected)


def independent(source: Source, factors: Sequence[str], seed: int) -> Source:
    """`source` with `factors` jointly independent of the label in every split: each cell (label, values of the
    factors) has weight p(label) p(values), as in train.

    Train keeps its size: items are repeated, in every cell as evenly as can be. Other splits are the largest
    subsample, without repeats. Which items is keyed by their names and `seed`. Raises EmptyCell.
    """
    if not source.classes:
        raise UserError("randomise", factors[0], "a factor of a component with classes (its labels are vectors)")
    values = _values(source, factors)
    count = max(int(codes.max(initial=0)) for codes in values.values()) + 1
    labels = {split: part.labels.astype(np.int64) for split, part in source.splits.items()}
    cells = {split: labels[split] * count + values[split] for split in source.splits}
    total = len(source.classes) * count
    by_label = np.bincount(labels["train"], minlength=len(source.classes))
    by_value = np.bincount(values["train"], minlength=count)
    target = np.outer(by_label, by_value).ravel() / len(labels["train"]) ** 2
    splits = {}
    for split, part in source.splits.items():
        if not len(part):  # probes on training items, taken from them later
            splits[split] = part
            continue
        there = np.bincount(cells[split], minlength=total)
        for cell in np.flatnonzero((target > 0) & (there == 0)):
            raise _empty(source, factors, split, values, cell // count, cell % count)
        size = len(part) if split == "train" else np.min(there[target > 0] / target[target > 0])
        stream = ("independent", seed, split)
        splits[split] = part.take(_rows(part, cells[split], there, apportion(size * target), stream))
    return dataclasses.replace(source, splits=splits)


def balanced(examples: Examples, stream: tuple) -> np.ndarray:
    """Rows of as many items of every class as the smallest has, in the order they had; which ones is keyed."""
    classes, sizes = np.unique(examples.labels, return_counts=True)
    order = np.lexsort((keyed.bits(stream, examples.keys), examples.labels))
    starts = np.searchsorted(examples.labels[order], classes)
    return np.sort(np.concatenate([order[start : start + sizes.min()] for start in starts]))


def _values(source, factors):
    """split -> int64 [n]: the joint value of the factors, the same number in every split."""
    columns = [
        np.stack([part.factors[name] for name in factors], axis=1).reshape(-1, len(factors))
        for part in source.splits.values()
    ]
    joint = np.unique(np.concatenate(columns), axis=0, return_inverse=True)[1].ravel()
    parts = np.split(joint, np.cumsum([len(column) for column in columns])[:-1])
    return dict(zip(source.splits, parts, strict=True))


def _rows(part: Examples, cells, there, wanted, stream):
    """Rows of `part`: `wanted` of every cell, each item as often as any other of its cell or once more."""
    order = np.lexsort((keyed.bits(stream, part.keys), cells))
    starts = np.concatenate([[0], np.cumsum(there)[:-1]])
    chosen = np.repeat(np.arange(len(wanted)), wanted)
    position = np.arange(len(chosen)) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    rows = order[starts[chosen] + position % there[chosen]]
    if wanted.sum() < len(part) or not np.any(wanted > there):  # without repeats: in the order they had
        return np.sort(rows)
    repeat = position // there[chosen]
    return rows[np.lexsort((repeat, keyed.bits((*stream, "order"), part.keys[rows] + repeat.astype(part.keys.dtype))))]


def _empty(source, factors, split, values, label, value):
    row = next((part, i) for name, part in source.splits.items() for i in np.flatnonzero(values[name] == value)[:1])
    codes = [int(row[0].factors[name][row[1]]) for name in factors]
    shown = " and ".join(
        f"{name}={source.values[name][code] if name in source.values else code}"
        for name, code in zip(factors, codes, strict=True)
    )
    expected = f"items of every label with every value (no {split} item is {source.classes[label]!r} with {shown})"
    return EmptyCell("randomise", ", ".join(factors), expected)
