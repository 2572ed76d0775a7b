"""What a network is trained with, beside the loop's own settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from augcompress.compressions import Prepared
from augcompress.networks import Teacher
from augcompress.running import PLAIN
from augcompress.spec import Sampling


@dataclass(frozen=True)
class TrainingSetup:
    """A stage's objectives, augmentations, teachers and sampling."""

    where: str
    objectives: Sequence[Any]
    augmentations: Sequence[Any]
    teachers: Sequence[Teacher] = ()
    teacher_view: str = "same"
    prepared: Sequence[Prepared] = ()
    """Compressions of the student whose hooks are called while it is trained."""
    sampling: Sampling = PLAIN
