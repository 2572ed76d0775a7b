"""`Data.ready` is the only way of a batch to a network or a file."""

from __future__ import annotations

import copy
from dataclasses import fields

import pytest
import torch
from end_to_end import TINY

from augcompress import scoring
from augcompress.datasets import Data
from augcompress.evidence.predictions import Predictions
from augcompress.learning.linear_probe import features
from augcompress.learning.pretraining import PretrainLearner
from augcompress.learning.shrinking import make_probe
from augcompress.learning.student import StudentLearner, TrainingSetup
from augcompress.networks.opening import new_network
from augcompress.networks.teachers import NetworkTeacher
from augcompress.objectives import Labels, SoftTargets
from augcompress.running.context import Context
from augcompress.scoring.scores import loss_of
from augcompress.shipping import layer_costs
from augcompress.shipping.verification import calibration, split_sample
from augcompress.spec import validate
from augcompress.storage.run_directory import RunDir
from augcompress.training import Engine, Score


class Blackened(Data):
    """Data whose ready images are black."""

    def ready(self, batch, device):
        ready = super().ready(batch, device)
        return ready.with_images(torch.zeros_like(ready.images()))


@pytest.fixture
def context(tmp_path) -> Context:
    """The tiny recipe on blackened data."""
    recipe = {**copy.deepcopy(TINY), "pretrain": {}}
    context = Context(validate(recipe), RunDir(tmp_path))
    own = {each.name: getattr(context.data, each.name) for each in fields(Data)}
    context.__dict__["data"] = Blackened(**own)
    return context


@pytest.fixture
def network(context):
    """A network that refuses what the camera saw: images must be of one colour."""
    network = new_network(context, context.spec.train_teacher.model, None, "distill")
    network.module.register_forward_pre_hook(check_plain)
    return network


def check_plain(module, inputs) -> None:
    """Black, as ready images are here, or grey, as examples to follow a network's steps with."""
    assert inputs[0].min() == inputs[0].max(), "this batch did not come by Data.ready"


def batch_of(context: Context):
    return next(context.training_batches(32).epoch(0))


@pytest.mark.parametrize("teacher_view", ["same", "clean"])
def test_student_and_teacher_learn_from_ready_batches(context, network, teacher_view):
    teacher = NetworkTeacher(copy.deepcopy(network.module))
    objectives = (Labels(), SoftTargets())
    pipeline = context.spec.augment.pipeline
    setup = TrainingSetup("distill", objectives, pipeline, [teacher], teacher_view)
    learner = StudentLearner(network.module, setup, context, lambda network: Score(0.0))
    assert learner(batch_of(context))["labels"] > 0
    assert learner.loss(batch_of(context)).shape == (32,)


def test_views_of_pretraining_are_ready(context, network):
    learner = PretrainLearner(network.module, 10, context.spec.pretrain, context)
    assert learner(batch_of(context))["nt_xent"] > 0


def test_networks_and_files_predict_from_ready_batches(context, network):
    scorer = scoring.accuracy_scorer(context, Engine(context.device))
    assert scorer(network.module).n == len(context.data.validation)
    function = scoring.predict_with_network(network.module, context)
    assert isinstance(scoring.predict(function, context, "validation"), Predictions)
    assert loss_of(network.module, context.ready)(batch_of(context)).shape == (32,)
    assert len(features(context, network, "validation", "here"))
    setup = TrainingSetup("prune", [Labels()], ())
    probe = make_probe(context, setup, Engine(context.device), network.module)
    assert probe.loss(network.module, batch_of(context)) > 0


def test_examples_calibration_and_parity_are_ready(context, network):
    assert not context.example().any()
    assert not next(calibration(context)).any()
    assert not split_sample(context, "validation", 8).images.any()
    assert layer_costs(context, network, {})[0].macs > 0
