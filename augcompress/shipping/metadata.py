"""What the file says of itself."""

from __future__ import annotations

import json
from typing import Any

import onnx

from augcompress.evidence import Measurement
from augcompress.exporters import (
    is_quantized,
)
from augcompress.running import Context

IN_METADATA = ("top1", "top5", "macro_f1", "nll", "ece")


def metadata(context: Context, graph: onnx.ModelProto, rows: list[Measurement]) -> dict[str, str]:
    """What the file says of itself; no paths."""
    told = {row.name: in_short(row) for row in rows if row.name in IN_METADATA}
    return {
        "labels": json.dumps(list(context.data.classes)),
        "resizing": json.dumps(context.data.resizing),
        "input_size": json.dumps([context.data.channels, *context.data.size]),
        "recipe": context.recipe_digest,
        "test_top1": json.dumps(told["top1"]),
        "metrics": json.dumps(told),
        "opset": next(str(one.version) for one in graph.opset_import if one.domain == ""),
        "quantized": json.dumps(is_quantized(graph)),
        "producer_version": context.version,
    }


def in_short(row: Measurement) -> dict[str, Any]:
    """A measurement without its circumstances."""
    return row.model_dump(include={"value", "low", "high", "level", "n", "split"})
