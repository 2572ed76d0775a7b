"""Versions and hardware that a result was made with."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import onnxruntime
import torch

from augcompress.system import available_cpus, has_vnni
from augcompress.training import resolve_precision

LIBRARIES = ("augcompress", "torch", "torchvision", "onnx", "onnxruntime", "torch-pruning")


def environment() -> dict[str, str]:
    """Versions that a result was made with."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = "unknown"
    return found


def version_note(then: Mapping[str, str]) -> str | None:
    """A sentence when a cached result was made with other versions."""
    now = environment()
    differ = [f"{k} {then[k]} (now {now.get(k)})" for k in then if then[k] != now.get(k)]
    return f"made with {', '.join(differ)}; --force redoes it" if differ else None


def examine() -> dict[str, Any]:
    """Versions, threads, instructions, devices."""
    cuda = torch.cuda.is_available()
    return {
        **environment(),
        "threads": available_cpus(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "int8_dot_product_vnni": has_vnni(),
        "cuda": torch.cuda.get_device_name() if cuda else "none",
        "precision_auto": resolve_precision("auto", torch.device("cuda" if cuda else "cpu")),
        "onnxruntime_providers": onnxruntime.get_available_providers(),
    }
