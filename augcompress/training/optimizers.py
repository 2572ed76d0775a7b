"""Update rules of the weights: settings that build a torch optimiser.

`build` takes parameter groups with `weight_decay` each; further keys of a group are kept.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from augcompress.component import Component
from augcompress.training.lars import LARS

Groups = list[dict[str, Any]]
Rate = Annotated[float, Field(ge=0, lt=1)]


class Sgd(Component):
    """Stochastic gradient descent with Nesterov momentum (Sutskever et al. 2013)."""

    kind: Literal["sgd"] = "sgd"
    lr: float = Field(0.1, gt=0)
    """Peak learning rate."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum."""
    nesterov: bool = True
    """Nesterov's form of momentum."""
    weight_decay: float = Field(5e-4, ge=0)
    """L2 penalty of weights; see the training's `decay` for norms and biases."""

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        nesterov = self.nesterov and self.momentum > 0
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=nesterov)


class AdamW(Component):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    """Decay rates of the two moment estimates."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled decay of weights; see the training's `decay` for norms and biases."""

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas)


class RMSprop(Component):
    """The gradient over the root of its mean square (Tieleman and Hinton 2012, Coursera, lecture
    6.5), as torch's RMSprop: `eps` is added outside the root.

    MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) takes a learning rate of 0.045 and a
    momentum of 0.9, with TensorFlow's `eps` inside the root.
    """

    kind: Literal["rmsprop"] = "rmsprop"
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    alpha: float = Field(0.9, ge=0, lt=1)
    """Decay rate of the mean of squared gradients."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Momentum of the scaled gradient."""
    eps: float = Field(1e-8, gt=0)
    """Added to the root, against division by zero."""
    weight_decay: float = Field(4e-5, ge=0)
    """L2 penalty of weights (MobileNetV2's); see the training's `decay` for norms and biases."""

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(
            groups, lr=self.lr, alpha=self.alpha, momentum=self.momentum, eps=self.eps
        )


class Lars(Component):
    """SGD for batches of thousands: each layer's step is in proportion to the size of its weights
    (You et al. 2017, arXiv:1708.03888).

    Norms and biases step as in SGD, at the same learning rate.  The paper lets the rate rise for
    some epochs and fall with `polynomial`, power 2.
    """

    kind: Literal["lars"] = "lars"
    lr: float = Field(4.8, gt=0)
    """Peak learning rate, which the trust ratio scales down: some ten times that of SGD.  Chen et
    al. 2020 (SimCLR, arXiv:2002.05709) take 4.8 for a batch of 4,096."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum."""
    nesterov: bool = False
    """Nesterov's form of momentum."""
    trust_coefficient: float = Field(0.001, gt=0)
    """Length of a layer's step over that of its weights, at learning rate 1."""
    weight_decay: float = Field(5e-4, ge=0)
    """L2 penalty of weights; see the training's `decay` for norms and biases."""

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        return LARS(
            groups,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            trust_coefficient=self.trust_coefficient,
        )


Optimizer = Annotated[Sgd | AdamW | RMSprop | Lars, Field(discriminator="kind")]
