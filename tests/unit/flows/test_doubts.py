from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from edge_client.contract.engine_metadata import ClassInfo, Kind
from flows.doubts import doubts_of


def test_a_retrain_doubts_by_sample_and_class_name_what_its_folds_speak_against() -> None:
    labels = np.array([0] * 20 + [1] * 20)
    oof = np.where(labels[:, None] == np.arange(2), 0.9, 0.1).astype(np.float32)
    oof[3] = (0.05, 0.95)  # labelled ok
    ready: Any = SimpleNamespace(
        train=SimpleNamespace(label=labels),
        classes=(ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT)),
    )
    challenger: Any = SimpleNamespace(oof=oof, oof_ids=np.array([f"s{i}" for i in range(40)]))
    (doubt,) = doubts_of(ready, challenger)
    assert (doubt.sample_id, doubt.given, doubt.suggested) == ("s3", "ok", "crack")
    assert abs(doubt.confidence - 0.05) < 1e-6
