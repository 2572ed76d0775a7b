"""fgsm and pgd: how far they go, what they gain, and what they leave alone."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import nn
from torch.nn import functional as F

from augcompress.augmentations import build_pipeline
from augcompress.augmentations.adversarial import (
    Fgsm,
    Pgd,
    attack,
    lengths,
    project,
    random_changes,
    steepest,
)
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.mixing import Mixup
from augcompress.batch import Batch, Progress
from augcompress.errors import AugcompressError

NOW = Progress(epoch=1)
ROUNDING = 2e-7  # of float32: an image plus epsilon, minus the image
ATTACKS = [
    Fgsm(epsilon=0.1),
    Fgsm(epsilon=1.0, norm="l2"),
    Pgd(epsilon=0.1),
    Pgd(epsilon=1.0, norm="l2"),
    Pgd(epsilon=0.3, steps=3, step_size=0.25, random_start=False),
]
SIZES = {"linf": lambda change: change.abs().flatten(1).amax(1), "l2": lambda c: lengths(c).ravel()}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 5),
    )  # fmt: skip


@pytest.fixture
def loss(network):
    def losses(batch: Batch) -> torch.Tensor:
        return F.cross_entropy(network(batch.images()), batch.targets, reduction="none")

    network.eval()
    return losses


@pytest.fixture(params=ATTACKS, ids=lambda one: f"{one.kind}-{one.norm}-{one.epsilon}")
def setting(request):
    return request.param


def attacked(setting, batch, facts, loss, **more) -> Batch:
    return build_pipeline([setting], facts)(batch, seed=1, progress=NOW, loss=loss, **more)


def test_changes_stay_within_epsilon_and_images_in_range(setting, make_batch, make_facts, loss):
    batch = make_batch()
    result = attacked(setting, batch, make_facts(), loss)
    sizes = SIZES[setting.norm](result.images() - batch.images())
    assert sizes.max() <= setting.epsilon + ROUNDING * (1 if setting.norm == "linf" else 30)
    assert sizes.max() > 0.8 * setting.epsilon
    assert result.images().min() >= 0
    assert result.images().max() <= 1


def test_no_loss_falls_and_the_mean_rises(setting, make_batch, make_facts, loss):
    batch = make_batch(40)
    result = attacked(setting, batch, make_facts(), loss)
    with torch.no_grad():
        before, after = loss(batch), loss(result)
    assert (after >= before).all()
    assert after.mean() > before.mean() + 0.01


def test_more_steps_gain_more(make_batch, make_facts, loss):
    batch = make_batch(40)
    with torch.no_grad():
        means = [
            float(loss(attacked(one, batch, make_facts(), loss)).mean())
            for one in (Pgd(epsilon=0.2, steps=1, step_size=0.2, random_start=False),
                        Pgd(epsilon=0.2, steps=20, random_start=False))
        ]  # fmt: skip
    assert means[1] > means[0]


def test_fgsm_is_one_step_along_the_sign_of_the_gradient(make_batch, make_facts, loss):
    batch = make_batch(6)
    images = batch.images().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(batch.with_images(images)).sum(), images)
    expected = (batch.images() + 0.05 * gradient.sign()).clamp(0, 1)
    with torch.no_grad():
        rose = loss(batch.with_images(expected)) > loss(batch)
    assert rose.any()
    result = attacked(Fgsm(epsilon=0.05), batch, make_facts(), loss).images()
    torch.testing.assert_close(result[rose], expected[rose], rtol=0, atol=ROUNDING)
    assert torch.equal(result[~rose], batch.images()[~rose])


def test_one_pgd_step_from_the_image_is_fgsm(make_batch, make_facts, loss):
    batch, one = make_batch(), Pgd(epsilon=0.1, steps=1, step_size=0.1, random_start=False)
    results = [attacked(each, batch, make_facts(), loss) for each in (one, Fgsm(epsilon=0.1))]
    assert torch.equal(results[0].images(), results[1].images())


def test_a_linear_loss_is_climbed_to_the_corner_of_the_ball():
    images = torch.full((2, 1, 2, 2), 0.5)
    slope = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    batch = Batch(images, None, torch.arange(2))
    climbed = attack(
        batch, images, lambda seen: (seen.images() * slope).sum((1, 2, 3)),
        epsilon=0.25, steps=9, size=0.05, norm="linf",
    )  # fmt: skip
    torch.testing.assert_close(climbed, images + 0.25 * slope.sign())
    climbed = attack(
        batch, images, lambda seen: (seen.images() * slope).sum((1, 2, 3)),
        epsilon=0.25, steps=9, size=0.05, norm="l2",
    )  # fmt: skip
    torch.testing.assert_close(climbed, images + 0.25 * slope / math.sqrt(14))


def test_projection_and_steepest_direction_by_hand():
    change = torch.tensor([[3.0, -4.0, 0.0, 0.0], [0.3, 0.0, 0.0, 0.0]]).view(2, 1, 2, 2)
    expected = torch.tensor([[0.6, -0.8, 0, 0], [0.3, 0, 0, 0]])
    torch.testing.assert_close(project(change, 1, "l2").flatten(1), expected)
    assert project(change, 1, "linf").flatten(1).tolist()[0] == [1, -1, 0, 0]
    assert steepest(change, "linf").flatten(1).tolist()[0] == [1, -1, 0, 0]
    assert lengths(steepest(change, "l2")).flatten().tolist() == pytest.approx([1, 1])
    assert not steepest(torch.zeros(1, 1, 2, 2), "l2").any()


def test_random_starts_are_even_in_the_ball():
    like = torch.zeros(4000, 1, 1, 3)
    cube = random_changes(Draws(0, 0, 0, torch.arange(4000)), like, 0.2, "linf")
    assert stats.kstest(cube.flatten().numpy(), "uniform", args=(-0.2, 0.4)).pvalue > 1e-3
    ball = random_changes(Draws(0, 0, 0, torch.arange(4000)), like, 0.2, "l2").view(-1, 3)
    share = (ball.norm(dim=1) / 0.2) ** 3  # of the volume inside
    assert stats.kstest(share.numpy(), "uniform").pvalue > 1e-3
    height = ball[:, 0] / ball.norm(dim=1)  # even, by Archimedes
    assert stats.kstest(height.numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3


def test_gradients_and_modes_of_the_network_are_left_alone(
    setting, network, make_batch, make_facts, loss
):
    marks = [torch.full_like(p, 7.0) for p in network.parameters()]
    for parameter, mark in zip(network.parameters(), marks, strict=True):
        parameter.grad = mark.clone()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    attacked(setting, make_batch(), make_facts(), loss)
    for parameter, mark in zip(network.parameters(), marks, strict=True):
        assert torch.equal(parameter.grad, mark)
        assert parameter.requires_grad
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])


def test_works_where_gradients_are_off(setting, make_batch, make_facts, loss):
    expected = attacked(setting, make_batch(), make_facts(), loss).images()
    with torch.no_grad():
        result = attacked(setting, make_batch(), make_facts(), loss).images()
    assert torch.equal(result, expected)
    assert not result.requires_grad


def test_only_chosen_samples_are_attacked(make_batch, make_facts, loss):
    seen, batch = [], make_batch(40)

    def spy(part: Batch) -> torch.Tensor:
        seen.append(part.index.tolist())
        return loss(part)

    result = attacked(Pgd(epsilon=0.1, probability=0.3), batch, make_facts(), spy)
    chosen = Draws(1, NOW.epoch, 0, batch.index).chosen(0.3)
    assert seen == [batch.index[chosen].tolist()] * 9  # seven steps, the image and the last point
    assert torch.equal(result.images()[~chosen], batch.images()[~chosen])
    assert (result.images() != batch.images()).flatten(1).any(1)[chosen].float().mean() > 0.9


def test_an_epsilon_of_zero_is_the_identity(make_batch, make_facts, loss):
    batch = make_batch()
    for setting in (Fgsm(epsilon=0), Pgd(epsilon=0), Pgd(epsilon=0, norm="l2")):
        assert torch.equal(attacked(setting, batch, make_facts(), loss).images(), batch.images())


def test_starts_differ_by_view_and_samples_repeat_in_any_batch(make_batch, make_facts, loss):
    batch, pgd = make_batch(), Pgd(epsilon=0.1, steps=1, step_size=1e-6)
    first = attacked(pgd, batch, make_facts(), loss).images()
    assert not torch.equal(first, attacked(pgd, batch, make_facts(), loss, view=1).images())
    part = attacked(pgd, batch.take(torch.tensor([3, 7])), make_facts(), loss).images()
    torch.testing.assert_close(part, first[[3, 7]], rtol=0, atol=3e-6)


def test_soft_labels_of_mixup_are_those_that_are_attacked(make_batch, make_facts, loss):
    batch = make_batch()
    mixed = build_pipeline([Mixup(alpha=1)], make_facts())(batch, seed=1, progress=NOW)
    both = build_pipeline([Mixup(alpha=1), Fgsm(epsilon=0.1)], make_facts())
    result = both(batch, seed=1, progress=NOW, loss=loss)
    assert torch.equal(result.targets, mixed.targets)
    with torch.no_grad():
        assert (loss(result) >= loss(mixed)).all()
    assert (result.images() - mixed.images()).abs().max() <= 0.1 + ROUNDING


def test_without_a_network_the_place_in_the_recipe_is_named(make_batch, make_facts):
    pipeline = build_pipeline([Mixup(), Pgd()], make_facts())
    with pytest.raises(AugcompressError, match=r"^augment\.pipeline\.1: pgd climbs the loss of a"):
        pipeline(make_batch(), seed=1, progress=NOW)
    elsewhere = build_pipeline([Fgsm()], make_facts(), "distill.augment")
    with pytest.raises(AugcompressError, match=r"^distill\.augment\.0: fgsm climbs"):
        elsewhere(make_batch(), seed=1, progress=NOW)


@pytest.mark.parametrize(
    "wrong, match",
    [
        ({"epsilon": 1.5}, "less than or equal to 1"),
        ({"epsilon": -0.1}, "greater than or equal to 0"),
        ({"norm": "l1"}, "'linf' or 'l2'"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"step_size": 0}, "greater than 0"),
    ],
)
def test_strengths_out_of_range_are_refused(wrong, match):
    with pytest.raises(ValidationError, match=match):
        Pgd(**wrong)
