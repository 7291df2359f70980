"""The sampler: which examples of which component make up the batch of a step, as a pure function of (seed,
step).

No state: resuming, seeking and agreement between hosts come free. All arithmetic is 32-bit, so that the
numbers are the same on the host, on an accelerator, inside `jit` and under JAX_ENABLE_X64. `iid` draws with
replacement. `stratified` gives every batch floor or ceil of its share of each component (systematic sampling;
the offset of step s is the s-th van der Corput point, so the examples drawn before any step have a closed
form) and walks each component by a keyed permutation per epoch: a Feistel network with cycle-walking (Black
and Rogaway, CT-RSA 2002). `full` is no sample: every batch is all examples, in order, of the components whose weight is
positive, and the weights are those of their mean losses.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import zlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bottleneck.errors import UserError

BITS = 15
UNIT = 1 << BITS  # weights are multiples of 1 / UNIT
_CHUNK = 2**16  # draws worked out at once where many are asked for
_DOMAIN = {"iid": 0x11D, "stratified": 0x57A7}  # keeps the two kinds' keys apart
_ROWS = 0xC209  # and those of rows


class Tables(NamedTuple):
    """A schedule of weights as arrays, so that runs with other weights share an executable.

    name_hash uint32 [J]; sizes int32 [J]; starts int32 [S], the first step of each segment; boundaries int32
    [S, J + 1], cumulative weights in 1 / UNIT; drawn int32 [S, J], examples drawn before the segment
    (stratified).
    """

    name_hash: np.ndarray
    sizes: np.ndarray
    starts: np.ndarray
    boundaries: np.ndarray
    drawn: np.ndarray


def tables(
    names: Sequence[str], sizes: Sequence[int], schedule, batch: int, steps: int | None = None, kind: str = "iid"
) -> Tables:
    """Tables of `schedule`, a sequence of (start step, weights [J]); weights need not sum to one.

    `steps`, where given, is checked against the 2**31 examples of one component that 32-bit counters can
    hold. Raises UserError on weights that are negative, not finite, all zero, of another length than `names`,
    positive for a component without examples or too small to be drawn, on starts that do not increase from 0,
    and, where `kind` is "full", on a schedule that does not draw from the same components all the time. Raises
    ValueError where such a batch is not all of their examples.
    """
    names, sizes = list(names), np.asarray(sizes, np.int64)
    if kind != "full" and not 1 <= batch <= UNIT:
        raise UserError("batch", batch, f"1 to {UNIT} examples")
    starts = [int(start) for start, _ in schedule]
    if not starts or starts[0] != 0 or any(a >= b for a, b in zip(starts, starts[1:], strict=False)):
        raise UserError("schedule", starts, "segments whose first steps increase from 0")
    boundaries = np.stack([_boundaries(names, sizes, weights) for _, weights in schedule])
    drawn_before = np.zeros((len(starts), len(names)), np.int64)
    for s in range(1, len(starts)):
        drawn_before[s] = drawn_before[s - 1] + _counts(boundaries[s - 1], starts[s] - starts[s - 1], batch)
    made = Tables(
        np.array([zlib.crc32(n.encode()) for n in names], np.uint32),
        sizes.astype(np.int32),
        np.array(starts, np.int32),
        boundaries.astype(np.int32),
        (drawn_before * (kind != "full")).astype(np.int32),
    )
    if kind == "full":
        _check_full(made, batch)
    elif max(drawn_before.max(), 0 if steps is None else drawn(made, steps, batch).max()) >= 2**31:
        raise UserError("steps", steps, "fewer than 2**31 examples of one component")
    return made


def _check_full(tables, batch):
    positive = np.diff(tables.boundaries, axis=1) > 0
    if np.any(positive != positive[0]):
        expected = "phases that draw from the same components, where sampling is 'full'"
        raise UserError("schedule", np.asarray(tables.starts).tolist(), expected)
    if batch != (examples := int(tables.sizes[positive[0]].sum())):
        raise ValueError(f"a batch of {batch} examples, where all are {examples}")


def _boundaries(names, sizes, weights):
    shown = tuple(weights)
    if len(shown) != len(names):
        raise UserError("weights", shown, f"{len(names)} numbers, one for each of {', '.join(names)}")
    for name, weight, size in zip(names, shown, sizes, strict=True):
        if not isinstance(weight, int | float | np.number) or not math.isfinite(weight) or weight < 0:
            raise UserError("weights", weight, f"a finite number of at least 0 (component {name})")
        if weight > 0 and size < 1:
            raise UserError("weights", weight, f"0 for component {name}, which has no training examples")
    cumulative = np.cumsum(np.asarray(shown, np.float64))
    if not 0 < cumulative[-1] < math.inf:
        raise UserError("weights", shown, "at least one positive weight, and a finite sum")
    edges = np.concatenate([[0], np.rint(cumulative / cumulative[-1] * UNIT)]).astype(np.int64)
    for name, weight, width in zip(names, shown, np.diff(edges), strict=True):
        if weight > 0 and width == 0:
            raise UserError("weights", weight, f"0 or at least 1/{UNIT} of the sum (component {name})")
    return edges


@functools.partial(jax.jit, static_argnames=("batch", "kind"))
def draw(tables: Tables, seed, step, batch: int, kind: Literal["iid", "stratified", "full"]):
    """(component int32 [batch], index int32 [batch]) of step `step`, which may be traced, like `seed` and
    `tables`.

    An example's index depends on the seed, its component's name and size, and its slot and step (`iid`) or
    its ordinal among its component's examples (`stratified`); never on the other components.
    """
    if kind == "full":
        sizes = jnp.where(jnp.diff(jnp.asarray(tables.boundaries)[0]) > 0, tables.sizes, 0)
        stops, slots = jnp.cumsum(sizes), jnp.arange(batch, dtype=jnp.int32)
        component = jnp.sum(slots[:, None] >= stops, axis=1, dtype=jnp.int32)
        return component, (slots - (stops - sizes)[component]).astype(jnp.int32)
    if kind not in _DOMAIN:
        raise UserError("sampling", kind, "one of " + ", ".join((*_DOMAIN, "full")))
    step = jnp.asarray(step).astype(jnp.int32)
    key = _key(seed, kind)
    segment = jnp.sum(step >= tables.starts, dtype=jnp.int32) - 1
    edges = tables.boundaries[segment]
    slots = jnp.arange(batch, dtype=jnp.int32)
    if kind == "iid":
        key = jax.random.fold_in(key, step)
        levels = (jax.random.bits(key, (batch,), jnp.uint32) >> (32 - BITS)).astype(jnp.int32)
        component = jnp.sum(levels[:, None] >= edges[1:], axis=1, dtype=jnp.int32)

        def one(name_hash, slot, size):
            folded = jax.random.fold_in(jax.random.fold_in(key, name_hash), slot)
            return jax.random.randint(folded, (), 0, size, jnp.int32)

        return component, jax.vmap(one)(tables.name_hash[component], slots, tables.sizes[component])
    local = step - tables.starts[segment]
    filled = (batch * edges + _reverse(local % UNIT)) >> BITS  # slots of this batch below each boundary
    component = jnp.sum(slots[:, None] >= filled[1:], axis=1, dtype=jnp.int32)
    before = tables.drawn[segment] + _counts(edges, local, batch, jnp)
    ordinal = before[component] + slots - filled[component]
    size = tables.sizes[component]
    index = _permuted(key, tables.name_hash[component], ordinal // size, ordinal % size, size)
    return component, index


def _key(seed, kind):
    key = jax.random.key(jnp.asarray(seed).astype(jnp.uint32), impl="threefry2x32")
    return jax.random.fold_in(key, _DOMAIN[kind])


@functools.partial(jax.jit, static_argnames=("batch", "count"))
def bits(seed, step, batch: int, count: int):
    """uint32 [batch, count]: random bits for what is to happen to each row of the batch of `step`."""
    key = jax.random.fold_in(jax.random.key(jnp.asarray(seed).astype(jnp.uint32), impl="threefry2x32"), _ROWS)
    key = jax.random.fold_in(key, jnp.asarray(step).astype(jnp.int32))
    rows = jnp.arange(batch, dtype=jnp.int32)
    return jax.vmap(lambda row: jax.random.bits(jax.random.fold_in(key, row), (count,), jnp.uint32))(rows)


def importance(tables: Tables, step, component):
    """float32 [batch], of mean about 1: what examples of `component` [batch] weigh where a batch is all examples, so
    that each component's share of the loss is its weight.
    """
    edges = jnp.asarray(tables.boundaries)[jnp.sum(step >= jnp.asarray(tables.starts)) - 1]
    share = jnp.diff(edges) / UNIT
    return (len(component) * share / jnp.maximum(tables.sizes, 1))[component].astype(jnp.float32)


def drawn(tables: Tables, step: int, batch: int, kind: str = "iid") -> np.ndarray:
    """int64 [J]: examples of each component in the first `step` steps, exact for `stratified` and `full`, expected
    for `iid`.
    """
    if kind == "full":
        return np.where(np.diff(tables.boundaries[0]) > 0, np.asarray(tables.sizes, np.int64) * step, 0)
    starts = np.asarray(tables.starts, np.int64)
    segment = int(np.sum(step >= starts)) - 1
    edges = np.asarray(tables.boundaries[segment], np.int64)
    return np.asarray(tables.drawn[segment], np.int64) + _counts(edges, int(step - starts[segment]), batch)


def unique(
    tables: Tables, seed: int, steps: int, batch: int, kind: Literal["iid", "stratified", "full"], component: int
) -> np.ndarray:
    """int32 [u], sorted: the examples of `component` (an ordinal) that the first `steps` steps draw at least once."""
    size = int(tables.sizes[component])
    if kind == "full":
        return np.arange(size, dtype=np.int32)
    seen = np.zeros(size, bool)
    if kind == "stratified":  # one epoch's permutation after the other
        count = int(drawn(tables, steps, batch)[component])
        if count >= size:
            return np.arange(size, dtype=np.int32)
        for start in range(0, count, _CHUNK):
            index = _first_epoch(tables, np.int32(seed), np.int32(component), np.int32(start), np.int32(size))
            seen[np.asarray(index)[: count - start]] = True
        return np.flatnonzero(seen).astype(np.int32)
    many = max(1, _CHUNK // batch)
    for start in range(0, steps, many):
        drawn_from, index = map(np.asarray, _many(tables, np.int32(seed), np.int32(start), many, batch, kind))
        rows = drawn_from[: steps - start] == component
        seen[index[: steps - start][rows]] = True
        if seen.all():
            break
    return np.flatnonzero(seen).astype(np.int32)


@functools.partial(jax.jit, static_argnames=("many", "batch", "kind"))
def _many(tables, seed, start, many, batch, kind):
    """(component, index) int32 [many, batch] of steps start, start + 1, ..."""
    steps = start + jnp.arange(many, dtype=jnp.int32)
    return jax.vmap(lambda step: draw(tables, seed, step, batch, kind))(steps)


@jax.jit
def _first_epoch(tables, seed, component, start, size):
    """int32 [_CHUNK]: examples start, start + 1, ... of a component's first epoch, its last one repeated."""
    position = jnp.minimum(start + jnp.arange(_CHUNK, dtype=jnp.int32), size - 1)
    name_hash = jnp.full(position.shape, jnp.asarray(tables.name_hash)[component])
    zeros = jnp.zeros_like(position)
    return _permuted(_key(seed, "stratified"), name_hash, zeros, position, zeros + size)


