"""What must be remembered of the client's software over a power cut: one small JSON file.

1. It is written beside its place, synced, renamed, and the folder is synced: after a power cut the old state or the
   new one is there, whole.
2. Whoever changes it holds `lock` from reading to writing: the launcher and the client's upgrader are two processes.
3. A launcher may be older than the client it started, and a client older than the launcher: fields that are not known
   are passed over, and those that are missing have their default.
4. A file that cannot be read, or breaks a rule, is set aside: the device then runs its base, with the quarantine lost.

Standard library alone: the launcher lives as long as the device.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_client.contract.private_files import replace_private
from edge_client.software.rules import Environment, Phase, Place, SoftwareState, broken_rules

_STATE = "software.json"
_MAX_BYTES = 1 << 20


class SoftwareStore:
    """The state of one device's software.

    Args:
        folder: ``state/software``; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / _STATE
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def environment(self, place: Place) -> Path:
        """The folder of an environment."""
        if place is Place.BASE:
            raise AssertionError("the base is never written")
        return self.folder / f"env-{place.value}"

    def load(self) -> SoftwareState:
        """Return the stored state; a fresh one at first, or when what is stored cannot be one (rule 4)."""
        try:
            if self.path.stat().st_size > _MAX_BYTES:
                raise ValueError("too large")
            state = _decode(json.loads(self.path.read_text(encoding="utf-8")))
            if broken := broken_rules(state):
                raise ValueError(f"breaks rule {broken[0]}")
            return state
        except FileNotFoundError:
            return SoftwareState()
        except (ValueError, KeyError, TypeError, AttributeError):
            with contextlib.suppress(OSError):
                os.replace(self.path, self.path.with_name(f"{_STATE}.damaged"))
            return SoftwareState()

    def save(self, state: SoftwareState) -> None:
        """Store a state durably (rule 1); nothing is written when it is the one that is stored."""
        if broken := broken_rules(state):
            raise AssertionError(f"the software state breaks rule {'; '.join(broken)}: {state}")
        data = json.dumps(_encode(state), indent=1).encode()
        replace_private(self.path, data)

    def change(self, rule: Callable[[SoftwareState], SoftwareState]) -> SoftwareState:
        """Apply a rule under the lock and store what it returns."""
        with self.locked():
            before = self.load()
            after = rule(before)
            if after != before:
                self.save(after)
            return after

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the state for this process (rule 2)."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _encode(state: SoftwareState) -> dict[str, Any]:
    return {**asdict(state), "phase": state.phase.value, "active": state.active.value, "good": state.good.value}


def _decode(value: dict[str, Any]) -> SoftwareState:
    """Rule 3."""

    def held(name: str) -> Environment | None:
        found = value.get(name)
        if found is None:
            return None
        return Environment(
            version=str(found["version"]), digest=str(found["digest"]), confirmed=bool(found.get("confirmed", False))
        )

    return SoftwareState(
        phase=Phase(value["phase"]),
        active=Place(value["active"]),
        good=Place(value["good"]),
        a=held("a"),
        b=held("b"),
        attempts=int(value.get("attempts", 0)),
        attempted=str(value.get("attempted", "")),
        starts=int(value.get("starts", 0)),
        note=str(value.get("note", "")),
        quarantine=tuple((str(d), str(v), str(r)) for d, v, r in value.get("quarantine", ())),
    )
