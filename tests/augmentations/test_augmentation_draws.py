"""Draws: known answers, independence of the batch, and statistics with a fixed seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from augcompress.augmentations.draws import Draws, _key_schedule, operation_word, philox, rounds

EVERYBODY = torch.arange(20_000)
SMALLEST_P = 1e-3  # the seed is fixed: these tests pass always or never


@pytest.mark.parametrize(
    "counter, key, words",
    [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (
            [0xFFFFFFFF] * 4,
            (0xFFFFFFFF, 0xFFFFFFFF),
            [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
        ),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, words):
    assert philox(torch.tensor(counter), key).tolist() == words


def test_philox_is_the_same_on_both_sides():
    """What NumPy computes on the CPU is what torch computes elsewhere."""
    counter = torch.from_numpy(np.random.default_rng(0).integers(0, 2**32, (4, 50, 3)))
    elsewhere = torch.stack(rounds(counter, torch.tensor(_key_schedule((5, 2**32 - 1)))))
    assert torch.equal(philox(counter, (5, 2**32 - 1)), elsewhere)


def test_a_sample_draws_the_same_in_any_batch():
    whole = Draws(5, 2, 1, EVERYBODY[:50])
    part = Draws(5, 2, 1, torch.tensor([7, 31]))
    for kind in ("uniform", "normal", "words"):
        assert torch.equal(getattr(whole, kind)(3)[[7, 31]], getattr(part, kind)(3))
    assert torch.equal(whole.beta(0.2)[[7, 31]], part.beta(0.2))


def test_asking_piecewise_continues_the_same_sequence():
    piecewise = Draws(5, 2, 1, EVERYBODY[:9])
    pieces = torch.cat([piecewise.words(count) for count in (1, 2, 6, 4)], dim=1)
    assert torch.equal(pieces, Draws(5, 2, 1, EVERYBODY[:9]).words(13))


@pytest.mark.parametrize("other", [(6, 2, 1), (5, 3, 1), (5, 2, 2), (5 + 2**32, 2, 1)])
def test_every_word_of_the_key_counts(other):
    assert not torch.equal(
        Draws(5, 2, 1, EVERYBODY[:4]).words(4), Draws(*other, EVERYBODY[:4]).words(4)
    )


def test_no_two_operations_and_views_share_a_word():
    words = {operation_word(position, view) for position in range(40) for view in range(40)}
    assert len(words) == 1600


def test_uniform_is_even_and_below_one():
    values = Draws(0, 0, 0, EVERYBODY).uniform(2)
    assert values.min() >= 0
    assert values.max() < 1
    assert stats.kstest(values[:, 0].numpy(), "uniform").pvalue > SMALLEST_P
    counts = torch.histc(values[:, 1], 64, 0, 1).numpy()
    assert stats.chisquare(counts).pvalue > SMALLEST_P


def test_neighbouring_samples_epochs_and_operations_are_uncorrelated():
    base = Draws(0, 0, 0, EVERYBODY).uniform(1)[:, 0]
    others = [(0, 0, 0, EVERYBODY + 1), (0, 1, 0, EVERYBODY), (0, 0, 1, EVERYBODY)]
    for words in (*others, (1, 0, 0, EVERYBODY)):
        other = Draws(*words).uniform(1)[:, 0]
        assert stats.pearsonr(base.numpy(), other.numpy()).pvalue > SMALLEST_P


def test_normal_is_normal():
    values = Draws(0, 0, 0, EVERYBODY).normal(3)
    assert values.shape == (len(EVERYBODY), 3)
    for column in values.unbind(1):
        assert stats.kstest(column.numpy(), "norm").pvalue > SMALLEST_P


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 4.0, 100.0])
def test_beta_is_beta(alpha):
    values = Draws(0, 0, 0, EVERYBODY).beta(alpha).double().numpy()
    assert values.min() >= 0
    assert values.max() <= 1
    found = stats.kstest(values, lambda x: stats.beta.cdf(x, alpha, alpha)).statistic
    rounded_to_one = stats.beta.sf(1 - 6e-8, alpha, alpha)  # in float32; matters at a small alpha
    assert found < 1.95 / len(values) ** 0.5 + rounded_to_one  # 1.95: p = 0.001


def test_chosen_keeps_to_its_probability():
    chosen = Draws(0, 0, 0, EVERYBODY).chosen(0.3).sum().item()
    assert stats.binomtest(chosen, len(EVERYBODY), 0.3).pvalue > SMALLEST_P
    assert Draws(0, 0, 0, EVERYBODY).chosen(1.0).all()
    assert not Draws(0, 0, 0, EVERYBODY).chosen(0.0).any()


def test_draws_of_some_samples_are_those_of_a_batch_of_them():
    rows, index = torch.tensor([5, 0, 3]), torch.arange(100, 106)
    words, emphasis = torch.arange(6) << 16, torch.linspace(0, 1.5, 6)
    whole, alone = Draws(7, 2, words, index), Draws(7, 2, words[rows], index[rows])
    whole.emphasis, alone.emphasis = emphasis, emphasis[rows]
    for draws in (whole, alone):
        draws.chosen(0.5)
        draws.uniform(3)
    part = whole.of(rows)
    assert len(part) == 3
    for count in (2, 40):
        assert torch.equal(part.words(count), alone.words(count))
    assert torch.equal(part.chosen(0.5), alone.chosen(0.5))
    assert torch.equal(part.of(torch.tensor([2])).words(5), alone.words(5)[2:])


def test_the_last_bit_of_a_share_does_not_hang_on_who_else_is_chosen():
    index = torch.arange(50)  # as torch rounds the sigmoid of some places in another way
    every = Draws(0, 0, 0, index).beta(0.4)
    for rows in index.split(3):
        assert torch.equal(Draws(0, 0, 0, index).of(rows).beta(0.4), every[rows])
