"""Counter-based random numbers: what a sample draws depends on nothing but its own words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_WORD = 0xFFFFFFFF
_ATTEMPTS = 6  # a gamma attempt fails less than once in twenty: all six, less than once in 10^7
_VIEW_BITS = 16
_BLOCKS_AT_ONCE = 8  # a block costs little beside the call: most operations need no second one


def philox(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Philox4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405): ten rounds of multiply and
    xor turn a counter into random words.

    `counter` is int64 `(4, ...)`, each word in 0..2^32-1; so is the result.  On the CPU NumPy
    computes it: a call of it costs half of one of torch's.
    """
    keys = _key_schedule(key)
    if counter.device.type == "cpu":
        return torch.from_numpy(rounds_in_numpy(counter.numpy().view(np.uint64), keys))
    return torch.stack(rounds(counter, torch.from_numpy(keys.view(np.int64)).to(counter.device)))


def rounds(counter: Tensor, keys: Tensor) -> list[Tensor]:
    """The four words after all rounds: products wrap around at 64 bits, and those bits are right
    although int64 has a sign."""
    first, second, third, fourth = counter
    for one, two in keys:
        low, high = first * _MULTIPLIERS[0], third * _MULTIPLIERS[1]
        first, second = ((high >> 32) ^ second ^ one) & _WORD, high & _WORD
        third, fourth = ((low >> 32) ^ fourth ^ two) & _WORD, low & _WORD
    return [first, second, third, fourth]


def rounds_in_numpy(counter: Any, keys: Any) -> Any:
    """The same of a uint64 array, whose shifts bring in no sign; int64.  No memory is asked for on
    the way."""
    words = counter.copy()
    first, second, third, fourth = (words[place, ...] for place in range(4))
    low, high = np.empty_like(first), np.empty_like(first)
    left, right, half, word = np.array([*_MULTIPLIERS, 32, _WORD], np.uint64)
    for one, two in keys:
        np.multiply(first, left, out=low)
        np.multiply(third, right, out=high)
        np.bitwise_xor(np.right_shift(high, half, out=first), second, out=first)
        np.bitwise_xor(np.right_shift(low, half, out=third), fourth, out=third)
        np.bitwise_xor(first, one, out=first)
        np.bitwise_xor(third, two, out=third)
        np.bitwise_and(high, word, out=second)
        np.bitwise_and(low, word, out=fourth)
    return words.view(np.int64)


@lru_cache(maxsize=16)
def _key_schedule(key: tuple[int, int]) -> Any:
    schedule = [
        [(word + step * weyl) & _WORD for word, weyl in zip(key, _WEYL, strict=True)]
        for step in range(_ROUNDS)
    ]
    return np.array(schedule, np.uint64)


def operation_word(position: int, view: int | Tensor = 0) -> int | Tensor:
    """The word that tells operations apart: place in the recipe's list, and view of the image; a
    word for each sample, int64 `(N,)`, where each has its own view."""
    return position + (view << _VIEW_BITS)


def between(limits: tuple[float, float], uniform: Tensor) -> Tensor:
    """Even draws in a range, the lower limit first, from uniforms in [0, 1)."""
    return limits[0] + (limits[1] - limits[0]) * uniform


def log_gamma_draw(normal: Tensor, uniform: Tensor, boost: Tensor, alpha: float) -> Tensor:
    """Logarithm of a Gamma(alpha, 1) variable (Marsaglia & Tsang 2000, doi:10.1145/358407.358414).

    `normal`, `uniform` `(N, attempts)`: the first accepted attempt counts.  `boost` `(N,)`,
    uniform, carries Gamma(alpha + 1) down to alpha; in logarithms, so that a small alpha does not
    underflow.
    """
    shape = alpha + 2 / 3
    cubed = (1 + normal / math.sqrt(9 * shape)) ** 3
    safe = cubed.clamp_min(1e-12)
    limit = 0.5 * normal**2 + shape * (1 - cubed + safe.log())
    accepted = (cubed > 0) & (torch.log1p(-uniform) < limit)
    first = accepted.int().argmax(1, keepdim=True)
    return (shape * safe.gather(1, first)[:, 0]).log() + torch.log1p(-boost) / alpha


