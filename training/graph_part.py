"""A part of an ONNX graph under construction: nodes and constants, each named after what it is."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class GraphPart:
    """Nodes in order, and the constants they read.

    Args:
        prefix: Goes before the name of every node and constant, so that parts never clash.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        """Add a constant and return the name to read it by."""
        full = f"{self._prefix}.{name}"
        self.constants[full] = numpy_helper.from_array(np.asarray(value, order="C"), full)
        return full

    def whole(self, *values: int) -> str:
        """Add a vector of int64 and return its name; equal vectors are kept once."""
        return self.constant(f"whole_{'_'.join(str(value) for value in values)}", np.array(values, dtype=np.int64))

    def real(self, value: float) -> str:
        """Add a float32 scalar and return its name; equal ones are kept once."""
        return self.constant(f"real_{value!r}", np.float32(value))

    def node(self, kind: str, inputs: list[str], output: str, **attributes: int | float | list[int]) -> str:
        """Add a node with one output and return that output's name."""
        return self.nodes_of(kind, inputs, [output], **attributes)[0]

    def nodes_of(
        self, kind: str, inputs: list[str], outputs: list[str], **attributes: int | float | list[int]
    ) -> list[str]:
        """Add a node with several outputs and return their names."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=f"{self._prefix}.{outputs[0]}", **attributes))
        return outputs

    def behind(self, graph: onnx.GraphProto) -> None:
        """Append this part to a graph."""
        graph.node.extend(self.nodes)
        graph.initializer.extend(self.constants.values())

    def before(self, graph: onnx.GraphProto) -> None:
        """Put this part's nodes before a graph's own."""
        rest = list(graph.node)
        del graph.node[:]
        graph.node.extend([*self.nodes, *rest])
        graph.initializer.extend(self.constants.values())
