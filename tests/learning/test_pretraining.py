"""Learning without labels: what is compared, what is left of it, what the probe finds."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from augcompress.batch import Batch, Progress
from augcompress.errors import AugcompressError
from augcompress.learning.linear_probe import features, linear_probe, logistic
from augcompress.learning.pretraining import (
    PretrainLearner,
    pretrain,
    simclr,
    unlabelled,
    view_batches,
)
from augcompress.networks.heads import dense_head, headless
from augcompress.networks.opening import new_network
from augcompress.objectives import nt_xent
from augcompress.running.context import Context
from augcompress.spec import validate
from augcompress.storage.run_directory import RunDir
from augcompress.training import Training
from augcompress.training.processes import Processes

SMALL = {"kind": "small_cnn", "widths": [8, 16]}


def context_of(folder, data=None, **pretrain) -> Context:
    short = {"epochs": 2, "batch_size": 64, "precision": "fp32"}
    recipe = {
        "version": 1,
        "name": "views",
        "data": {"kind": "digits", "validation": 0.1, **(data or {})},
        "pretrain": {"training": short, **pretrain},
        "train_teacher": {"model": SMALL},
    }
    return Context(validate(recipe), RunDir(folder))


def learner_of(context: Context) -> PretrainLearner:
    network = new_network(context, context.spec.train_teacher.model, None, "pretrain")
    name, head = dense_head(network, "pretrain")
    network.module.set_submodule(name, nn.Identity())
    return PretrainLearner(network.module, head.in_features, context.spec.pretrain, context)


def batch_of(context: Context, size: int = 32) -> Batch:
    return next(view_batches(context, context.spec.pretrain).epoch(0)).take(torch.arange(size))


def test_views_differ_and_are_drawn_again_alike(tmp_path):
    context = context_of(tmp_path)
    learner, batch = learner_of(context), batch_of(context).scaled()
    first, second = (learner.view(batch, number, Progress()) for number in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, learner.view(batch, 0, Progress()))
    rows = torch.tensor([5, 3])
    assert torch.equal(first[rows], learner.view(batch.take(rows), 0, Progress()))


def test_loss_is_nt_xent_of_the_projections(tmp_path):
    context = context_of(tmp_path)
    learner, batch = learner_of(context).eval(), batch_of(context)
    first, second = learner.projected(batch, Progress())
    assert first.shape == second.shape == (32, 128)
    assert learner(batch)["nt_xent"].item() == pytest.approx(nt_xent(first, second, 0.5).item())


def test_loss_asks_the_other_processes(tmp_path):
    context = context_of(tmp_path)
    learner, batch = learner_of(context).eval(), batch_of(context)
    whole = learner(batch)["nt_xent"].item()
    mine, theirs = batch.take(torch.arange(16)), batch.take(torch.arange(16, 32))
    others = iter(learner.projected(theirs, Progress()))
    world = Processes(0, 2)
    object.__setattr__(world, "gather", lambda own: torch.cat((own, next(others))))
    context.processes = world
    assert learner(mine)["nt_xent"].item() == pytest.approx(whole, rel=1e-5)


def test_gradient_reaches_all_layers_and_the_projection(tmp_path):
    context = context_of(tmp_path)
    learner = learner_of(context)
    learner(batch_of(context))["nt_xent"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learner.parameters())


def test_score_is_the_same_whenever_it_is_asked_and_changes_nothing(tmp_path):
    context = context_of(tmp_path)
    learner = learner_of(context).eval()
    before = copy.deepcopy(learner.state_dict())
    first = learner.score()
    learner.on_progress(Progress(epoch=3, step=9, fraction=0.5, epochs_done=0.5))
    assert learner.score() == first
    assert (first.name, first.better) == ("nt_xent", "lower")
    assert first.n is None
    assert 0 < first.value < np.log(2 * 144 - 1) + 1
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


def test_network_comes_back_with_its_head_and_without_the_projection(tmp_path):
    context = context_of(tmp_path / "run")
    network = new_network(context, context.spec.train_teacher.model, None, "pretrain")
    before = copy.deepcopy(network.module.state_dict())
    notes = pretrain(context, network, context.spec.pretrain, tmp_path)
    after = network.module.state_dict()
    assert list(after) == list(before)
    assert torch.equal(after["body.linear.weight"], before["body.linear.weight"])
    assert not torch.equal(after["body.blocks.0.conv.weight"], before["body.blocks.0.conv.weight"])
    assert notes[0] == "1294 images without labels"
    assert "best epoch" in notes[1]


def test_labels_are_never_looked_at(tmp_path):
    """Other labels, the same weights to the bit; also of images that `subset` leaves out."""
    found = []
    for name in ("true", "permuted"):
        context = context_of(tmp_path / name, data={"subset": 100})
        data = context.data
        if name == "permuted":
            part = data.unlabelled
            other = np.random.default_rng(0).permutation(part.all_labels)
            context.data = replace(
                data,
                **{
                    n: replace(getattr(data, n), all_labels=other)
                    for n in ("unlabelled", "validation")
                },
            )
        network = new_network(context, context.spec.train_teacher.model, None, "pretrain")
        notes = pretrain(context, network, context.spec.pretrain, tmp_path / name)
        found.append((network.module.state_dict(), notes))
    assert found[0][1] == found[1][1]
    assert all(torch.equal(value, found[1][0][name]) for name, value in found[0][0].items())


def test_all_training_images_are_learned_from_whatever_the_subset(tmp_path):
    context = context_of(tmp_path, data={"subset": 100})
    assert len(unlabelled(context, context.spec.pretrain)) == 1294
    context.smoke = True
    assert len(unlabelled(context, context.spec.pretrain)) == 259  # every fifth


def test_default_views_fit_the_images():
    kinds = [[one.kind for one in simclr(*facts)] for facts in ((1, (28, 28)), (3, (224, 224)))]
    assert kinds[0] == ["resized_crop", "horizontal_flip", "color_jitter"]
    assert kinds[1] == [*kinds[0], "grayscale", "gaussian_blur"]
    assert simclr(3, (32, 32))[0].scale == (0.2, 1.0)


def test_features_are_what_the_head_is_given(tmp_path):
    context = context_of(tmp_path)
    network = new_network(context, context.spec.train_teacher.model, None, "pretrain")
    found = features(context, network, "validation", "pretrain")
    assert found.shape == (144, 16)
    _, head = dense_head(network, "pretrain")
    images = torch.cat([b.scaled().images() for b in context.evaluation_batches("validation")])
    with torch.no_grad():
        logits = network.module.eval()(images)
        torch.testing.assert_close(head(torch.from_numpy(found).float()), logits)


def test_a_head_comes_back_after_an_error(tmp_path):
    context = context_of(tmp_path)
    network = new_network(context, context.spec.train_teacher.model, None, "pretrain")
    head = dense_head(network, "pretrain")[1]
    with pytest.raises(RuntimeError, match="stop"), headless(network, "pretrain"):
        raise RuntimeError("stop")
    assert dense_head(network, "pretrain")[1] is head


def test_network_without_a_dense_head_is_refused(tmp_path):
    context = context_of(tmp_path)
    network = new_network(context, context.spec.train_teacher.model, None, "pretrain")
    maps, convolution = nn.Unflatten(1, (16, 1, 1)), nn.Conv2d(16, 10, 1)
    message = "pretrain: small_cnn has no dense layer as its head, .* come from body.linear.1;"
    network.module.set_submodule("body.linear", nn.Sequential(maps, convolution, nn.Flatten()))
    with pytest.raises(AugcompressError, match=message):
        dense_head(network, "pretrain")


@pytest.mark.parametrize(
    "last",
    [
        nn.Linear(16, 10, bias=False),
        nn.Sequential(nn.Linear(16, 10), nn.BatchNorm1d(10)),
        nn.Sequential(nn.Linear(16, 10), nn.Hardtanh(-0.01, 0.01)),
    ],
)
def test_a_head_that_is_more_or_less_than_a_dense_layer_is_refused(last, tmp_path):
    context = context_of(tmp_path)
    network = new_network(context, context.spec.train_teacher.model, None, "pretrain")
    network.module.set_submodule("body.linear", last)
    with pytest.raises(AugcompressError, match="has no dense layer as its head"):
        dense_head(network, "pretrain")


def test_probe_becomes_the_head_and_leaves_the_rest(tmp_path):
    context = context_of(tmp_path, data={"subset": 200})
    network = new_network(context, context.spec.train_teacher.model, None, "pretrain")
    before = copy.deepcopy(network.module.state_dict())
    probe = linear_probe(context, network, "pretrain")
    changed = {n for n, v in network.module.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"body.linear.weight", "body.linear.bias"}
    assert probe.labels == 200
    assert probe.predictions.right.mean() > 0.5  # a random network's features tell most digits


def test_logistic_regression_undoes_its_standardisation():
    """Scaled and shifted features give the same answers."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    plain = random.normal(size=(120, 4)) + 2 * np.eye(4)[labels]
    scale, shift = np.array([1, 100, 0.01, 5]), np.array([0, 3, -50, 1000])
    weight, bias = logistic(plain, labels, 3, 0.1)
    other_weight, other_bias = logistic(plain * scale + shift, labels, 3, 0.1)
    scores, others = plain @ weight.T + bias, (plain * scale + shift) @ other_weight.T + other_bias
    np.testing.assert_allclose(scores, others, atol=1e-3)
    assert (scores.argmax(1) == labels).mean() > 0.85


