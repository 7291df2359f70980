"""Features, labels, splits and groups as a user gives them: checked, and refused in one line where they cannot be read.

What is refused would give a wrong answer without a word. Every function raises UserError with the argument's name.
"""

from __future__ import annotations

import itertools

import numpy as np

from bottleneck.analysis import precision
from bottleneck.analysis.eigenbasis import SMALLEST_SPREAD
from bottleneck.analysis.probes import SPLITS
from bottleneck.errors import UserError

LEAST = 2  # items of a split
WHOLE = 2.0**53  # floats beyond it are all whole numbers
BLANK = ("", "nan")  # what a missing value becomes in an array of strings


def features(key: str, members) -> list[np.ndarray]:
    """One array [n, p] per pretraining seed; a single array [n, p] is one seed."""
    if members is None or isinstance(members, str):
        raise UserError(key, members, "a list of arrays [n, p], one per seed")
    if getattr(members, "ndim", None) == 2:
        members = [members]
    members = [_matrix(key, member) for member in members]
    if not members:
        raise UserError(key, [], "at least one array [n, p]")
    for (i, one), (j, other) in itertools.combinations(enumerate(members, 1), 2):
        if np.array_equal(one, other):
            raise UserError(key, f"arrays {i} and {j} are the same", "the features of another network for every seed")
    return members


def _matrix(key: str, member) -> np.ndarray:
    """Numbers [n, p] that can be trusted."""
    x = array(key, member)
    if x.dtype.name == "bfloat16":
        x = x.astype(np.float32)
    if x.ndim != 2 or x.dtype.kind not in "fiub" or 0 in x.shape:
        raise UserError(key, (x.shape, str(x.dtype)), "numeric arrays [n, p], one per seed")
    if reason := precision.objection(x) if x.dtype.kind == "f" else "":
        raise UserError(key, reason, "features that can be trusted, best kept as float32")
    return x


def rows(key: str, members, n: int, probe) -> None:
    """Refuses features of another number of rows than `n`, and those that `varied` refuses for the probe items."""
    for member in members:
        if len(member) != n:
            raise UserError(key, member.shape, f"{n} rows, one per label")
        varied(key, member, probe)


def varied(key: str, member, items) -> None:
    """Refuses features that are the same for all `items`, and units that beside others are too small to be read."""
    mean, std = precision.moments(np.asarray(member[items], np.float64))
    varies = std > SMALLEST_SPREAD * np.abs(mean)
    if not varies.any():
        raise UserError(key, "constant features", "features that differ between the probe items")
    small = varies & (std <= SMALLEST_SPREAD * std[varies].max())
    if small.any():
        raise UserError(
            key,
            f"{small.sum()} of {len(std)} units are over {1 / SMALLEST_SPREAD:.0e} times smaller than the largest",
            "units on scales that float64 can hold together; rescale or leave out",
        )


def targets(labels) -> tuple[np.ndarray, int, np.ndarray]:
    """Labels as (class indices [n], number of classes, their names), or (floats [n, m], 0, no names) for regression.

    Classes are [n] or [n, 1]: strings, integers, booleans or floats that are whole numbers. Other floats are
    regression.
    """
    labels = array("labels", labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2) or labels.dtype.kind not in "fiubU" or not labels.size:
        raise UserError("labels", (labels.shape, str(labels.dtype)), "classes [n] (or floats [n, m] for regression)")
    missing("labels", labels)
    if labels.ndim == 2:
        if one_hot(labels):
            raise UserError("labels", labels.shape, "classes [n]; these are one-hot, give labels.argmax(1)")
        if labels.dtype.kind != "f":
            raise UserError("labels", (labels.shape, str(labels.dtype)), "classes [n] (or floats [n, m])")
    if labels.dtype.kind == "f" and (labels.ndim == 2 or (labels % 1 != 0).any() or np.abs(labels).max() > WHOLE):
        values = labels.reshape(len(labels), -1).astype(np.float64)
        if not precision.SMALLEST < np.abs(values).max() < precision.LARGEST:
            raise UserError("labels", f"numbers of size {np.abs(values).max():g}", "a size between 1e-100 and 1e100")
        return values, 0, np.array([])
    return _classes(labels)


def _classes(labels):
    if labels.dtype.kind in "if" and (labels == -1).any():
        raise UserError(
            "labels",
            f"-1 for {(labels == -1).sum():,} of {len(labels):,} items",
            "classes; -1 marks unlabelled items: leave these out (or call the class something else)",
        )
    names, indices = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise UserError("labels", names.tolist(), "at least two classes")
    return indices, len(names), names


