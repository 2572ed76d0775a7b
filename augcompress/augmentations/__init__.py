"""Augmentations: `Batch → Batch`, for all samples at once, on the batch's device."""

from typing import Annotated

from pydantic import Field

from augcompress.augmentations.adversarial import Fgsm, Pgd
from augcompress.augmentations.augmix import AugMix
from augcompress.augmentations.auto_augment import AutoAugment
from augcompress.augmentations.base import (
    Augmentation,
    AugmentationFacts,
    GeometricAugmentation,
    GeometricWorker,
    Loss,
    PixelAugmentation,
    PixelWorker,
)
from augcompress.augmentations.blur import BoxBlur, GaussianBlur, MedianBlur
from augcompress.augmentations.channels import (
    ChannelDropout,
    ChannelShuffle,
    ColorMatrix,
    Grayscale,
)
from augcompress.augmentations.color_jitter import ColorJitter, ColorSpaceJitter
from augcompress.augmentations.contact_sheet import before_after, contact_sheet
from augcompress.augmentations.covering import Cutout, PixelDropout, RandomErasing
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.levels import Autocontrast, Equalize, Invert, Posterize, Solarize
from augcompress.augmentations.mixing import CutMix, Mixup
from augcompress.augmentations.moves import (
    Affine,
    HorizontalFlip,
    RandomCrop,
    ResizedCrop,
    Rotate,
    Rotate90,
    Scale,
    Shear,
    Translate,
    VerticalFlip,
)
from augcompress.augmentations.noise import (
    GaussianNoise,
    ImpulseNoise,
    SaltPepperNoise,
    ShotNoise,
    SpeckleNoise,
)
from augcompress.augmentations.pca_jitter import PcaJitter, channel_covariance
from augcompress.augmentations.perspective import Perspective
from augcompress.augmentations.pipeline import (
    Pipeline,
    Setting,
    assemble,
    build_pipeline,
    fitting,
    own,
)
from augcompress.augmentations.plugin import AugmentationPlugin
from augcompress.augmentations.policy import RandAugment, TrivialAugment
from augcompress.augmentations.policy_magnitudes import operations
from augcompress.augmentations.ramp import Ramp
from augcompress.augmentations.recording import Recorder
from augcompress.augmentations.shading import Shading
from augcompress.augmentations.warps import Elastic, LensDistortion

AnyAugmentation = Annotated[
    RandomCrop
    | HorizontalFlip
    | Affine
    | VerticalFlip
    | Rotate
    | Rotate90
    | Translate
    | Scale
    | Shear
    | ResizedCrop
    | Perspective
    | Elastic
    | LensDistortion
    | BoxBlur
    | GaussianBlur
    | MedianBlur
    | ColorJitter
    | RandomErasing
    | Mixup
    | RandAugment
    | TrivialAugment
    | AutoAugment
    | AugMix
    | Fgsm
    | Pgd
    | ChannelDropout
    | ChannelShuffle
    | Grayscale
    | ColorMatrix
    | ColorSpaceJitter
    | CutMix
    | Cutout
    | Autocontrast
    | Equalize
    | Invert
    | Posterize
    | Solarize
    | GaussianNoise
    | ImpulseNoise
    | SaltPepperNoise
    | ShotNoise
    | SpeckleNoise
    | PcaJitter
    | PixelDropout
    | Shading
    | AugmentationPlugin,
    Field(discriminator="kind"),
]
"""The room's registry: what a recipe's list of augmentations may hold."""
FAMILIES = {
    **dict.fromkeys(("moves", "perspective", "warps"), "geometry"),
    **dict.fromkeys(("color_jitter", "channels", "pca_jitter", "shading"), "colour and light"),
    "levels": "tone",
    "mixing": "mixed images",
    "covering": "covered parts",
    **dict.fromkeys(("policy", "auto_augment", "augmix"), "policies"),
    "plugin": "your own code",
}
"""What the kinds of a module are called together, where its own name does not say it."""
