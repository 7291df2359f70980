"""Features of several members side by side: what a representation of more than one member is, and its reductions."""

from __future__ import annotations

import numpy as np

from bottleneck.analysis.eigenbasis import basis, inverse_spread
from bottleneck.data.component import Component
from bottleneck.features.source import SPLITS, Member


def collect(
    store, members: tuple[Member, ...], component: Component, reduce: str = "", seed: int = 0
) -> dict[str, np.ndarray]:
    """split -> [n, sum of p_m], the members' features joined; with `reduce` at most as many dimensions as the first
    member has (see representations.RepresentationSpec), or as D of "pca@D". `seed` draws the random projection."""
    blocks = [store.features(member.source, member.layer, component) for member in members]
    if not reduce:
        return blocks[0] if len(blocks) == 1 else joined(blocks)
    how, _, most = reduce.partition("@")
    dim, scaled = blocks[0]["probe"].shape[1], joined([standardised(block) for block in blocks])
    dim = min(dim, int(most)) if most else dim
    if how == "random":
        projection = np.random.default_rng(seed).normal(size=(scaled["probe"].shape[1], dim)) / np.sqrt(dim)
    else:
        key = [(member.source.key, member.layer) for member in members]
        place = ("principal", dim, *key, component.fingerprints["probe"])
        directions, variances = store.remember(place, lambda: principal(scaled["probe"], dim))
        projection = directions / np.sqrt(variances) if how == "whitened" else directions
    return {split: x @ projection for split, x in scaled.items()}


def joined(blocks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {split: np.concatenate([block[split] for block in blocks], axis=1) for split in SPLITS}


def standardised(block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A member's features with every unit standardised on the probe split, of total variance 1 however many there
    are."""
    probe = block["probe"].astype(np.float64)
    mean = probe.mean(0)
    scale = inverse_spread(((probe - mean) ** 2).mean(0), mean) / np.sqrt(probe.shape[1])
    return {split: (x - mean) * scale for split, x in block.items()}


def principal(x: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """The `dim` leading principal directions [p, dim] of centred `x` [n, p] and the variances [dim] along them; fewer
    where the others have none."""
    space = basis(x)
    return space.vectors[:, :dim], space.variances[:dim]
