"""PCA jitter: AlexNet's lighting noise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import Augmentation, AugmentationFacts, PixelWorker
from augcompress.augmentations.draws import Draws
from augcompress.errors import AugcompressError


def channel_covariance(images: Tensor) -> Tensor:
    """Covariance float64 `(C,C)` of the pixel values of images `(N,C,H,W)`, uint8 or in [0,1]."""
    scale = 255 if images.dtype == torch.uint8 else 1
    values = images.transpose(0, 1).flatten(1).double() / scale  # (C, pixels)
    return values.cov(correction=0).view(len(values), len(values))


def principal_steps(covariance: Tensor) -> Tensor:
    """`(C,C)`: each column an eigenvector times its eigenvalue, largest last.  Its sign is such
    that the eigenvector's largest entry is positive."""
    values, vectors = torch.linalg.eigh(covariance.double())
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return vectors * largest.sign() * values.clamp_min(0)


def add_colours(images: Tensor, shifts: Tensor) -> Tensor:
    """The same shift `(N,C)` added to all pixels of an image."""
    return (images + shifts[:, :, None, None].to(images.dtype)).clamp_(0, 1)


class PcaJitter(Augmentation):
    """Shift all pixels of an image along the principal axes of the training set's colours
    (Krizhevsky et al. 2012, doi:10.1145/3065386, section 4.1).

    The shift is the sum over the axes of α · eigenvalue · eigenvector, α ~ N(0, std²), where the
    covariance is of values in [0,1].  The paper's is of values to 255, which would drown the image;
    implementations since have used this one.  Images of one channel get lighter or darker.
    """

    label_safety: ClassVar[str] = "classes told apart by tint or brightness (ripeness, stains)"
    neutral: ClassVar[Mapping[str, Any]] = {"std": 0.0}

    kind: Literal["pca_jitter"] = "pca_jitter"
    std: float = Field(0.1, ge=0)
    """Standard deviation of α, one normal draw for each axis; 0 changes nothing."""

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        if facts.covariance is None:
            raise AugcompressError(
                "pca_jitter: the covariance of the training images' colours is not known here; "
                "leave it out, or use color_jitter"
            )
        steps = (principal_steps(facts.covariance()) * self.std).float()
        return PixelWorker(partial(self.change, steps=steps), self.probability)

    def change(self, images: Tensor, draws: Draws, steps: Tensor) -> Tensor:
        """`steps` `(C,C)`: in its columns, the shift of one standard deviation along an axis."""
        alpha = draws.normal(len(steps))
        draws.tell(alpha=alpha)
        # (N, C); no matmul: a GPU may round to TF32
        return add_colours(images, (steps.to(draws.device) * alpha[:, None]).sum(2))
