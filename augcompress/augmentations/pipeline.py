"""A recipe's list of augmentations, run one after the other; neighbouring geometry at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn

from augcompress.augmentations.base import Augmentation, AugmentationFacts, GeometricWorker, Loss
from augcompress.augmentations.draws import Draws, operation_word
from augcompress.augmentations.geometry import compose, held_by_bytes, size_of
from augcompress.augmentations.plugin import AugmentationPlugin
from augcompress.augmentations.rows import move_rows
from augcompress.batch import Batch, Progress
from augcompress.errors import AugcompressError

Setting = Augmentation | AugmentationPlugin
DrawsMaker = Callable[[int, int, int | Tensor, Tensor], Draws]
"""Makes the draws of an operation from seed, epoch, operation and index."""
Numbered = Sequence[tuple[int, Augmentation]]
"""Operations, each with its place in the recipe's list."""


class FusedGeometry(nn.Module):
    """Neighbouring geometric workers: their matrices are multiplied and the pixels read once.

    What an earlier step would push out of the image a later one can bring back, and nothing is
    interpolated twice.  All that have a filling have the same one; its noise is the first one's.
    Where pixels are only copied, images may still be uint8.
    """

    def __init__(self, workers: Sequence[GeometricWorker]) -> None:
        super().__init__()
        self.workers = nn.ModuleList(workers)
        filled = (place for place, each in enumerate(workers) if each.filling is not None)
        self.filler = next(filled, 0)
        self.filling = workers[self.filler].filling
        self.whole = all(worker.whole for worker in workers)
        self.takes_bytes = self.whole and held_by_bytes(self.filling)

    def matrices(self, draws: Sequence[Draws], size: tuple[int, int]) -> Tensor:
        """`(N,2,3)` or `(N,3,3)` inverse matrices of all steps together."""
        workers = cast(Iterable[GeometricWorker], self.workers)
        pairs = zip(workers, draws, strict=True)
        return reduce(compose, (worker.matrices(own, size) for worker, own in pairs))

    def forward(
        self, batch: Batch, draws: Sequence[Draws], *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        matrices = self.matrices(draws, size_of(batch.images()))
        return move_rows(batch, matrices, self.filling, draws[self.filler], whole=self.whole)


class SingleWorker(nn.Module):
    """One worker with its place in the recipe's list."""

    takes_bytes = False

    def __init__(self, worker: nn.Module) -> None:
        super().__init__()
        self.worker = worker

    def forward(
        self, batch: Batch, draws: Sequence[Draws], *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        return self.worker(batch, draws[0], progress=progress, loss=loss)


Group = tuple[list[int], nn.Module]
"""The places in the recipe's list that a step stands for, and the step."""


class Pipeline(nn.Module):
    """Batch → Batch.  Without steps it is the identity (but for scaling uint8 to [0,1]).

    With ramps, the steps are built anew when the share of finished epochs has changed; `steps` are
    those at the set strengths.
    """

    def __init__(
        self, numbered: Numbered, facts: AugmentationFacts, where: str = "augment.pipeline"
    ) -> None:
        """`where`: the list's name in the recipe, for messages."""
        super().__init__()
        self.numbered, self.where = numbered, where
        ramped = any(setting.ramp is not None for _, setting in numbered)
        self.facts = facts if ramped else None  # they may hold what cannot be sent elsewhere
        groups = grouped(numbered, facts)
        self.positions = [positions for positions, _ in groups]
        self.steps = nn.ModuleList([step for _, step in groups])
        self._ramped: tuple[float, list[Group]] | None = None  # not a part of the state

    def forward(
        self,
        batch: Batch,
        *,
        seed: int,
        progress: Progress,
        loss: Loss | None = None,
        view: int = 0,
        emphasis: Tensor | None = None,
        draws_maker: DrawsMaker = Draws,
    ) -> Batch:
        """The augmented batch, images in [0,1].

        `view` numbers the versions of the same image in one epoch, as the batch's own `view` does:
        each draws for itself.  `loss` is what adversarial augmentations climb; `emphasis` `(N,)`
        multiplies the probabilities of each sample.  `draws_maker` puts a recorder in place of
        `Draws`.

        Raises AugcompressError when an operation needs a loss and there is none.
        """
        self._check(loss)
        batch = not_ours(batch)
        views = view if batch.view is None else batch.view + view
        for positions, step in self._groups(progress, batch.index.device):
            words = [operation_word(position, views) for position in positions]
            draws = [draws_maker(seed, progress.epoch, word, batch.index) for word in words]
            for each in draws:
                each.emphasis = emphasis
            batch = batch if step.takes_bytes else made_float(batch)
            batch = step(batch, draws, progress=progress, loss=loss)
        return not_ours(batch.scaled())

    def _groups(self, progress: Progress, device: torch.device) -> Iterable[Group]:
        if self.facts is None:
            return zip(self.positions, self.steps, strict=True)
        done = progress.epochs_done
        if self._ramped is None or self._ramped[0] != done:
            now = [(position, setting.at(done)) for position, setting in self.numbered]
            groups = [(places, step.to(device)) for places, step in grouped(now, self.facts)]
            self._ramped = done, groups
        return self._ramped[1]

    def _check(self, loss: Loss | None) -> None:
        for position, setting in self.numbered:
            if loss is None and setting.needs_model:
                raise AugcompressError(
                    f"{self.where}.{position}: {setting.kind} climbs the loss of a network, and"
                    " there is none here; keep it for the `augment` of a stage that trains, or for"
                    " evaluate.robustness"
                )


def build_pipeline(
    settings: Sequence[Setting], facts: AugmentationFacts, where: str = "augment.pipeline"
) -> Pipeline:
    """The pipeline of a recipe's list; an operation draws by its place in that list."""
    return assemble(enumerate(settings), facts, where)


def assemble(
    numbered: Iterable[tuple[int, Setting]],
    facts: AugmentationFacts,
    where: str = "augment.pipeline",
) -> Pipeline:
    """The pipeline of some of a recipe's operations, each with its place in the recipe's list."""
    return Pipeline([(position, own(setting)) for position, setting in numbered], facts, where)


def own(setting: Setting) -> Augmentation:
    """The settings themselves, also where a plug-in names them."""
    if isinstance(setting, AugmentationPlugin):
        return setting.component(Augmentation)
    return setting


def fitting(settings: Iterable[Setting]) -> dict[str, Setting]:
    """Those of the settings that are fitted to the training images, by `fit_name`."""
    return {mine.fit_name: setting for setting in settings if (mine := own(setting)).fits}


def grouped(numbered: Numbered, facts: AugmentationFacts) -> list[Group]:
    """The steps of these operations: neighbours that can be fused are one."""
    groups: list[tuple[list[int], list[nn.Module]]] = []
    for position, setting in numbered:
        worker = setting.build(facts)
        if groups and all(fusible(earlier, worker) for earlier in groups[-1][1]):
            groups[-1][0].append(position)
            groups[-1][1].append(worker)
        else:
            groups.append(([position], [worker]))
    return [(positions, _step(workers)) for positions, workers in groups]


def not_ours(batch: Batch) -> Batch:
    """With images that are somebody else's."""
    return replace(batch, disposable=False) if batch.disposable else batch


def made_float(batch: Batch) -> Batch:
    """With images in [0,1]; where they were not, these are the pipeline's own."""
    scaled = batch.scaled()
    return batch if scaled is batch else replace(scaled, disposable=True)


def fusible(earlier: nn.Module, later: nn.Module) -> bool:
    """Whether two workers can share a resampling: both geometric, and their fillings agree."""
    if not (isinstance(earlier, GeometricWorker) and isinstance(later, GeometricWorker)):
        return False
    return None in (earlier.filling, later.filling) or earlier.filling == later.filling


def _step(workers: Sequence[nn.Module]) -> nn.Module:
    geometric = [worker for worker in workers if isinstance(worker, GeometricWorker)]
    return FusedGeometry(geometric) if geometric else SingleWorker(workers[0])
