"""Frames for fine-tuning: resized once by the very graph that ships, kept as bytes.

1. The resize is the exported graph's own part (`training.resize`), run by ONNX Runtime: training and edge see the same
   pixels, up to the rounding to whole grey levels that keeping them in a byte costs.
2. Frames are decoded one at a time; what is kept is bounded (`MOST_BYTES`), and refused beforehand if it is more.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_client.contract.errors import ConfigError
from training.frames import Frame, decode
from training.resize import resize_part
from training.trunk import OPSET

#: 21,000 frames of 224 pixels. More belongs on a larger machine, with frames on disk.
MOST_BYTES = 3 * 1024**3


def resized_frames(
    count: int, frame_of: Callable[[int], Frame], size: int, *, threads: int = 1, most_bytes: int = MOST_BYTES
) -> NDArray[np.uint8]:
    """Decode and resize frames.

    Args:
        count: n.
        frame_of: Position to frame, encoded or uint8 [H, W, 3].
        size: S, side of the backbone's input.
        threads: Frames at a time.
        most_bytes: What may be kept.

    Returns:
        uint8 [n, 3, S, S].

    Raises:
        ConfigError: The frames do not fit.
        BadImage: A frame cannot be decoded.
    """
    needed = count * 3 * size * size
    if needed > most_bytes:
        raise ConfigError(
            f"fine-tuning would keep {count} frames of {size} pixels, {needed >> 20} MB; expected at most "
            f"{most_bytes >> 20} MB: raise [finetune] most_memory_mb, or lower max_rows_per_device"
        )
    kept = np.empty((count, 3, size, size), dtype=np.uint8)
    session = _resizer(size)

    def bring(index: int) -> None:
        (real,) = session.run(["network_input"], {"image": decode(frame_of(index))[None]})
        kept[index] = np.clip(np.rint(real[0]), 0, 255).astype(np.uint8)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(bring, range(count)):
            pass
    return kept


def _resizer(size: int) -> onnxruntime.InferenceSession:
    """The graph's resize alone, without the normalisation: values 0…255."""
    part = resize_part(size, offset=0.0, scale=1.0)
    graph = helper.make_graph(
        [],
        "resize",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("network_input", TensorProto.FLOAT, ["N", 3, size, size])],
    )
    part.behind(graph)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
