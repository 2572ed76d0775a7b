"""What a network costs: parameters, MACs, bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement
from augcompress.modules import in_evaluation

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode


def parameters(network: nn.Module, subject: str | None = None) -> Measurement:
    """Number of learned parameters; shared ones count once."""
    count = sum(one.numel() for one in network.parameters())
    return _exact("parameters", count, "parameters", subject)


def nonzero_parameters(network: nn.Module, subject: str | None = None) -> Measurement:
    """Number of learned parameters that are not zero."""
    count = sum(int(torch.count_nonzero(one)) for one in network.parameters())
    return _exact("nonzero_parameters", count, "parameters", subject)


def count_macs(network: nn.Module, example: Tensor) -> int:
    """Multiply-adds of convolutions and matrix products for one image of `example` `(N,C,H,W)`.

    Half the floating point operations that torch counts; those of norms, activations, pooling and
    additions are left out, as is usual.
    """
    return _counted(network, example).get_total_flops() // 2


def macs_by_layer(network: nn.Module, example: Tensor) -> dict[str, int]:
    """Multiply-adds for one image by the name of the layer, those of its inner layers included."""
    counts = _counted(network, example).get_flop_counts()
    prefix = f"{type(network).__name__}."
    return {
        name.removeprefix(prefix): sum(each.values()) // 2
        for name, each in counts.items()
        if name.startswith(prefix)
    }


def _counted(network: nn.Module, example: Tensor) -> FlopCounterMode:
    from torch.utils.flop_counter import FlopCounterMode

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fast path hides attention's products
    try:
        with in_evaluation(network), torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(example[:1])
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter


def macs(network: nn.Module, example: Tensor, subject: str | None = None) -> Measurement:
    """Multiply-adds for one image."""
    conditions = {"counts": "multiply-adds", "image": list(example.shape[1:]), "batch": 1}
    return _exact("macs", count_macs(network, example), "macs", subject, conditions)


def size_bytes(path: str | Path, subject: str | None = None) -> Measurement:
    """Size of a file on disk.

    Raises AugcompressError when there is none.
    """
    try:
        size = Path(path).stat().st_size
    except OSError as error:
        raise AugcompressError(f"{path}: {error.strerror}; run the stage that writes it") from error
    return _exact("size_bytes", size, "bytes", subject)


def _exact(
    name: str, value: int, unit: str, subject: str | None, conditions: dict | None = None
) -> Measurement:
    return Measurement(
        name=name,
        value=value,
        unit=unit,
        better="lower",
        subject=subject,
        conditions=conditions or {},
    )
