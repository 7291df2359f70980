"""Features of several members side by side: what a representation of more than one member is."""

from __future__ import annotations

import numpy as np

from bottleneck.data.component import Component
from bottleneck.features.source import SPLITS, Member


def collect(store, members: tuple[Member, ...], component: Component, reduce: bool = False) -> dict[str, np.ndarray]:
    """split -> [n, sum of p_m]: the members' features joined; with `reduce`, as many principal components as one."""
    blocks = [store.features(member.source, member.layer, component) for member in members]
    if len(blocks) == 1:
        return blocks[0]
    joined = {split: np.concatenate([block[split] for block in blocks], axis=1) for split in SPLITS}
    return principal(joined, blocks[0]["probe"].shape[1]) if reduce else joined


def principal(features: dict[str, np.ndarray], dim: int) -> dict[str, np.ndarray]:
    """Projects every split onto the `dim` leading principal components of the standardised probe split."""
    probe = features["probe"].astype(np.float64)
    mean, scale = probe.mean(0), probe.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    _, _, directions = np.linalg.svd((probe - mean) / scale, full_matrices=False)
    return {split: (x - mean) / scale @ directions[:dim].T for split, x in features.items()}
