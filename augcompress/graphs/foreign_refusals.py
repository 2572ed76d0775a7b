"""Why a foreign graph cannot be taken: each cause in a sentence of its own."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from augcompress.errors import AugcompressError
from augcompress.graphs.edits import optimizer_operators
from augcompress.graphs.reading import stored_tensors

_RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
EVALUATION = "export it in evaluation mode, network.eval()"


def require_evaluation(graph: ModelProto, where: str) -> None:
    """Raises AugcompressError naming a batch norm in training mode."""
    norm = next((node for node in graph.graph.node if _learns(node)), None)
    if norm is not None:
        raise AugcompressError(
            f"{where}: its batch norm {norm.name or norm.output[0]} is in training mode, so that an"
            f" image's scores depend on the other images in the batch; {EVALUATION}"
        )


def _learns(node: NodeProto) -> bool:
    """Does a batch norm take the statistics of its batch?  Before opset 14, one that does gives
    them, too."""
    if node.op_type != "BatchNormalization":
        return False
    asked = any(one.name == "training_mode" and one.i for one in node.attribute)
    return asked or sum(bool(name) for name in node.output) > 1


def require_numbers(graph: ModelProto, rows: np.ndarray, where: str) -> None:
    """Raises AugcompressError when a score is NaN or infinite, naming weights that are NaN."""
    bad = int((~np.isfinite(rows)).any(axis=1).sum())
    if not bad:
        return
    spoilt = [one.name for one in stored_tensors(graph) if _holds_nan(one)]
    why = (
        f", as its weights {', '.join(spoilt[:3])} hold NaN; give that of a training that went well"
        if spoilt
        else "; check mean, std and scale under foreign, and the file with ONNX Runtime"
    )
    raise AugcompressError(
        f"{where}: gives NaN or infinite scores for {bad} of {len(rows)} images{why}"
    )


def _holds_nan(tensor: TensorProto) -> bool:
    is_float = tensor.data_type in _FLOATS
    return is_float and bool(np.isnan(numpy_helper.to_array(tensor).astype(np.float32)).any())


def optimized_error(graph: ModelProto, where: str) -> AugcompressError | None:
    """For a graph that fails and was optimised by ONNX Runtime; None where it was not."""
    if not (found := optimizer_operators(graph)):
        return None
    return AugcompressError(
        f"{where}: has been optimised by ONNX Runtime already ({', '.join(found[:3])}); give the"
        " file from before that"
    )


def random_error(graph: ModelProto, where: str) -> AugcompressError:
    """For a graph that gives other scores for the same images each time."""
    found = [node for node in graph.graph.node if node.op_type in {*_RANDOM, "Dropout"}]
    by = f" ({', '.join(sorted({node.op_type for node in found}))})" if found else ""
    return AugcompressError(
        f"{where}: gives other scores for the same images each time{by}; {EVALUATION}"
    )


def company_error(where: str) -> AugcompressError:
    """For a graph whose scores for an image depend on the others in the batch."""
    return AugcompressError(
        f"{where}: gives an image other scores among other images, as batch norm in training mode"
        f" does; {EVALUATION}"
    )


def fixed_batch_error(where: str, reason: str) -> AugcompressError:
    """For a graph that was traced with one batch size."""
    return AugcompressError(
        f"{where}: cannot take any number of images ({reason}); its shapes are fixed to the batch"
        " it was exported with: export it with a dynamic batch axis"
    )
