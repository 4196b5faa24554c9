"""An int8 trunk, by static quantisation with real frames.

1. Channels are brought to one range (`channel_ranges`), weights rounded so that their errors cancel and no processor
   saturates (`int8_weights`), and the graph written (`qdq_graph`).
2. How many of the first convolutions stay in float is measured: they see raw pixels, cost little, and their errors
   pass through all that follow. The fewest that keep the features nearly as well as more would are chosen, by frames
   that set neither ranges nor weights; the first three cost no time at all, since int8 kernels are no faster on their
   few channels.
3. What counts is how the features differ after their mean is taken away, beside how they differ from frame to frame:
   heads are trained on the features of the trunk that ships, so an error that is always the same costs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from training.atomic import write_atomically
from training.channel_ranges import equalising_scales, observe
from training.frames import Frame, decode
from training.network_graph import NetworkGraph
from training.qdq_graph import int8_graph
from training.trunk import Trunk, stamp

#: Rises when the recipe changes, so that a stale cache is not used.
_RECIPE = 5
#: Ranges need few frames; weights rounded for one another (`int8_weights`) fit themselves to frames as few as 64.
CALIBRATION_FRAMES = 256
#: How many of the first convolutions may stay in float: whole blocks, that end in a tensor of few channels.
_FLOAT_LAYERS = (3, 6, 9)
#: How much larger than the least an error may be, to leave fewer layers in float.
_TOLERANCE = 0.1
_JUDGED_FRAMES = 32
_ENOUGH_TO_PART = 3 * _JUDGED_FRAMES


def choose_float_layers(errors: Mapping[int, float], tolerance: float = _TOLERANCE) -> int:
    """Return how many of the first convolutions stay in float: the fewest that are nearly as good as the best.

    Args:
        errors: Error of the features by number of convolutions in float.
        tolerance: How much larger than the least an error may be, as a share of it.

    >>> choose_float_layers({3: 0.12, 6: 0.096, 9: 0.09}, 0.1)
    6
    """
    most = min(errors.values()) * (1 + tolerance)
    return min(layers for layers, error in errors.items() if error <= most)


def feature_error(plain: NDArray[np.float32], small: NDArray[np.float32]) -> float:
    """Root mean square difference of features, their mean difference taken away, beside their spread over frames.

    Args:
        plain: float32 [n, D], of the float trunk.
        small: float32 [n, D], of the int8 trunk for the same frames.
    """
    spread = plain.std(axis=0)
    # A feature that hardly moves on these frames says little about its error. Frames that are all alike have no spread.
    floor = np.median(spread) / 2 or np.abs(plain).mean() or 1.0
    error = (small - plain) / np.sqrt(spread**2 + floor**2)
    return float(np.sqrt(np.square(error - error.mean(axis=0)).mean()))


def quantize(trunk: Trunk, frames: Sequence[Frame]) -> Trunk:
    """Quantise a float trunk.

    Args:
        trunk: The float trunk.
        frames: Real frames of the inspection, better 256 than few. Where there are enough, some only judge.

    Returns:
        The int8 trunk.
    """
    if not frames:
        raise ValueError("no frames to calibrate int8 ranges with; expected some of the inspection's own")
    network = NetworkGraph(onnx.load_model_from_string(trunk.onnx))
    seen, judged = _parted(frames)
    ranges = observe(network, (decode(frame) for frame in seen))
    plain = trunk.run(judged).features
    tried: dict[int, Trunk] = {}
    errors: dict[int, float] = {}
    for layers in [n for n in _FLOAT_LAYERS if n < len(network.convolutions)] or [0]:
        scales = equalising_scales(network, ranges, float_layers=layers)
        with threadpool_limits(1):  # sums in one order: the same frames give the same bytes
            model = int8_graph(network, ranges, scales, float_layers=layers)
        tried[layers] = Trunk.load(stamp(model, {**trunk.facts, "variant": "int8"}))
        errors[layers] = feature_error(plain, tried[layers].run(judged).features)
    return tried[choose_float_layers(errors)]


def _parted(frames: Sequence[Frame]) -> tuple[Sequence[Frame], Sequence[Frame]]:
    """Frames that set ranges and weights, and some that judge them: others, where that leaves enough."""
    if len(frames) < _ENOUGH_TO_PART:
        return frames, frames[:_JUDGED_FRAMES]
    step = len(frames) // _JUDGED_FRAMES  # frames come in the order of their class, or of time
    return [frame for i, frame in enumerate(frames) if i % step], frames[::step]


def int8_trunk(trunk: Trunk, frames: Sequence[Frame], cache_dir: Path) -> Trunk:
    """The int8 trunk for these calibration frames: quantised on first use, read from disk afterwards."""
    key = hashlib.sha256(f"{trunk.id} r{_RECIPE}".encode())
    for frame in frames:
        key.update(hashlib.sha256(frame if isinstance(frame, bytes) else frame.tobytes()).digest())
    path = cache_dir / f"int8-{key.hexdigest()[:32]}.onnx"
    if not path.exists():
        write_atomically(path, quantize(trunk, frames).onnx)
    return Trunk.load(path.read_bytes())
