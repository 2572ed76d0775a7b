"""Augmentations: `Batch → Batch`, for all samples at once, on the batch's device."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from augcompress.augmentations.affine import Affine
from augcompress.augmentations.base import (
    Augmentation,
    AugmentationFacts,
    GeometricAugmentation,
    GeometricWorker,
    PixelWorker,
)
from augcompress.augmentations.color_jitter import ColorJitter
from augcompress.augmentations.contact_sheet import contact_sheet
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.horizontal_flip import HorizontalFlip
from augcompress.augmentations.mixup import Mixup
from augcompress.augmentations.pipeline import Pipeline, build_pipeline
from augcompress.augmentations.plugin import AugmentationPlugin
from augcompress.augmentations.random_crop import RandomCrop
from augcompress.augmentations.random_erasing import RandomErasing

AnyAugmentation = Annotated[
    RandomCrop | HorizontalFlip | Affine | ColorJitter | RandomErasing | Mixup | AugmentationPlugin,
    Field(discriminator="kind"),
]
"""The room's registry: what a recipe's list of augmentations may hold."""

__all__ = [
    "AnyAugmentation",
    "Augmentation",
    "AugmentationFacts",
    "AugmentationPlugin",
    "Draws",
    "GeometricAugmentation",
    "GeometricWorker",
    "Pipeline",
    "PixelWorker",
    "build_pipeline",
    "contact_sheet",
]
