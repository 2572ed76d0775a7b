"""The sections of a recipe that are named like the commands."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from augcompress.augmentations import AnyAugmentation
from augcompress.component import FilePath, NotInKey, Plugin, Section
from augcompress.compressions import Compression
from augcompress.datasets import ClassBalance
from augcompress.evidence import StageName
from augcompress.exporters import OnnxExporter, Target
from augcompress.models import Model
from augcompress.objectives import Labels, Objective, SoftTargets
from augcompress.training import AdamW, Optimizer, Training


class Offline(Section):
    """Augmented copies of the training images, as a data set of their own."""

    copies: int = Field(1, ge=1)
    """Augmented copies of each image: as epochs 0, 1, … would show it."""
    format: Literal["npz", "folder"] = "npz"
    """`npz`: one file for data of kind `arrays`; `folder`: PNG files in class folders, for
    `image_folder`.  Both have the validation and test images as they are."""


class MeasureSection(Section):
    """What `augment --measure` trains, and how briefly."""

    candidates: tuple[AnyAugmentation, ...] | None = None
    """Augmentations that are tried beside those of the pipeline, each added at its end.  None
    takes, of those that the pipeline does not have: random_crop, horizontal_flip, affine, elastic,
    gaussian_blur, gaussian_noise, color_jitter, random_erasing, mixup, cutmix, rand_augment and
    trivial_augment, as their papers set them; the crop is padded by an eighth of the image."""
    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), min_length=1)
    """Each variant is trained with each of these seeds; effects are paired by seed."""
    epochs: int = Field(10, ge=1)
    """Epochs of each training.  What helps in a short one may not in a long one, and the other way
    round: augmentation mostly pays when training is long."""
    subset: int = Field(5000, ge=1)
    """Train on at most so many images, every class in its share."""


class Resolution(Section):
    """Smaller images for a part of the training."""

    until: float = Field(gt=0, le=1)
    """Share of the epochs at which this size ends."""
    size: float = Field(gt=0, le=1)
    """Height and width as a share of the data's own."""


class Sampling(Section):
    """Which training images come how often, and how large."""

    class_balance: ClassBalance | None = None
    """What is done about classes of unequal size; None: every image once an epoch."""
    repeat: int = Field(1, ge=1)
    """Each image stands so often in its batch, each time augmented anew (batch augmentation, Hoffer
    et al. 2020, arXiv:1901.09335).  `batch_size` counts all of them, and an epoch has so many times
    the steps; the paper keeps the steps: multiply `batch_size` too."""
    resolution: tuple[Resolution, ...] = ()
    """Sizes in the order in which they are used, small ones first (progressive resizing): the
    batch is scaled down after augmentation, antialiased, for student and teacher.  After the last
    one, and whenever accuracy is measured: the data's own size."""

    @model_validator(mode="after")
    def sizes_follow_each_other(self) -> Sampling:
        """Each size lasts longer than the one before."""
        ends = [0.0, *(one.until for one in self.resolution)]
        for earlier, later in pairwise(ends):
            if later <= earlier:
                raise ValueError(
                    f"resolution: until {later} does not come after {earlier}; put them in order"
                )
        return self


class AugmentSection(Section):
    """What training images go through, and what `augment` writes of it."""

    pipeline: tuple[AnyAugmentation, ...] = ()
    """Augmentations in order; every training stage uses them unless it has its own `augment`."""
    sampling: Sampling = Sampling()
    """Class balance, repeats and image size in training; every training stage uses it unless it has
    its own `sampling`."""
    columns: int = Field(8, ge=1, le=32)
    """Images in a row of the contact sheet."""
    offline: Offline | None = None
    """Write augmented copies too; None writes pictures only."""
    measure: Annotated[MeasureSection, NotInKey()] = MeasureSection()
    """For `augment --measure`."""


class Projection(Section):
    """What the loss of `pretrain` sees of the features: dense, batch norm, ReLU, dense, batch norm
    (SimCLR's nonlinear head with two layers).  It is thrown away after training."""

    hidden: int | None = Field(None, ge=1)
    """Width of the hidden layer; None: as many as the network has features, as in the paper."""
    outputs: int = Field(128, ge=1)
    """Length of what is compared."""


