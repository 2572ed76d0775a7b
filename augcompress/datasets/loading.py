"""Batches of a split, epoch by epoch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch.nn.functional import one_hot

from augcompress.batch import Batch
from augcompress.datasets.splits import Split
from augcompress.errors import AugcompressError


class Batches:
    """Batches of a split; the order depends on (seed, epoch) only.

    `batch_size` counts all ranks together: rank r takes every `world`-th sample of each global
    batch, from r on.  No sample is repeated, so with an incomplete last batch a rank may get one
    that is smaller, or empty; every rank makes the same number of steps.
    """

    def __init__(
        self,
        split: Split,
        classes: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if drop_last and len(split) < batch_size:
            raise AugcompressError(
                f"training.batch_size: {batch_size} is more than the {len(split)} samples;"
                " make it smaller"
            )
        if drop_last and batch_size % world:
            raise AugcompressError(
                f"training.batch_size: {batch_size} cannot be shared out evenly to {world}"
                " processes; make it a multiple"
            )
        self.split = split
        self.classes = classes
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.rank = rank
        self.world = world
        self._labels = torch.from_numpy(split.labels)

    def __len__(self) -> int:
        """Steps per epoch."""
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of one epoch; those before `start_step` are not read.

        Inputs are uint8 `(N,C,H,W)`, targets one-hot `(N,classes)`, index the positions in the
        split.  Raises AugcompressError when an image cannot be decoded.
        """
        order = self._order(epoch)
        shares = (self._share(order, step) for step in range(start_step, len(self)))
        if self.split.prefetch:
            return _read_ahead(self._batch, shares, self.split.prefetch)
        return map(self._batch, shares)

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.split))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.split))

    def _share(self, order: np.ndarray, step: int) -> np.ndarray:
        start = step * self.batch_size
        return order[start : start + self.batch_size][self.rank :: self.world]

    def _batch(self, positions: np.ndarray) -> Batch:
        index = torch.from_numpy(np.ascontiguousarray(positions, dtype=np.int64))
        targets = one_hot(self._labels[index], self.classes).float()
        return Batch(self.split.fetch(positions), targets, index)


def _read_ahead(
    make: Callable[[np.ndarray], Batch], shares: Iterable[np.ndarray], depth: int
) -> Iterator[Batch]:
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(1) as pool:
        try:
            for positions in shares:
                waiting.append(pool.submit(make, positions))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
