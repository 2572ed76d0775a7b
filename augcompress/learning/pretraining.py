"""Pretraining: a network learns from pairs of views which images are the same, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from augcompress.augmentations import (
    AnyAugmentation,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    ResizedCrop,
    build_pipeline,
)
from augcompress.batch import Batch, Progress
from augcompress.datasets import Batches, Joined, Split, read_unlabelled
from augcompress.errors import AugcompressError
from augcompress.learning.fitting import engine_for, how_it_went, remarks
from augcompress.models import place
from augcompress.networks import Network, headless
from augcompress.objectives import nt_xent
from augcompress.running import EVALUATION_BATCH, SMOKE_IMAGES, Context
from augcompress.spec import PretrainSection, Projection
from augcompress.training import Learner, Score, fit

WHERE = "pretrain"
LARGE_SIDE = 96
"""Images of this side or more are augmented as ImageNet's, smaller ones as CIFAR's."""
SCORED_IMAGES = 2048
"""Validation images, at most, whose views choose the epoch."""


class PretrainLearner(Learner):
    """A network without its head, and the projection, which learn to tell images apart."""

    def __init__(self, student: nn.Module, width: int, section: PretrainSection, context: Context):
        """`student` gives features `(N,width)`."""
        super().__init__()
        place(student, context.device)
        self.student = student
        self.projection = projection(width, section.projection).to(context.device)
        self.temperature, self.context = section.temperature, context
        given = section.augment
        settings = simclr(context.data.channels, context.data.size) if given is None else given
        facts = context.augmentation_facts
        self.augment = build_pipeline(settings, facts, f"{WHERE}.augment")
        self.progress = Progress()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """NT-Xent over the views of all processes: the gradient is that of the whole batch."""
        gather = self.context.processes.gather
        first, second = self.projected(batch, self.progress)
        return {"nt_xent": self.loss(gather(first), gather(second))}

    def projected(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        """What is compared, `(N,outputs)` in fp32, of two views of each image."""
        with torch.no_grad(), torch.autocast(batch.index.device.type, enabled=False):
            views = torch.cat([self.view(batch, number, progress) for number in (0, 1)])
        both = self.projection(self.student(views)).float()  # (2N, outputs)
        return both[: len(batch)], both[len(batch) :]

    def view(self, clean: Batch, number: int, progress: Progress) -> Tensor:
        """One version of each image; what it draws depends on its number."""
        context = self.context
        seen = self.augment(clean, seed=context.spec.seed, progress=progress, view=number)
        return context.ready(seen).images()

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """NT-Xent, in full precision."""
        with torch.autocast(first.device.type, enabled=False):
            return nt_xent(first, second, self.temperature)

    def score(self) -> Score:
        """NT-Xent on validation, whose views are the same after every epoch."""
        context = self.context
        value = context.processes.broadcast(self.validation_loss)
        return Score(value, name="nt_xent", better="lower")

    @torch.inference_mode()
    def validation_loss(self) -> float:
        """Mean over equal batches; an incomplete last one, with fewer negatives, is left
        out."""
        losses: list[float] = []
        for batch in self.context.evaluation_batches("validation", SCORED_IMAGES):
            if not losses or len(batch) == EVALUATION_BATCH:
                pair = self.projected(batch.to(self.context.device), Progress())
                losses.append(float(self.loss(*pair)))
        return sum(losses) / len(losses)

    def networks(self) -> Sequence[nn.Module]:
        return (self.student,)

    def on_progress(self, progress: Progress) -> None:
        self.progress = progress


def projection(width: int, settings: Projection) -> nn.Sequential:
    """Features `(N,width)` to what is compared, `(N,outputs)`: dense, batch norm, ReLU, dense,
    batch norm."""
    hidden = settings.hidden or width
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, settings.outputs, bias=False),
        nn.BatchNorm1d(settings.outputs),
    )


def simclr(channels: int, size: tuple[int, int]) -> tuple[AnyAugmentation, ...]:
    """SimCLR's augmentations (Chen et al. 2020, arXiv:2002.05709, appendices A and B.9): those for
    ImageNet on large images, those for CIFAR-10 on small ones.

    Windows of small images are a fifth of the area or more, as 8 % of it (the paper) are nine
    pixels square at 32.  Grey images skip what is about colour.
    """
    large = min(size) >= LARGE_SIDE
    strong = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    jitter = ColorJitter(probability=0.8, **(strong if large else {}))
    found: list[AnyAugmentation] = [ResizedCrop(scale=(0.08 if large else 0.2, 1.0))]
    found += [HorizontalFlip(), jitter]
    found += [Grayscale()] if channels == 3 else []
    found += [GaussianBlur()] if large else []
    return tuple(found)


def pretrain(
    context: Context, network: Network, section: PretrainSection, folder: Path
) -> list[str]:
    """Teach a network's layers below the head, in place; says how it went.

    Raises AugcompressError when there are too few images.
    """
    check_validation(context)
    engine = engine_for(context, WHERE, section.training, folder)
    batches = view_batches(context, section)
    told = remarks(context, network.module)
    with headless(network, WHERE) as width:
        learner = PretrainLearner(network.module, width, section, context)
        result = fit(learner, batches, section.training, engine)
    best = f"{how_it_went(result, section.training, engine)}, NT-Xent {-result.best_score:.3f}"
    return [f"{len(batches.split)} images without labels", best, *told]


def check_validation(context: Context) -> None:
    """Raises AugcompressError when validation has fewer than two images."""
    if len(context.split("validation")) < 2:
        raise AugcompressError(
            "data.validation: one image has no other to be told from, so no epoch can be chosen;"
            " raise it"
        )


def view_batches(context: Context, section: PretrainSection) -> Batches:
    """This process's batches of all images that there are to learn from."""
    training, processes = section.training, context.processes
    return Batches(
        unlabelled(context, section),
        classes=None,
        batch_size=training.batch_size,
        shuffle=True,
        seed=context.spec.seed,
        drop_last=True,
        rank=processes.rank,
        world=processes.world,
        where=f"{WHERE}.training",
    )


def unlabelled(context: Context, section: PretrainSection) -> Split:
    """The training images, however few of their labels are used, and those of the folder; with
    `--smoke`, a sliver of them."""
    data, parts = context.data, [context.data.unlabelled]
    if section.unlabelled is not None:
        images, notes = read_unlabelled(Path(section.unlabelled), data.resizing, context.stored)
        parts.append(images)
        for note in notes:
            context.reporter.message(note)
    whole = Joined.of(*parts)
    return whole.take(whole.index[:: -(-len(whole) // SMOKE_IMAGES)]) if context.smoke else whole
