"""Stratified draws: every class gives the same share."""

from __future__ import annotations

import numpy as np

FIXED_SEED = (20, 21)
"""Cuts the test part: the same images for every seed of a recipe, so that runs can be paired."""


def stratified(
    labels: np.ndarray, count: int, seed: tuple[int, ...], *, leave_one: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """`count` positions drawn in proportion to the classes, and the others, both ascending.

    With `leave_one`, every class keeps at least one sample among the others.
    """
    chosen = np.zeros(len(labels), dtype=bool)
    classes, sizes = np.unique(labels, return_counts=True)
    shares = allot(sizes, count, sizes - 1 if leave_one else sizes)
    random = np.random.default_rng(seed)
    for label, share in zip(classes, shares, strict=True):
        chosen[random.permutation(np.flatnonzero(labels == label))[:share]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def kept(labels: np.ndarray, shares: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
    """Positions, ascending: of each class its share in `shares` `(classes,)`, one sample at least;
    those of a smaller share are among those of a larger one."""
    random = np.random.default_rng(seed)
    drawn = random.permutation(len(labels))
    parts = []
    for label in np.unique(labels):
        own = drawn[labels[drawn] == label]
        parts.append(own[: max(1, round(shares[label] * len(own)))])
    return np.sort(np.concatenate(parts))


def allot(sizes: np.ndarray, count: int, most: np.ndarray) -> np.ndarray:
    """`count` dealt in proportion to `sizes`, by largest remainder, never above `most`."""
    exact = sizes * count / sizes.sum()
    shares = np.minimum(np.floor(exact).astype(np.int64), most)
    for place in np.argsort(shares - exact, kind="stable"):
        if shares.sum() < count and shares[place] < most[place]:
            shares[place] += 1
    return shares
