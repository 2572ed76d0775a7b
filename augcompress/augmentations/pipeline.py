"""A recipe's list of augmentations, run one after the other; neighbouring geometry at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import cast

from torch import Tensor, nn

from augcompress.augmentations.base import (
    Augmentation,
    AugmentationFacts,
    GeometricWorker,
    Loss,
)
from augcompress.augmentations.draws import Draws, operation_word
from augcompress.augmentations.geometry import Filling, compose, resample
from augcompress.augmentations.plugin import AugmentationPlugin
from augcompress.batch import Batch, Progress

Setting = Augmentation | AugmentationPlugin


class FusedGeometry(nn.Module):
    """Neighbouring geometric workers: their matrices are multiplied and the pixels read once.

    What an earlier step would push out of the image a later one can bring back, and nothing is
    interpolated twice.  All that have a filling have the same one.
    """

    def __init__(self, workers: Sequence[GeometricWorker]) -> None:
        super().__init__()
        self.workers = nn.ModuleList(workers)
        self.filling: Filling = next((w.filling for w in workers if w.filling is not None), None)
        self.whole = all(worker.whole for worker in workers)

    def matrices(self, draws: Sequence[Draws], size: tuple[int, int]) -> Tensor:
        """`(N,2,3)` inverse matrices of all steps together."""
        workers = cast(Iterable[GeometricWorker], self.workers)
        pairs = zip(workers, draws, strict=True)
        return reduce(compose, (worker.matrices(own, size) for worker, own in pairs))

    def forward(
        self, batch: Batch, draws: Sequence[Draws], *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        images = batch.images()
        matrices = self.matrices(draws, (images.shape[-2], images.shape[-1]))
        return batch.with_images(resample(images, matrices, self.filling, whole=self.whole))


class Step(nn.Module):
    """One worker with its place in the recipe's list."""

    def __init__(self, worker: nn.Module) -> None:
        super().__init__()
        self.worker = worker

    def forward(
        self, batch: Batch, draws: Sequence[Draws], *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        return self.worker(batch, draws[0], progress=progress, loss=loss)


class Pipeline(nn.Module):
    """Batch → Batch.  Without steps it is the identity (but for scaling uint8 to [0,1])."""

    def __init__(self, groups: Sequence[tuple[list[int], nn.Module]]) -> None:
        """`groups`: which places in the recipe's list a step stands for, and the step."""
        super().__init__()
        self.positions = [positions for positions, _ in groups]
        self.steps = nn.ModuleList([step for _, step in groups])

    def forward(
        self,
        batch: Batch,
        *,
        seed: int,
        progress: Progress,
        loss: Loss | None = None,
        view: int = 0,
    ) -> Batch:
        """The augmented batch, images in [0,1].

        `view` numbers the versions of the same image in one epoch: each draws for itself.  `loss`
        is what adversarial augmentations climb.
        """
        batch = batch.scaled()
        for positions, step in zip(self.positions, self.steps, strict=True):
            words = [operation_word(position, view) for position in positions]
            draws = [Draws(seed, progress.epoch, word, batch.index) for word in words]
            batch = step(batch, draws, progress=progress, loss=loss)
        return batch


def build_pipeline(settings: Sequence[Setting], facts: AugmentationFacts) -> Pipeline:
    """The pipeline of a recipe's list; an operation draws by its place in that list."""
    return assemble(enumerate(settings), facts)


def assemble(numbered: Iterable[tuple[int, Setting]], facts: AugmentationFacts) -> Pipeline:
    """The pipeline of some of a recipe's operations, each with its place in the recipe's list."""
    groups: list[tuple[list[int], list[nn.Module]]] = []
    for position, setting in numbered:
        worker = setting.build(facts)
        if groups and all(fusible(earlier, worker) for earlier in groups[-1][1]):
            groups[-1][0].append(position)
            groups[-1][1].append(worker)
        else:
            groups.append(([position], [worker]))
    return Pipeline([(positions, _step(workers)) for positions, workers in groups])


def fusible(earlier: nn.Module, later: nn.Module) -> bool:
    """Whether two workers can share a resampling: both geometric, and their fillings agree."""
    if not (isinstance(earlier, GeometricWorker) and isinstance(later, GeometricWorker)):
        return False
    return None in (earlier.filling, later.filling) or earlier.filling == later.filling


def _step(workers: Sequence[nn.Module]) -> nn.Module:
    geometric = [worker for worker in workers if isinstance(worker, GeometricWorker)]
    return FusedGeometry(geometric) if geometric else Step(workers[0])
