"""The contrastive loss of pretraining: two views of an image against all other images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy (NT-Xent; SimCLR, Chen et al. 2020,
    https://arxiv.org/abs/2002.05709, equation 1): a scalar, in nats.

    `first` and `second` `(N,D)` are the projections of two views of the same N images, row by row.
    Each of the 2N views has to find its partner among the 2N - 1 others: the cross-entropy of the
    softmax over cosine similarity / `temperature`, the mean over the 2N views.  With N = 1 it is 0,
    as there is nothing to confuse; log(2N - 1) is the loss of guessing.
    """
    count = len(first)
    views = F.normalize(torch.cat((first, second)), dim=1)  # (2N, D)
    similarity = views @ views.T / temperature
    itself = torch.eye(2 * count, dtype=torch.bool, device=views.device)
    partner = torch.arange(2 * count, device=views.device).roll(count)
    return F.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)
