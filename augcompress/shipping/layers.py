"""The layers of a shipped network: what each costs and stores, and its sensitivity to rounding."""

from __future__ import annotations

from collections.abc import Mapping
from math import log10, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from augcompress import measures
from augcompress.evidence import Layer
from augcompress.modules import in_evaluation
from augcompress.networks import Network
from augcompress.running import Context

MOST_IMAGES = 64
FEWEST_IMAGES = 8
MACS_ALLOWED = 1e12
"""Multiply-adds to spend on sensitivities; fewer images where a network is larger."""


def layer_costs(context: Context, network: Network, stored: Mapping[str, str]) -> list[Layer]:
    """One row for each layer with weights; `stored` is the number type of its weights in the file,
    by layer, float32 where not named."""
    module = network.module.to("cpu")
    weighted = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(getattr(layer, "weight", None), Tensor) and layer.weight.dim() > 1
    }
    macs = measures.macs_by_layer(module, context.example()[:1])
    with in_evaluation(module):
        noise = sensitivities(context, module, weighted, sum(macs.values()))
    return [
        Layer(
            name=name,
            type=type(layer).__name__,
            parameters=sum(one.numel() for one in layer.parameters(recurse=False)),
            nonzero_parameters=sum(
                int(torch.count_nonzero(one)) for one in layer.parameters(recurse=False)
            ),
            macs=macs.get(name, 0),
            precision=stored.get(name, "float32"),
            sensitivity_db=noise[name],
        )
        for name, layer in weighted.items()
    ]


@torch.no_grad()
def sensitivities(
    context: Context, module: nn.Module, weighted: Mapping[str, Any], macs: int
) -> dict[str, float | None]:
    """Signal-to-noise ratio of the logits, in decibels, with one layer's weights rounded at a time,
    on validation images."""
    affordable = MACS_ALLOWED / max(1, macs * (len(weighted) + 1))
    count = int(np.clip(affordable, FEWEST_IMAGES, MOST_IMAGES))
    batches = context.evaluation_batches("validation", count)
    images = torch.cat([context.data.ready(batch, "cpu").images() for batch in batches])
    whole = module(images)
    found: dict[str, float | None] = {}
    for name, layer in weighted.items():
        kept = layer.weight.data
        layer.weight.data = rounded_to_int8(kept)
        noise = float((module(images) - whole).square().mean())
        layer.weight.data = kept
        signal = float(whole.square().mean())
        found[name] = 10 * log10(signal / noise) if noise > 0 and signal > 0 else None
    return found


def rounded_to_int8(weight: Tensor) -> Tensor:
    """Weights `(out, …)` as symmetric int8 with one scale per output channel would hold them."""
    flat = weight.reshape(weight.shape[0], prod(weight.shape[1:]))
    scale = flat.abs().amax(dim=1).clamp_min(1e-12) / 127
    scale = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return (weight / scale).round() * scale
