"""stack.json: ports, addresses and processes of a home directory.

Two write it: `andon up` before it starts the supervisor, then the supervisor alone. Always as a whole, atomically.
Whoever cannot read it says so and how to go on; nobody guesses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from infra.stack.atomic_json import write_json
from infra.stack.layout import Home, StackError
from infra.stack.ports import LOOPBACK, PORT_NAMES
from infra.stack.process_identity import ProcessIdentity

FORMAT = 1
BUCKET_NAME = "andon"
REGION = "us-east-1"
URL_NAMES = ("bucket", "mlflow", "prefect", "console")


class Phase(Enum):
    """Where a process is in its life."""

    WAITING = "waiting"  # for what it needs
    STARTING = "starting"  # runs, has not yet done what it is for
    READY = "ready"  # was tried
    BACKOFF = "backoff"  # died, is started again soon
    DONE = "done"  # did its one task
    STOPPED = "stopped"  # ended on request


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """What the supervisor knows of one process.

    Attributes:
        restarts: Starts after the first.
        failures: Deaths in a row without having been ready; 0 once it was.
        note: How it ended last, or why it is not ready yet.
    """

    phase: Phase
    identity: ProcessIdentity | None = None
    restarts: int = 0
    failures: int = 0
    ready_at: float | None = None
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For stack.json."""
        return {
            "phase": self.phase.value,
            "pid": self.identity.pid if self.identity else None,
            "identity": self.identity.to_json() if self.identity else None,
            "restarts": self.restarts,
            "failures": self.failures,
            "ready_at": self.ready_at,
            "note": self.note,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> ProcessState:
        """Read back.

        Raises:
            KeyError, ValueError, TypeError: Not a state.
        """
        ready_at = value.get("ready_at")
        return ProcessState(
            phase=Phase(value["phase"]),
            identity=ProcessIdentity.from_json(value.get("identity")),
            restarts=int(value.get("restarts", 0)),
            failures=int(value.get("failures", 0)),
            ready_at=None if ready_at is None else float(ready_at),
            note=value.get("note"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    """The document.

    Attributes:
        extra: Keys of others (such as `catalog_url`), kept as they are.
    """

    ports: Mapping[str, int]
    supervisor: ProcessIdentity | None = None
    processes: Mapping[str, ProcessState] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def urls(self) -> dict[str, str]:
        """Addresses of the four servers."""
        return {name: f"http://{LOOPBACK}:{self.ports[name]}" for name in URL_NAMES}

    def save(self, home: Home) -> None:
        """Write the file."""
        document = {
            **self.extra,
            "format": FORMAT,
            "urls": self.urls,
            "bucket": {"name": BUCKET_NAME, "region": REGION, "ca_bundle": None, "addressing": "path"},
            "ports": dict(self.ports),
            "supervisor": self.supervisor.to_json() if self.supervisor else None,
            "processes": {name: process.to_json() for name, process in self.processes.items()},
        }
        write_json(home.stack_file, document)

    def without_processes(self) -> StackState:
        """The same addresses, nothing running."""
        return replace(self, supervisor=None, processes={})


_KNOWN = {"format", "urls", "bucket", "ports", "supervisor", "processes"}


def load_state(home: Home) -> StackState | None:
    """Read stack.json; None where there is none yet.

    Raises:
        StackError: It is half-written, foreign, or of a newer version.
    """
    path = home.stack_file
    remedy = (
        f"move it away (`mv {path} {path}.damaged`) and run `andon up`: ports are chosen anew, images, models "
        "and keys stay; "
        "devices enrolled with an address of the old ports must be enrolled again"
    )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise StackError(f"{path} is damaged: it is not JSON ({error}), perhaps half-written; {remedy}") from error
    except OSError as error:
        raise StackError(f"{path} cannot be read: {error}") from error
    try:
        found = document["format"]
        if found != FORMAT:
            raise StackError(f"{path} has format {found!r}, this version reads {FORMAT}: use the version that wrote it")
        ports = {name: _port(document["ports"][name]) for name in PORT_NAMES}
        if len(set(ports.values())) != len(ports):
            raise ValueError("a port is named twice")
        processes = {str(name): ProcessState.from_json(value) for name, value in document.get("processes", {}).items()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise StackError(f"{path} is damaged or not Andon's: {error!r} in it; {remedy}") from error
    return StackState(
        ports=ports,
        supervisor=ProcessIdentity.from_json(document.get("supervisor")),
        processes=processes,
        extra={key: value for key, value in document.items() if key not in _KNOWN},
    )


def _port(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 65_536:
        raise ValueError(f"{value!r} is not a port")
    return value
