"""Fine-tuned trunks in the bucket, each under its own id.

`lake/<inspection>/trunks/<id>/` holds what ships (`trunk.onnx`), its float original (`float.onnx`, where int8 ships),
the backbone's weights to start from another time (`weights.npz`) and which groups it was trained on (`seen.json`).

1. `trunk.onnx` is put last and makes the others count: a process that is killed before leaves nothing that is used.
2. A trunk is put before its engine is registered: there is no engine whose trunk is lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BadEngine, NotFound
from training.trunk import Trunk

MAX_TRUNK_BYTES = 256 * 1024 * 1024
_MAX_SEEN_BYTES = 64 * 1024 * 1024  # two million groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a fine-tuned trunk comes from.

    Attributes:
        weights: Of its backbone, packed.
        seen: Digests of the groups that it and its forerunners were trained on.
    """

    weights: bytes | None = None
    seen: frozenset[str] = frozenset()


def keep_tuned(bucket: Bucket, inspection: str, shipped: Trunk, plain: Trunk, origin: Origin) -> None:
    """Put a fine-tuned trunk into the bucket (rule 1)."""
    place = _place(inspection, shipped.id)
    if origin.weights is not None:
        bucket.put(f"{place}/weights.npz", origin.weights)
    bucket.put(f"{place}/seen.json", json.dumps(sorted(origin.seen)).encode())
    if shipped.id != plain.id:
        bucket.put(f"{place}/float.onnx", plain.onnx)
    bucket.put(f"{place}/trunk.onnx", shipped.onnx)


def load_tuned(bucket: Bucket, inspection: str, trunk_id: str, *, original: bool = False) -> Trunk | None:
    """Return a fine-tuned trunk, or its float original; None where there is none of that id."""
    try:
        return Trunk.load(
            bucket.get(
                f"{_place(inspection, trunk_id)}/{'float' if original else 'trunk'}.onnx", max_bytes=MAX_TRUNK_BYTES
            )
        )
    except NotFound:
        return None


def origin_of(bucket: Bucket, inspection: str, trunk_id: str) -> Origin:
    """Return where a trunk comes from; one that was never fine-tuned has seen nothing.

    Raises:
        BadEngine: Its record cannot be read.
    """
    place = _place(inspection, trunk_id)
    try:
        seen = json.loads(bucket.get(f"{place}/seen.json", max_bytes=_MAX_SEEN_BYTES))
        weights = bucket.get(f"{place}/weights.npz", max_bytes=MAX_TRUNK_BYTES)
    except NotFound:
        return Origin()
    except ValueError as error:
        raise BadEngine(f"{place}/seen.json cannot be read ({error}); move the champion to another version") from error
    return Origin(weights=weights, seen=frozenset(seen))


def _place(inspection: str, trunk_id: str) -> str:
    return f"lake/{inspection}/trunks/{trunk_id}"
