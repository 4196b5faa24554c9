"""Devices as the cloud sees them: registered, and with signed heartbeats in the bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.devices import register_device
from data.workspace import Workspace
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.names import status_key
from edge_client.contract.signing import generate_private_key, load_private_key


class Device:
    """One device with its key."""

    def __init__(self, workspace: Workspace, folder: Path, name: str, inspection: str, channel: str = "stable") -> None:
        self._workspace, self._name, self._inspection, self._channel = workspace, name, inspection, channel
        self._key = folder / f"{name}.key"
        self._sequence = 0
        public = generate_private_key(self._key)
        register_device(
            workspace.catalog(), name, "plant", "end", [inspection], public, at=datetime.now(UTC), channel=channel
        )

    def beat(self, *, engine_sha256: str, **more: Any) -> None:
        """Sign a heartbeat and put it into the bucket, as a device does."""
        self._sequence += 1
        fields: dict[str, Any] = {
            "device": self._name,
            "site": "plant",
            "station": "end",
            "sequence": self._sequence,
            "sent_at": datetime.now(UTC),
            "client_version": "1",
            "inspection": self._inspection,
            "channel": self._channel,
            "engine_id": "e",
            "engine_sha256": engine_sha256,
            "slot": "a",
            "health": "ok",
            "frames": 100,
            "latency_ms_p50": 2.0,
            "latency_ms_p99": 4.0,
        }
        heartbeat = Heartbeat(**{**fields, **more})
        document = heartbeat.sign(load_private_key(self._key))
        self._workspace.bucket().put(status_key(self._name), document)
