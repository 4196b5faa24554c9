"""How the command line asks a running client for an update: a request file and an answer file in the updater's folder.

Both are written beside their place and renamed. The folder is the device's own (mode 700); who can write there could
do anything.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from edge_client.updates.outcome import UpdateOutcome

_REQUEST = "request.json"
_ANSWER = "answer.json"
_MAX_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRequest:
    """One request: look for releases, in the bucket or in a folder; first forgive a digest if one is named."""

    id: str
    source: Path | None = None
    forgive: str = ""


def send_request(folder: Path, request: UpdateRequest) -> None:
    """Leave a request for the running client; a request not yet served is replaced."""
    _write(
        folder / _REQUEST,
        {"id": request.id, "source": str(request.source) if request.source else None, "forgive": request.forgive},
    )


def next_request(folder: Path) -> UpdateRequest | None:
    """Take the waiting request, or None."""
    value = _read(folder / _REQUEST)
    if value is None:
        return None
    with contextlib.suppress(FileNotFoundError):
        (folder / _REQUEST).unlink()
    try:
        source = value["source"]
        return UpdateRequest(
            id=str(value["id"]), source=Path(str(source)) if source else None, forgive=str(value["forgive"])
        )
    except KeyError:
        return None


def answer_request(folder: Path, request: UpdateRequest, outcome: UpdateOutcome) -> None:
    """Leave the answer for the command line."""
    _write(folder / _ANSWER, {"id": request.id, "outcome": outcome.to_json()})


def answer_to(folder: Path, request: UpdateRequest) -> UpdateOutcome | None:
    """Return the answer to a request, or None while there is none."""
    value = _read(folder / _ANSWER)
    if value is None or value.get("id") != request.id or not isinstance(value.get("outcome"), dict):
        return None
    return UpdateOutcome.from_json(value["outcome"])  # type: ignore[arg-type]  # checked above


def _write(path: Path, value: object) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(value))
    os.replace(temporary, path)


def _read(path: Path) -> dict[str, object] | None:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
