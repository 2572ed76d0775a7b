"""Random numbers by the pixel, Poisson counts, and the noise made of them."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from augcompress.augmentations import build_pipeline
from augcompress.augmentations import pixel_draws as blocks
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.noise import (
    GaussianNoise,
    ImpulseNoise,
    SaltPepperNoise,
    ShotNoise,
    SpeckleNoise,
)
from augcompress.augmentations.pixel_draws import pixel_normal, pixel_uniform, pixel_words, scramble
from augcompress.augmentations.poisson import few, poisson
from augcompress.augmentations.recording import RecordedDraws
from augcompress.batch import Batch, Progress

NOW = Progress()
SMALLEST_P = 1e-3  # the seed is fixed: these tests pass always or never


def draws(samples: int, start: int = 0) -> Draws:
    return Draws(0, 0, 0, torch.arange(start, start + samples))


def keys(samples: int) -> Tensor:
    return draws(samples).words(2)


def scrambled_by_hand(word: int) -> int:
    word ^= word >> 16
    word = (word * 0x7FEB352D) % 2**32
    word ^= word >> 15
    word = (word * 0x846CA68B) % 2**32
    return word ^ (word >> 16)


def test_words_are_those_of_unsigned_arithmetic():
    words = [0, 1, 77, 0x7FFFFFFF, 0x80000000, 0xDEADBEEF, 0xFFFFFFFF]
    found = scramble(torch.tensor(words).to(torch.int32)).tolist()
    assert [word % 2**32 for word in found] == [scrambled_by_hand(word) for word in words]


def test_pixel_words_are_keyed_by_xor_and_sum():
    pairs = [[3, 0xFFFFFFF0], [0x90000001, 5]]
    found = pixel_words(torch.tensor(pairs), 3)
    expected = [
        [scrambled_by_hand(((scrambled_by_hand(n) ^ one) + two) % 2**32) for n in range(3)]
        for one, two in pairs
    ]
    assert (found.long() % 2**32).tolist() == expected


def test_a_sample_has_the_same_noise_in_any_batch():
    whole, part = keys(50), Draws(0, 0, 0, torch.tensor([7, 31])).words(2)
    for make in (pixel_uniform, pixel_normal):
        assert torch.equal(make(whole, 33)[[7, 31]], make(part, 33))


def test_successive_keys_and_samples_and_epochs_differ():
    same, later = draws(3), Draws(0, 1, 0, torch.arange(3))
    values = [pixel_uniform(each.words(2), 8) for each in (same, same, later)]
    assert torch.cat(values).unique().numel() == 72


def test_pixel_uniform_is_even_within_and_across_samples():
    values = pixel_uniform(keys(400), 500)
    assert values.min() >= 0
    assert values.max() < 1
    for part in (values, values[0], values[:, 0]):
        assert stats.kstest(part.flatten().numpy(), "uniform").pvalue > SMALLEST_P
    counts = torch.histc(values, 1000, 0, 1).numpy()
    assert stats.chisquare(counts).pvalue > SMALLEST_P


def test_low_bits_are_even_too():
    words = pixel_words(keys(400), 500)
    for shift in (0, 8, 16, 24):
        counts = torch.bincount(((words >> shift) & 255).flatten().long(), minlength=256)
        assert stats.chisquare(counts.numpy()).pvalue > SMALLEST_P


def test_neighbouring_pixels_and_samples_are_uncorrelated():
    values = pixel_uniform(keys(400), 500)
    pairs = [(values[:, 1:], values[:, :-1]), (values[1:], values[:-1])]
    pairs += [(values[:, 32:], values[:, :-32]), (values[:, :250], values[:, 250:])]
    for one, other in pairs:
        assert stats.pearsonr(one.flatten().numpy(), other.flatten().numpy()).pvalue > SMALLEST_P


def test_keys_that_differ_in_one_bit_give_unrelated_words():
    bits = 1 << torch.arange(32)
    near = torch.cat((torch.stack((bits, 0 * bits), 1), torch.stack((0 * bits, bits), 1)))
    base = pixel_words(torch.zeros(1, 2, dtype=torch.int64), 2000)
    flips = pixel_words(near, 2000) ^ base  # (64, 2000)
    share = torch.stack([((flips >> bit) & 1).float().mean(1) for bit in range(32)])
    assert (share - 0.5).abs().max() < 5 * 0.5 / 2000**0.5


@pytest.mark.parametrize("count", [1, 500, 501])
def test_pixel_normal_is_normal(count):
    values = pixel_normal(keys(400), count)
    assert values.shape == (400, count)
    assert stats.kstest(values.flatten().numpy(), "norm").pvalue > SMALLEST_P


@pytest.mark.parametrize("mean", [0.02, 0.5, 2.0, 3.99, 4.0, 7.0, 30.0, 400.0])
def test_poisson_is_poisson(mean):
    same = draws(100)
    uniform, normal = pixel_uniform(same.words(2), 200), pixel_normal(same.words(2), 200)
    counts = poisson(torch.full_like(uniform, mean), uniform, normal).flatten().long()
    low, high = (
        int(stats.poisson.ppf(p, mean)) for p in (1e-3, 1 - 1e-3)
    )  # beyond: taken together
    found = torch.bincount(counts.clamp(low, high) - low, minlength=high - low + 1)
    below = [0, *stats.poisson.cdf(range(low, high), mean), 1]
    expected = torch.tensor(below).diff() * len(counts)
    assert stats.chisquare(found.numpy(), expected.numpy()).pvalue > SMALLEST_P


def test_nothing_comes_of_a_mean_of_nothing():
    same = draws(10)
    uniform, normal = pixel_uniform(same.words(2), 200), pixel_normal(same.words(2), 200)
    assert poisson(torch.zeros_like(uniform), uniform, normal).count_nonzero() == 0


def test_few_counts_how_many_cumulative_probabilities_are_reached():
    below = stats.poisson.cdf([0, 1, 2, 3], 1.5)
    uniform = torch.tensor([0.0, *(below - 1e-4), *(below + 1e-4)], dtype=torch.float32)
    assert few(torch.full((9,), 1.5), uniform).tolist() == [0, 0, 1, 2, 3, 1, 2, 3, 4]


def grey(samples: int, level: float, size: int = 20, channels: int = 1) -> Tensor:
    return torch.full((samples, channels, size, size), level)


def noisy(setting, images: Tensor) -> Tensor:
    return setting.change(images, draws(len(images)))


@pytest.mark.parametrize("level", [0.3, 0.6])
def test_gaussian_noise_has_its_moments(level):
    noise = noisy(GaussianNoise(std=(0.05, 0.05)), grey(200, level)) - level
    values = noise.flatten().double().numpy()
    assert stats.kstest(values / 0.05, "norm").pvalue > SMALLEST_P
    assert noise.mean().abs() < 4 * 0.05 / len(values) ** 0.5
    assert noise.std().item() == pytest.approx(0.05, rel=4 / (2 * len(values)) ** 0.5)


@pytest.mark.parametrize("level", [0.2, 0.5])
def test_speckle_noise_grows_with_the_value(level):
    noise = noisy(SpeckleNoise(std=(0.1, 0.1)), grey(200, level)) / level - 1
    assert stats.kstest(noise.flatten().numpy() / 0.1, "norm").pvalue > SMALLEST_P


@pytest.mark.parametrize("level", [0.03, 0.2, 0.5])
@pytest.mark.parametrize("photons", [20.0, 40.0, 500.0])
def test_shot_noise_keeps_the_mean_and_has_the_variance_mean_over_photons(level, photons):
    values = noisy(ShotNoise(photons=(photons, photons)), grey(500, level)).double()
    count, variance = values.numel(), level / photons
    # at worst (20 photons, level 0.5) 0.16 % of the values stop at white
    tolerance = 4 * (variance / count) ** 0.5 + 1e-4
    assert values.mean().item() == pytest.approx(level, abs=tolerance)
    assert values.var().item() == pytest.approx(variance, rel=0.03)


def test_salt_and_pepper_hit_their_shares_and_whole_pixels():
    images = grey(200, 0.5, channels=3)
    found = noisy(SaltPepperNoise(amount=(0.1, 0.1), salt=0.25), images)
    assert torch.equal(found[:, 0], found[:, 1])
    white, black = ((found[:, 0] == value).sum().item() for value in (1, 0))
    total = found[:, 0].numel()
    assert (found[:, 0] == 0.5).sum() == total - white - black
    assert stats.binomtest(white + black, total, 0.1).pvalue > SMALLEST_P
    assert stats.binomtest(white, white + black, 0.25).pvalue > SMALLEST_P


def test_impulses_are_even_and_hit_channels_apart():
    images = grey(200, 2.0, channels=3)
    found = noisy(ImpulseNoise(amount=(0.1, 0.1)), images)
    hit = found != 2
    assert stats.binomtest(hit.sum().item(), hit.numel(), 0.1).pvalue > SMALLEST_P
    assert stats.kstest(found[hit].numpy(), "uniform").pvalue > SMALLEST_P
    together = (hit[:, 0] & hit[:, 1]).sum().item()
    assert stats.binomtest(together, hit[:, 0].numel(), 0.01).pvalue > SMALLEST_P


@pytest.mark.parametrize(
    "setting, name, ends",
    [
        (GaussianNoise(std=(0.1, 0.3)), "std", (0.1, 0.3)),
        (SpeckleNoise(std=(0.1, 0.3)), "std", (0.1, 0.3)),
        (SaltPepperNoise(amount=(0.1, 0.3)), "amount", (0.1, 0.3)),
        (ImpulseNoise(amount=(0.1, 0.3)), "amount", (0.1, 0.3)),
        (ShotNoise(photons=(10.0, 1000.0)), "photons", (1.0, 3.0)),
    ],
)
def test_strengths_are_drawn_as_documented(setting, name, ends):
    recorded = RecordedDraws(0, 0, 0, torch.arange(20_000))
    setting.change(grey(20_000, 0.5, 1), recorded)
    values = recorded.told[name].double()
    values = values.log10() if name == "photons" else values
    even = stats.uniform(ends[0], ends[1] - ends[0])
    assert stats.kstest(values.numpy(), even.cdf).pvalue > SMALLEST_P


@pytest.mark.parametrize(
    "setting",
    [
        GaussianNoise(std=(0, 0)),
        SpeckleNoise(std=(0, 0)),
        SaltPepperNoise(amount=(0, 0)),
        ImpulseNoise(amount=(0, 0)),
    ],
)
def test_no_noise_keeps_every_bit(setting, make_batch):
    images = make_batch().images()
    assert torch.equal(noisy(setting, images), images)


def test_a_million_photons_are_next_to_no_noise(make_batch):
    images = make_batch().images()
    lost = noisy(ShotNoise(photons=(1e6, 1e6)), images) - images
    assert lost.abs().max() < 6 * 1e-3  # six standard deviations at white


def test_samples_alike_get_noise_of_their_own(make_facts):
    batch = Batch(grey(6, 0.5), None, torch.arange(6))
    for setting in (GaussianNoise(std=(0.1, 0.1)), ShotNoise(), SaltPepperNoise(amount=(0.5, 0.5))):
        result = build_pipeline([setting], make_facts(1))(batch, seed=0, progress=NOW)
        assert result.images().flatten(1).unique(dim=0).shape[0] == 6


@pytest.mark.parametrize("setting", [GaussianNoise(), ShotNoise(), SaltPepperNoise()])
def test_a_block_after_the_other_gives_what_all_at_once_gives(setting, make_batch, monkeypatch):
    images = make_batch(11).images()
    at_once = noisy(setting, images)
    monkeypatch.setattr(blocks, "_VALUES", 3 * images[0].numel())
    assert torch.equal(noisy(setting, images), at_once)
