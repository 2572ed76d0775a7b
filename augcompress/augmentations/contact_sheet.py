"""A picture of what a pipeline does, for the eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from augcompress.augmentations.base import AugmentationFacts, Loss
from augcompress.augmentations.pipeline import Setting, assemble
from augcompress.batch import Batch, Progress

_TILE = 96  # about the side of a tile, in pixels
_GAP = 8
_LABEL_WIDTH = 190
_CAPTION = 20
_PAPER, _INK, _FAINT = "#ffffff", "#1a1a1a", "#6b7280"


@dataclass(frozen=True)
class Row:
    """One line of the sheet."""

    title: str
    note: str
    """A second, fainter line under the title."""
    batch: Batch
    captions: list[str]
    """Under each tile; empty where there is nothing to say."""


def contact_sheet(
    settings: Sequence[Setting],
    batch: Batch,
    facts: AugmentationFacts,
    seed: int,
    path: Path,
    class_names: Sequence[str],
    *,
    columns: int = 8,
    loss: Loss | None = None,
) -> None:
    """Write a PNG: the originals, what each operation does alone, and what the pipeline does.

    The first `columns` samples of `batch` are shown as they are drawn in epoch 0, so the rows of
    the operations are the steps that the last row went through.
    """
    rows = sheet_rows(settings, _first(batch.scaled(), columns), facts, seed, class_names, loss)
    draw_sheet(rows).save(path, format="PNG")


def _first(batch: Batch, count: int) -> Batch:
    targets = None if batch.targets is None else batch.targets[:count]
    return Batch(batch.images()[:count], targets, batch.index[:count])


def sheet_rows(
    settings: Sequence[Setting],
    batch: Batch,
    facts: AugmentationFacts,
    seed: int,
    class_names: Sequence[str],
    loss: Loss | None = None,
) -> list[Row]:
    """The sheet's rows, from top to bottom."""

    def row(title: str, note: str, numbered: Sequence[tuple[int, Setting]]) -> Row:
        pipeline = assemble(numbered, facts)
        result = pipeline(batch, seed=seed, progress=Progress(), loss=loss)
        return Row(title, note, result, _captions(batch, result, class_names))

    numbered = list(enumerate(settings))
    originals = Row("originals", "", batch, _labels(batch.targets, len(batch), class_names))
    alone = [row(_title(setting), _note(setting), [(at, setting)]) for at, setting in numbered]
    return [originals, *alone, row("pipeline", "all of them, in order", numbered)]


def _title(setting: Setting) -> str:
    if setting.kind == "plugin":
        return str(getattr(setting, "target", "plugin")).rpartition(":")[2]
    return setting.kind


def _note(setting: Setting) -> str:
    probability = getattr(setting, "probability", 1.0)
    return "every image" if probability == 1 else f"{probability:.0%} of the images"


def _captions(before: Batch, after: Batch, class_names: Sequence[str]) -> list[str]:
    """What the labels are now, where they changed."""
    if before.targets is None or after.targets is None:
        return [""] * len(after)
    same = (before.targets == after.targets).all(1).tolist()
    labels = _labels(after.targets, len(after), class_names)
    return ["" if kept else label for kept, label in zip(same, labels, strict=True)]


def _labels(targets: Tensor | None, count: int, class_names: Sequence[str]) -> list[str]:
    if targets is None:
        return [""] * count
    return [label_text(row, class_names) for row in targets]


def label_text(target: Tensor, class_names: Sequence[str]) -> str:
    """The classes of a soft target `(classes,)` with their shares, largest first, two at most."""
    shares, classes = target.topk(min(2, len(target)))
    if shares[0] >= 0.995:
        return class_names[int(classes[0])]
    pairs = zip(shares.tolist(), classes.tolist(), strict=True)
    return " + ".join(f"{share:.0%} {class_names[which]}" for share, which in pairs)


def draw_sheet(rows: Sequence[Row]) -> Image.Image:
    """Rows of tiles with their titles on the left."""
    tiles = [_tiles(row.batch.images()) for row in rows]
    width, height = tiles[0][0].size
    across = _LABEL_WIDTH + len(tiles[0]) * (width + _GAP) + _GAP
    heights = [height + 2 * _GAP + _CAPTION * any(row.captions) for row in rows]
    sheet = Image.new("RGB", (across, sum(heights) + 2 * _GAP), _PAPER)
    for number, (row, pictures) in enumerate(zip(rows, tiles, strict=True)):
        _draw_row(sheet, row, pictures, 2 * _GAP + sum(heights[:number]))
    return sheet


def _draw_row(sheet: Image.Image, row: Row, tiles: Sequence[Image.Image], top: int) -> None:
    pen = ImageDraw.Draw(sheet)
    width, height = tiles[0].size
    pen.text((2 * _GAP, top + height / 2 - 9), row.title, _INK, _font(17), anchor="lm")
    pen.text((2 * _GAP, top + height / 2 + 11), row.note, _FAINT, _font(13), anchor="lm")
    for column, (tile, caption) in enumerate(zip(tiles, row.captions, strict=True)):
        left = _LABEL_WIDTH + column * (width + _GAP)
        sheet.paste(tile, (left, top))
        pen.rectangle((left - 1, top - 1, left + width, top + height), outline="#d1d5db")
        text = _shortened(caption, width + _GAP - 2)
        pen.text((left + width / 2, top + height + 3), text, _FAINT, _font(12), anchor="ma")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _shortened(text: str, width: float) -> str:
    if _font(12).getlength(text) <= width:
        return text
    while text and _font(12).getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _tiles(images: Tensor) -> list[Image.Image]:
    """Pictures of about `_TILE` pixels: small images enlarged by a whole factor, pixel by pixel."""
    if images.shape[1] != 3:
        images = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    values = (images.detach().float().cpu() * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    pictures = [Image.fromarray(value.numpy()) for value in values]
    return [picture.resize(_tile_size(*picture.size), _filter(picture)) for picture in pictures]


def _tile_size(width: int, height: int) -> tuple[int, int]:
    longest = max(width, height)
    factor = float(_TILE // longest) if longest <= _TILE else _TILE / longest
    return max(1, round(width * factor)), max(1, round(height * factor))


def _filter(picture: Image.Image) -> Image.Resampling:
    small = max(picture.size) <= _TILE
    return Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
