"""Names in a traced graph: tools' traces removed, nodes named after layers, points after marks."""

from __future__ import annotations

from typing import Any

import onnx

from augcompress.errors import AugcompressError
from augcompress.modules import DOMAIN, OPERATOR


def strip(graph: onnx.ModelProto) -> None:
    """Remove, in place, what tools wrote about themselves: paths, source lines, inferred shapes."""
    del graph.metadata_props[:]
    graph.doc_string = ""
    for function in graph.functions:
        function.doc_string = ""
        _strip_nodes(function.node)
    _strip_graph(graph.graph)


def _strip_graph(graph: onnx.GraphProto) -> None:
    del graph.value_info[:]
    del graph.metadata_props[:]
    graph.doc_string = ""
    for described in (*graph.input, *graph.output, *graph.initializer):
        described.doc_string = ""
        del described.metadata_props[:]
    _strip_nodes(graph.node)


def _strip_nodes(nodes: Any) -> None:
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _strip_graph(inner)


def rename(graph: onnx.ModelProto) -> None:
    """Name weights as in the network, and nodes after the layer whose weights they hold."""
    renamed = {one.name: one.name.removeprefix("network.") for one in graph.graph.initializer}
    layers = {n: n.removesuffix(".weight") for n in renamed.values() if n.endswith(".weight")}
    for one in graph.graph.initializer:
        one.name = renamed[one.name]
    used: set[str] = set()
    for position, node in enumerate(graph.graph.node):
        node.input[:] = [renamed.get(name, name) for name in node.input]
        layer = next((layers[name] for name in node.input if name in layers), None)
        node.name = layer if layer and layer not in used else f"{node.op_type}_{position}"
        used.add(node.name)


def name_points(graph: onnx.ModelProto) -> None:
    """Name each marked tensor after its point and take the marks out, in place.

    An Identity stays where the tensor is the graph's input or output, or another point already.
    Raises AugcompressError when two points have one name.
    """
    inner = graph.graph
    taken = {one.name for one in (*inner.input, *inner.output, *inner.initializer)}
    for node in [one for one in inner.node if one.domain == DOMAIN and one.op_type == OPERATOR]:
        source, marked = node.input[0], node.output[0]
        name = node.attribute[0].s.decode()
        made = {output for one in inner.node for output in one.output}
        if name in (taken | made) - {source}:
            raise AugcompressError(f"export: two tensors are called {name}; rename a point")
        place = list(inner.node).index(node)
        inner.node.remove(node)
        if source in taken:
            inner.node.insert(place, onnx.helper.make_node("Identity", [source], [name]))
            place += 1
        else:
            _rewire(inner, source, name)
        if marked in taken:
            inner.node.insert(place, onnx.helper.make_node("Identity", [name], [marked]))
        else:
            _rewire(inner, marked, name)
        taken.add(name)
    kept = [one for one in graph.opset_import if one.domain != DOMAIN]
    del graph.opset_import[:]
    graph.opset_import.extend(kept)


def _rewire(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
