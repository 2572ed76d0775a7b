"""Adversarial augmentation: small changes that raise the loss of the network in training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from augcompress.augmentations.base import Augmentation, AugmentationFacts, Loss
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.pixel_draws import pixel_normal, pixel_uniform
from augcompress.batch import Batch, Progress
from augcompress.errors import AugcompressError

Norm = Literal["linf", "l2"]
_TINY = 1e-12


def lengths(changes: Tensor) -> Tensor:
    """Euclidean length of each change `(N,C,H,W)`, all its values together: `(N,1,1,1)`."""
    return changes.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def steepest(gradients: Tensor, norm: Norm) -> Tensor:
    """The change of length 1 that raises the loss most, by its gradients `(N,C,H,W)`; zero where
    they are zero."""
    if norm == "linf":
        return gradients.sign()
    return gradients / lengths(gradients).clamp_min(_TINY)


def project(changes: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """The nearest changes `(N,C,H,W)` that are no longer than `epsilon`."""
    if norm == "linf":
        return changes.clamp(-epsilon, epsilon)
    return changes * (epsilon / lengths(changes).clamp_min(_TINY)).clamp_max(1)


def within(images: Tensor, changes: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """The images, changed by `epsilon` at most, in [0,1]."""
    return (images + project(changes, epsilon, norm)).clamp(0, 1)


def random_changes(draws: Draws, like: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """Changes of the shape of `like`, evenly from all that are no longer than `epsilon`."""
    count = like[0].numel()
    if norm == "linf":
        signed = 2 * pixel_uniform(draws.words(2), count) - 1
        return epsilon * signed.view_as(like).to(like.dtype)
    radius = draws.uniform(1) ** (1 / count)  # volume grows with the power of the dimension
    direction = pixel_normal(draws.words(2), count)
    direction = direction / direction.norm(dim=1, keepdim=True).clamp_min(_TINY)
    return epsilon * (radius * direction).view_as(like).to(like.dtype)


def loss_and_gradient(batch: Batch, images: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """The loss `(N,)` of a batch with other images, and its gradient by them `(N,C,H,W)`."""
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_(True)
        losses = loss(batch.with_images(leaf))
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)  # leaves parameters alone
    return losses.detach(), gradient


class Strongest:
    """Of all the points that an attack visits, each sample's own with the highest loss."""

    def __init__(self, images: Tensor, losses: Tensor) -> None:
        self.images, self.losses = images, losses

    def visit(self, images: Tensor, losses: Tensor) -> None:
        """One point more, `(N,C,H,W)` and `(N,)`."""
        better = losses > self.losses
        self.images = torch.where(better[:, None, None, None], images, self.images)
        self.losses = torch.where(better, losses, self.losses)


def attack(
    batch: Batch, start: Tensor, loss: Loss, *, epsilon: float, steps: int, size: float, norm: Norm
) -> Tensor:
    """Images `(N,C,H,W)` of the highest loss that climbing it meets, from `start` in `steps` of
    length `size`; nowhere lower than on the images themselves.

    A forward and a backward pass for each step, a forward pass for the last point, and one for the
    images unless they are the start.
    """
    images = batch.images()
    found, point = None, start
    if not torch.equal(start, images):
        with torch.no_grad():
            found = Strongest(images, loss(batch))
    for _ in range(steps):
        losses, gradients = loss_and_gradient(batch, point, loss)
        found = found or Strongest(images, losses)
        found.visit(point, losses)
        point = within(images, point - images + size * steepest(gradients, norm), epsilon, norm)
    assert found is not None  # there is at least one step
    with torch.no_grad():
        found.visit(point, loss(batch.with_images(point)))
    return found.images


class AdversarialAugmentation(Augmentation):
    """Climbs the loss of the network that learns (in `evaluate`, of the one measured) with the
    batch's soft labels."""

    label_safety: ClassVar[str] = (
        "epsilons so large that people would call the changed image something else"
    )
    neutral: ClassVar[Mapping[str, Any]] = {"epsilon": 0.0}
    needs_model: ClassVar[bool] = True

    epsilon: float = Field(8 / 255, ge=0, le=1)
    """Largest change, images being in [0,1]: of any value of any pixel with `linf`; with `l2`,
    whose useful values are larger, the Euclidean length over all values of an image."""
    norm: Norm = "linf"
    """How long a change is: its largest value, or its Euclidean length."""

    def start(self, images: Tensor, draws: Draws) -> Tensor:
        """Where the climb begins, `(N,C,H,W)`."""
        return images

    @abstractmethod
    def steps_and_size(self) -> tuple[int, float]:
        """How many steps, and how long each is."""

    def build(self, facts: AugmentationFacts) -> nn.Module:
        return AdversarialWorker(self)


class AdversarialWorker(nn.Module):
    """Attacks the chosen samples, in float32 at least; targets stay."""

    def __init__(self, settings: AdversarialAugmentation) -> None:
        super().__init__()
        self.settings = settings

    def forward(
        self, batch: Batch, draws: Draws, *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        settings, images = self.settings, batch.images()
        if loss is None:
            raise AugcompressError(
                f"{settings.kind}: climbs the loss of a network, and there is none here; keep it"
                " for stages that train and for evaluate.robustness"
            )
        chosen = draws.chosen(settings.probability).nonzero()[:, 0]
        if not len(chosen) or settings.epsilon == 0:
            return batch
        exact = images.to(torch.promote_types(images.dtype, torch.float32))
        start = settings.start(exact, draws)[chosen]
        steps, size = settings.steps_and_size()
        attacked = attack(
            batch.with_images(exact).take(chosen),
            start,
            loss,
            epsilon=settings.epsilon,
            steps=steps,
            size=size,
            norm=settings.norm,
        )
        return batch.with_images(images.index_copy(0, chosen, attacked.to(images.dtype)))


class Fgsm(AdversarialAugmentation):
    """One step along the sign of the loss's gradient (the fast gradient sign method, Goodfellow et
    al. 2015, arXiv:1412.6572).

    The default epsilon is that of Madry et al. 2018 for CIFAR-10.  The network is attacked in
    evaluation mode; a sample whose loss does not rise stays as it is.
    """

    kind: Literal["fgsm"] = "fgsm"

    def steps_and_size(self) -> tuple[int, float]:
        return 1, self.epsilon


class Pgd(AdversarialAugmentation):
    """Several steps up the loss, each followed by the way back into the ball around the image
    (projected gradient descent, Madry et al. 2018, arXiv:1706.06083).

    Epsilon and the number of steps are the paper's for training on CIFAR-10.  The network is
    attacked in evaluation mode; of all points visited, the image included, each sample keeps the
    one of highest loss, where the paper keeps the last.
    """

    kind: Literal["pgd"] = "pgd"
    steps: int = Field(7, ge=1)
    """Steps; each costs a forward and a backward pass."""
    step_size: float | None = Field(None, gt=0)
    """Length of a step, as epsilon is measured; None: 2.5 epsilon / steps, so that the climb can
    cross the ball."""
    random_start: bool = True
    """Begin at a point drawn evenly from the ball around the image, not at the image."""

    def start(self, images: Tensor, draws: Draws) -> Tensor:
        if not self.random_start:
            return images
        changes = random_changes(draws, images, self.epsilon, self.norm)
        return within(images, changes, self.epsilon, self.norm)

    def steps_and_size(self) -> tuple[int, float]:
        return self.steps, self.step_size or 2.5 * self.epsilon / self.steps
