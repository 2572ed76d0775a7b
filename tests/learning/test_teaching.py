"""What an objective sees of a batch in training: mixed targets, frozen teachers, in order."""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from end_to_end import TINY
from torch import Tensor, nn

import augcompress
from augcompress.batch import Batch, ImageInput
from augcompress.errors import AugcompressError
from augcompress.learning import TrainingSetup
from augcompress.learning.student import StudentLearner
from augcompress.models import ModelFacts, SmallCNN, build_classifier
from augcompress.networks import Network, NetworkTeacher, Teacher, save_network
from augcompress.objectives import ObjectiveSettings, Taps, View
from augcompress.running import Context
from augcompress.spec import validate
from augcompress.storage import RunDir
from augcompress.training import Processes, Score

run = partial(augcompress.run, allow_chance=True)  # an epoch on a few images will do

LAYER = "blocks.0"


class Look(nn.Module):
    """Keeps what it is shown."""

    def __init__(self, facts) -> None:
        super().__init__()
        self.facts, self.views = facts, list[View]()

    def forward(self, view: View) -> Tensor:
        self.views.append(view)
        difference = view.student_logits.sum()
        return difference - sum(logits.sum() for logits in view.teacher_logits)


class Looking(ObjectiveSettings):
    """An objective that looks at everything."""

    needs_teacher: ClassVar[bool] = True
    kind: Literal["look"] = "look"

    def taps(self) -> Taps:
        return Taps(student=(LAYER,), teacher=(LAYER,))

    def build(self, facts) -> nn.Module:
        return Look(facts)


class Doubled(Processes):
    """Two processes that have the same rows."""

    def gather(self, tensor: Tensor) -> Tensor:
        return torch.cat((tensor, tensor))


def module(seed: int, widths: tuple[int, ...] = (4, 8)) -> nn.Module:
    torch.manual_seed(seed)
    found = build_classifier(
        SmallCNN(widths=widths), ModelFacts(10, ImageInput(1, (8, 8))), [0.3], [0.4]
    )
    found.train()(torch.rand(64, 1, 8, 8))  # running statistics that are not those of any batch
    return found


def learner_of(
    folder: Path, pipeline=(), teachers=(), view: str = "same", seed: int = 0, processes=None
) -> tuple[StudentLearner, Context]:
    recipe = {**copy.deepcopy(TINY), "seed": seed, "augment": {"pipeline": list(pipeline)}}
    context = Context(validate(recipe), RunDir(folder))
    if processes is not None:
        context.processes = processes
    augmentations = context.spec.augmentations("distill")
    setup = TrainingSetup("distill", (Looking(),), augmentations, teachers, view)
    return StudentLearner(module(9), setup, context, lambda network: Score(0.0)), context


def seen(learner: StudentLearner, batch: Batch) -> View:
    """What the objective is shown in training."""
    learner.train()
    sum(learner(batch).values()).backward()
    (look,) = learner.objectives.values()
    return look.views[-1]


def batch_of(context: Context, size: int = 16) -> Batch:
    return next(context.training_batches(size).epoch(0))


def test_mixed_images_have_mixed_targets(tmp_path):
    learner, context = learner_of(tmp_path, [{"kind": "mixup", "alpha": 1.0}], [teacher(1)])
    batch = batch_of(context)
    found, mixed = seen(learner, batch), learner.augmented(batch.scaled())
    assert torch.equal(found.targets, mixed.targets)
    assert not torch.equal(found.targets, batch.targets)


def teacher(seed: int, widths: tuple[int, ...] = (4, 8)) -> NetworkTeacher:
    return NetworkTeacher(module(seed, widths))


def test_a_teacher_stays_as_it_is(tmp_path):
    network = module(1)
    before = copy.deepcopy(network).eval()
    learner, context = learner_of(tmp_path, (), [NetworkTeacher(network)])
    batch = batch_of(context)
    logits = seen(learner, batch).teacher_logits[0]
    with torch.no_grad():
        torch.testing.assert_close(logits, before(batch.scaled().images()))
    assert not logits.requires_grad
    assert not any(parameter.requires_grad for parameter in network.parameters())
    for name, value in before.state_dict().items():
        assert torch.equal(network.state_dict()[name], value)
    assert not [name for name in learner.state_dict() if name.startswith("teacher")]


@pytest.mark.parametrize("view", ["same", "clean"])
def test_a_teacher_sees_the_view_that_the_recipe_says(view, tmp_path):
    affine = {"kind": "affine", "degrees": 45}
    learner, context = learner_of(tmp_path, [affine], [teacher(1)], view)
    batch, shown = batch_of(context).scaled(), []
    for network in (learner.student, learner.teachers[0].network):
        network.register_forward_pre_hook(lambda _, given: shown.append(given[0].clone()))
    seen(learner, batch)
    augmented = learner.augmented(batch).images()
    assert torch.equal(shown[0], augmented)
    assert torch.equal(shown[1], augmented if view == "same" else batch.images())
    assert not torch.equal(augmented, batch.images())


