"""What the updater must remember over a power cut: a small SQLite database, `synchronous=FULL`.

Holds the state of `rules.py`, the floors of metadata versions (so that deleting or losing metadata files does not
open the way to a replay), the last signed time, the last accepted settings, and requests made through the command
line. A damaged database is set aside and a new one begun: the device then serves its factory engine and updates anew.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_client.contract.errors import BadRelease
from edge_client.contract.settings import DeviceSettings
from edge_client.updates.invariants import broken_rules
from edge_client.updates.rules import Installed, Outcome, Phase, Place, Target, UpdateState
from edge_client.updates.slots import make_durable_folder

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS floors (role TEXT NOT NULL, keys TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY
(role, keys));
"""


class UpdateStore:
    """The updater's memory. Safe to use from several threads.

    Args:
        path: The database file; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.set_aside: Path | None = None  # where a damaged database went
        make_durable_folder(path.parent)
        try:
            self._connection = self._open()
            self._read("state")
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, or the disk: not damage
            self.set_aside = _set_aside(path)
            self._connection = self._open()

    def load(self) -> UpdateState:
        """Return the stored state; a fresh one at first, or when what is stored can't be a state."""
        text = self._read("state")
        if text is None:
            return UpdateState()
        try:
            state = _decode(json.loads(text))
        except (ValueError, KeyError, TypeError):
            return UpdateState()
        if broken_rules(state):
            return UpdateState(quarantine=state.quarantine, quarantine_ends=state.quarantine_ends)
        return state

    def save(self, state: UpdateState) -> None:
        """Store a state durably: it holds after a power cut once this returns."""
        self._write("state", json.dumps(_encode(state)))

    def floor(self, role: str, keys: str) -> int:
        """Lowest acceptable version of a role's metadata while it is signed by `keys` (a fingerprint of the key ids).

        The floor belongs to the keys, so that rotating a stolen key also undoes a version that its thief raised.
        """
        with self._lock:
            row = self._connection.execute(
                "SELECT version FROM floors WHERE role = ? AND keys = ?", (role, keys)
            ).fetchone()
        return int(row[0]) if row else 0

    def raise_floors(self, versions: dict[tuple[str, str], int]) -> None:
        """Raise the floors of (role, keys); none is ever lowered."""
        with self._lock, self._connection:
            self._connection.executemany(
                "INSERT INTO floors VALUES (?, ?, ?) ON CONFLICT (role, keys) DO UPDATE SET version = "
                "max(version, excluded.version)",
                [(role, keys, version) for (role, keys), version in versions.items()],
            )

    def signed_time(self, keys: str) -> datetime | None:
        """The last signed issue time that was seen from `keys`."""
        text = self._read(f"signed_time:{keys}")
        return None if text is None else datetime.fromisoformat(text)

    def raise_signed_time(self, keys: str, at: datetime) -> None:
        """Remember a signed issue time if it is the latest."""
        known = self.signed_time(keys)
        if known is None or at > known:
            self._write(f"signed_time:{keys}", at.astimezone(UTC).isoformat())

    def settings(self) -> DeviceSettings | None:
        """The last accepted signed settings, or None."""
        text = self._read("settings")
        try:
            return None if text is None else DeviceSettings.from_json(text.encode())
        except BadRelease:  # written by another version of the client
            return None

    def save_settings(self, settings: DeviceSettings) -> None:
        """Remember signed settings, so that they hold after a start without network."""
        self._write("settings", settings.to_json().decode())

    def fact(self, name: str) -> Any:
        """Return a remembered JSON value, or None."""
        text = self._read(f"fact:{name}")
        return None if text is None else json.loads(text)

    def save_fact(self, name: str, value: object) -> None:
        """Remember a JSON value."""
        self._write(f"fact:{name}", json.dumps(value))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        return connection

    def _read(self, name: str) -> str | None:
        with self._lock:
            row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _write(self, name: str, value: str) -> None:
        with self._lock, self._connection:
            self._connection.execute(
                "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
            )


def _set_aside(path: Path) -> Path:
    n = 1
    while (aside := path.with_name(f"{path.name}.damaged-{n}")).exists():
        n += 1
    os.replace(path, aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside


def _encode(state: UpdateState) -> dict[str, Any]:
    value = asdict(state)
    value["phase"], value["active"], value["good"] = state.phase.value, state.active.value, state.good.value
    value["target"]["outcome"] = state.target.outcome.value
    value["quarantine_ends"] = [(digest, end.isoformat()) for digest, end in state.quarantine_ends]
    return value


def _decode(value: dict[str, Any]) -> UpdateState:
    def installed(held: dict[str, Any] | None) -> Installed | None:
        return None if held is None else Installed(**_known(Installed, held))

    return UpdateState(
        phase=Phase(value["phase"]),
        active=Place(value["active"]),
        good=Place(value["good"]),
        a=installed(value["a"]),
        b=installed(value["b"]),
        trial_attempts=int(value["trial_attempts"]),
        starts=int(value["starts"]),
        target=Target(**{**_known(Target, value["target"]), "outcome": Outcome(value["target"]["outcome"])}),
        quarantine=tuple((str(digest), str(reason)) for digest, reason in value["quarantine"]),
        quarantine_ends=tuple(
            (str(digest), datetime.fromisoformat(end)) for digest, end in value.get("quarantine_ends", ())
        ),
    )


def _known(kind: type[Any], value: dict[str, Any]) -> dict[str, Any]:
    """Pass over what a newer client wrote beside what this one knows: it may be this one's turn again."""
    return {name: value[name] for name in kind.__dataclass_fields__ if name in value}