def one_hot(labels) -> bool:
    """Whether `labels` [n, m] has a single 1 in every row and 0 elsewhere."""
    return labels.dtype.kind in "fiub" and bool(np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all())


def where(splits, n: int) -> dict[str, np.ndarray]:
    """Indices of the items of every split, of `n` names of splits."""
    splits = _column("splits", splits, n).astype(str)
    unknown = sorted(set(splits.tolist()) - set(SPLITS))
    if unknown:
        raise UserError("splits", unknown, f"{n:,} entries, each probe, val or test")
    items = {split: np.flatnonzero(splits == split) for split in SPLITS}
    for split, chosen in items.items():
        if len(chosen) < LEAST:
            raise UserError("splits", f"{len(chosen)} items of {split}", f"at least {LEAST} items in each of {SPLITS}")
    return items


def learnable(values, num_classes: int, names, items) -> None:
    """Refuses classes that no probe item has, and numbers that do not vary within a split."""
    if num_classes:
        absent = np.setdiff1d(np.arange(num_classes), values[items["probe"]])
        if len(absent):
            raise UserError("labels", names[absent].tolist(), "every class to occur in the probe split")
        return
    for split, chosen in items.items():
        if not np.ptp(values[chosen], axis=0).any():
            raise UserError("labels", f"constant over the items of {split}", "numbers that vary")


def groups(values, n: int) -> np.ndarray:
    """Names of groups [n] as they are; none may be missing."""
    values = _column("groups", values, n)
    if values.dtype.kind not in "fiubU":
        raise UserError("groups", str(values.dtype), "names or numbers of groups")
    missing("groups", values)
    return values


def pairs(mixture, direct, seeds) -> tuple[list, bool]:
    """Direct members in the order of the mixture's seeds, and whether they pair."""
    if seeds is None:
        return direct, len(mixture) == len(direct)
    seeds = list(seeds)
    nested = len(seeds) == 2 and all(isinstance(names, (list, tuple, np.ndarray)) for names in seeds)
    ours, theirs = (list(seeds[0]), list(seeds[1])) if nested else (seeds, seeds)
    for names, members, key in ((ours, mixture, "mixture"), (theirs, direct, "direct")):
        if len(names) != len(members) or len(set(names)) != len(names):
            raise UserError("seeds", names, f"{len(members)} different names, one per {key} array")
    if set(ours) != set(theirs):
        return direct, False
    return [direct[theirs.index(name)] for name in ours], True


def split_items(labels, seed: int = 0, shares=(0.5, 0.2, 0.3)) -> np.ndarray:
    """Names of splits [n] for items without any: probe, val, test in these shares, stratified by (discrete) label."""
    values, num_classes, _ = targets(labels)
    order = np.random.default_rng(seed).permutation(len(values))
    if num_classes and num_classes * 4 <= len(values):
        order = order[np.argsort(values[order], kind="stable")]
    # a low-discrepancy sequence along the sorted items gives every class its shares
    place = (np.arange(len(values)) * 0.6180339887498949 + 0.5) % 1.0
    splits = np.empty(len(values), dtype="<U5")
    splits[order] = np.array(SPLITS)[np.searchsorted(np.cumsum(shares)[:-1], place, side="right")]
    return splits


def array(key: str, values) -> np.ndarray:
    """`values` as an array; of Python objects (as data frames hold) the strings, numbers or booleans they are."""
    try:
        values = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise UserError(key, type(values).__name__, f"one array ({error})") from None
    if values.dtype.kind == "S":
        return values.astype(str)
    if values.dtype.kind != "O":
        return values
    held = values.ravel().tolist()
    for kinds in (str, bool, int, (int, float)):
        if held and all(isinstance(value, kinds) for value in held):
            return np.array(held).reshape(values.shape)
    if absent := sum(value is None or isinstance(value, float) and value != value for value in held):
        raise UserError(key, f"{absent:,} None or NaN", f"a value for each of the {len(held):,} items")
    raise UserError(key, sorted({type(value).__name__ for value in held}), "values of one type")


def missing(key: str, values) -> None:
    """Refuses NaN, infinities and the strings that missing values become."""
    if values.dtype.kind == "f":
        absent = ~np.isfinite(values)
    else:
        absent = np.isin(np.char.lower(np.char.strip(values)), BLANK) if values.dtype.kind == "U" else np.zeros(1, bool)
    if absent.any():
        raise UserError(
            key, f"{absent.sum():,} NaN, infinite or empty", f"a value for each of the {len(values):,} items"
        )


def _column(key: str, values, n: int) -> np.ndarray:
    """Values [n], also of [n, 1]."""
    values = array(key, values)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.shape != (n,):
        raise UserError(key, values.shape, f"{n} entries, one per label")
    return values
