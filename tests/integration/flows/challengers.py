"""Small but complete challengers for tests of registry and release: real engines, real self-tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

from edge_client.contract.engine_metadata import METADATA_KEY, EngineMetadata
from edge_client.contract.selftest import SelfTest
from flows.registry import ChallengerRecord, OutOfFold, Registry
from flows.registry_api import ModelVersion
from flows.tags import Tag
from tests.tiny_engine import tiny_engine


def record(inspection: str, engine_id: str, *, decision: str = "promote", **more: Any) -> ChallengerRecord:
    engine = tiny_engine(inspection=inspection, engine_id=engine_id, run_id="")
    session = onnxruntime.InferenceSession(engine, providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    frames = np.stack([np.full((16, 16, 3), level, np.uint8) for level in (30, 200)])
    probabilities, anomaly = session.run(["probabilities", "anomaly"], {"image": frames})
    rows = pd.DataFrame({"sample_id": ["a", "b", "c"], "label": ["ok", "ok", "defect"], "origin": ["factory"] * 3})
    fields: dict[str, Any] = {
        "inspection": inspection,
        "key": f"key-of-{inspection}-{engine_id}",
        "engine": engine,
        "selftest": SelfTest(frames=frames, probabilities=probabilities, anomaly=anomaly, tolerance=1e-3).pack(),
        "metadata": EngineMetadata.from_json(properties[METADATA_KEY]),
        "snapshot_id": "5" * 64,
        "snapshot_source": f"s3://andon/lake/{inspection}/snapshots/{'5' * 64}.parquet",
        "snapshot_rows": rows,
        "params": {"plan": "smote", "C": 0.001, "seed": 0},
        "metrics": {"average_precision": 0.75},
        "plans": pd.DataFrame({"plan": ["none", "smote"], "score": [0.7, 0.75]}),
        "out_of_fold": OutOfFold(
            ids=("a", "b", "c"),
            classes=("ok", "defect"),
            probabilities=np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], np.float32),
        ),
        "gate_report": "<!doctype html><title>Gate</title>",
        "decision": {
            "answer": decision,
            "reasons": [],
            "checks": [],
            "label_more": {},
            "metrics": {},
            "champion": None,
        },
        "description": f"{engine_id}: {decision}",
        "tags": {Tag.DECISION: decision, Tag.REASONS: "field AP 0.75 against 0.53"},
    }
    return ChallengerRecord(**{**fields, **more})


def register(registry: Registry, inspection: str, engine_id: str, **more: Any) -> ModelVersion:
    """Log and register one, as the retrain flow does."""
    made = record(inspection, engine_id, **more)
    run_id = registry.begin(inspection, made.key, name=engine_id, tags={})
    return registry.log_challenger(run_id, made)
