"""What a network's channels do on real frames, and how to bring them to one range.

1. A tensor in uint8 has one scale for all its channels. A channel that stays small has few steps to say anything
   with. Its weights can make it larger, and the weights of whatever reads it make up for that: the network is the
   same, its bytes say more (Nagel et al. 2019, §4.1; Xiao et al. 2023 weigh reader against writer as rule 3 does).
2. Between a convolution and a depthwise one this is free on both sides: their weights have a scale a channel. Every
   channel is brought near the range of the largest, with room above for what the frames did not show.
3. A tensor without activation is read by dense convolutions, whose weights across input channels share a scale: what
   its channels gain, those weights lose. The root of the two ranges is between. Sums tie such tensors together.
4. An activation from 0 to 6 does not commute with scaling, but a quantised tensor ends where its range does: a
   channel's own largest value seen, which 6 bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from training.network_graph import NetworkGraph
from training.trunk import NETWORK_INPUT

Channels = NDArray[np.float64]
_LEAST = 1e-6
#: Largest factor between two channels: one that slept on the calibration frames may wake up on a rare defect.
_MOST = 8.0
#: Room above what a channel was seen to reach: every channel at its limit would cut some channel of many a frame.
_HEADROOM = 1.3
#: Positions of a tensor that go into its Gram matrix, of each frame: more change nothing and take long.
_POSITIONS = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelRanges:
    """What was seen of the channels of one tensor.

    Attributes:
        low: float64 [C], smallest value.
        high: float64 [C], largest value.
        mean: float64 [C].
        gram: float64 [C, C], sums of products at some positions; None where nobody asked.
    """

    low: Channels
    high: Channels
    mean: Channels
    gram: NDArray[np.float64] | None = None

    @property
    def most(self) -> Channels:
        """Largest distance from zero, positive."""
        return np.maximum(np.maximum(np.abs(self.low), np.abs(self.high)), _LEAST)


def observe(network: NetworkGraph, frames: Iterable[NDArray[np.uint8]]) -> dict[str, ChannelRanges]:
    """Run the float network on frames and return the ranges of every tensor.

    Args:
        network: The float network.
        frames: uint8 RGB frames; at least one.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    names = network.tensors
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    dense = {c.source for c in network.convolutions if not c.depthwise and c.weights.shape[2:] == (1, 1)}
    seen: dict[str, ChannelRanges] = {}
    count = 0
    for frame in frames:
        count += 1
        for name, value in zip(names, session.run(names, {"image": frame[None]}), strict=True):
            # A frame of several tiles is several rows; with one, this copies nothing.
            flat = value.swapaxes(0, 1).reshape(value.shape[1], -1)
            some = flat[:, :: -(-flat.shape[1] // _POSITIONS)]
            now = ChannelRanges(
                low=flat.min(axis=1).astype(np.float64),
                high=flat.max(axis=1).astype(np.float64),
                mean=flat.mean(axis=1, dtype=np.float64),
                gram=(some @ some.T).astype(np.float64) if name in dense else None,
            )
            seen[name] = now if name not in seen else _together(seen[name], now)
    return {
        name: ChannelRanges(low=of.low, high=of.high, mean=of.mean / count, gram=of.gram) for name, of in seen.items()
    }


def _together(one: ChannelRanges, two: ChannelRanges) -> ChannelRanges:
    return ChannelRanges(
        low=np.minimum(one.low, two.low),
        high=np.maximum(one.high, two.high),
        mean=one.mean + two.mean,
        gram=None if one.gram is None or two.gram is None else one.gram + two.gram,
    )


def equalising_scales(
    network: NetworkGraph, ranges: dict[str, ChannelRanges], *, float_layers: int
) -> dict[str, Channels]:
    """Return a positive factor for each channel of each tensor.

    Args:
        network: The float network.
        ranges: What was seen of its tensors.
        float_layers: Convolutions at the start that stay in float; their activations are real ones and keep their
            channels.
    """
    scales = {name: np.ones(len(of.low)) for name, of in ranges.items()}
    for conv in network.convolutions[float_layers:]:
        readers = list(network.readers(conv.output))
        if conv.activation is not None and readers and all(reader.depthwise for reader in readers):
            most = ranges[conv.output].most
            scales[conv.output] = np.clip(most.max() / (_HEADROOM * most), 1.0, _MOST)
    for members in network.tied():
        readers = [reader for name in members for reader in network.readers(name)]
        if not readers or any(reader.depthwise for reader in readers):
            continue
        most = np.maximum.reduce([ranges[name].most for name in members])
        scale = _bounded(np.sqrt(_column_ranges([reader.weights for reader in readers]) / most))
        scale *= most.max() / (scale * most).max()
        scales.update(dict.fromkeys(members, scale))
    scales[NETWORK_INPUT] = np.ones(len(ranges[NETWORK_INPUT].low))
    return scales


def _column_ranges(weights: Sequence[NDArray[np.float32]]) -> Channels:
    """How large the weights of each input channel are beside the largest of their rows; the worst reader counts."""
    shares = [
        (np.abs(w) / np.maximum(np.abs(w).max(axis=(1, 2, 3), keepdims=True), _LEAST)).max(axis=(0, 2, 3))
        for w in weights
    ]
    worst: Channels = np.maximum.reduce(shares).astype(np.float64)
    return np.asarray(np.maximum(worst, _LEAST))


def _bounded(scale: Channels) -> Channels:
    """Make factors relative to the smallest, which becomes 1."""
    return np.asarray(np.minimum(scale / scale.min(), _MOST))
