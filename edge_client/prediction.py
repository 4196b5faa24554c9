"""What an application gets for a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.decision import Judge
from edge_client.engine import Engine, EngineOutput


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The answer for one frame.

    Attributes:
        sample_id: 32 hex digits; names the frame in `flag` and in the cloud if it is captured.
        verdict: ``"ok"``, ``"defect"`` or ``"unsure"`` (a person should look).
        label: The class that goes with the verdict: the most probable defect from the threshold on, else the most
            probable class of kind ok.
        probabilities: Class name to calibrated probability.
        defect_probability: Sum over the classes of kind defect.
        anomaly: 0 = like the training data, 1.0 = the alarm threshold.
        anomaly_map: float32 [h, w], where the frame is strange.
        embedding: float32 [D], length 1.
        engine_id: The engine that answered.
        engine_sha256: Its digest.
        latency_ms: Time of the engine's run; a batch's time is that of each of its frames.
        part_id: The part the application named, if any.
        advisory: True when the application must not act on the verdict.
        repeated: True when the frame had not changed and this is the answer to the frame before it.
    """

    sample_id: str
    verdict: str
    label: str
    probabilities: Mapping[str, float]
    defect_probability: float
    anomaly: float
    anomaly_map: NDArray[np.float32] = field(repr=False)
    embedding: NDArray[np.float32] = field(repr=False)
    engine_id: str
    engine_sha256: str = field(repr=False)
    latency_ms: float
    part_id: str | None = None
    advisory: bool = False
    repeated: bool = False


def predictions_from(
    output: EngineOutput,
    engine: Engine,
    *,
    sample_ids: Sequence[str],
    latency_ms: float,
    part_ids: Sequence[str | None] | None = None,
    advisory: bool = False,
    judge: Judge | None = None,
) -> list[Prediction]:
    """Turn an engine's answers for N frames into N predictions.

    Args:
        output: What `engine` answered.
        engine: The engine that answered (from the lease, not the slot's current one).
        sample_ids: N ids.
        latency_ms: Time the engine took.
        part_ids: N part ids, or None.
        advisory: Whether the application is told not to act.
        judge: The rule to judge by; default the engine's own.
    """
    judge, names = judge or engine.judge, engine.judge.names
    rows, scores = output.probabilities.tolist(), output.anomaly.tolist()
    engine_id = engine.metadata.engine_id
    predictions = []
    for i, row in enumerate(rows):
        verdict, best, defect = judge.one(row, scores[i])
        predictions.append(
            Prediction(
                sample_id=sample_ids[i],
                verdict=verdict.value,
                label=names[best],
                probabilities=dict(zip(names, row, strict=True)),
                defect_probability=defect,
                anomaly=scores[i],
                anomaly_map=output.anomaly_map[i],
                embedding=output.embedding[i],
                engine_id=engine_id,
                engine_sha256=engine.sha256,
                latency_ms=latency_ms,
                part_id=part_ids[i] if part_ids is not None else None,
                advisory=advisory,
            )
        )
    return predictions