def test_logistic_regression_of_two_classes_and_of_a_class_without_images():
    features = np.array([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    weight, bias = logistic(features, np.array([0, 0, 1, 1]), 2, 1.0)
    assert (features @ weight.T + bias).argmax(1).tolist() == [0, 0, 1, 1]
    assert not weight[:, 1].any()  # the same for all
    weight, bias = logistic(features, np.array([0, 0, 2, 2]), 3, 1.0)
    assert (features @ weight.T + bias).argmax(1).tolist() == [0, 0, 2, 2]
    assert not weight[1].any()


def test_one_validation_image_cannot_choose_an_epoch(tmp_path):
    context = context_of(tmp_path)
    data = context.data
    context.data = replace(data, validation=data.validation.take(np.arange(1)))
    network = new_network(context, context.spec.train_teacher.model, None, "pretrain")
    with pytest.raises(AugcompressError, match=r"data\.validation: one image has no other"):
        pretrain(context, network, context.spec.pretrain, tmp_path)


def test_batch_larger_than_the_images_is_refused(tmp_path):
    long = Training(batch_size=2000).model_dump(mode="json")
    context = context_of(tmp_path, training=long)
    with pytest.raises(
        AugcompressError, match=r"pretrain\.training\.batch_size: 2000 is more than the 1294"
    ):
        view_batches(context, context.spec.pretrain)
