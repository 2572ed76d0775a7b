"""Chosen samples alone: how an operation of a probability is applied to a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import Filling, identity_matrices, outside_of
from augcompress.augmentations.resampling import resample
from augcompress.augmentations.slices import put_rows
from augcompress.batch import Batch


def change_rows(
    batch: Batch, chosen: Tensor, change: Callable[[Tensor, Tensor | None], Tensor]
) -> Batch:
    """The batch with the `chosen` samples `(N,)`, bool, changed: on a CPU those alone are computed.

    `change(images, rows)` gets their images and their places in the batch, or all images and None:
    where all are chosen, and on a GPU, since looking for them would make it wait.
    """
    images = batch.images()
    if not images.is_cpu:
        changed = change(images, None)
        return batch.with_images(torch.where(chosen.view(-1, 1, 1, 1), changed, images))
    rows = chosen.nonzero()[:, 0]
    if len(rows) == len(batch):
        return batch.with_images(change(images, None))
    if not len(rows):
        return batch
    changed = change(images.index_select(0, rows), rows)
    if not batch.disposable:
        images = images.clone()
    put_rows(images, rows, changed.to(images.dtype))
    return replace(batch, inputs=images, disposable=True)


def move_rows(
    batch: Batch, matrices: Tensor, filling: Filling, draws: Draws, *, whole: bool
) -> Batch:
    """The batch with its pixels moved by `(N,2,3)` or `(N,3,3)`; `draws` are for the filling.

    Resampling keeps a sample that does not move as it is, so that where most move, it is as well
    to take all.
    """

    def move(images: Tensor, rows: Tensor | None) -> Tensor:
        own, some = (draws, matrices) if rows is None else (draws.of(rows), matrices[rows])
        return resample(images, some, outside_of(filling, images, own), whole=whole)

    still = identity_matrices(len(matrices), matrices.device, rows=matrices.shape[1])
    moving = (matrices != still).flatten(1).any(1)
    if not matrices.is_cpu or 2 * int(moving.sum()) > len(moving):
        return replace(batch, inputs=move(batch.images(), None), disposable=True)
    return change_rows(batch, moving, move)
