"""Bilinear reading where rows stay rows and columns columns: along one axis, then the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from augcompress.augmentations.geometry import Outside, size_of, source_coordinates
from augcompress.augmentations.slices import bordered, bring_inside

_BORDER = 2  # pixels of a colour: both neighbours of a place outside are there


@dataclass(frozen=True)
class Axis:
    """Along one axis, which places are blended, of N samples and L places of the result."""

    near: Tensor
    """int64 `(N,L)`, as all places in the image, or in one with a border."""
    far: Tensor
    share: Tensor
    """`(N,L)`: of the way from near to far."""

    def parts(self) -> Iterator[Stretch]:
        """Each sample's own."""
        both = torch.stack((self.near, self.far))  # (2, N, L)
        first, last = both.amin((0, 2)), both.amax((0, 2))
        near, far = (both - first[:, None]).unbind()
        share = self.share[..., None]
        return map(Stretch, first.tolist(), last.tolist(), near, far, share)


class Stretch(NamedTuple):
    """What one sample needs of an axis."""

    first: int
    """The lowest place that is read."""
    last: int
    near: Tensor
    """`(L,)`, counted from `first`; so is `far`."""
    far: Tensor
    share: Tensor
    """`(L,1)`"""


def upright(matrices: Tensor) -> Tensor:
    """Which of the matrices keep rows and columns apart: bool `(N,)`."""
    if matrices.shape[1] == 3:
        return matrices.new_zeros(len(matrices), dtype=torch.bool)
    return (matrices[:, 0, 1] == 0) & (matrices[:, 1, 0] == 0)


def axes_of(matrices: Tensor, images: Tensor, outside: Outside) -> tuple[Axis, Axis]:
    """Rows and columns that images `(M,C,H,W)` are read at; with a border of a colour."""
    size = size_of(images)
    column, row = source_coordinates(matrices, size, whole=True)
    pairs = ((row[:, :, 0], size[0]), (column[:, 0], size[1]))
    rows, columns = (_axis(where, length, images.dtype, outside) for where, length in pairs)
    return rows, columns


def _axis(where: Tensor, length: int, dtype: torch.dtype, outside: Outside) -> Axis:
    near = where.floor()
    share = (where - near).to(dtype)
    if isinstance(outside, tuple):
        near = near.clamp_(-_BORDER, length).add_(_BORDER).long()
        return Axis(near, near + 1, share)
    near, mirrored = near.long(), outside == "reflect"
    far = bring_inside(near + 1, length, mirrored=mirrored)
    return Axis(bring_inside(near, length, mirrored=mirrored), far, share)


def stretched(images: Tensor, matrices: Tensor, outside: Outside) -> Tensor:
    """The images `(N,C,H,W)` moved by upright matrices `(N,2,3)`."""
    rows, columns = axes_of(matrices, images, outside)
    if isinstance(outside, tuple):
        images = bordered(images, _BORDER, outside)
    count, channels, height, _ = images.shape
    shape = (count, channels, height, columns.near.shape[1])
    near, far = (v[:, None, None].expand(shape) for v in (columns.near, columns.far))
    wide = images.gather(3, near).lerp_(images.gather(3, far), columns.share[:, None, None])
    shape = (count, channels, rows.near.shape[1], shape[3])
    near, far = (v[:, None, :, None].expand(shape) for v in (rows.near, rows.far))
    return wide.gather(2, near).lerp_(wide.gather(2, far), rows.share[:, None, :, None])


def stretch(
    images: Tensor, matrices: Tensor, outside: Outside, result: Tensor, places: Sequence[int]
) -> list[int]:
    """Write those of the images at `places` whose matrices are upright into their places of the
    result, one after the other, reading no more of them than is seen; which ones are not."""
    able = upright(matrices).tolist()
    wanted = [place for place in places if able[place]]
    if wanted:
        rows, columns = axes_of(matrices[wanted], images, outside)
        _stretch_each(images, wanted, (rows, columns), outside, result)
    return [place for place in places if not able[place]]


def _stretch_each(
    images: Tensor, places: Sequence[int], axes: tuple[Axis, Axis], outside: Outside, result: Tensor
) -> None:
    border = _BORDER if isinstance(outside, tuple) else 0
    height, width = (side + border for side in size_of(images))
    for place, rows, columns in zip(places, *(axis.parts() for axis in axes), strict=True):
        image, apart = images[place], border
        if min(rows.first, columns.first) < border or rows.last >= height or columns.last >= width:
            image, apart = bordered(image[None], border, outside)[0], 0
        seen = image[
            :,
            rows.first - apart : rows.last + 1 - apart,
            columns.first - apart : columns.last + 1 - apart,
        ]
        turned = seen.transpose(1, 2).contiguous()  # whole rows are picked faster than columns
        wide = _blend(turned, columns).transpose(1, 2).contiguous()
        _blend(wide, rows, result[place])


def _blend(image: Tensor, part: Stretch, result: Tensor | None = None) -> Tensor:
    """Rows `(C,L,W)` of the image `(C,H,W)`, blended; written into the result if there is one."""
    picked = torch.index_select(image, 1, part.near, out=result)
    return picked.lerp_(image.index_select(1, part.far), part.share)
