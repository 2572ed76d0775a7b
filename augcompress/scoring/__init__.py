"""What a network or a file predicts, and how good that is."""

from __future__ import annotations

from augcompress.scoring.files import predict_files
from augcompress.scoring.predicting import (
    Answer,
    averaged,
    graph_answer,
    network_answer,
    open_answer,
    predict,
)
from augcompress.scoring.robustness import robustness
from augcompress.scoring.scores import (
    accuracy,
    accuracy_scorer,
    calibrated,
    costs,
    quality,
    with_role,
)

__all__ = [
    "Answer",
    "accuracy",
    "accuracy_scorer",
    "averaged",
    "calibrated",
    "costs",
    "graph_answer",
    "network_answer",
    "open_answer",
    "predict",
    "predict_files",
    "quality",
    "robustness",
    "with_role",
]
