"""Features of several members side by side: what a representation of more than one member is, and its reductions."""

from __future__ import annotations

import numpy as np

from bottleneck.analysis.eigenbasis import basis, chunks, inverse_spread
from bottleneck.data.component import Component
from bottleneck.features.source import SPLITS, Member


def collect(
    store, members: tuple[Member, ...], component: Component, reduce: str = "", seed: int = 0
) -> dict[str, np.ndarray]:
    """split -> [n, sum of p_m], the members' features joined; with `reduce` at most as many dimensions as the first
    member has (see representations.RepresentationSpec). "pca@D" is for comparing at equal dimension: at most D, and no
    more than the first member alone can fill, whose units may be constant or copies of each other. `seed` draws the
    random projection."""
    blocks = [store.features(member.source, member.layer, component) for member in members]
    if not reduce:
        return blocks[0] if len(blocks) == 1 else joined(blocks)
    how, _, most = reduce.partition("@")
    dim, scaled = blocks[0]["probe"].shape[1], standardised(*blocks)
    if most:
        place = ("rank", int(most), members[0].source.key, members[0].layer, component.fingerprints["probe"])
        dim = store.remember(place, lambda: len(principal(standardised(blocks[0])["probe"], min(dim, int(most)))[1]))
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


def standardised(*blocks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Members' features side by side, float64, with every unit standardised on the probe split, each member of total
    variance 1 however many units it has: one array a split, made by chunks of items."""
    width = sum(block["probe"].shape[1] for block in blocks)
    whole = {split: np.empty((len(blocks[0][split]), width)) for split in SPLITS}
    start = 0
    for block in blocks:
        probe, stop = block["probe"], start + block["probe"].shape[1]
        parts = chunks(*probe.shape)
        mean = sum(probe[rows].astype(np.float64).sum(0) for rows in parts) / len(probe)
        variance = sum(((probe[rows] - mean) ** 2).sum(0) for rows in parts) / len(probe)
        scale = inverse_spread(variance, mean) / np.sqrt(probe.shape[1])
        for split in SPLITS:
            for rows in chunks(*block[split].shape):
                whole[split][rows, start:stop] = (block[split][rows] - mean) * scale
        start = stop
    return whole


def principal(x: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """The `dim` leading principal directions [p, dim] of centred `x` [n, p] and the variances [dim] along them; fewer
    where the others have none."""
    space = basis(x, most=dim)
    return np.ascontiguousarray(space.vectors), space.variances  # a view would keep all directions
