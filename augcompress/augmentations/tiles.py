"""Lines of small pictures with their titles: how contact sheets are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_TILE = 96  # about the side of a tile, in pixels
_GAP = 8
_APART = 20
_LABEL_WIDTH = 190
_CAPTION = 20
_PAPER, _INK, _FAINT, _EDGE = "#ffffff", "#1a1a1a", "#6b7280", "#d1d5db"

Pictures = Sequence[Image.Image | None]


@dataclass(frozen=True)
class Line:
    """One line of a sheet."""

    title: str
    note: str
    """A second, fainter line under the title."""
    tiles: Pictures
    """None leaves its place empty."""
    captions: Sequence[str]
    """Under each tile; empty where there is nothing to say."""


def draw_lines(
    lines: Sequence[Line], headings: Sequence[tuple[int, str]], apart: int
) -> Image.Image:
    """The lines below each other, titles on the left.  `headings` stand above the tiles from a
    column on; the first `apart` columns stand apart from the others."""
    width, height = next(t.size for line in lines for t in line.tiles if t is not None)
    lefts = [
        _LABEL_WIDTH + place * (width + _GAP) + (_APART if place >= apart else 0)
        for place in range(max(len(line.tiles) for line in lines))
    ]
    heights = [height + 2 * _GAP + _CAPTION * any(line.captions) for line in lines]
    top = 2 * _GAP + (_CAPTION if headings else 0)
    across = max(lefts) + width + 2 * _GAP
    sheet = Image.new("RGB", (across, top + sum(heights) + _GAP), _PAPER)
    for column, text in headings:
        ImageDraw.Draw(sheet).text((lefts[column], _GAP), text, _FAINT, _font(13))
    for number, line in enumerate(lines):
        _draw_line(sheet, line, lefts, top + sum(heights[:number]), (width, height))
    return sheet


def _draw_line(
    sheet: Image.Image, line: Line, lefts: Sequence[int], top: int, size: tuple[int, int]
) -> None:
    pen, (width, height) = ImageDraw.Draw(sheet), size
    room = _LABEL_WIDTH - 3 * _GAP
    title, note = _shortened(line.title, room, 17), _shortened(line.note, room, 13)
    pen.text((2 * _GAP, top + height / 2 - 9), title, _INK, _font(17), anchor="lm")
    pen.text((2 * _GAP, top + height / 2 + 11), note, _FAINT, _font(13), anchor="lm")
    for left, tile, caption in zip(lefts, line.tiles, line.captions, strict=False):
        if tile is None:
            continue
        sheet.paste(tile, (left, top))
        pen.rectangle((left - 1, top - 1, left + width, top + height), outline=_EDGE)
        text = _shortened(caption, width + _GAP - 2, 12)
        pen.text((left + width / 2, top + height + 3), text, _FAINT, _font(12), anchor="ma")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _shortened(text: str, width: float, size: int) -> str:
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def pictures(images: Tensor) -> list[Image.Image]:
    """Pictures of about 96 pixels from `(N,C,H,W)` in [0,1]: small images enlarged by a whole
    factor, pixel by pixel."""
    if images.shape[1] != 3:
        images = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    values = (images.detach().float().cpu() * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    found = [Image.fromarray(value.numpy()) for value in values]
    return [picture.resize(_tile_size(*picture.size), _filter(picture)) for picture in found]


def _tile_size(width: int, height: int) -> tuple[int, int]:
    longest = max(width, height)
    factor = float(_TILE // longest) if longest <= _TILE else _TILE / longest
    return max(1, round(width * factor)), max(1, round(height * factor))


def _filter(picture: Image.Image) -> Image.Resampling:
    small = max(picture.size) <= _TILE
    return Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
