"""Whether the variant that ships decides as its float original does, on real frames.

1. One engine, two trunks: head, temperature, bank and thresholds are the challenger's own; only what embeds differs.
2. The head was trained on the shipped trunk's features, so an error that is always the same costs nothing and is taken
   away first: the float features and patches are moved by their mean difference over the frames. What is left is what
   quantisation does to one frame and not to another.
3. What counts is a frame that one passes and the other rejects. The band of `unsure` says that a frame is near the
   threshold; that it moves in or out of the band is no harm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_client.contract.decision import decided_class
from edge_client.contract.engine_metadata import EngineMetadata, Kind
from training.evidence import Parity
from training.frames import Frame
from training.trunk import Embedded, Trunk

_SEAM = ("features", "patches")  # what the trunk hands to the rest of an engine
_ANSWERS = ("probabilities", "anomaly")


def parity_of(engine: bytes, metadata: EngineMetadata, shipped: Trunk, plain: Trunk, frames: Sequence[Frame]) -> Parity:
    """Count the frames that are decided otherwise.

    Args:
        engine: The challenger's file.
        metadata: Its classes and thresholds.
        shipped: The trunk inside it.
        plain: The float trunk that the shipped one was made from.
        frames: Real ones of the inspection, best such as neither head nor calibration has seen.
    """
    if not frames:
        return Parity(flips=0, n=0)
    tail = onnxruntime.InferenceSession(tail_of(engine, shipped), providers=["CPUExecutionProvider"])
    ours = shipped.run(frames)
    theirs = _moved(plain.run(frames), ours)
    one, other = (_rejected(tail, embedded, metadata) for embedded in (ours, theirs))
    return Parity(flips=int((one != other).sum()), n=len(frames))


def tail_of(engine: bytes, trunk: Trunk) -> bytes:
    """Return the part of an engine behind its trunk, as a model of its own: from features and patches to answers."""
    model = onnx.load_model_from_string(engine)
    made_by = {name: place for place, node in enumerate(model.graph.node) for name in node.output}
    wanted, needed = list(_ANSWERS), set[int]()
    while wanted:
        name = wanted.pop()
        place = made_by.get(name)  # None: a constant
        if name in _SEAM or place is None or place in needed:
            continue
        needed.add(place)
        wanted += model.graph.node[place].input
    nodes = [model.graph.node[place] for place in sorted(needed)]
    read = {name for node in nodes for name in node.input}
    inputs = {"features": ["N", trunk.feature_width], "patches": ["N", *trunk.patch_shape, trunk.patch_width]}
    graph = helper.make_graph(
        nodes,
        "andon-tail",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, inputs[name]) for name in _SEAM],
        [output for output in model.graph.output if output.name in _ANSWERS],
        [constant for constant in model.graph.initializer if constant.name in read],
    )
    tail = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return bytes(tail.SerializeToString())


def mean_shift(plain: Embedded, shipped: Embedded) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean difference of features, float32 [D], and of patches, float32 [C], from float to what ships."""
    wide, theirs = shipped.patches.astype(np.float32), plain.patches.astype(np.float32)
    return (shipped.features - plain.features).mean(axis=0), (wide - theirs).mean(axis=(0, 1, 2))


def _moved(plain: Embedded, shipped: Embedded) -> Embedded:
    """Take the mean difference of features and of patches away (rule 2)."""
    features, patches = mean_shift(plain, shipped)
    return Embedded(
        features=plain.features + features,
        patches=(plain.patches.astype(np.float32) + patches).astype(np.float16),
    )


def _rejected(tail: onnxruntime.InferenceSession, embedded: Embedded, metadata: EngineMetadata) -> NDArray[np.bool_]:
    """Return bool [n]: which frames the device rejects."""
    probabilities, anomaly = tail.run(
        list(_ANSWERS), {"features": embedded.features, "patches": embedded.patches.astype(np.float32)}
    )
    if len(metadata.classes) == 1:
        return np.asarray(anomaly >= metadata.thresholds.anomaly)
    defect = np.array([c.kind is Kind.DEFECT for c in metadata.classes])
    return np.asarray(defect[decided_class(probabilities, metadata.classes, metadata.thresholds)])
