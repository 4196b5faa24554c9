"""A complete, very small engine for tests: the whole engine contract in a few kilobytes of ONNX.

How it answers, so that tests can choose frames:

- brightness ``m`` = mean of the frame / 255. Bright frames (m > 0.5) look ``ok``, dark ones look like a defect.
- Among several classes of one kind, class ``k`` leans on colour channel ``k % 3``: a reddish frame raises class 0,
  and so on.
- ``anomaly`` = mean over channels of ``|m_c - 0.5| * anomaly_scale``: mid-grey is normal (0), black and white are at
  ``0.5 * anomaly_scale``; the default scale of 2.2 puts them just above the alarm threshold of 1.0.
- ``anomaly_map`` = the same measure over 8x8 pixel cells, ``[N, ceil(H/8), ceil(W/8)]``.
- ``embedding`` = a fixed random projection of the six channel means and deviations, L2-normalised.

``delay_ops`` adds that many 512x512 matrix products a batch (about 2-6 ms each on one core): a slow engine.
``nan`` makes every probability NaN for dark frames (m < 0.1): an engine that goes wrong in the field only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds

OPSET = 17  # ReduceMean still takes its axes as an attribute; IR 8 loads on every supported ONNX Runtime


def tiny_metadata(
    *,
    inspection: str = "solar-cells",
    classes: Sequence[tuple[str, str]] = (("ok", "ok"), ("defect", "defect")),
    engine_id: str = "e1",
    thresholds: Mapping[str, float] | None = None,
    embedding_id: str = "tiny-embedding",
    run_id: str = "run-1",
    snapshot_id: str = "snapshot-1",
    variant: str = "fp32",
    created_at: str = "2026-01-01T00:00:00+00:00",
) -> EngineMetadata:
    """The metadata that :func:`tiny_engine` embeds."""
    limits = {"defect": 0.5, "unsure_low": 0.4, "unsure_high": 0.6, "anomaly": 1.0} | dict(thresholds or {})
    return EngineMetadata(
        contract=1,
        engine_id=engine_id,
        inspection=inspection,
        classes=tuple(ClassInfo(name=name, kind=Kind(kind)) for name, kind in classes),
        thresholds=Thresholds(**limits),
        training_prior=tuple(1.0 / len(classes) for _ in classes),
        embedding_id=embedding_id,
        run_id=run_id,
        snapshot_id=snapshot_id,
        variant=variant,
        created_at=created_at,
    )


def tiny_engine(
    *,
    inspection: str = "solar-cells",
    classes: Sequence[tuple[str, str]] = (("ok", "ok"), ("defect", "defect")),
    engine_id: str = "e1",
    bias: float = 0.0,
    embedding_width: int = 16,
    delay_ops: int = 0,
    anomaly_scale: float = 2.2,
    sharpness: float = 12.0,
    nan: bool = False,
    seed: int = 0,
    metadata: EngineMetadata | None = None,
    extra_properties: Mapping[str, str] | None = None,
    **metadata_fields: Any,
) -> bytes:
    """Build a tiny engine.

    Args:
        inspection: name of the inspection in the metadata.
        classes: pairs (class name, kind "ok" or "defect"); one class alone is allowed (K = 1).
        engine_id: engine id in the metadata.
        bias: added to the logit of every defect class: > 0 calls more frames defective.
        embedding_width: D.
        delay_ops: number of extra 512x512 matrix products per call.
        anomaly_scale: factor of the anomaly score.
        sharpness: slope of the logits in brightness.
        nan: make the probabilities NaN for very dark frames.
        seed: of the embedding's projection.
        metadata: metadata to embed instead of :func:`tiny_metadata`.
        extra_properties: further ``metadata_props``.
        metadata_fields: further arguments of :func:`tiny_metadata` (thresholds, variant, ...).

    Returns:
        The ONNX file's bytes.
    """
    described = metadata or tiny_metadata(
        inspection=inspection, classes=classes, engine_id=engine_id, **metadata_fields
    )
    random = np.random.default_rng(seed)
    k = len(classes)
    is_defect = np.array([kind == "defect" for _, kind in classes])
    direction = np.where(is_defect, -1.0, 1.0)
    weight = np.repeat(direction[None, :] * sharpness / 3.0, 3, axis=0)  # [3, K]
    for index in range(k):
        same_kind = is_defect == is_defect[index]
        if same_kind.sum() > 1:
            weight[index % 3, index] += sharpness / 2.0
    logit_bias = -weight.sum(axis=0) * 0.5 + np.where(is_defect, bias, 0.0)
    constants: dict[str, np.ndarray[Any, Any]] = {
        "c255": np.array(255.0, np.float32),
        "half": np.array(0.5, np.float32),
        "scale": np.array(anomaly_scale, np.float32),
        "tiny": np.array(1e-6, np.float32),
        "head_w": weight.astype(np.float32),
        "head_b": logit_bias.astype(np.float32),
        "proj_w": random.normal(size=(6, embedding_width)).astype(np.float32),
        "proj_b": (random.normal(size=embedding_width) * 0.1).astype(np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["raw"], to=TensorProto.FLOAT),
        node("Div", ["raw", "c255"], ["pixels"]),
        node("ReduceMean", ["pixels"], ["means"], axes=[1, 2], keepdims=0),
        node("Gemm", ["means", "head_w", "head_b"], ["logits"]),
        node("Softmax", ["logits"], ["softmax"], axis=1),
        # anomaly: distance of the colour means from mid-grey
        node("Sub", ["means", "half"], ["centred"]),
        node("Abs", ["centred"], ["distance"]),
        node("ReduceMean", ["distance"], ["distance_mean"], axes=[1], keepdims=0),
        node("Mul", ["distance_mean", "scale"], ["anomaly_plain"]),
        node("Transpose", ["pixels"], ["nchw"], perm=[0, 3, 1, 2]),
        node("AveragePool", ["nchw"], ["cells"], kernel_shape=[8, 8], strides=[8, 8], ceil_mode=1),
        node("Sub", ["cells", "half"], ["cells_centred"]),
        node("Abs", ["cells_centred"], ["cells_distance"]),
        node("ReduceMean", ["cells_distance"], ["cells_mean"], axes=[1], keepdims=0),
        node("Mul", ["cells_mean", "scale"], ["anomaly_map"]),
        # embedding: channel means and deviations, projected
        node("Mul", ["pixels", "pixels"], ["squares"]),
        node("ReduceMean", ["squares"], ["square_means"], axes=[1, 2], keepdims=0),
        node("Mul", ["means", "means"], ["mean_squares"]),
        node("Sub", ["square_means", "mean_squares"], ["variance"]),
        node("Relu", ["variance"], ["variance_positive"]),
        node("Sqrt", ["variance_positive"], ["deviation"]),
        node("Concat", ["centred", "deviation"], ["statistics"], axis=1),
        node("Gemm", ["statistics", "proj_w", "proj_b"], ["projected"]),
        node("ReduceL2", ["projected"], ["norm"], axes=[1], keepdims=1),
        node("Max", ["norm", "tiny"], ["norm_positive"]),
        node("Div", ["projected", "norm_positive"], ["embedding"]),
    ]
    if nan:
        # sqrt(m - 0.1) is NaN below 0.1; multiplied by zero it leaves other frames alone
        constants["tenth"] = np.array(0.1, np.float32)
        constants["zero"] = np.array(0.0, np.float32)
        nodes += [
            node("ReduceMean", ["means"], ["brightness"], axes=[1], keepdims=1),
            node("Sub", ["brightness", "tenth"], ["above"]),
            node("Sqrt", ["above"], ["maybe_nan"]),
            node("Mul", ["maybe_nan", "zero"], ["poison"]),
            node("Add", ["softmax", "poison"], ["probabilities"]),
        ]
    else:
        nodes.append(node("Identity", ["softmax"], ["probabilities"]))
    if delay_ops:
        constants["wide"] = random.normal(size=(1, 512)).astype(np.float32)
        constants["square"] = np.eye(512, dtype=np.float32)[random.permutation(512)]
        constants["nothing"] = np.array(0.0, np.float32)
        constants["tall"] = np.ones((512, 1), np.float32)
        nodes += [
            node("ReduceMean", ["means"], ["one_number"], axes=[0, 1], keepdims=1),
            node("Mul", ["one_number", "wide"], ["row"]),
            node("Mul", ["tall", "row"], ["delay_0"]),
            *(node("MatMul", [f"delay_{i}", "square"], [f"delay_{i + 1}"]) for i in range(delay_ops)),
            node("ReduceMean", [f"delay_{delay_ops}"], ["delayed"], axes=[0, 1], keepdims=0),
            node("Mul", ["delayed", "nothing"], ["delay_zero"]),
            node("Add", ["anomaly_plain", "delay_zero"], ["anomaly"]),
        ]
    else:
        nodes.append(node("Identity", ["anomaly_plain"], ["anomaly"]))
    graph = helper.make_graph(
        nodes,
        "tiny-engine",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", k]),
            helper.make_tensor_value_info("anomaly", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["N", "h", "w"]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", embedding_width]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="andon-tests"
    )
    helper.set_model_props(model, {"andon": described.to_json(), **dict(extra_properties or {})})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
