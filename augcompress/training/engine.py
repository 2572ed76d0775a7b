"""Where and how training runs, and to whom it reports."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from augcompress.system import Reporter, SilentReporter
from augcompress.training.processes import ALONE, Processes

Precision = Literal["fp32", "bf16", "fp16"]

_COMPUTED_IN: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Engine:
    """Where and how training runs, and to whom it reports: given by the stage."""

    device: torch.device
    precision: Precision = "fp32"
    where: str = "training"
    """The recipe's section, for messages."""
    reporter: Reporter = field(default_factory=SilentReporter)
    state: Path | None = None
    """Folder of the resume state; None keeps none."""
    log: Path | None = None
    """JSON lines, one an epoch."""
    events: Path | None = None
    """Folder of TensorBoard's event files, where the recipe asks for them."""
    save_every_s: float = 60.0
    """Seconds between two states inside an epoch; the end of an epoch always writes one."""
    processes: Processes = ALONE
    """Who trains along; the first process writes."""

    def autocast(self) -> AbstractContextManager:
        """Mixed precision for the forward pass."""
        dtype = _COMPUTED_IN.get(self.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)


CPU = Engine(torch.device("cpu"))


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """`auto` as bf16 where `device` has the instructions, else fp32."""
    if precision in ("fp32", "bf16", "fp16"):
        return precision  # type: ignore[return-value]
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
