"""prune: steps that make the network smaller, each followed by fine-tuning."""

from __future__ import annotations

from pathlib import Path

from augcompress.learning import compress_network, compression_inputs, finish
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage, training_reads


def inputs(sources: Sources) -> dict[str, Input]:
    """The network to prune, and the teacher where an objective follows one."""
    return compression_inputs(sources, "prune")


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Prune, assert the promises on the reopened network, measure."""
    reopened, promises = compress_network(context, "prune", inputs, folder)
    return finish(context, reopened, folder, [], promises)


STAGE = Stage(
    "prune", inputs, body, makes="network", reads=training_reads("prune"), trains=True, version=3
)
