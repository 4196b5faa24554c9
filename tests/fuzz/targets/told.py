"""What an application tells beside a frame: part ids, process values, reasons and outcomes.

What the client takes is packed as it would be captured, and ingest must be able to read that.
"""

from __future__ import annotations

import json
from dataclasses import replace

from edge_client.contract.errors import BadImage
from edge_client.contract.sample import EventsBlob, unpack_blob
from edge_client.events import outcome_event
from edge_client.inputs import check_context, check_parts
from tests.fuzz import seeds
from tests.fuzz.mutations.values import JSON_TOKENS, mutate_json
from tests.fuzz.target import Target


def read_told(data: bytes) -> None:
    """Take what is told in a JSON document, which stands for the values of Python that an application may pass.

    Raises:
        BadImage: The client refuses it.
    """
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        raise BadImage("no document of this harness") from None
    if not isinstance(told, dict):
        raise BadImage("no document of this harness")
    (part,) = check_parts(told.get("part_id"), 1)
    context = check_context(told.get("context") if isinstance(told.get("context"), dict) else None)
    sample = replace(seeds.sample(seeds.images()[0]), part_id=part, context=context)
    assert unpack_blob(sample.pack()).pack() == sample.pack()
    texts = [
        text if isinstance(text, str) else "" for text in (told.get("part_id"), told.get("outcome"), told.get("stage"))
    ]
    event = outcome_event(texts[0], texts[1], at=seeds.NOW, stage=texts[2])
    events = EventsBlob(events=(event,))
    assert unpack_blob(events.pack()) == events


def _documents() -> tuple[bytes, ...]:
    full = {
        "part_id": "A-1042",
        "context": {"humidity": 0.41, "recipe": "B", "speed": 3},
        "outcome": "failed",
        "stage": "end",
    }
    return (json.dumps(full).encode(), b'{"part_id": ["A-1"], "context": null, "outcome": "", "stage": ""}')


TOLD = Target(
    name="told", read=read_told, refusals=(BadImage,), seeds=_documents, mutate=mutate_json, tokens=JSON_TOKENS
)