def expected_unique(
    tables: Tables, steps: int, batch: int, kind: Literal["iid", "stratified", "full"], component: int
) -> float:
    """How many examples of `component` the first `steps` steps draw at least once: expected for `iid`, exact otherwise.

    A slot of a batch draws a given one of n examples with probability weight / n, so all miss it with probability
    prod (1 - weight / n), which is (1 - 1 / n)^draws at a fixed number of draws.
    """
    size = int(tables.sizes[component])
    if kind == "full":
        return float(size)
    if kind == "stratified":
        return float(min(size, drawn(tables, steps, batch)[component]))
    ends = np.minimum(np.append(np.asarray(tables.starts[1:], np.int64), steps), steps)
    lengths = np.maximum(ends - np.asarray(tables.starts, np.int64), 0)
    chance = np.diff(np.asarray(tables.boundaries, np.float64), axis=1)[:, component] / UNIT / max(size, 1)
    with np.errstate(divide="ignore"):
        missed = np.log1p(-chance[lengths > 0]) @ (batch * lengths[lengths > 0])
    return float(-size * np.expm1(missed))


def _counts(edges, steps, batch: int, xp=np):
    """[J] examples in `steps` steps of a segment. Sums below a boundary may wrap: their differences do not."""
    share = batch * edges
    whole, part = share >> BITS, share & (UNIT - 1)
    periods, rest = steps >> BITS, steps & (UNIT - 1)
    below = steps * whole + periods * part + rest - _points_below(UNIT - part, rest, xp)
    return below[1:] - below[:-1]


