"""Engines for simulated lines: real ONNX files of a few kilobytes that keep the whole engine contract.

They look at nothing but the mean colour of a frame, which is all that a trial needs. How they fare in service is the
line's model (`lines`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds
from edge_client.contract.selftest import SelfTest
from edge_client.engine import Engine

CLASSES = (("ok", "ok"), ("defect", "defect"))
_OPSET = 17  # ReduceMean takes its axes as an attribute; every supported ONNX Runtime loads it
_WIDTH = 8
_SLOPE = 12.0
_TOLERANCE = 1e-3


def synthetic_engine(inspection: str, engine_id: str, *, padding_bytes: int = 0, seed: int = 0) -> bytes:
    """Build an engine.

    Args:
        inspection: What it is for.
        engine_id: Its id.
        padding_bytes: Random bytes inside, so that the file weighs as much as a trained one.
        seed: Of what is random.
    """
    random = np.random.default_rng(seed)
    metadata = EngineMetadata(
        contract=1,
        engine_id=engine_id,
        inspection=inspection,
        classes=tuple(ClassInfo(name=name, kind=Kind(kind)) for name, kind in CLASSES),
        thresholds=Thresholds(defect=0.5, unsure_low=0.4, unsure_high=0.6, anomaly=1.0),
        training_prior=(0.98, 0.02),
        embedding_id="synthetic",
        run_id="simulation",
        snapshot_id="simulation",
        variant="fp32",
        created_at="2026-01-01T00:00:00+00:00",
    )
    weight = np.repeat(np.array([[1.0, -1.0]]) * _SLOPE / 3, 3, axis=0)
    constants: dict[str, NDArray[Any]] = {
        "c255": np.array(255.0, np.float32),
        "half": np.array(0.5, np.float32),
        "tiny": np.array(1e-6, np.float32),
        "nothing": np.array(0.0, np.float32),
        "head_w": weight.astype(np.float32),
        "head_b": (-weight.sum(axis=0) / 2).astype(np.float32),
        "proj": random.normal(size=(3, _WIDTH)).astype(np.float32),
        "padding": random.integers(0, 255, size=max(1, padding_bytes), dtype=np.uint8),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["raw"], to=TensorProto.FLOAT),
        node("Div", ["raw", "c255"], ["pixels"]),
        node("ReduceMean", ["pixels"], ["means"], axes=[1, 2], keepdims=0),
        node("Gemm", ["means", "head_w", "head_b"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
        node("Sub", ["means", "half"], ["centred"]),
        node("Abs", ["centred"], ["distance"]),
        node("Cast", ["padding"], ["padding_f"], to=TensorProto.FLOAT),
        node("ReduceMean", ["padding_f"], ["padding_mean"], axes=[0], keepdims=0),
        node("Mul", ["padding_mean", "nothing"], ["padding_zero"]),
        node("ReduceMean", ["distance"], ["plain"], axes=[1], keepdims=0),
        node("Add", ["plain", "padding_zero"], ["anomaly"]),
        node("Transpose", ["pixels"], ["nchw"], perm=[0, 3, 1, 2]),
        node("AveragePool", ["nchw"], ["cells"], kernel_shape=[8, 8], strides=[8, 8], ceil_mode=1),
        node("ReduceMean", ["cells"], ["anomaly_map"], axes=[1], keepdims=0),
        node("MatMul", ["means", "proj"], ["projected"]),
        node("ReduceL2", ["projected"], ["norm"], axes=[1], keepdims=1),
        node("Max", ["norm", "tiny"], ["norm_positive"]),
        node("Div", ["projected", "norm_positive"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "synthetic-engine",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(CLASSES)]),
            helper.make_tensor_value_info("anomaly", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["N", "h", "w"]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", _WIDTH]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8, producer_name="andon-simulation"
    )
    helper.set_model_props(model, {"andon": metadata.to_json()})
    data: bytes = model.SerializeToString()
    return data


def selftest_of(engine: bytes, *, wrong: bool = False) -> bytes:
    """The self-test of an engine: its own answers, or, for one that must fail its trial, other ones."""
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    output = Engine.from_bytes(engine).run(frames)
    probabilities = output.probabilities[:, ::-1].copy() if wrong else output.probabilities
    return SelfTest(frames=frames, probabilities=probabilities, anomaly=output.anomaly, tolerance=_TOLERANCE).pack()