class Draws:
    """Random numbers of one operation for the samples of one batch.

    They are a function of (seed, epoch, operation, sample index) alone: batch size, place in the
    batch, loader worker, rank and resuming change nothing.  Successive calls continue each sample's
    own sequence, so an operation must ask in the same order whatever the images are.
    """

    emphasis: Tensor | None = None
    """`(N,)` factors of the probability with which each sample is chosen; None: all 1."""

    def __init__(self, seed: int, epoch: int, operation: int | Tensor, index: Tensor) -> None:
        """`index` `(N,)`: positions in the data set, below 2^32.  Numbers come on its device."""
        self._key = (seed & _WORD, (seed >> 32) & _WORD)
        self._epoch = epoch
        self._operation = operation
        self._index = index.long()
        self._ready = self._index.new_empty((len(index), 0))
        self._blocks = 0

    def __len__(self) -> int:
        return len(self._index)

    @property
    def device(self) -> torch.device:
        """Where the numbers are."""
        return self._index.device

    def of(self, rows: Tensor) -> Draws:
        """The draws of some of the samples, at these places `(M,)`."""
        return DrawsOfSome(self, rows)

    def words(self, count: int) -> Tensor:
        """The next `count` words of each sample: int64 `(N, count)` in 0..2^32-1."""
        missing = count - self._ready.shape[1]
        if missing > 0:
            blocks = max(-(-missing // 4), _BLOCKS_AT_ONCE)
            more = self._generate(blocks)
            ready = self._ready.shape[1]
            self._ready = torch.cat((self._ready, more), dim=1) if ready else more
        taken, self._ready = self._ready[:, :count], self._ready[:, count:]
        return taken

    def _generate(self, blocks: int) -> Tensor:
        samples = len(self._index)
        counter = self._index.new_empty((4, samples, blocks))
        counter[0] = torch.arange(blocks, device=counter.device) + self._blocks
        counter[1] = self._index[:, None] & _WORD
        counter[2] = self._epoch & _WORD
        counter[3] = self._operation_words()
        self._blocks += blocks
        return philox(counter, self._key).permute(1, 2, 0).reshape(samples, 4 * blocks)

    def _operation_words(self) -> int | Tensor:
        if isinstance(self._operation, Tensor):
            return self._operation[:, None] & _WORD
        return self._operation & _WORD

    def uniform(self, count: int) -> Tensor:
        """Uniform in [0, 1): float32 `(N, count)`, multiples of 2^-24."""
        return (self.words(count) >> 8).float() * 2.0**-24

    def in_range(self, name: str, limits: tuple[float, float]) -> Tensor:
        """One even draw in a range for each sample: float32 `(N,)`, recorded under `name`."""
        told: dict[str, Any] = {name: between(limits, self.uniform(1)[:, 0])}
        self.tell(**told)
        return told[name]

    def normal(self, count: int) -> Tensor:
        """Standard normal: float32 `(N, count)`, by Box & Muller."""
        half = -(-count // 2)
        radius, turn = self.uniform(2 * half).split(half, dim=1)
        radius, angle = (-2 * torch.log1p(-radius)).sqrt(), 2 * math.pi * turn
        return torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)[:, :count]

    def beta(self, alpha: float) -> Tensor:
        """Symmetric Beta(alpha, alpha): float32 `(N,)` in [0, 1]."""
        first, second = (self._log_gamma(alpha) for _ in range(2))
        return torch.sigmoid(first - second)

    def dirichlet(self, alpha: float, count: int) -> Tensor:
        """Symmetric Dirichlet(alpha, ..., alpha): float32 `(N, count)`, rows sum to 1."""
        normal = self.normal(count * _ATTEMPTS).reshape(-1, _ATTEMPTS)
        uniform = self.uniform(count * _ATTEMPTS).reshape(-1, _ATTEMPTS)
        boost = self.uniform(count).flatten()
        return log_gamma_draw(normal, uniform, boost, alpha).view(-1, count).softmax(1)

    def _log_gamma(self, alpha: float) -> Tensor:
        normal, uniform = self.normal(_ATTEMPTS), self.uniform(_ATTEMPTS)
        return log_gamma_draw(normal, uniform, self.uniform(1)[:, 0], alpha)

    def chosen(self, probability: float) -> Tensor:
        """Which samples an operation of this probability is applied to: bool `(N,)`."""
        likely = probability if self.emphasis is None else probability * self.emphasis
        return self.uniform(1)[:, 0] < likely

    def tell(self, names: Sequence[str] | None = None, **parameters: Tensor) -> None:
        """Name what an operation made of its numbers, `(N,)` each: a recorder writes it down.

        With `names`, the numbers are places in that list.
        """

    def tell_of(
        self, rows: Tensor, names: Sequence[str] | None, parameters: Mapping[str, Tensor]
    ) -> None:
        """The same of the samples at `rows` `(M,)` alone."""


class DrawsOfSome(Draws):
    """The draws of some samples of a batch, made with those of all and taken out: so a value has
    the same bits where the last one hangs on its place in a tensor, as with torch's sigmoid."""

    def __init__(self, whole: Draws, rows: Tensor) -> None:
        self.whole, self.rows = whole, rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def device(self) -> torch.device:
        return self.whole.device

    def of(self, rows: Tensor) -> Draws:
        return DrawsOfSome(self.whole, self.rows.index_select(0, rows))

    def words(self, count: int) -> Tensor:
        return self.whole.words(count).index_select(0, self.rows)

    def beta(self, alpha: float) -> Tensor:
        return self.whole.beta(alpha).index_select(0, self.rows)

    def chosen(self, probability: float) -> Tensor:
        return self.whole.chosen(probability).index_select(0, self.rows)

    def tell(self, names: Sequence[str] | None = None, **parameters: Tensor) -> None:
        self.whole.tell_of(self.rows, names, parameters)
