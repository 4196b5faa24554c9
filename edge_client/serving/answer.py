"""From predictions to the tensors of an answer, and to an HTTP body. No I/O.

probabilities        FP32  [N, K]      embedding   FP32  [N, D]
classes              BYTES [K]         anomaly     FP32  [N]
defect_probability   FP32  [N]         anomaly_map FP32  [N, h, w]
verdict, label       BYTES [N]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from edge_client.prediction import Prediction
from edge_client.serving.inference import OUTPUTS, InferCall, Wanted
from edge_client.serving.problems import bad
from edge_client.serving.tensors import bytes_to_binary

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Output:
    """One tensor of an answer: float32 numbers, or texts."""

    name: str
    shape: tuple[int, ...]
    values: NDArray[np.float32] | list[str]

    @property
    def datatype(self) -> str:
        """As the protocol calls it."""
        return OUTPUTS[self.name]

    def binary(self) -> Buffer:
        """Return the binary form."""
        if isinstance(self.values, list):
            return bytes_to_binary([value.encode() for value in self.values])
        return self.values.data.cast("B")

    def json(self) -> list[Any]:
        """Return the values as one flat list."""
        return self.values if isinstance(self.values, list) else self.values.reshape(-1).tolist()


def outputs_of(predictions: Sequence[Prediction], wanted: Sequence[Wanted]) -> list[Output]:
    """Return the outputs that are asked for, in that order.

    Args:
        predictions: N answers.
        wanted: Names.

    Raises:
        Refusal: Frames of one request gave arrays of different shapes (their maps, when their sizes differ).
    """
    return [_output(name.name, predictions) for name in wanted]


def http_body(model: str, call: InferCall, predictions: Sequence[Prediction]) -> tuple[list[Buffer], int | None]:
    """Return an answer's body in pieces, and the length of its JSON where binary data follows.

    Args:
        model: The inspection.
        call: What was asked.
        predictions: N answers of one engine.
    """
    pieces: list[Buffer] = [b""]
    told: list[dict[str, Any]] = []
    for asked, output in zip(call.wanted, outputs_of(predictions, call.wanted), strict=True):
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if asked.binary:
            data = output.binary()
            entry["parameters"] = {"binary_data_size": len(data)}
            pieces.append(data)
        else:
            entry["data"] = output.json()
        told.append(entry)
    first = predictions[0]
    answer: dict[str, Any] = {
        "model_name": model,
        "model_version": first.engine_id,
        "parameters": {
            "sample_ids": [p.sample_id for p in predictions],
            **described(first),
        },
        "outputs": told,
    }
    if call.id:
        answer["id"] = call.id
    pieces[0] = orjson.dumps(answer)
    return pieces, len(pieces[0]) if any(asked.binary for asked in call.wanted) else None


def described(prediction: Prediction) -> dict[str, str | float | bool]:
    """Return what an answer's parameters say of the engine that gave it."""
    return {
        "engine_sha256": prediction.engine_sha256,
        "latency_ms": round(prediction.latency_ms, 3),
        "advisory": prediction.advisory,
    }


def _output(name: str, predictions: Sequence[Prediction]) -> Output:
    n = len(predictions)
    if name == "verdict":
        return Output(name=name, shape=(n,), values=[p.verdict for p in predictions])
    if name == "label":
        return Output(name=name, shape=(n,), values=[p.label for p in predictions])
    if name == "classes":  # by name, in the order of the probabilities' columns
        names = list(predictions[0].probabilities)
        return Output(name=name, shape=(len(names),), values=names)
    if name == "anomaly":
        return Output(name=name, shape=(n,), values=np.array([p.anomaly for p in predictions], dtype=np.float32))
    if name == "defect_probability":
        found = np.array([p.defect_probability for p in predictions], dtype=np.float32)
        return Output(name=name, shape=(n,), values=found)
    if name == "probabilities":
        rows = [np.fromiter(p.probabilities.values(), dtype=np.float32) for p in predictions]
    elif name == "embedding":
        rows = [p.embedding for p in predictions]
    else:
        rows = [p.anomaly_map for p in predictions]
    if n > 1 and len({row.shape for row in rows}) > 1:
        raise bad(
            f"the {n} frames of this request gave {name} of shapes {sorted({row.shape for row in rows})}, which do "
            "not fit into one tensor: send frames of different sizes in requests of their own"
        )
    values = np.ascontiguousarray(np.stack(rows) if n > 1 else rows[0][None])
    return Output(name=name, shape=values.shape, values=values)