class ViewTraining(Training):
    """How a network learns from pairs of views: `training` with defaults of its own."""

    epochs: int = Field(100, ge=1)
    """Passes over the images."""
    batch_size: int = Field(256, ge=2)
    """Images in an optimiser step, over all processes, each shown as two views; a view is told from
    all others of its step, or, with `accumulation`, of its piece of it."""
    optimizer: Optimizer = AdamW(lr=2e-3, weight_decay=1e-4)
    """Update rule."""

    @model_validator(mode="after")
    def there_is_no_head(self) -> ViewTraining:
        """Settings that treat the head apart from the backbone have no meaning here."""
        asked = {
            "freeze": self.freeze is not None,
            "backbone_lr_scale": self.backbone_lr_scale != 1,
            "batch_norm: frozen": self.batch_norm == "frozen",
            "select_by": self.select_by != "top1",
        }
        for name in (name for name, given in asked.items() if given):
            raise ValueError(f"{name}: pretraining trains no head; leave it out")
        return self


class PretrainSection(Section):
    """Features learned from images without their labels (SimCLR, Chen et al. 2020,
    arXiv:2002.05709): two augmented views of an image are to be more alike than those of different
    images.  The stage whose network it is starts from there.

    The paper trains with LARS and batches of 4096 for up to 1000 epochs; the defaults are for small
    networks and machines: AdamW and batches of 256.
    """

    network: Literal["teacher", "student"] = "teacher"
    """Whose network: `train_teacher.model` or `distill.student`."""
    temperature: float = Field(0.5, gt=0)
    """Divides the cosine similarities: lower ones look at the most similar images only."""
    projection: Projection = Projection()
    """Between the features and the loss."""
    training: ViewTraining = ViewTraining()
    """How to train."""
    augment: tuple[AnyAugmentation, ...] | None = None
    """Augmentations of the views; `augment.pipeline` is not used.  None takes SimCLR's:
    resized_crop (at least a fifth of images below 96 pixels, 8 % of larger ones), horizontal_flip,
    color_jitter for 80 % of the views and, on three channels, grayscale for 20 %; from 96 pixels
    on, gaussian_blur for half of them.  Leave the flip out where a
    mirrored image belongs to another class (digits, letters)."""
    unlabelled: FilePath | None = None
    """Folder with more images, at any depth, that are learned from beside the training images.
    None: the training images alone, those included that `data.subset` and `data.keep` leave out."""

    @field_validator("augment")
    @classmethod
    def views_are_of_one_image(
        cls, given: tuple[AnyAugmentation, ...] | None
    ) -> tuple[AnyAugmentation, ...] | None:
        """A view of two images has no partner, and there are no labels to attack."""
        for one in given or ():
            if getattr(one, "mixes", False):
                raise ValueError(f"{one.kind} blends images with each other; leave it out")
            if getattr(one, "needs_model", False):
                raise ValueError(f"{one.kind} climbs the loss of the labels; leave it out")
        return given

    @model_validator(mode="after")
    def a_view_has_others_to_be_told_from(self) -> PretrainSection:
        """With one image there is nothing to learn."""
        size, pieces = self.training.batch_size, self.training.accumulation
        if size // pieces < 2:
            raise ValueError(
                f"training.accumulation: batches of {size} in {pieces} pieces leave an image no"
                " other to be told from; take fewer pieces, or raise batch_size"
            )
        return self

    def trains(self) -> tuple[StageName, str]:
        """The stage that goes on with the network, and the field that names its model."""
        return ("train_teacher", "model") if self.network == "teacher" else ("distill", "student")