def _reverse(step):
    """The bits of `step` in 0..UNIT-1 in reverse order: the van der Corput sequence times UNIT."""
    return sum(((step >> bit) & 1) << (BITS - 1 - bit) for bit in range(BITS))


def _points_below(level, count, xp):
    """How many of the first `count` van der Corput points lie below `level` (both in 0..UNIT; array of
    levels).
    """
    total = xp.zeros_like(level)
    for bit in range(BITS):
        # The 2**bit points after the higher bits of `count` are a grid of this spacing, from `first` on.
        first = _reverse((count >> (bit + 1)) << (bit + 1))
        spacing = BITS - bit
        inside = xp.clip((level - first + (1 << spacing) - 1) >> spacing, 0, 1 << bit)
        total = total + ((count >> bit) & 1) * inside
    return total


def _permuted(key, name_hash, epoch, position, size):
    """int32 [B]: where the permutation of (name, epoch) sends `position` in 0..size-1."""

    def round_keys(name, number):
        return jax.random.bits(jax.random.fold_in(jax.random.fold_in(key, name), number), (8,), jnp.uint32)

    keys = jax.vmap(round_keys)(name_hash, epoch)
    width = 32 - jax.lax.clz(size - 1)  # the network works on 0 .. 2**width - 1, less than twice the size
    low_bits = (width + 1) // 2
    low_mask = ((1 << low_bits) - 1).astype(jnp.uint32)
    high_mask = ((1 << (width - low_bits)) - 1).astype(jnp.uint32)
    shift = low_bits.astype(jnp.uint32)

    def network(value):
        low, high = value & low_mask, value >> shift
        for r in range(0, 8, 2):
            low = low ^ (_scramble(high + keys[:, r]) & low_mask)
            high = high ^ (_scramble(low + keys[:, r + 1]) & high_mask)
        return (high << shift) | low

    limit = size.astype(jnp.uint32)
    walked = jax.lax.while_loop(
        lambda value: jnp.any(value >= limit),
        lambda value: jnp.where(value >= limit, network(value), value),
        network(position.astype(jnp.uint32)),
    )
    return walked.astype(jnp.int32)


