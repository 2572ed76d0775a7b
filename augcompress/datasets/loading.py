"""Batches of a split, epoch by epoch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from augcompress.batch import Batch
from augcompress.datasets.sampling import Balancing, Order, class_counts
from augcompress.datasets.splits import Split
from augcompress.errors import AugcompressError

Share = tuple[np.ndarray, np.ndarray]
"""Positions in the split, and the view of each."""


class Batches:
    """Batches of a split; the order depends on (seed, epoch) only.

    `batch_size` counts all ranks together: rank r takes every `world`-th sample of each global
    batch, from r on.  Without `balance` and `repeat` no sample comes twice in an epoch, so with an
    incomplete last batch a rank may get one that is smaller, or empty; every rank makes the same
    number of steps.
    """

    def __init__(
        self,
        split: Split,
        classes: int | None,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
        balance: Balancing | None = None,
        repeat: int = 1,
        where: str = "training",
    ) -> None:
        """`classes`: the length of targets; None where the split has no labels, and batches no
        targets.  `where`: the section of the recipe that says the batch size, for messages."""
        self.split = split
        self.classes = classes
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.rank = rank
        self.world = world
        self.balance = balance
        self.labels: np.ndarray | None = None if classes is None else split.labels
        quotas = self._quotas() if shuffle else None
        self.order = Order(len(split), seed, shuffle, repeat, self.labels, quotas)
        self.samples = len(self.order)
        self._check(where)

    def _check(self, where: str) -> None:
        wrong = f"{where}.batch_size: {self.batch_size}"
        if self.drop_last and self.samples < self.batch_size:
            raise AugcompressError(
                f"{wrong} is more than the {self.samples} training images; lower it"
            )
        if self.drop_last and self.batch_size % self.world:
            raise AugcompressError(
                f"{wrong} cannot be shared out evenly to {self.world} processes; make it a multiple"
            )
        if self.batch_size % self.order.repeat:
            raise AugcompressError(
                f"{wrong} cannot hold each image {self.order.repeat} times (sampling.repeat); make"
                " it a multiple"
            )

    def _quotas(self) -> np.ndarray | None:
        """Samples of each class in an epoch, where they are others than there are."""
        if self.balance is None:
            return None
        if self.labels is None or self.classes is None:
            raise AugcompressError(
                "sampling.class_balance: these images have no labels to balance by; leave it out"
            )
        counts = class_counts(self.labels, self.classes)
        quotas = self.balance.quotas(counts)
        return None if np.array_equal(quotas, counts) else quotas

    def __len__(self) -> int:
        """Steps per epoch."""
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of one epoch; those before `start_step` are not read.

        Inputs are uint8 `(N,C,H,W)`; targets one-hot `(N,classes)`, None without labels; index the
        positions in the source that the split was cut from.

        Raises AugcompressError when an image cannot be decoded.
        """
        positions, views = self.order.epoch(epoch)
        slices = (self._slice(step) for step in range(start_step, len(self)))
        shares = ((positions[own], views[own]) for own in slices)
        if self.split.prefetch:
            return _read_ahead(self._batch, shares, self.split.prefetch)
        return map(self._batch, shares)

    def _slice(self, step: int) -> slice:
        start = step * self.batch_size
        end = min(start + self.batch_size, self.samples)
        return slice(start + self.rank, end, self.world)

    def _batch(self, share: Share) -> Batch:
        """A batch of these samples; none is decoded twice."""
        positions, views = share
        index = torch.from_numpy(self.split.index[positions])
        targets = self._targets(positions)
        if not self._comes_again:
            return Batch(self.split.fetch(positions), targets, index)
        different, place = np.unique(positions, return_inverse=True)
        images = self.split.fetch(different)[torch.from_numpy(place)]
        return Batch(images, targets, index, torch.from_numpy(np.ascontiguousarray(views)))

    def _targets(self, positions: np.ndarray) -> Tensor | None:
        if self.labels is None or self.classes is None:
            return None
        return one_hot(torch.from_numpy(self.labels[positions]), self.classes).float()

    @property
    def _comes_again(self) -> bool:
        return self.order.repeat > 1 or self.balance is not None


def _read_ahead(
    make: Callable[[Share], Batch], shares: Iterable[Share], depth: int
) -> Iterator[Batch]:
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(1) as pool:
        try:
            for share in shares:
                waiting.append(pool.submit(make, share))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