class TrainTeacherSection(Section):
    """The network to learn from."""

    model: Model
    """Architecture."""
    weights: FilePath | None = None
    """Start from these weights (.safetensors, .pt, .pth, .th; read without running code)."""
    training: Training | None = Training()
    """How to train; None (`training: null`) takes `weights` as they are."""
    objectives: tuple[Objective, ...] = Field((Labels(),), min_length=1)
    """Losses, summed by weight."""
    augment: tuple[AnyAugmentation, ...] | None = None
    """Augmentations of this stage; None takes `augment.pipeline`."""
    sampling: Sampling | None = None
    """Class balance, repeats and image size of this stage; None takes `augment.sampling`."""

    @model_validator(mode="after")
    def weights_or_training(self) -> TrainTeacherSection:
        """Untrained weights make no teacher."""
        if self.training is None and self.weights is None:
            raise ValueError("training is null and there are no weights; give one of the two")
        return self


class TeacherSource(Section):
    """Where a teacher comes from: a stage or a file."""

    stage: Literal["train_teacher"] | None = None
    """The stage that makes it."""
    file: FilePath | None = None
    """A checkpoint of ours, weights from elsewhere, or an ONNX file: logits only, and one from
    elsewhere takes its images as `foreign` says."""
    model: Model | None = None
    """Architecture that weights from elsewhere are put into; None: that of `train_teacher`."""

    @model_validator(mode="after")
    def stage_or_file(self) -> TeacherSource:
        """One of the two."""
        if (self.stage is None) == (self.file is None):
            raise ValueError("a teacher has a stage or a file; give one of the two")
        return self

    @property
    def gives_features(self) -> bool:
        """Can objectives read its layers?"""
        return self.file is None or not self.file.endswith(".onnx")


class DistillSection(Section):
    """The small network, and what it learns from the teacher."""

    student: Model | None = None
    """Architecture; None goes on with the network of the stage before (a pruned one, say)."""
    weights: FilePath | None = None
    """Start the student from these weights."""
    objectives: tuple[Objective, ...] = Field(
        (SoftTargets(weight=0.9), Labels(weight=0.1)), min_length=1
    )
    """Losses, summed by weight."""
    teachers: tuple[TeacherSource, ...] | None = Field(None, min_length=1)
    """Networks and graphs to learn from, each with an input size and normalisation of its own.
    `--teacher` stands in for all of them; None: the network of `train_teacher`."""
    teacher_view: Literal["same", "clean"] = "same"
    """Does the teacher see the augmented batch that the student sees, or the clean images?"""
    cache_teachers: bool = False
    """Compute the teachers' logits once for each training image and keep them in memory, as
    float16; needs `teacher_view: clean`, full resolution, and images that are not mixed."""
    training: Training = Training()
    """How to train."""
    augment: tuple[AnyAugmentation, ...] | None = None
    """Augmentations of this stage; None takes `augment.pipeline`."""
    sampling: Sampling | None = None
    """Class balance, repeats and image size of this stage; None takes `augment.sampling`."""

    @model_validator(mode="after")
    def weights_need_a_student(self) -> DistillSection:
        """Weights belong to an architecture."""
        if self.student is None and self.weights is not None:
            raise ValueError("weights are given and no student to put them into; name its model")
        return self

    @model_validator(mode="after")
    def features_need_a_network(self) -> DistillSection:
        """ONNX files and caches give logits only."""
        files = self.cache_teachers or not all(one.gives_features for one in self.teachers or ())
        for position, objective in enumerate(self.objectives):
            if files and reads_teacher_layers(objective):
                raise ValueError(
                    f"objectives.{position}: {objective.kind} reads layers of the teacher, and an"
                    " ONNX file or a cache gives logits only; name a checkpoint as the teacher, or"
                    " leave the objective out"
                )
        return self

    @model_validator(mode="after")
    def cached_teachers_see_clean_images(self) -> DistillSection:
        """Logits of augmented images differ in every epoch."""
        if self.cache_teachers and self.teacher_view != "clean":
            raise ValueError("cache_teachers: needs teacher_view: clean; set it")
        return self


def reads_teacher_layers(objective: Any) -> bool:
    """Does an objective read layers of the teacher?  Imports no plug-in."""
    if isinstance(objective, Plugin):
        return bool(getattr(objective, "teacher_layers", ()))
    return objective.reads_layers or bool(objective.taps().teacher)


