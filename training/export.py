"""An engine: trunk, head, temperature and anomaly bank as one ONNX file.

The trunk is a finished file; everything behind it is added with `onnx.helper`, so that a new head needs no torch and
takes a second. What a new head, bank or calibration changes lies together at the end, and no name tells of a value: a
device that has an older engine fetches that end alone. Outputs are those of the engine contract: probabilities [N, K],
anomaly [N], anomaly_map [N, h, w] and embedding [N, D]. Only plain `ai.onnx` operators; weights inside; one file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_client.contract.engine_metadata import METADATA_KEY, EngineMetadata
from training.anomaly import Bank, highest_patches
from training.calibration import Calibration, Map, calibrated
from training.frame_map import frame_map_part, frame_map_shape
from training.graph_part import GraphPart
from training.space import ANOMALY_LIMIT, RawHead
from training.trunk import Trunk

#: Read by every runtime of the last two years; newer ones are refused by older clients.
_IR_VERSION = 10
_LEAST_NORM = 1e-12
#: The anomaly map of the region, where that is not the whole frame.
_REGION_MAP = "region_map"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHead:
    """The head as the engine has it: probabilities = softmax(logits / temperature + shift).

    Attributes:
        raw: Logits from features and anomaly score.
        temperature: Divides the logits.
        shift: float32 [K], log of the class shares to come over those trained for; added after the temperature.
    """

    raw: RawHead
    temperature: float
    shift: NDArray[np.float32]

    def probabilities(self, features: NDArray[np.float32], anomaly: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features [n, D] and anomaly scores [n] to probabilities float32 [n, K], as the engine has them."""
        score = np.minimum(anomaly, ANOMALY_LIMIT)[:, None]
        logits = features @ self.raw.weights + score * self.raw.anomaly_weights + self.raw.bias
        return calibrated(logits.astype(np.float64), self.temperature, self.shift.astype(np.float64))


def calibrated_head(raw: RawHead, calibration: Calibration, shift: NDArray[np.float64]) -> EngineHead:
    """Put a calibration into a head: a temperature as such, any other map into its weights.

    Args:
        raw: As trained.
        calibration: Of its out-of-fold logits.
        shift: float [K], to the class shares of the frames to come.
    """
    moved = shift.astype(np.float32)
    if calibration.map is Map.TEMPERATURE:
        return EngineHead(raw=raw, temperature=float(1 / calibration.scale[0]), shift=moved)
    scale = calibration.scale.astype(np.float32)
    scaled = RawHead(
        weights=raw.weights * scale,
        anomaly_weights=raw.anomaly_weights * scale,
        bias=raw.bias * scale + calibration.bias.astype(np.float32),
    )
    return EngineHead(raw=scaled, temperature=1.0, shift=moved)


def constant_head(width: int) -> EngineHead:
    """The head of an inspection with one class: its probability is 1."""
    zero = np.zeros(1, dtype=np.float32)
    raw = RawHead(weights=np.zeros((width, 1), dtype=np.float32), anomaly_weights=zero, bias=zero)
    return EngineHead(raw=raw, temperature=1.0, shift=zero)


