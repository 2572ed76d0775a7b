"""What policies draw: every operation, strength, direction and weight as often as documented."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from augcompress.augmentations import AnyAugmentation, Draws
from augcompress.augmentations.augmix import AugMix, weighted
from augcompress.augmentations.auto_augment import AutoAugment
from augcompress.augmentations.policy import RandAugment, TrivialAugment
from augcompress.augmentations.policy_magnitudes import operations
from augcompress.augmentations.policy_operations import OPERATIONS
from augcompress.augmentations.recording import Recorder
from augcompress.batch import Batch, Progress
from augcompress.component import key_of

EVERYBODY = torch.arange(20_000)
SMALLEST_P = 1e-3  # the seed is fixed: these tests pass always or never
SIZE = (32, 32)


def plan_of(setting):
    return setting.plan(Draws(4, 0, 0, EVERYBODY), SIZE)


def are_even(values: torch.Tensor) -> bool:
    """Whether all whole numbers that occur are equally frequent."""
    _, counts = values.unique(return_counts=True)
    return stats.chisquare(counts.numpy()).pvalue > SMALLEST_P


def test_rand_augment_draws_pairs_of_operations_evenly():
    plan = plan_of(RandAugment())
    pairs = plan.operation[:, 0] * len(OPERATIONS) + plan.operation[:, 1]
    assert len(pairs.unique()) == 14 * 14
    assert are_even(pairs)


def test_rand_augment_has_one_strength_in_both_directions():
    plan = plan_of(RandAugment(magnitude=15))
    rotated = plan.magnitude[plan.operation == OPERATIONS.index("Rotate")]
    assert rotated.abs().unique().tolist() == [15.0]
    assert stats.binomtest(int((rotated > 0).sum()), len(rotated)).pvalue > SMALLEST_P
    assert plan.magnitude[plan.operation == OPERATIONS.index("Posterize")].unique().tolist() == [6]
    assert plan.magnitude[plan.operation == OPERATIONS.index("Solarize")].unique().tolist() == [0.5]


def test_trivial_augment_draws_operation_and_strength_evenly():
    plan = plan_of(TrivialAugment())
    assert plan.operation.shape[1] == 1
    assert len(plan.operation.unique()) == 14
    assert are_even(plan.operation)
    level = plan.magnitude[plan.operation == OPERATIONS.index("Brightness")] / 0.99 * 30
    assert len(level.abs().round().unique()) == 31
    assert are_even(level.abs().round())


def test_sub_policies_are_drawn_evenly_and_their_steps_as_often_as_they_say():
    policy = [[["Rotate", 0.3, 9]], [["Invert", 1.0, None], ["Solarize", 0.6, 4]]]
    plan = plan_of(AutoAugment(policy=policy))
    first, second = plan.operation.unbind(1)
    inverted = first == OPERATIONS.index("Invert")
    rotated = first == OPERATIONS.index("Rotate")
    solarized = second == OPERATIONS.index("Solarize")
    for happened, share in ((inverted, 0.5), (rotated, 0.15), (solarized, 0.3)):
        found = stats.binomtest(int(happened.sum()), len(EVERYBODY), share)
        assert found.pvalue > SMALLEST_P
    assert inverted[solarized].all()
    assert sorted(plan.magnitude[rotated, 0].unique().tolist()) == [-30, 30]
    assert set(plan.operation.unique().tolist()) == {
        OPERATIONS.index(name) for name in ("Identity", "Rotate", "Invert", "Solarize")
    }


def test_augmix_draws_depth_operation_and_strength_evenly():
    plan = plan_of(AugMix(severity=4, mixture_width=2))
    assert plan.operation.shape == (2 * len(EVERYBODY), 3)
    depth = (plan.operation > 0).sum(1)
    assert depth.unique().tolist() == [1, 2, 3]
    assert are_even(depth)
    assert len(plan.operation[:, 0].unique()) == 13
    assert are_even(plan.operation[:, 0])
    sheared = plan.magnitude[plan.operation == OPERATIONS.index("ShearX")] / 0.3 * 9
    assert sheared.abs().round().unique().tolist() == [0, 1, 2, 3]
    assert are_even(sheared.abs().round())


def test_augmix_can_fix_its_depth_and_leave_operations_out():
    plan = plan_of(AugMix(chain_depth=2, all_ops=False))
    names = {OPERATIONS[place] for place in plan.operation.unique().tolist()}
    assert plan.operation.shape[1] == 2
    assert names.isdisjoint({"Identity", "Brightness", "Color", "Contrast", "Sharpness"})
    assert len(names) == 9


@pytest.mark.parametrize("alpha, width", [(1.0, 3), (0.3, 4), (5.0, 2)])
def test_augmix_weights_are_dirichlet_and_beta(alpha, width):
    setting = AugMix(alpha=alpha, mixture_width=width)
    weights, share = setting.weights(Draws(1, 0, 0, EVERYBODY))
    torch.testing.assert_close(weights.sum(1), torch.ones(len(EVERYBODY)))
    for column in weights.unbind(1):
        marginal = stats.beta(alpha, (width - 1) * alpha)
        assert stats.kstest(column.double().numpy(), marginal.cdf).pvalue > SMALLEST_P
    assert stats.kstest(share.double().numpy(), stats.beta(alpha, alpha).cdf).pvalue > SMALLEST_P
    # variance of a difference of two weights; the marginals alone do not fix it
    wanted = 2 * (1 / width) * (1 - 1 / width) / (width * alpha + 1) * (1 + 1 / (width - 1))
    assert (weights[:, 0] - weights[:, 1]).var().item() == pytest.approx(wanted, rel=0.05)


def test_augmix_blends_by_its_weights():
    images = torch.tensor([0.2, 0.8]).view(2, 1, 1, 1)
    chains = torch.tensor([0.0, 1.0, 0.5, 0.1]).view(4, 1, 1, 1)
    weights = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    found = weighted(images, chains, weights, torch.tensor([0.4, 1.0])).flatten()
    assert found.tolist() == pytest.approx([0.6 * 0.2 + 0.4 * 0.75, 0.3])


def test_augmix_of_operations_that_do_nothing_is_the_image(make_batch, make_facts, monkeypatch):
    batch = make_batch(20)
    setting = AugMix(severity=1)  # level 0 alone
    worker = setting.build(make_facts())
    nothing = setting.plan(Draws(0, 0, 0, batch.index), SIZE).where(torch.zeros(1, 1).bool())
    monkeypatch.setattr(AugMix, "plan", lambda self, draws, size: nothing)
    result = worker(batch, Draws(0, 0, 0, batch.index), progress=Progress()).images()
    torch.testing.assert_close(result, batch.images(), rtol=0, atol=1e-6)  # weights sum to 1


def test_told_parameters_name_what_was_done(make_batch, make_facts):
    batch, recorder = make_batch(6), Recorder()
    draws = recorder(0, 0, 0, batch.index)
    RandAugment(probability=0.5).build(make_facts())(batch, draws, progress=Progress())
    (rows,) = zip(*recorder.rows(), strict=True)
    named = ["chosen", "magnitude_1", "magnitude_2", "operation_1", "operation_2"]
    assert {tuple(sorted(row)) for row in rows} == {("chosen",), tuple(named)}
    taken = [row for row in rows if row["chosen"]]
    assert {row["operation_1"] for row in taken} <= set(operations("rand_augment"))
    assert all(isinstance(row["magnitude_1"], float) for row in taken)


def read(policy, folder=None):
    """As a recipe in `folder` is read."""
    raw = {"kind": "auto_augment", "policy": policy}
    return TypeAdapter(AnyAugmentation).validate_python(raw, context={"base": folder})


@pytest.mark.parametrize("name", ["found.yaml", "found.json"])
def test_a_policy_from_a_file_becomes_part_of_the_settings(name, tmp_path):
    file = tmp_path / name
    file.write_text('[[["ShearX", 0.9, 4], ["Invert", 0.2, null]], [["Equalize", 1]]]')
    setting = read(name, str(tmp_path))
    assert setting.policy == ((("ShearX", 0.9, 4), ("Invert", 0.2, None)), (("Equalize", 1, None),))
    key = key_of(setting)
    again = read(json.loads(setting.model_dump_json())["policy"])  # as from a run's spec.json
    file.write_text('[[["ShearX", 0.9, 5]]]')
    assert again == setting
    assert key_of(again) == key
    assert key_of(read(str(file))) != key


@pytest.mark.parametrize(
    "policy, match",
    [
        ("cifar11", "unknown policy 'cifar11'; known: cifar10, imagenet, svhn, or a .yaml file"),
        ("nowhere.yaml", "cannot be read .No such file"),
        ([], "error, is empty; give at least 1"),
        ([[["Invert", 0.1, None]], []], "error, sub-policy 2: is empty; give at least 1"),
        ([[["Twist", 0.1, 3]]], "error, sub-policy 1, step 1: unknown operation 'Twist'; known: S"),
        ([[["Rotate", 0.1]]], "error, sub-policy 1, step 1: Rotate has no level; give one"),
        ([[["Rotate", 1.1, 3]]], "sub-policy 1, step 1: 1.1 is too large; give at most 1"),
        ([[["Rotate", 0.5, 10]]], "sub-policy 1, step 1: 10 is too large; give less than 10"),
        (3, "is no list of sub-policies; write one, such as"),
    ],
)
def test_wrong_policies_are_refused_when_read(policy, match):
    with pytest.raises(ValidationError, match=match):
        read(policy)


def test_a_file_that_is_no_policy_is_refused_by_name(tmp_path):
    (tmp_path / "found.yaml").write_text("a: [1")
    with pytest.raises(ValidationError, match=r"found\.yaml: line 1 is not YAML: expected"):
        read("found.yaml", str(tmp_path))
    (tmp_path / "found.yaml").write_text("- - [Rotate, 0.1]")
    with pytest.raises(ValidationError, match=r"found\.yaml: .* step 1: Rotate has no level"):
        read("found.yaml", str(tmp_path))


def test_probability_keeps_the_rest_bit_for_bit(make_batch, make_facts):
    batch = make_batch(200)
    for setting in (RandAugment(probability=0.25), AugMix(probability=0.25)):
        worker = setting.build(make_facts())
        result = worker(batch, Draws(0, 0, 0, batch.index), progress=Progress()).images()
        chosen = Draws(0, 0, 0, batch.index).chosen(0.25)
        assert torch.equal(result[~chosen], batch.images()[~chosen])
        assert (result[chosen] != batch.images()[chosen]).flatten(1).any(1).float().mean() > 0.8


def test_a_policy_works_on_channels_last_images(make_batch, make_facts):
    batch = make_batch(64)
    last = Batch(batch.images().contiguous(memory_format=torch.channels_last), None, batch.index)
    for setting in (RandAugment(), AugMix()):
        worker = setting.build(make_facts())
        plain, other = (
            worker(given, Draws(0, 0, 0, batch.index), progress=Progress()).images()
            for given in (batch, last)
        )
        torch.testing.assert_close(other, plain, rtol=0, atol=1e-5)
