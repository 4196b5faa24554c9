"""What an application gets for a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.decision import decide, defect_probability
from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.engine import Engine, EngineOutput


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The answer for one frame.

    Attributes:
        sample_id: 32 hex digits; names the frame in `flag` and in the cloud if it is captured.
        verdict: ``"ok"``, ``"defect"`` or ``"unsure"`` (a person should look).
        label: The most probable class.
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


def predictions_from(
    output: EngineOutput,
    engine: Engine,
    *,
    sample_ids: Sequence[str],
    latency_ms: float,
    part_ids: Sequence[str | None] | None = None,
    advisory: bool = False,
) -> list[Prediction]:
    """Turn an engine's answers for N frames into N predictions.

    Args:
        output: What `engine` answered.
        engine: The engine that answered (from the lease, not the slot's current one).
        sample_ids: N ids.
        latency_ms: Time the engine took.
        part_ids: N part ids, or None.
        advisory: Whether the application is told not to act.
    """
    metadata: EngineMetadata = engine.metadata
    names = [c.name for c in metadata.classes]
    verdicts = decide(output.probabilities, output.anomaly, metadata)
    defects = defect_probability(output.probabilities, metadata.classes)
    best = output.probabilities.argmax(axis=1)
    parts = part_ids if part_ids is not None else [None] * len(verdicts)
    return [
        Prediction(
            sample_id=sample_ids[i],
            verdict=verdict.value,
            label=names[int(best[i])],
            probabilities={name: float(p) for name, p in zip(names, output.probabilities[i], strict=True)},
            defect_probability=float(defects[i]),
            anomaly=float(output.anomaly[i]),
            anomaly_map=output.anomaly_map[i],
            embedding=output.embedding[i],
            engine_id=metadata.engine_id,
            engine_sha256=engine.sha256,
            latency_ms=latency_ms,
            part_id=parts[i],
            advisory=advisory,
        )
        for i, verdict in enumerate(verdicts)
    ]
