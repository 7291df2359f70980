"""A network that is not ours, as the rest of the package sees it, and what is said where it does not fit."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from bottleneck.errors import UserError, nearest
from bottleneck.features.layers import LAST, LOGITS, tap_and_mode

MOST_TAPS = 4  # layers before the last that are looked at where none are named


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A network in evaluation mode, float32.

    taps: its layers from input to output, as they are called in it, the last "features"; default: those that are looked
    at where none are named; `read(x, layers)` gives of
    images x, float32 [B, h, w, 3] or vectors [B, d], layer -> float32 [B, ...] in the layer's spatial mode
    (features.layers). content: SHA-256 of its weights; structure: of what it is but for them. said: what a reader
    should know, in words. blank: seed -> the same architecture, untrained; None where nobody knows how to make one.
    measure: has BatchNorm statistics measured on batches of x; None where it has none, or nobody knows how.
    """

    taps: tuple[str, ...]
    default: tuple[str, ...]
    read: Callable[[np.ndarray, tuple[str, ...]], dict[str, np.ndarray]]
    content: str
    structure: str
    said: str
    blank: Callable[[int], Network] | None = None
    measure: Callable[[Iterable[np.ndarray]], None] | None = None

    def check(self, layers: Iterable[str]) -> None:
        """Raises UserError on a layer that it has not."""
        for layer in layers:
            if tap_and_mode(layer)[0] not in self.taps:
                raise UserError("layer", layer, f"a layer of the network{nearest(layer, self.taps)}: {some(self.taps)}")


def some(names: tuple[str, ...], most: int = 12) -> str:
    """Names as a list, in the middle shortened."""
    if len(names) > most:
        names = (*names[: most - 1], "...", names[-1])
    return ", ".join(names)


def named(returned) -> dict:
    """Taps of what a network returns: an array, (logits, array), (logits, taps) or taps."""
    logits, returned = returned[:2] if isinstance(returned, tuple) else (None, returned)
    taps = dict(returned) if isinstance(returned, Mapping) else {LAST: returned}
    return taps | ({} if logits is None else {LOGITS: logits})


def unfit(network, error: Exception) -> UserError:
    """The one line for variables that are not a network's."""
    reason = " ".join(str(error).split())[:200]
    return UserError("variables", type(network).__name__, f"those of this network, in evaluation mode ({reason})")


def spread(names: list[str], most: int = MOST_TAPS) -> list[str]:
    """At most so many of `names`, evenly over all, the last among them."""
    if len(names) <= most:
        return names
    return [names[(i + 1) * len(names) // most - 1] for i in range(most)]


def digest(named: Iterable[tuple[str, str, tuple, bytes]]) -> str:
    """SHA-256 of weights, (name, dtype, shape, bytes) each, whatever their order."""
    whole = hashlib.sha256()
    for name, dtype, shape, content in sorted(named, key=lambda each: each[0]):
        whole.update(f"{name} {dtype} {tuple(shape)} ".encode())
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()


def missing(package: str, error: ImportError) -> UserError:
    """The one line for a package that is not installed, or that does not go with what else is."""
    said = str(error).splitlines()[0]
    if getattr(error, "name", None) != package:  # that of a module that is not there
        return UserError(
            "uses", package, f"{package} to go with what else is installed; importing it ends with: {said}"
        )
    wanted = f"{package} to be installed, in the checkout: pip install -e '.[{package}]' ({said})"
    return UserError("uses", package, wanted)


def fitting(given: Mapping[str, tuple], own: Mapping[str, tuple], place: str, who: str) -> None:
    """Raises UserError unless the arrays of a file, name -> shape, are a network's own: all of them, and no others."""
    absent, odd = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    wrong = [name for name, shape in own.items() if name in given and tuple(given[name]) != tuple(shape)]
    said = [f"{len(absent)} missing (such as {absent[0]})"] if absent else []
    said += [f"{len(odd)} unknown (such as {odd[0]})"] if odd else []
    said += [f"{wrong[0]} of shape {list(given[wrong[0]])}, not {list(own[wrong[0]])}"] if wrong else []
    if said:
        raise UserError("weights", place, f"those of this {who}: {', '.join(said)}")
