"""Moves by whole pixels, flips among them, copied slice by slice; and what lies outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from augcompress.augmentations.geometry import Outside, colour_like

SLICED = 1 << 14
"""Values of an image: on a CPU, from here on a slice of it is faster than the places of pixels."""


class Span(NamedTuple):
    """Along one axis, the places of the output that lie inside the image."""

    start: int
    stop: int
    first: int
    """The place in the image that the lowest of them shows; flipped, the highest."""
    flipped: bool = False

    @property
    def source(self) -> slice:
        """The places in the image that are seen."""
        return slice(self.first, self.first + self.stop - self.start)


def span(sign: float, shift: float, length: int) -> Span:
    """Of a flip (`sign` -1) or none, then a `shift` by whole pixels, both as in a matrix."""
    if sign > 0:
        start, stop = max(0, -int(shift)), min(length, length - int(shift))
        return Span(start, stop, start + int(shift))
    offset = int(shift) + length - 1
    start, stop = max(0, offset - length + 1), min(length, offset + 1)
    return Span(start, stop, offset - stop + 1, flipped=True)


def spans(
    matrix: Sequence[float], size: tuple[int, int], outside: Outside
) -> tuple[Span, Span] | None:
    """Rows and columns of a move by whole pixels; None where it is another move, or shows nothing,
    or more of a mirror image than there is.  `matrix`: the 6 or 9 numbers in order."""
    a, b, c, d, e, f, *last = matrix
    whole = abs(a) == abs(e) == 1 and b == d == c % 1 == f % 1 == 0 and last in ([], [0, 0, 1])
    if not whole:
        return None
    found = span(e, f, size[0]), span(a, c, size[1])
    mirrored = isinstance(outside, str) and outside == "reflect"
    for each, length in zip(found, size, strict=True):
        seen, hidden = each.stop - each.start, max(each.start, length - each.stop)
        if seen < 1 or (mirrored and hidden >= seen):
            return None
    return found


def copy_inside(image: Tensor, rows: Span, columns: Span, result: Tensor) -> None:
    """Write what is seen of the image `(...,H,W)` into its place in the result."""
    seen = image[..., rows.source, columns.source]
    axes = [axis for axis, each in ((-2, rows), (-1, columns)) if each.flipped]
    target = result[..., rows.start : rows.stop, columns.start : columns.stop]
    target.copy_(seen.flip(axes) if axes else seen)


def fill_outside(result: Tensor, rows: Span, columns: Span, outside: Outside) -> None:
    """Write what lies outside the image into the rest of the result `(...,C,H,W)`."""
    height, width = result.shape[-2:]
    if (rows.start, rows.stop, columns.start, columns.stop) == (0, height, 0, width):
        return
    inner = slice(rows.start, rows.stop)
    beside = outside[..., inner, :] if isinstance(outside, Tensor) else outside
    _fill_sides(result[..., inner, :], -1, columns, beside)
    _fill_sides(result, -2, rows, outside)


def _fill_sides(result: Tensor, axis: int, inside: Span, outside: Outside) -> None:
    before, after = inside.start, result.shape[axis] - inside.stop
    for place, count, edge, step in (
        (0, before, inside.start, 1),
        (inside.stop, after, inside.stop - 1, -1),
    ):
        if not count:
            continue
        target = result.narrow(axis, place, count)
        if isinstance(outside, Tensor):
            target.copy_(outside.narrow(axis, place, count))
        elif isinstance(outside, tuple):
            target.copy_(colour_like(result, outside))
        elif outside == "reflect":
            nearest = edge + 1 if step > 0 else edge - count
            target.copy_(result.narrow(axis, nearest, count).flip(axis))
        else:
            target.copy_(result.narrow(axis, edge, 1))


def bordered(images: Tensor, width: int, outside: Outside) -> Tensor:
    """The images `(N,C,H,W)` with `width` pixels of a colour, or of their own edge, around them."""
    count, channels, height, length = images.shape
    result = images.new_empty((count, channels, height + 2 * width, length + 2 * width))
    rows, columns = Span(width, width + height, 0), Span(width, width + length, 0)
    copy_inside(images, rows, columns, result)
    fill_outside(result, rows, columns, outside)
    return result


def copy_slices(images: Tensor, matrices: Tensor, outside: Outside, result: Tensor) -> list[int]:
    """Write those of the images `(N,C,H,W)` that are moved by whole pixels into their places of the
    result; which ones are not."""
    size, others = (images.shape[-2], images.shape[-1]), []
    for place, matrix in enumerate(matrices.flatten(1).tolist()):
        found = spans(matrix, size, outside)
        if found is None:
            others.append(place)
            continue
        copy_inside(images[place], *found, result[place])
        own = outside[place] if isinstance(outside, Tensor) else outside
        fill_outside(result[place], *found, own)
    return others


def bring_inside(position: Tensor, length: int, *, mirrored: bool) -> Tensor:
    """Whole coordinates moved into 0..length-1, mirrored or else to the nearest."""
    if not mirrored:
        return position.clamp(0, length - 1)
    period = max(2 * (length - 1), 1)
    position = position.abs() % period
    return torch.minimum(position, period - position).clamp_max_(length - 1)


def put_rows(result: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write `values` `(M,C,H,W)` into the places `rows` `(M,)` of the result, which gets them as
    `index_copy_` would, a value at a time and several times more slowly."""
    if result.is_cpu and result[0].numel() >= SLICED:
        for row, value in zip(rows.tolist(), values, strict=True):
            result[row].copy_(value)
        return
    together = result[0].nbytes % 8 == 0 and result.is_contiguous() and result.dtype == values.dtype
    if together:
        result = result.flatten(1).view(torch.int64)
        values = values.contiguous().flatten(1).view(torch.int64)
    result.index_copy_(0, rows, values)
