"""What was read: items, classes, sizes, duplicates and whatever was left out, so that no input misleads in silence."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """`count` files or rows that are no items, why, and the first of them."""

    reason: str
    count: int
    example: str


@dataclasses.dataclass(frozen=True)
class Notes:
    """What a source saw. sizes: (width, height) -> images, as stored. modes: Pillow's mode, or the kind of array ->
    images. exact: whether contents were compared, so that duplicates are known.
    """

    sizes: Mapping[tuple[int, int], int] = dataclasses.field(default_factory=dict)
    modes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()
    exact: bool = True


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a component holds. items: split -> items. absent: split -> the classes that it has no item of. duplicates:
    (split, other split) -> items of the other whose image, before any transform, is one of the split's, byte for byte;
    None where contents were not compared. shape: (height, width) that images are brought to, () for vectors.
    """

    component: str
    source: str
    items: Mapping[str, int]
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    duplicates: Mapping[tuple[str, str], int] | None
    notes: Notes
    absent: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def describe(reading: Reading) -> list[str]:
    """Lines for the start of a study: what a component is, and what a reader would want to know before training."""
    counts = ", ".join(f"{count:,} {split}" for split, count in reading.items.items())
    absent = [f"no {split} item of {_some(names)}" for split, names in reading.absent.items() if names]
    held = "; ".join((counts, _classes(reading.classes), *absent))
    lines = [f"{reading.component} ({reading.source}): {held}"]
    notes = reading.notes
    if notes.sizes:
        modes = ", ".join(f"{mode} {count:,}" for mode, count in Counter(notes.modes).most_common())
        height, width = reading.shape
        lines.append(f"  images of {_sizes(notes.sizes)} pixels ({modes}), read as {width} x {height}")
    if reading.duplicates is None:
        lines.append("  contents are not compared: names and sizes are trusted")
    for (one, other), count in (reading.duplicates or {}).items():
        lines.append(f"  exact duplicates: {count:,} {other} items are in {one} too")
    lines += [f"  left out: {left.count:,} {left.reason} ({left.example})" for left in notes.left_out]
    return lines + [f"  note: {remark}" for remark in notes.remarks]


def left_out(reasons: list[tuple[str, str]]) -> tuple[LeftOut, ...]:
    """(reason, example) of everything that was left out, counted by reason in order of appearance."""
    first: dict[str, str] = {}
    for reason, example in reasons:
        first.setdefault(reason, example)
    counts = Counter(reason for reason, _ in reasons)
    return tuple(LeftOut(reason, counts[reason], example) for reason, example in first.items())


def _classes(names):
    if not names:
        return "vectors for labels"
    return f"{len(names):,} classes ({_some(names)})"


def _some(names):
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _sizes(sizes):
    if len(sizes) <= 3:
        return ", ".join(f"{width} x {height}" for width, height in sorted(sizes))
    smallest, largest = min(sizes, key=lambda s: s[0] * s[1]), max(sizes, key=lambda s: s[0] * s[1])
    shown = f"{smallest[0]} x {smallest[1]} to {largest[0]} x {largest[1]}"
    return f"{len(sizes)} sizes, {shown}"
