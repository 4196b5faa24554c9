"""Frames for fine-tuning: brought to the network's size once by the very graph that ships, kept as bytes.

1. What comes before the network in the exported graph (region, resize, normalisation) is cut off the trunk's own file
   and run by ONNX Runtime: training and edge see the same pixels, up to the rounding to whole grey levels that
   keeping them in a byte costs.
2. Frames are decoded one at a time; what is kept is bounded, and refused beforehand if it is more.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edge_client.contract.errors import ConfigError
from training.backbone import Backbone
from training.frames import Frame, decode
from training.trunk import NETWORK_INPUT, Trunk

#: 21,000 frames of 224 pixels. More belongs on a larger machine, with frames on disk.
MOST_BYTES = 3 * 1024**3


def network_frames(
    trunk: Trunk,
    backbone: Backbone,
    count: int,
    frame_of: Callable[[int], Frame],
    *,
    threads: int = 1,
    most_bytes: int = MOST_BYTES,
) -> NDArray[np.uint8]:
    """Decode frames and bring them to what the network sees.

    Args:
        trunk: A float trunk of that backbone.
        backbone: Says how values are normalised.
        count: n.
        frame_of: Position to frame, encoded or uint8 [H, W, 3].
        threads: Frames at a time.
        most_bytes: What may be kept.

    Returns:
        uint8 [n, 3, S, S], values 0…255.

    Raises:
        ConfigError: The frames do not fit, or the trunk cuts them into tiles.
        BadImage: A frame cannot be decoded.
    """
    if trunk.choice.tiled:
        raise ConfigError(
            f"input {trunk.choice}: a trunk that sees tiles is not fine-tuned; set one tile, or stay with head"
        )
    size = trunk.input_size
    needed = count * 3 * size * size
    if needed > most_bytes:
        raise ConfigError(
            f"fine-tuning would keep {count} frames of {size} pixels, {needed >> 20} MB; expected at most "
            f"{most_bytes >> 20} MB: lower [snapshot] max_rows_per_device, or stay with --tier head"
        )
    kept = np.empty((count, 3, size, size), dtype=np.uint8)
    session = _preparation(trunk)

    def bring(index: int) -> None:
        (normal,) = session.run([NETWORK_INPUT], {"image": decode(frame_of(index))[None]})
        # Of several views the first is the frame as it is; turning it is the augmentation's business.
        kept[index] = np.clip(np.rint(normal[0] * backbone.scale + backbone.offset), 0, 255).astype(np.uint8)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(bring, range(count)):
            pass
    return kept


def _preparation(trunk: Trunk) -> onnxruntime.InferenceSession:
    """What the trunk does to a frame before the network, alone."""
    model = onnx.load_model_from_string(trunk.onnx)
    producer = {name: node for node in model.graph.node for name in node.output}
    wanted, names = [NETWORK_INPUT], set()
    while wanted:
        node = producer.get(wanted.pop())
        if node is not None and node.output[0] not in names:
            names.add(node.output[0])
            wanted += node.input
    nodes = [node for node in model.graph.node if node.output[0] in names]
    read = {name for node in nodes for name in node.input}
    size = trunk.input_size
    output = onnx.helper.make_tensor_value_info(NETWORK_INPUT, onnx.TensorProto.FLOAT, ["N", 3, size, size])
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    graph = onnx.helper.make_graph(nodes, "preparation", [model.graph.input[0]], [output], constants)
    cut = onnx.helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(cut.SerializeToString(), options, providers=["CPUExecutionProvider"])
