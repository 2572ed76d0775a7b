"""Whether a network can learn from one image at a time."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from augcompress.errors import AugcompressError, first_line


def check_batch_of_one(network: nn.Module, example: Tensor, where: str) -> None:
    """Raises AugcompressError when batches of one image leave a batch norm in training a single
    value per channel, of which there is no variance: where the features are 1 x 1.

    `example` are images `(N,C,H,W)` on the network's device, `where` names the setting; `network`
    and its statistics are left as they are.
    """
    learning = copy.deepcopy(network).train()
    try:
        with torch.no_grad():
            learning(example[:1])
    except ValueError as error:
        raise AugcompressError(
            f"{where}: a batch of one image leaves batch norm a single value per channel"
            f" ({first_line(error)}); raise it, or take batch_norm: frozen"
        ) from error
