"""What is compared: the answers of runs, stages, checkpoints and ONNX files to the same images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from augcompress.errors import AugcompressError
from augcompress.evidence import PREDICTIONS_FILE, Predictions, are_same_images
from augcompress.storage import model_file, model_folder, stand_in

Answer = Callable[[Path, str], Predictions]
"""What runs a model file on a split."""


@dataclass(frozen=True)
class Contender:
    """A model, or the same model trained with several seeds."""

    name: str
    answers: tuple[Predictions, ...]
    """One for each seed."""


def open_contender(given: str, split: str, answer: Answer, *, kept: bool = True) -> Contender:
    """`runs/a`, `runs/a/distill`, a file, or several of them with commas between: seeds.

    Answers that a run has kept are read where `kept` counts; all else is asked to `answer`.
    Raises AugcompressError when there is no such run or file, or when it cannot be opened.
    """
    parts = [part for part in given.split(",") if part]
    if not parts:
        raise AugcompressError("compare: a name is empty; give runs, stages or files")
    return Contender(given, tuple(answers_of(Path(part), split, answer, kept) for part in parts))


def answers_of(path: Path, split: str, answer: Answer, kept: bool) -> Predictions:
    """What one model says to a split."""
    path = path.expanduser()
    if kept and path.is_dir():
        file = model_folder(path) / PREDICTIONS_FILE
        if file.is_file() and (found := Predictions.load(file)).split == split:
            return found
    return answer(model_file(path), split)


def stand_ins(given: str) -> list[str]:
    """For each run among the names which of its artefacts stands for it.

    Raises AugcompressError when a run has no model.
    """
    paths = [Path(part).expanduser() for part in given.split(",") if part]
    return [told for path in paths if (told := stand_in(path))]


def check_same_images(contenders: list[Contender]) -> None:
    """Raises AugcompressError when two models answered other images or know other classes."""
    first = contenders[0].answers[0]
    for contender in contenders:
        for answers in contender.answers:
            _check_pair(first, answers, contenders[0].name, contender.name)


def _check_pair(left: Predictions, right: Predictions, ours: str, theirs: str) -> None:
    if left.probabilities.shape[1] != right.probabilities.shape[1] or (
        left.classes and right.classes and left.classes != right.classes
    ):
        raise AugcompressError(
            f"compare: {ours} knows {_classes(left)} and {theirs} {_classes(right)}; only models"
            " of the same classes can be compared"
        )
    if not are_same_images(left, right):
        raise AugcompressError(
            f"compare: {ours} was measured on {len(left.labels)} images and {theirs} on"
            f" {len(right.labels)} that are not the same; measure both on one data set, with"
            " --recipe and the model files"
        )


def _classes(found: Predictions) -> str:
    listed = ", ".join(found.classes[:4]) + (" …" if len(found.classes) > 4 else "")
    return f"{found.probabilities.shape[1]} classes" + (f" ({listed})" if listed else "")
