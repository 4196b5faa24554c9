"""A trunk with its network in int8, written as QuantizeLinear and DequantizeLinear around float operators.

Runtimes turn the form into int8 kernels of their own. Activations are uint8 with one scale a tensor, weights int8 with
one a channel. Resize, pooling and all behind them stay in float: quantising the tail costs decisions and saves
nothing. So do the first convolutions, as many as are asked for.

An activation needs no operator of its own: a quantised tensor ends where its range does.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from training.channel_ranges import ChannelRanges, Channels
from training.int8_weights import quantised
from training.network_graph import Convolution, NetworkGraph
from training.trunk import NETWORK_INPUT

_STEPS = 255
_LEAST = 1e-6


def int8_graph(
    network: NetworkGraph, ranges: dict[str, ChannelRanges], scales: dict[str, Channels], *, float_layers: int
) -> onnx.ModelProto:
    """Write the int8 trunk.

    Args:
        network: The float network.
        ranges: What was seen of its tensors.
        scales: The factor of each channel of each tensor.
        float_layers: Convolutions at the start that stay in float.
    """
    return _Writer(network, ranges, scales, float_layers).model()


class _Writer:
    def __init__(
        self,
        network: NetworkGraph,
        ranges: dict[str, ChannelRanges],
        scales: dict[str, Channels],
        float_layers: int,
    ) -> None:
        self._network, self._ranges, self._scales = network, ranges, scales
        self._in_float = [conv.output for conv in network.convolutions[:float_layers]]
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._bytes: dict[str, tuple[str, np.float32]] = {}  # tensor -> its dequantised name and its scale
        self._natural: dict[str, str] = {}  # tensor -> the name of its values without the channels' factors

    def model(self) -> onnx.ModelProto:
        """Walk the float graph and write every node in its new form."""
        network = self._network
        convolutions = {conv.node.output[0]: conv for conv in network.convolutions}
        clips = {conv.output: conv for conv in network.convolutions if conv.activation is not None}
        sums = {node.output[0] for node in network.sums}
        for node in network.model.graph.node:
            name = node.output[0]
            if name in convolutions:
                self._convolution(convolutions[name])
            elif name in clips:
                if name in self._in_float:
                    self._nodes.append(node)
                    self._quantise_if_read(name)
            elif name in sums:
                inputs = [self._dequantised(source) for source in node.input]
                self._nodes.append(helper.make_node("Add", inputs, [name], name=node.name))
                self._quantise(name, name)
            else:
                other = onnx.NodeProto()
                other.CopyFrom(node)
                other.input[:] = [self._value(source) for source in node.input]
                self._nodes.append(other)
        made = onnx.ModelProto()
        made.CopyFrom(network.model)
        graph = made.graph
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend([*kept, *self._constants.values()])
        return made

    def _convolution(self, conv: Convolution) -> None:
        if conv.output in self._in_float:
            self._float_convolution(conv)
        else:
            self._int8_convolution(conv)

    def _float_convolution(self, conv: Convolution) -> None:
        """Write a convolution that stays in float.

        Where it is linear its weights bring the channels to their range; one that reads those makes up for it.
        """
        before, after = self._scales[conv.source], self._scales[conv.output]
        if (before == 1.0).all() and (after == 1.0).all():
            self._nodes.append(conv.node)
        else:
            weights = self._constant(f"{conv.output}.weights", _rescaled(conv, before, after).astype(np.float32))
            bias = self._constant(f"{conv.output}.bias", (conv.bias * after).astype(np.float32))
            self._write_convolution(conv, conv.source, weights, bias)
        if conv.activation is None:
            self._quantise_if_read(conv.output)

    def _int8_convolution(self, conv: Convolution) -> None:
        source = self._dequantised(conv.source)
        before, after = self._scales[conv.source], self._scales[conv.output]
        seen = self._ranges[conv.source]
        int8 = quantised(
            _rescaled(conv, before, after),
            conv.bias * after,
            seen.mean * before,
            None
            if conv.depthwise or seen.gram is None or conv.weights.shape[2:] != (1, 1)
            else seen.gram * np.outer(before, before),
            depthwise=conv.depthwise,
        )
        name = conv.output
        bias_scale = (int8.scale * self._bytes[conv.source][1]).astype(np.float32)
        limit = np.iinfo(np.int32).max
        bias = np.clip(np.round(int8.bias / bias_scale), -limit, limit).astype(np.int32)
        self._write_convolution(
            conv,
            source,
            self._dequantise_constant(f"{name}.weights", int8.values, int8.scale),
            self._dequantise_constant(f"{name}.bias", bias, bias_scale),
        )
        self._quantise(conv.node.output[0], name)

    def _write_convolution(self, conv: Convolution, source: str, weights: str, bias: str) -> None:
        node = helper.make_node("Conv", [source, weights, bias], [conv.node.output[0]], name=conv.node.name)
        node.attribute.extend(conv.node.attribute)
        self._nodes.append(node)

    def _quantise_if_read(self, name: str) -> None:
        """Quantise a float convolution's output where something other than a float convolution reads it."""
        if any(conv.output not in self._in_float for conv in self._network.readers(name)) or any(
            name in node.input for node in self._network.sums
        ):
            self._quantise(name, name)

    def _dequantised(self, name: str) -> str:
        if name not in self._bytes:  # the network's input, where no convolution stays in float
            self._quantise(name, name)
        return self._bytes[name][0]

    def _quantise(self, values: str, name: str) -> None:
        """Write a tensor's way to bytes and back; `values` holds it, scaled already."""
        factor, seen = self._scales[name], self._ranges[name]
        low = 0.0 if name in self._network.activated else min(0.0, float((seen.low * factor).min()))
        high = max(float((seen.high * factor).max()), low + _LEAST, 0.0)
        step = np.float32((high - low) / _STEPS)
        scale = self._constant(f"{name}.scale", step)
        zero = self._constant(f"{name}.zero", np.uint8(round(-low / float(step))))
        self._nodes.append(
            helper.make_node("QuantizeLinear", [values, scale, zero], [f"{name}.bytes"], name=f"{name}.quantise")
        )
        self._nodes.append(
            helper.make_node(
                "DequantizeLinear", [f"{name}.bytes", scale, zero], [f"{name}.real"], name=f"{name}.dequantise"
            )
        )
        self._bytes[name] = (f"{name}.real", step)

    def _value(self, name: str) -> str:
        """The tensor as others than the network's own operators read it: channels as they were."""
        held = self._bytes[name][0] if name in self._bytes else name
        if name == NETWORK_INPUT or name not in self._scales:
            return name
        factor = self._scales[name]
        if (factor == 1.0).all():
            return held
        if name not in self._natural:
            back = self._constant(f"{name}.back", (1.0 / factor).astype(np.float32).reshape(1, -1, 1, 1))
            self._natural[name] = f"{name}.natural"
            self._nodes.append(helper.make_node("Mul", [held, back], [f"{name}.natural"], name=f"{name}.natural"))
        return self._natural[name]

    def _dequantise_constant(self, name: str, values: NDArray[np.generic], scale: NDArray[np.float32]) -> str:
        whole = self._constant(f"{name}.whole", values)
        steps = self._constant(f"{name}.scale", scale)
        zero = self._constant(f"{name}.zero", np.zeros(len(scale), dtype=values.dtype))
        self._nodes.append(
            helper.make_node("DequantizeLinear", [whole, steps, zero], [name], name=f"{name}.dequantise", axis=0)
        )
        return name

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name


def _rescaled(conv: Convolution, before: Channels, after: Channels) -> NDArray[np.float64]:
    """The weights that read channels scaled by `before` and write them scaled by `after`."""
    weights = conv.weights.astype(np.float64) * after[:, None, None, None]
    return weights / (before[:, None, None, None] if conv.depthwise else before[None, :, None, None])
