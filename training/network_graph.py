"""The convolutions of a trunk's network, read from its file: what quantisation works on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_client.contract.errors import BadEngine
from training.trunk import NETWORK_INPUT


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Convolution:
    """One convolution with the activation behind it.

    Attributes:
        node: Its node.
        activation: The Clip behind it from 0 on; None where its output is used as it is.
        weights: float32 [out, in, h, w].
        bias: float32 [out].
        depthwise: Each output channel has one input channel.
    """

    node: onnx.NodeProto
    activation: onnx.NodeProto | None
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    depthwise: bool

    @property
    def source(self) -> str:
        """The tensor it reads."""
        return str(self.node.input[0])

    @property
    def output(self) -> str:
        """The tensor that others read, behind the activation."""
        return str((self.activation or self.node).output[0])


class NetworkGraph:
    """A float trunk's network.

    Args:
        model: The float trunk.

    Attributes:
        convolutions: In order.
        sums: Nodes that add two of the network's tensors.

    Raises:
        BadEngine: The file has no network behind the resize.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self.convolutions = [self._convolution(node, constants) for node in model.graph.node if node.op_type == "Conv"]
        if not self.convolutions or NETWORK_INPUT not in self._readers:
            raise BadEngine(
                f"trunk has {len(self.convolutions)} convolutions and "
                f"{'a' if NETWORK_INPUT in self._readers else 'no'} tensor {NETWORK_INPUT!r}; expected both: "
                "delete the cached trunk to export it anew"
            )
        made = {NETWORK_INPUT} | {conv.output for conv in self.convolutions}
        self.sums: list[onnx.NodeProto] = []
        for node in model.graph.node:
            if node.op_type == "Add" and all(name in made for name in node.input):
                self.sums.append(node)
                made.add(node.output[0])

    @property
    def tensors(self) -> list[str]:
        """Input, outputs of convolutions and sums: all that becomes bytes."""
        return [NETWORK_INPUT, *(conv.output for conv in self.convolutions), *(node.output[0] for node in self.sums)]

    @property
    def activated(self) -> set[str]:
        """The tensors behind an activation: never negative."""
        return {conv.output for conv in self.convolutions if conv.activation is not None}

    def readers(self, tensor: str) -> Iterator[Convolution]:
        """The convolutions that read a tensor."""
        return (conv for conv in self.convolutions if conv.source == tensor)

    def tied(self) -> list[list[str]]:
        """Tensors without an activation, in groups that sums tie together: their channels have one scale."""
        group = {name: [name] for name in self.tensors if name not in self.activated and name != NETWORK_INPUT}
        for node in self.sums:
            for name in node.input:
                mine, theirs = group.get(node.output[0]), group.get(name)
                # What is summed with an activated tensor, or with the input, keeps its channels as they are.
                if mine is None or theirs is None or mine is theirs:
                    continue
                mine.extend(theirs)
                for member in theirs:
                    group[member] = mine
        fixed = {
            member
            for node in self.sums
            for member in group[node.output[0]]
            if any(name not in group for name in node.input)
        }
        unique = {id(members): members for members in group.values()}
        return [members for members in unique.values() if not fixed & set(members)]

    def _convolution(self, node: onnx.NodeProto, constants: dict[str, NDArray[np.float32]]) -> Convolution:
        weights = constants[node.input[1]]
        bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weights), dtype=np.float32)
        behind = self._readers.get(node.output[0], [])
        clip = behind[0] if len(behind) == 1 and behind[0].op_type == "Clip" else None
        if clip is not None and float(constants.get(clip.input[1], np.float32(-1.0))) != 0.0:
            clip = None  # a range that does not start at zero is none of the quantised tensor's own
        return Convolution(
            node=node, activation=clip, weights=weights, bias=bias, depthwise=weights.shape[1] == 1 < len(weights)
        )
