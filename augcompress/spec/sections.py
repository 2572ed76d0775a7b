"""The sections of a recipe that are named like the commands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from augcompress.augmentations import AnyAugmentation
from augcompress.component import FilePath, Section
from augcompress.compressions import PruneStep, QuantizeStep
from augcompress.exporters import Exporter, OnnxExporter
from augcompress.models import Model
from augcompress.objectives import Labels, Objective, SoftTargets
from augcompress.training import Training


class Offline(Section):
    """Augmented copies of the training split, written as an `arrays` data set."""

    copies: int = Field(1, ge=1)
    """Augmented copies of each image."""


class AugmentSection(Section):
    """What training images go through, and what `augment` writes of it."""

    pipeline: tuple[AnyAugmentation, ...] = ()
    """Augmentations in order; every training stage uses them unless it has its own `augment`."""
    columns: int = Field(8, ge=1, le=32)
    """Images in a row of the contact sheet."""
    offline: Offline | None = None
    """Write augmented copies too; None writes the contact sheet only."""


class TrainTeacherSection(Section):
    """The network to learn from."""

    model: Model
    """Architecture."""
    weights: FilePath | None = None
    """Start from these weights (.safetensors, .pt, .pth, .th; read without running code)."""
    training: Training | None = Training()
    """How to train; None (`training: null`) takes `weights` as they are."""
    objectives: tuple[Objective, ...] = (Labels(),)
    """Losses, summed by weight."""
    augment: tuple[AnyAugmentation, ...] | None = None
    """Augmentations of this stage; None takes `augment.pipeline`."""

    @model_validator(mode="after")
    def weights_or_training(self) -> TrainTeacherSection:
        """Untrained weights make no teacher."""
        if self.training is None and self.weights is None:
            raise ValueError("training is null and there are no weights; give one of the two")
        return self


class DistillSection(Section):
    """The small network, and what it learns from the teacher."""

    student: Model | None = None
    """Architecture; None goes on with the network of the stage before (a pruned one, say)."""
    weights: FilePath | None = None
    """Start the student from these weights."""
    objectives: tuple[Objective, ...] = (SoftTargets(weight=0.9), Labels(weight=0.1))
    """Losses, summed by weight."""
    teacher_view: Literal["same", "clean"] = "same"
    """Does the teacher see the augmented batch that the student sees, or the clean images?"""
    training: Training = Training()
    """How to train."""
    augment: tuple[AnyAugmentation, ...] | None = None
    """Augmentations of this stage; None takes `augment.pipeline`."""

    @model_validator(mode="after")
    def weights_need_a_student(self) -> DistillSection:
        """Weights belong to an architecture."""
        if self.student is None and self.weights is not None:
            raise ValueError("weights are given and no student to put them into; name its model")
        return self


class PruneSection(Section):
    """Steps that make the network smaller before quantising, with fine-tuning after each."""

    steps: tuple[PruneStep, ...] = Field(min_length=1)
    """Network compressions, in order."""
    objectives: tuple[Objective, ...] = (Labels(),)
    """Losses of the fine-tuning."""
    teacher: Literal["train_teacher", "unpruned"] = "train_teacher"
    """Whom objectives with a teacher follow: the recipe's, or the network before pruning."""
    training: Training | None = Training(epochs=3)
    """Fine-tuning after each round; None prunes only."""
    augment: tuple[AnyAugmentation, ...] | None = None
    """Augmentations of this stage; None takes `augment.pipeline`."""


class QuantizeSection(Section):
    """Steps on the exported graph."""

    steps: tuple[QuantizeStep, ...] = Field(min_length=1)
    """Graph compressions, in order."""
    max_drop: float | None = Field(0.05, ge=0, le=1)
    """Largest fall of validation top-1 below the float network, a fraction; None allows any."""


class TimingSection(Section):
    """Threads and batch sizes to time; the first of each are those that limits speak of."""

    threads: tuple[Annotated[int, Field(ge=1)], ...] = Field((1,), min_length=1)
    """Threads of ONNX Runtime."""
    batches: tuple[Annotated[int, Field(ge=1)], ...] = Field((1,), min_length=1)
    """Images a call; a file of fixed batch size is timed with that."""
    rounds: int = Field(10, ge=2)
    """New processes that each time both files in turns; intervals stand on them.  Where they are
    noisy, up to three times as many are started."""


class CardSection(Section):
    """Lines of the model card that only its author knows."""

    title: str | None = None
    """None takes the recipe's name."""
    license: str | None = None
    """Licence of the model; None: the card says that none is stated."""
    data_license: str | None = None
    """Licence of the training data; None: the card says that none is stated."""
    contact: str | None = None
    """Whom to ask."""
    intended_use: str | None = None
    """What the model is for."""
    out_of_scope: str | None = None
    """What it must not be used for."""


class ExportSection(Section):
    """The files to ship."""

    targets: tuple[Exporter, ...] = Field((OnnxExporter(),), min_length=1, max_length=1)
    """The runtime to export for: one, as there is one exporter."""
    timing: TimingSection = TimingSection()
    """How the file is timed against its baselines."""
    card: CardSection = CardSection()
    """What `MODEL_CARD.md` shall say that the run does not know."""
    keep_baselines: bool = False
    """Keep the float network's and the teacher's fp32 files, `float.onnx` and `teacher.onnx`,
    to time against them on another device."""


class TestTimeAugmentation(Section):
    """Answers averaged over augmented views of each image (Krizhevsky et al. 2012)."""

    __test__ = False  # no test class, whatever its name begins with

    pipeline: tuple[AnyAugmentation, ...] = Field(min_length=1)
    """Augmentations of the views."""
    views: int = Field(8, ge=2)
    """Views an image; the first is the image itself."""

    @field_validator("pipeline")
    @classmethod
    def images_are_not_mixed(
        cls, given: tuple[AnyAugmentation, ...]
    ) -> tuple[AnyAugmentation, ...]:
        """A test image is answered for itself."""
        for one in given:
            if getattr(one, "mixes", False):
                raise ValueError(f"{one.kind} blends test images with each other; leave it out")
        return given


class EvaluateSection(Section):
    """What `evaluate` measures."""

    split: Literal["validation", "test"] = "test"
    """Images to measure on."""
    test_time_augmentation: TestTimeAugmentation | None = None
    """Average over views; None: each image once, as it is."""
    temperature_scaling: bool = True
    """Also NLL and ECE after temperature scaling fitted on validation (Guo et al. 2017)."""


class ForeignSection(Section):
    """How an ONNX file that augcompress did not write wants its images: what is done to pixels in
    [0,1] before its first layer.  It becomes part of every file made from it."""

    file: FilePath | None = None
    """The file that a pipeline without stages that train starts from; None: `--from` names it."""
    scale: float = Field(1.0, gt=0)
    """Multiplied first; 255 for files that take 0 to 255."""
    mean: tuple[float, ...] | None = None
    """Then subtracted, per channel; None: nothing."""
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Then divided by, per channel; None: nothing."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of the axes: images, channels, height, width."""
