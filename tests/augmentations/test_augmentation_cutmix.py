"""CutMix: boxes as torchvision's, and labels that have exactly the share that is seen."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import CutMix as TorchvisionsCutMix

from augcompress.augmentations import build_pipeline
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.mixing import CutMix, patches
from augcompress.batch import Batch, Progress

NOW = Progress()
SMALLEST_P = 1e-3  # the seed is fixed: these tests pass always or never


def numbered(count: int, size: tuple[int, int] = (9, 14)) -> Batch:
    """Image n is n/count everywhere, and its label is class n."""
    values = (torch.arange(count) / count).view(-1, 1, 1, 1)
    return Batch(values.expand(count, 1, *size), torch.eye(count), torch.arange(count))


def mixed(batch: Batch, facts, **settings) -> Batch:
    return build_pipeline([CutMix(**settings)], facts)(batch, seed=0, progress=NOW)


def test_boxes_are_torchvisions(monkeypatch):
    theirs, images = TorchvisionsCutMix(num_classes=2), torch.zeros(1, 3, 24, 37)
    kept = torch.rand(300, generator=torch.Generator().manual_seed(0))
    row, column = (torch.arange(300) * step % length for step, length in ((7, 24), (11, 37)))
    boxes = patches(kept, torch.stack((row, column), 1), (24, 37))
    masks, shares = boxes.masks(), boxes.rest()
    for number in range(300):
        answers = iter([column[number], row[number]])
        monkeypatch.setattr(torch, "randint", lambda *args, answers=answers, **kw: next(answers))
        theirs._dist = _Always(kept[number])
        found = theirs.make_params([images])
        left, top, right, bottom = found["box"]
        expected = torch.zeros(24, 37, dtype=torch.bool)
        expected[top:bottom, left:right] = True
        assert torch.equal(masks[number, 0], expected)
        assert shares[number].item() == pytest.approx(found["lam_adjusted"])


class _Always:
    def __init__(self, value):
        self.value = value

    def sample(self, shape):
        return self.value


def test_labels_have_exactly_the_share_of_pixels_that_is_seen(make_facts):
    batch = numbered(64)
    result = mixed(batch, make_facts(1))
    seen = (result.images() == batch.images()).flatten(1).sum(1) / (9 * 14)
    assert torch.equal(result.targets.diagonal(), seen)
    assert result.targets.diagonal().mean() == seen.mean()
    values = (torch.arange(64) / 64).double()
    means = result.images().double().mean((1, 2, 3))
    torch.testing.assert_close(means, result.targets.double() @ values, rtol=0, atol=1e-6)


def test_what_is_pasted_is_a_box_of_the_partners_pixels_in_their_place(make_batch, make_facts):
    batch = make_batch(30)
    result = mixed(batch, make_facts()).images()
    foreign = (result != batch.images()).any(1)
    for number in torch.nonzero(foreign.any((1, 2))).flatten().tolist():
        rows, columns = foreign[number].any(1), foreign[number].any(0)
        assert torch.equal(foreign[number], rows[:, None] & columns)
        same = (batch.images() == result[number]).all(1)[:, foreign[number]].all(1)
        assert same.sum() == 1


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_the_box_follows_the_beta_distribution(alpha):
    count, draws = 4000, Draws(0, 0, 0, torch.arange(4000))
    middle = torch.full((count, 2), 256)  # nothing is cut off there
    masks = patches(draws.beta(alpha), middle, (512, 512)).masks()
    half = masks[:, 0, 256].sum(1) // 2  # floor(256 sqrt(1 - λ))
    found = torch.bincount(half, minlength=257).cumsum(0) / count
    edges = (torch.arange(1, 258) / 256) ** 2
    expected = torch.from_numpy(stats.beta.cdf(edges.clamp_max(1), alpha, alpha))
    assert (found - expected)[:-1].abs().max() < 1.95 / count**0.5  # 1.95: p = 0.001


def test_clipping_raises_the_share_that_is_kept():
    draws = Draws(0, 0, 0, torch.arange(5000))
    kept, uniform = draws.beta(1.0), draws.uniform(2)
    shares = patches(kept, (uniform * 64).floor(), (64, 64)).rest()
    assert (shares >= kept - 1e-6).all()
    # E[covered] for a side s and an even centre: (s - s²/4)², s² = 1 - λ even in [0,1]
    side = torch.linspace(0, 1, 10_001).sqrt()
    expected = 1 - ((side - side**2 / 4) ** 2).mean().item()
    assert shares.mean().item() == pytest.approx(expected, abs=0.02)


def test_samples_that_are_not_chosen_stay_bit_for_bit(make_facts):
    batch = numbered(400)
    result = mixed(batch, make_facts(1), probability=0.5)
    kept = result.targets.diagonal() == 1
    assert torch.equal(result.images()[kept], batch.images()[kept])
    assert 150 < kept.sum() < 250


def test_a_sample_alone_in_its_batch_is_not_mixed(make_batch, make_facts):
    batch = make_batch(1)
    result = mixed(batch, make_facts())
    assert torch.equal(result.images(), batch.images())
    assert torch.equal(result.targets, batch.targets)


def test_the_share_of_a_sample_does_not_hang_on_its_batch(make_facts):
    batch = numbered(40)
    part = Batch(batch.images()[:9], batch.targets[:9], batch.index[:9])
    whole, alone = (mixed(each, make_facts(1)).targets for each in (batch, part))
    assert torch.equal(whole.diagonal()[:9], alone.diagonal())
