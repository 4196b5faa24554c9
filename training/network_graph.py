"""The convolutions of a trunk's network, read from its file: what quantisation works on.

1. Convolutions over two dimensions with constant weights are taken, dense or depthwise. Whatever else a network has
   (grouped convolutions, attention, gates) stays in float, and its values go there and back.
2. What a convolution reads from such a part becomes bytes with a range of its own, its channels as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_client.contract.errors import AndonError, BadEngine
from training.trunk import NETWORK_INPUT


class NotQuantisable(AndonError):
    """The network has nothing that int8 would make faster."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Convolution:
    """One convolution with the activation behind it.

    Attributes:
        node: Its node.
        activation: The Clip from 0 on or Relu behind it; None where its output is used as it is.
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
        foreign: What convolutions read that neither convolutions nor sums made.

    Raises:
        BadEngine: The file has no network behind the resize.
        NotQuantisable: It has no convolution that can be taken.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        if NETWORK_INPUT not in self._readers:
            raise BadEngine(f"trunk has no tensor {NETWORK_INPUT!r}: delete the cached trunk to export it anew")
        self.convolutions = [
            self._convolution(node, constants) for node in model.graph.node if _can_be_taken(node, constants)
        ]
        if not self.convolutions:
            raise NotQuantisable(
                "the network has no dense or depthwise convolution over two dimensions with constant weights: "
                "it stays in float (setting variant = fp32)"
            )
        made = {NETWORK_INPUT} | {conv.output for conv in self.convolutions}
        self.sums: list[onnx.NodeProto] = []
        for node in model.graph.node:
            if node.op_type == "Add" and all(name in made for name in node.input):
                self.sums.append(node)
                made.add(node.output[0])
        self.foreign = list(dict.fromkeys(conv.source for conv in self.convolutions if conv.source not in made))

    @property
    def tensors(self) -> list[str]:
        """Input, outputs of convolutions and sums, and what comes from outside: all that becomes bytes."""
        made = [*(conv.output for conv in self.convolutions), *(node.output[0] for node in self.sums)]
        return [NETWORK_INPUT, *made, *self.foreign]

    @property
    def activated(self) -> set[str]:
        """The tensors behind an activation: never negative."""
        return {conv.output for conv in self.convolutions if conv.activation is not None}

    def readers(self, tensor: str) -> Iterator[Convolution]:
        """The convolutions that read a tensor."""
        return (conv for conv in self.convolutions if conv.source == tensor)

    def tied(self) -> list[list[str]]:
        """Tensors without an activation, in groups that sums tie together: their channels have one scale."""
        fixed_ones = {NETWORK_INPUT, *self.activated, *self.foreign}
        group = {name: [name] for name in self.tensors if name not in fixed_ones}
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
        clip = behind[0] if len(behind) == 1 and behind[0].op_type in ("Clip", "Relu") else None
        if clip is not None and clip.op_type == "Clip" and not _starts_at_zero(clip, constants):
            clip = None  # a range that does not start at zero is none of the quantised tensor's own
        return Convolution(
            node=node, activation=clip, weights=weights, bias=bias, depthwise=weights.shape[1] == 1 < len(weights)
        )


def _starts_at_zero(clip: onnx.NodeProto, constants: dict[str, NDArray[np.float32]]) -> bool:
    low = constants.get(clip.input[1]) if len(clip.input) > 1 else None
    return low is not None and float(low) == 0.0


def _can_be_taken(node: onnx.NodeProto, constants: dict[str, NDArray[np.float32]]) -> bool:
    """Return whether a node is a convolution by rule 1."""
    if node.op_type != "Conv" or not all(name in constants for name in node.input[1:]):
        return False
    weights = constants[node.input[1]]
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    depthwise = weights.shape[1] == 1 and groups == len(weights)
    return weights.ndim == 4 and ((groups == 1 and weights.shape[1] > 1) or (depthwise and groups > 1))