def test_augmentation_is_drawn_with_the_recipes_seed(tmp_path):
    noise = {"kind": "affine", "degrees": 45}
    drawn = [learner_of(tmp_path, [noise], [teacher(1)], seed=seed)[0] for seed in (0, 0, 1)]
    batch = Batch(torch.rand(8, 1, 8, 8), torch.eye(10)[:8], torch.arange(8))
    first, again, other = (learner.augmented(batch).images() for learner in drawn)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_objectives_gather_from_all_processes(tmp_path):
    learner, context = learner_of(tmp_path, (), [teacher(1)], processes=Doubled())
    found = seen(learner, batch_of(context))
    assert len(found.gather(found.index)) == 2 * len(found.index)


def test_each_teacher_has_its_own_logits_features_and_shapes(tmp_path):
    teachers = [teacher(1, (4, 8)), teacher(2, (6, 8))]
    learner, context = learner_of(tmp_path, (), teachers)
    batch = batch_of(context)
    found = seen(learner, batch)
    (look,) = learner.objectives.values()
    assert [shapes[LAYER][0] for shapes in look.facts.teacher_shapes] == [4, 6]
    assert len(found.teacher_logits) == len(found.teacher_features) == 2
    for place, one in enumerate(teachers):
        logits, features = one(batch.scaled(), [LAYER])
        torch.testing.assert_close(found.teacher_logits[place], logits)
        torch.testing.assert_close(found.teacher_features[place][LAYER], features[LAYER])


class LogitsOnly(Teacher):
    """As an ONNX file is."""

    def __call__(self, batch, layers=()):
        return torch.zeros(len(batch), 10), {}


def test_an_objective_that_reads_layers_refuses_logits_alone(tmp_path):
    where = r"^distill\.objectives\.0: look reads layers of the teacher, and an ONNX file or a"
    with pytest.raises(AugcompressError, match=where):
        learner_of(tmp_path, (), [teacher(1), LogitsOnly()])


@pytest.mark.parametrize("kind", ["attention", "similarity", "relational"])
def test_an_objective_that_names_no_layers_learns_from_those_that_match(tmp_path, kind):
    recipe = copy.deepcopy(TINY) | {"pipeline": ["train_teacher", "distill"]}
    recipe["train_teacher"]["model"]["widths"] = [4, 8, 16]
    recipe["distill"]["objectives"] = [{"kind": kind, "weight": 100.0}, {"kind": "labels"}]
    found = run(validate(recipe), tmp_path / "run")
    lines = (Path(found.run_dir) / "distill/log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["losses"][kind] for line in lines]
    assert losses[-1] < losses[0]


def test_the_stage_gives_teachers_in_the_recipes_order(tmp_path, monkeypatch):
    """Their shares are given in that order."""
    facts, classes = ModelFacts(10, ImageInput(1, (8, 8))), tuple(str(digit) for digit in range(10))
    model, files = SmallCNN(widths=(4, 8)), []
    for seed in range(3):
        network = Network(module(seed).eval(), model, facts, classes, {})
        files.append({"file": str(save_network(network, tmp_path / str(seed)))})
    order = [2, 0, 1]
    recipe = copy.deepcopy(TINY) | {"train_teacher": None, "pipeline": ["distill"]}
    shares = {"kind": "soft_targets", "teacher_weights": [6, 3, 1]}
    recipe["distill"] |= {"teachers": [files[i] for i in order], "objectives": [shares]}
    losses = []

    def look(context, network, setup, training, folder):
        learner = StudentLearner(network.module, setup, context, lambda network: Score(0.0))
        batch = batch_of(context)
        learner.eval()
        view_of = learner.augmented(batch.scaled()).images()
        with torch.no_grad():
            losses.append(learner(batch)["soft_targets"])
            logits = [module(seed).eval()(view_of) for seed in order]
            student = network.module(view_of)
        probabilities = [(each / 4).softmax(1) for each in logits]
        mean = sum(s * p for s, p in zip((0.6, 0.3, 0.1), probabilities, strict=True))
        losses.append(
            16 * nn.functional.kl_div((student / 4).log_softmax(1), mean, reduction="batchmean")
        )
        return []

    monkeypatch.setattr("augcompress.stages.distill.train", look)
    assert status(recipe, tmp_path) == "done"
    torch.testing.assert_close(*losses)
    assert status(recipe, tmp_path) == "cached"
    recipe["distill"]["teachers"].reverse()
    assert status(recipe, tmp_path) == "done"


def status(recipe: dict, folder: Path) -> str:
    return run(validate(recipe), folder / "runs" / "one").stages[-1].status
