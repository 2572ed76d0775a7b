"""The loss of a network on each sample, which adversarial augmentations climb."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.augmentations import Loss
from augcompress.batch import Batch
from augcompress.modules import in_evaluation


def loss_of(network: nn.Module, ready: Callable[[Batch], Batch]) -> Loss:
    """What adversarial augmentations climb: the cross-entropy `(N,)` of a network in evaluation
    mode, so that its running statistics stay and no sample depends on another.  Where there are no
    labels, the network's own answers stand in for them.  `ready` makes a batch one that the network
    takes."""

    def loss(batch: Batch) -> Tensor:
        with in_evaluation(network):
            logits = network(ready(batch).inputs).float()
        labels = batch.targets if batch.targets is not None else logits.detach().argmax(1)
        targets = labels.to(logits.dtype) if labels.dim() > 1 else labels
        return F.cross_entropy(logits, targets, reduction="none")

    return loss
