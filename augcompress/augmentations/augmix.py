"""AugMix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import Filling, outside_of, size_of
from augcompress.augmentations.policy import PolicyAugmentation
from augcompress.augmentations.policy_magnitudes import plan_of, table, whole_number
from augcompress.augmentations.policy_operations import Interpolation, Moving, Plan, apply_plan

_LEVELS = 10
_DEEPEST = 3
_BLOCK = 2**20  # values: on a CPU, larger pieces at once cost more for each image


def weighted(images: Tensor, chains: Tensor, weights: Tensor, share: Tensor) -> Tensor:
    """`share` `(N,)` of the chains' mean by `weights` `(N, width)`, the rest of the images
    `(N,C,H,W)`; `chains` `(N*width,C,H,W)`, those of one sample side by side.  At a share of 0 the
    images themselves."""
    weights = (weights * share[:, None]).to(images.dtype)[..., None, None, None]
    mixed = (chains.unflatten(0, weights.shape[:2]) * weights).sum(1)
    return ((1 - share).to(images.dtype).view(-1, 1, 1, 1) * images).add_(mixed).clamp_(0, 1)


def mixed(images: Tensor, plan: Plan, weights: Tensor, share: Tensor, moving: Moving) -> Tensor:
    """AugMix of `(N,C,H,W)`; `plan` has a row for each chain, the other two as in `weighted`."""
    width, values = weights.shape[1], weights.shape[1] * images[0].numel()
    block = max(1, _BLOCK // values) if images.is_cpu else len(images)
    pieces = []
    for rows in torch.arange(len(images), device=images.device).split(block):
        of_chain = rows.repeat_interleave(width)
        own = plan.of(of_chain * width + torch.arange(width, device=rows.device).repeat(len(rows)))
        chains = apply_plan(images.index_select(0, of_chain), own, moving.of(of_chain))
        pieces.append(weighted(images.index_select(0, rows), chains, weights[rows], share[rows]))
    return torch.cat(pieces)


def _not_zero(depth: int) -> int:
    if depth == 0:
        raise ValueError("chains of 0 operations change nothing; -1 draws from 1 to 3")
    return depth


class AugMix(PolicyAugmentation):
    """Several chains of mild operations, blended with random weights, and that with the image
    (Hendrycks et al. 2020, arXiv:1912.02781).

    Operations, strengths and defaults are torchvision's `AugMix`, with its values on float images;
    every sample draws its own.  The paper also trains with a consistency loss over three views and
    leaves out the operations that its test of robustness uses (`all_ops: false`).  On images that
    are not RGB, Color does nothing.
    """

    label_safety: ClassVar[str] = "classes told apart by colour, angle or place, at a high severity"

    neutral: ClassVar[Mapping[str, Any]] = {"probability": 0.0, "severity": 1}

    kind: Literal["augmix"] = "augmix"
    severity: int = Field(3, ge=1, le=_LEVELS)
    """Strengths are drawn evenly from the mildest this many of ten levels, none among them; where
    there are two directions, both are equally likely."""
    mixture_width: int = Field(3, ge=1)
    """Chains for each sample; their weights come from Dirichlet(alpha, ..., alpha)."""
    chain_depth: Annotated[int, Field(ge=-1), AfterValidator(_not_zero)] = -1
    """Operations in a chain; -1 draws 1, 2 or 3 for each chain."""
    alpha: float = Field(1.0, gt=0)
    """Of the Dirichlet, and of the Beta(alpha, alpha) that the share of all chains comes from."""
    all_ops: bool = True
    """Brightness, contrast, colour and sharpness too?"""
    interpolation: Interpolation = "bilinear"
    """How pixels are read where they move: copied, or blended from four."""

    def plan(self, draws: Draws, size: tuple[int, int]) -> Plan:
        """One row per chain: `(N*mixture_width, operations)`."""
        kind = self.kind if self.all_ops else "augmix_partial"
        own = table(kind, _LEVELS, size, draws.device)
        columns = _DEEPEST if self.chain_depth < 0 else self.chain_depth
        uniform = draws.uniform(self.mixture_width * (1 + 3 * columns))
        uniform = uniform.reshape(-1, 1 + 3 * columns)
        which, level, sign = uniform[:, 1:].split(columns, dim=1)
        choice = whole_number(which, len(own.operation))
        plan = plan_of(own, choice, whole_number(level, self.severity), sign)
        return plan.where(torch.arange(columns, device=draws.device) < self._depths(uniform[:, :1]))

    def _depths(self, uniform: Tensor) -> Tensor:
        if self.chain_depth < 0:
            return 1 + whole_number(uniform, _DEEPEST)
        return torch.full_like(uniform, self.chain_depth)

    def weights(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Weights of the chains `(N, mixture_width)`, and their share `(N,)`."""
        return draws.dirichlet(self.alpha, self.mixture_width), draws.beta(self.alpha)

    def change(self, images: Tensor, draws: Draws, filling: Filling) -> Tensor:
        """The images `(N,C,H,W)` blended with their chains, which all run side by side."""
        plan, (weights, share) = self.plan(draws, size_of(images)), self.weights(draws)
        draws.tell(share=share)
        moving = Moving(self.interpolation, outside_of(filling, images, draws))
        return mixed(images, plan, weights, share, moving)