def _scramble(value):
    """The 32-bit finaliser of MurmurHash3 (Appleby)."""
    value = (value ^ (value >> 16)) * jnp.uint32(0x85EBCA6B)
    value = (value ^ (value >> 13)) * jnp.uint32(0xC2B2AE35)
    return value ^ (value >> 16)


@dataclasses.dataclass(frozen=True)
class LabelSpace:
    """How the components' classes share the outputs of one classifier.

    offset int32 [J]: added to a component's labels. blocks: for each component the (start, stop) of the columns of its
    own classes.
    """

    kind: str
    outputs: int
    offset: np.ndarray
    blocks: tuple[tuple[int, int], ...]


def label_space(
    kind: Literal["shared", "disjoint", "per_component"], outputs: Sequence[int], regression: bool = False
) -> LabelSpace:
    """The label space of components with `outputs` classes each (or regression targets each).

    `shared`: class c of every component is output c, as many outputs as the largest component has.
    `disjoint`: label sets side by side, every loss over all of them. `per_component`: side by side, each loss
    over its own block.
    """
    counts = [int(count) for count in outputs]
    if kind not in ("shared", "disjoint", "per_component"):
        raise UserError("label_space", kind, "one of shared, disjoint, per_component")
    if regression and (kind != "shared" or len(set(counts)) != 1):
        raise UserError("label_space", kind, "shared, with as many targets in every component (regression)")
    total = max(counts) if kind == "shared" else sum(counts)
    offset = np.zeros(len(counts), int) if kind == "shared" else np.cumsum([0, *counts[:-1]])
    blocks = tuple((int(start), int(start) + count) for start, count in zip(offset, counts, strict=True))
    return LabelSpace(kind, total, offset.astype(np.int32), blocks)
