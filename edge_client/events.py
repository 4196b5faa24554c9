"""Events that an application tells: the operator's cord, and outcomes. Texts are cut to what the contract takes, and a
character that UTF-8 cannot hold (half a surrogate pair, from a file's name) becomes a question mark: an event is not
lost over it.
"""

import uuid
from datetime import datetime

from edge_client.contract.sample import Event
from edge_client.prediction import Prediction


def flag_event(prediction: Prediction, *, at: datetime, reason: str, label: str) -> Event:
    """Return the event that a prediction looks wrong."""
    return Event(
        event_id=uuid.uuid4().hex,
        kind="flag",
        at=at,
        sample_id=prediction.sample_id,
        part_id=prediction.part_id,
        value=_text(label, 512),
        reason=_text(reason, 2000),
    )


def outcome_event(part_id: str, outcome: str, *, at: datetime, stage: str) -> Event:
    """Return the event that something was found out later about a part."""
    return Event(
        event_id=uuid.uuid4().hex,
        kind="outcome",
        at=at,
        part_id=_text(part_id, 256),
        value=_text(outcome, 512),
        stage=_text(stage, 512),
    )


def _text(text: str, most: int) -> str:
    return text[:most].encode("utf-8", "replace").decode()
