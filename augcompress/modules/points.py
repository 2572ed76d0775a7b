"""Named points: tensors of a network that keep their name in its ONNX graph.

A compression marks what its graph face must find again; the exporter names the tensor after it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DOMAIN, OPERATOR = "augcompress", "Point"
"""The operator that stands for a point while the exporter works; it never reaches a file."""


def mark(tensor: Tensor, name: str) -> Tensor:
    """The tensor itself; while a graph is exported, a point that no optimisation moves."""
    if not torch.onnx.is_in_onnx_export():
        return tensor
    marked = torch.onnx.ops.symbolic(
        f"{DOMAIN}::{OPERATOR}", (tensor,), {"name": name}, dtype=tensor.dtype, shape=tensor.shape
    )
    assert isinstance(marked, Tensor)
    return marked


class Point(nn.Module):
    """Marks what flows through it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, tensor: Tensor) -> Tensor:
        return mark(tensor, self.name)
