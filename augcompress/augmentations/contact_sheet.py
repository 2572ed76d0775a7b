"""Pictures of what a pipeline does, for the eye: operation by operation, and before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from augcompress.augmentations.base import AugmentationFacts, Loss
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.pipeline import DrawsMaker, Setting, assemble, build_pipeline
from augcompress.augmentations.recording import SetDraws
from augcompress.augmentations.tiles import Line, draw_lines, pictures
from augcompress.batch import Batch, Progress

PLACES = {"lowest": 0.0, "": 0.25, "middle": 0.5, " ": 0.75, "highest": 1.0}
"""Where in its ranges an operation is shown."""


@dataclass(frozen=True)
class Row:
    """An operation, or all of them: what it made of the batch, and of the first image."""

    title: str
    note: str
    batch: Batch
    captions: list[str]
    """What the labels are; empty where they did not change."""
    places: Tensor | None = None
    """The first image at each of `PLACES`, `(5,C,H,W)`; of the originals, itself."""

    def line(self) -> Line:
        """As it is drawn."""
        front = [] if self.places is None else pictures(self.places)
        empty = [None] * (len(PLACES) - len(front))
        tiles = [*front, *empty, *pictures(self.batch.images())]
        return Line(self.title, self.note, tiles, [""] * len(PLACES) + self.captions)


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
    """Write a PNG with a row for each operation, between the originals and the whole pipeline.

    Left, the first image with all of an operation's numbers at one place of their ranges, from
    lowest to highest.  Right, the first `columns` images as they are drawn in epoch 0: the rows of
    the operations are the steps that the last row went through.
    """
    first = batch.scaled().take(torch.arange(min(columns, len(batch)), device=batch.index.device))
    rows = sheet_rows(settings, first, facts, seed, class_names, loss)
    headings = [(column, text) for column, text in enumerate(PLACES) if text.strip()]
    headings.append((len(PLACES), "as drawn in epoch 0"))
    lines = [row.line() for row in rows]
    draw_lines(lines, headings, apart=len(PLACES)).save(path, format="PNG")


def sheet_rows(
    settings: Sequence[Setting],
    batch: Batch,
    facts: AugmentationFacts,
    seed: int,
    class_names: Sequence[str],
    loss: Loss | None = None,
) -> list[Row]:
    """The sheet's rows, from top to bottom."""

    def run(numbered: Sequence[tuple[int, Setting]], maker: DrawsMaker = Draws) -> Batch:
        pipeline = assemble(numbered, facts)
        return pipeline(batch, seed=seed, progress=Progress(), loss=loss, draws_maker=maker)

    def row(title: str, note: str, numbered: Sequence[tuple[int, Setting]], **more: Tensor) -> Row:
        result = run(numbered)
        return Row(title, note, result, _captions(batch, result, class_names), **more)

    def alone(place: int, setting: Setting) -> Row:
        numbered = [(place, setting)]
        shown = [run(numbered, partial(SetDraws, at)).images()[0] for at in PLACES.values()]
        return row(_title(setting), _note(setting), numbered, places=torch.stack(shown))

    numbered = list(enumerate(settings))
    names = _labels(batch.targets, len(batch), class_names)
    originals = Row("originals", "", batch, names, batch.images()[:1])
    steps = [alone(place, setting) for place, setting in numbered]
    return [originals, *steps, row("pipeline", "all of them, in order", numbered)]


def before_after(
    settings: Sequence[Setting],
    batch: Batch,
    facts: AugmentationFacts,
    seed: int,
    path: Path,
    class_names: Sequence[str],
    *,
    columns: int = 8,
    rows: int = 10,
    loss: Loss | None = None,
) -> None:
    """Write a PNG with a row for each of some images, of different classes where there are such:
    first as they are, then as the whole pipeline draws them in `columns` epochs."""
    batch = batch.scaled()
    shown = of_each_class(batch, rows)
    pipeline = build_pipeline(settings, facts)
    before = batch.take(shown)
    after = [
        pipeline(before, seed=seed, progress=Progress(epoch=epoch), loss=loss)
        for epoch in range(columns)
    ]
    names = _labels(before.targets, len(before), class_names)
    tiles = [pictures(each.images()) for each in (before, *after)]
    captions = [_captions(before, each, class_names) for each in after]
    lines = [
        Line(name, "", [column[row] for column in tiles], ["", *(each[row] for each in captions)])
        for row, name in enumerate(names)
    ]
    headings = [(0, "before"), (1, f"after: epochs 0 to {columns - 1}")]
    draw_lines(lines, headings, apart=1).save(path, format="PNG")


def of_each_class(batch: Batch, count: int) -> Tensor:
    """Places of `count` images, or of all: the first of every class, then the next ones."""
    if batch.targets is None:
        return torch.arange(min(count, len(batch)), device=batch.index.device)
    labels = batch.targets.argmax(1)
    earlier = (labels[:, None] == labels).tril(-1).sum(1)  # how many of the class stand before
    by_class = torch.argsort(labels, stable=True)
    order = by_class[torch.argsort(earlier[by_class], stable=True)]
    return order[:count]


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