class CompressionSection(Section):
    """Steps that compress, and how the network is trained in each of their rounds."""

    steps: tuple[Compression, ...] = Field(min_length=1)
    """Compressions, in order: first those of the network, then those of its graph."""
    objectives: tuple[Objective, ...] = Field((Labels(),), min_length=1)
    """Losses of the training."""
    teacher: Literal["train_teacher", "original"] = "train_teacher"
    """Whom objectives with a teacher follow: the recipe's, or the network that the stage began
    with."""
    training: Training | None = None
    """Training in each round of a step on the network; None compresses only."""
    augment: tuple[AnyAugmentation, ...] | None = None
    """Augmentations of this stage; None takes `augment.pipeline`."""
    sampling: Sampling | None = None
    """Class balance, repeats and image size of this stage; None takes `augment.sampling`."""

    def follows_teacher(self) -> bool:
        """Does the training follow a teacher?"""
        return self.training is not None and any(
            getattr(one, "needs_teacher", False) for one in self.objectives
        )


class PruneSection(CompressionSection):
    """Steps that make the network smaller before quantising, with fine-tuning after each."""

    training: Training | None = Training(epochs=3)
    """Fine-tuning after each round; None prunes only."""


class QuantizeSection(CompressionSection):
    """Steps towards a graph of smaller numbers: on the network, then on its exported graph."""

    max_drop: float | None = Field(0.05, ge=0, le=1)
    """Largest fall of validation top-1 below the network that the stage began with, a fraction;
    None allows any."""


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
    weights_license: dict[str, str] = Field(default_factory=dict)
    """Licence of weights from elsewhere, by the name of their file or model, where these do not say
    it, or you have another: `{resnet50.pth: mit}`.  Others are named as timm, torchvision and the
    cards of Hugging Face say, or as unknown."""
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

    targets: tuple[Target, ...] = Field((OnnxExporter(),), min_length=1)
    """The runtimes to export for.  The first is `onnx`, whose `model.onnx` is what limits, report
    and `predict` mean by the shipped file; each has its own file, parity and measurements."""
    input: Literal["float32", "uint8", "image"] | None = None
    """Short for the `input` of every target that names none; None: theirs."""
    timing: TimingSection = TimingSection()
    """How the file is timed against its baselines."""
    card: CardSection = CardSection()
    """What `MODEL_CARD.md` shall say that the run does not know."""
    keep_baselines: bool = False
    """Keep the float network's and the teacher's fp32 files, `float.onnx` and `teacher.onnx`,
    to time against them on another device."""

    @model_validator(mode="before")
    @classmethod
    def input_is_that_of_the_targets(cls, data: Any) -> Any:
        """What is short for a field of the targets stands there."""
        if not isinstance(data, dict) or data.get("input") is None:
            return data
        targets, short = data.get("targets", [{"kind": "onnx"}]), {"input": data["input"]}
        if isinstance(targets, list | tuple):
            targets = [short | one if isinstance(one, dict) else one for one in targets]
        return {**data, "input": None, "targets": targets}

    @model_validator(mode="after")
    def first_target_is_onnx_and_none_stands_twice(self) -> ExportSection:
        """Two targets of one kind would write the same file."""
        kinds = [one.kind for one in self.targets if one.kind != "plugin"]
        if self.targets[0].kind != "onnx":
            raise ValueError("targets: the first must be onnx; put it before the others")
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"targets: {', '.join(kinds)} name one file twice; leave one out")
        return self

    @property
    def headline(self) -> OnnxExporter:
        """The first target, whose file is `model.onnx`."""
        first = self.targets[0]
        assert isinstance(first, OnnxExporter)
        return first


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
    robustness: tuple[AnyAugmentation, ...] = ()
    """Disturbances, each measured by itself: `robust_top1`, the accuracy under it, and
    `robust_drop`, what is lost on the same images.  `fgsm` and `pgd` attack the network that is
    measured, which must be no graph (`--from` names a stage that leaves a network)."""
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
