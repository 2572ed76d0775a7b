"""A second runtime for tests: a packed ONNX graph, run without optimisations."""

import zlib
from typing import ClassVar, Literal

import numpy as np
from onnx import helper, numpy_helper

from augcompress.errors import LimitError
from augcompress.exporters import Exporter, OnnxExporter
from augcompress.inference import load_onnx


class ZippedGraph(Exporter):
    """Adds `spoil` to the scores of class 3, and fails its own check where asked to."""

    file: ClassVar[str] = "model.zip"
    kind: Literal["zipped_graph"] = "zipped_graph"
    spoil: float = 0
    refuse: bool = False

    def write(self, source, folder, example):
        settings = OnnxExporter(input=self.input, output=self.output, batch=self.batch)
        graph = settings.to_graph(source, example)
        last = graph.graph.output[0].name
        for node in graph.graph.node:
            node.output[:] = ["inner" if name == last else name for name in node.output]
        raised = (np.arange(10) == 3) * np.float32(self.spoil)
        graph.graph.initializer.append(numpy_helper.from_array(raised, "raised"))
        graph.graph.node.append(helper.make_node("Add", ["inner", "raised"], [last]))
        (folder / self.file).write_bytes(zlib.compress(graph.SerializeToString()))
        return folder / self.file

    def open(self, file, threads=1):
        return load_onnx(zlib.decompress(file.read_bytes()), threads, optimize=False)

    def check(self, file, images, names=None):
        if self.refuse:
            raise LimitError(f"{file.name}: refused by its own check; write it again")
