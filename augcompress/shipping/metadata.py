"""What the file says of itself."""

from __future__ import annotations

import json
from typing import Any

from augcompress.evidence import Measurement
from augcompress.running import Context

IN_METADATA = ("top1", "top5", "macro_f1", "nll", "ece")


def metadata(context: Context, rows: list[Measurement], *, quantized: bool) -> dict[str, str]:
    """What the file says of itself; no paths."""
    metrics = {row.name: numbers_of(row) for row in rows if row.name in IN_METADATA}
    return {
        "labels": json.dumps(list(context.data.classes)),
        "resizing": json.dumps(context.data.resizing),
        "input_size": json.dumps([context.data.channels, *context.data.size]),
        "recipe": context.recipe_digest,
        "test_top1": json.dumps(metrics["top1"]),
        "metrics": json.dumps(metrics),
        "quantized": json.dumps(quantized),
        "producer_version": context.version,
    }


def numbers_of(row: Measurement) -> dict[str, Any]:
    """A measurement without its circumstances."""
    return row.model_dump(include={"value", "low", "high", "level", "n", "split"})
