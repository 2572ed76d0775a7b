"""What this machine has, as far as training and timing care."""

from __future__ import annotations

from typing import Any

import onnxruntime
import torch

from augcompress.assembly.stage import environment
from augcompress.cpus import available_cpus
from augcompress.training import resolve_precision


def examine() -> dict[str, Any]:
    """Versions, threads, instructions, devices."""
    cuda = torch.cuda.is_available()
    return {
        **environment(),
        "threads": available_cpus(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "int8_dot_product_vnni": torch.cpu._is_vnni_supported(),
        "cuda": torch.cuda.get_device_name() if cuda else "none",
        "precision_auto": resolve_precision("auto", torch.device("cuda" if cuda else "cpu")),
        "onnxruntime_providers": onnxruntime.get_available_providers(),
    }