def build_engine(trunk: Trunk, head: EngineHead, bank: Bank, metadata: EngineMetadata) -> bytes:
    """Compose an engine.

    Args:
        trunk: The trunk that embedded the training frames.
        head: Over the trunk's features.
        bank: Over the trunk's patches.
        metadata: Stored in the file.

    Returns:
        The ONNX file.

    Raises:
        ValueError: Head or metadata do not fit the trunk or one another.
    """
    width, classes = head.raw.weights.shape
    if width != trunk.feature_width or classes != len(metadata.classes):
        raise ValueError(
            f"head is [{width}, {classes}]; expected [{trunk.feature_width}, {len(metadata.classes)}] "
            "for this trunk and these classes"
        )
    model = onnx.load_model_from_string(trunk.onnx)
    tail = GraphPart("andon")
    _anomaly(tail, bank, trunk)
    _probabilities(tail, head)
    _embedding(tail, trunk)
    graph = model.graph
    tail.behind(graph)
    cells = trunk.patch_shape
    if trunk.choice.cropped:
        frame_map_part(cells, trunk.region, source=_REGION_MAP, target="anomaly_map").behind(graph)
        cells = frame_map_shape(cells, trunk.region)
    del graph.output[:], graph.value_info[:]
    for name, shape in (
        ("probabilities", ["N", classes]),
        ("anomaly", ["N"]),
        ("anomaly_map", ["N", *cells]),
        ("embedding", ["N", trunk.embedding_width]),
    ):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3]))
    graph.name = "andon-engine"
    plain = [opset for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(plain)
    model.ir_version = min(model.ir_version, _IR_VERSION)
    del model.metadata_props[:]
    helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _probabilities(tail: GraphPart, head: EngineHead) -> None:
    raw = head.raw
    seen = tail.node(
        "Gemm", ["features", tail.constant("weights", raw.weights), tail.constant("bias", raw.bias)], "logits_seen"
    )
    limited = tail.node(
        "Min", ["anomaly", tail.constant("anomaly_limit", np.float32(ANOMALY_LIMIT))], "anomaly_limited"
    )
    column = tail.node(
        "Unsqueeze", [limited, tail.constant("class_axis", np.array([1], dtype=np.int64))], "anomaly_column"
    )
    unlike = tail.node("Mul", [column, tail.constant("anomaly_weights", raw.anomaly_weights[None])], "logits_unlike")
    logits = tail.node("Add", [seen, unlike], "logits")
    cooled = tail.node("Div", [logits, tail.constant("temperature", np.float32(head.temperature))], "cooled")
    shifted = tail.node("Add", [cooled, tail.constant("shift", head.shift)], "shifted")
    tail.node("Softmax", [shifted], "probabilities", axis=1)


def _anomaly(tail: GraphPart, bank: Bank, trunk: Trunk) -> None:
    # |p - b|² = |p|² + |b|² - 2 p·b. The bank is kept in half precision and widened once, when the engine loads.
    wide = tail.node("Cast", [tail.constant("bank", bank.patches.T)], "bank_wide", to=TensorProto.FLOAT)
    square = np.square(bank.patches.astype(np.float32)).sum(axis=1)
    centred = tail.node("Sub", ["patches", tail.constant("patch_mean", bank.mean)], "patch_centred")
    patch = tail.node("Div", [centred, tail.constant("patch_scale", bank.scale)], "patch")
    product = tail.node("MatMul", [patch, wide], "patch_bank")
    twice = tail.node("Mul", [product, tail.constant("two", np.float32(2.0))], "patch_bank_twice")
    unlike = tail.node("Sub", [tail.constant("bank_square", square), twice], "patch_gap")
    last = tail.constant("last_axis", np.array([3], dtype=np.int64))
    nearest = tail.node("ReduceMin", [unlike, last], "patch_nearest", keepdims=0)
    own = tail.node("ReduceSumSquare", [patch, last], "patch_square", keepdims=0)
    gap = tail.node("Relu", [tail.node("Add", [nearest, own], "patch_distance_square")], "patch_distance_positive")
    from_bank = tail.node("Sqrt", [gap], "patch_from_bank")
    distance = _with_places(tail, bank, from_bank)
    where = _REGION_MAP if trunk.choice.cropped else "anomaly_map"
    tail.node("Div", [distance, tail.constant("alarm", np.float32(bank.threshold))], where)
    patches = trunk.patch_shape[0] * trunk.patch_shape[1]
    flat = tail.node("Reshape", [where, tail.constant("flat", np.array([-1, patches], dtype=np.int64))], "anomaly_flat")
    count = tail.constant("highest", np.array([highest_patches(patches)], dtype=np.int64))
    tail.nodes_of("TopK", [flat, count], ["anomaly_highest", "anomaly_highest_index"], axis=1)
    axis = tail.constant("patch_axis", np.array([1], dtype=np.int64))
    tail.node("ReduceMean", ["anomaly_highest", axis], "anomaly", keepdims=0)


def _with_places(tail: GraphPart, bank: Bank, from_bank: str) -> str:
    """Add the distance from what is usual at a patch's place, each in its unit; returns the sum's name."""
    places = bank.places
    seen = tail.node("MatMul", ["patches", tail.constant("place_axes", places.axes)], "place_seen")
    gap = tail.node("Sub", [seen, tail.constant("place_mean", places.mean)], "place_gap")
    row = tail.node("Unsqueeze", [gap, tail.whole(3)], "place_row")
    factor = _place_factor(tail, places.factor)
    turned = tail.node("MatMul", [row, factor], "place_turned")
    square = tail.node("ReduceSumSquare", [turned, tail.whole(3, 4)], "place_square", keepdims=0)
    from_place = tail.node("Sqrt", [square], "patch_from_place")
    parts = [
        tail.node("Div", [distance, tail.constant(f"{distance}_unit", np.float32(unit))], f"{distance}_in_units")
        for distance, unit in zip((from_bank, from_place), bank.units, strict=True)
    ]
    return tail.node("Add", parts, "patch_distance")


def _place_factor(tail: GraphPart, factor: NDArray[np.float16]) -> str:
    """Add the triangular factors without their zeros: half of what a refit sends. They are spread when it loads."""
    width = factor.shape[-1]
    if np.tril(factor, -1).any():
        raise ValueError("the factors of the places are not upper triangular: expected those of `learn_places`")
    rows, columns = np.triu_indices(width)
    kept = tail.constant("place_factor", factor[..., rows, columns])
    zero = tail.constant("place_factor_zero", np.zeros((*factor.shape[:2], 1), dtype=factor.dtype))
    index = np.full((width, width), len(rows), dtype=np.int32)
    index[rows, columns] = np.arange(len(rows))
    whole = tail.node("Concat", [kept, zero], "place_factor_and_zero", axis=2)
    spread = tail.node("Gather", [whole, tail.constant("place_factor_index", index)], "place_factor_spread", axis=2)
    return tail.node("Cast", [spread], "place_factor_wide", to=TensorProto.FLOAT)


def _embedding(tail: GraphPart, trunk: Trunk) -> None:
    ends = [
        tail.constant(f"embedding_{name}", np.array([value], dtype=np.int64))
        for name, value in (("from", 0), ("to", trunk.embedding_width), ("axis", 1))
    ]
    pooled = tail.node("Slice", ["features", *ends], "pooled")
    norm = tail.node("ReduceL2", [pooled, ends[2]], "pooled_norm", keepdims=1)
    safe = tail.node("Max", [norm, tail.constant("least_norm", np.float32(_LEAST_NORM))], "pooled_norm_safe")
    tail.node("Div", [pooled, safe], "embedding")
