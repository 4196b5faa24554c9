"""What runs, where, since when, and whether it does what it is for: each process is tried anew when asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.services import Services
from infra.stack.layout import Home, StackError
from infra.stack.processes import ProcessSpec, process_specs
from infra.stack.readiness import NotReady
from infra.stack.secrets_file import load_secrets
from infra.stack.single_instance import holder
from infra.stack.state import Phase, ProcessState, StackState, load_state


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One line of the table.

    Attributes:
        health: ``ok`` when it was tried just now and did it, else what came instead.
        uptime_seconds: Since its start, None when it does not run.
    """

    name: str
    phase: str
    pid: int | None
    port: int | None
    url: str | None
    uptime_seconds: float | None
    restarts: int
    health: str
    log: str

    @property
    def healthy(self) -> bool:
        """Whether it did what it is for."""
        return self.health == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackStatus:
    """The whole stack."""

    home: str
    running: bool
    supervisor_pid: int | None
    processes: tuple[ProcessStatus, ...]

    @property
    def healthy(self) -> bool:
        """Whether all run and are healthy."""
        return self.running and all(process.healthy for process in self.processes)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "healthy": self.healthy}


def stack_status(path: Path, *, now: float | None = None) -> StackStatus:
    """Look at the stack of a home directory and try each process.

    Raises:
        StackError: There is no stack, or its files are damaged.
    """
    home = Home(path)
    state, secrets = load_state(home), load_secrets(home)
    if state is None or secrets is None:
        raise StackError(f"{path}: there is no stack here; run `andon up`")
    daemon = holder(home.supervisor_lock)
    moment = time.time() if now is None else now
    specs = [spec for spec in process_specs(home, state, secrets) if spec.probe is not None]
    with ThreadPoolExecutor(max_workers=len(specs)) as pool:
        rows = tuple(pool.map(lambda spec: _row(home, state, spec, moment), specs))
    return StackStatus(
        home=str(path), running=daemon is not None, supervisor_pid=daemon.pid if daemon else None, processes=rows
    )


def _row(home: Home, state: StackState, spec: ProcessSpec, now: float) -> ProcessStatus:
    known = state.processes.get(spec.name, ProcessState(phase=Phase.STOPPED))
    alive = known.identity is not None and known.identity.alive()
    identity = known.identity if alive else None
    return ProcessStatus(
        name=spec.name,
        phase=known.phase.value if alive or known.phase is not Phase.READY else "died",
        pid=identity.pid if identity else None,
        port=state.ports.get(spec.name),
        url=state.urls.get(spec.name),
        uptime_seconds=round(now - identity.started, 1) if identity else None,
        restarts=known.restarts,
        health=_health(spec, identity.started) if identity else (known.note or "does not run"),
        log=str(home.log(spec.name)),
    )


def _health(spec: ProcessSpec, started: float) -> str:
    assert spec.probe is not None
    try:
        spec.probe(lambda: started)()
    except NotReady as reason:
        return str(reason)
    return "ok"


def addresses(state: StackState, services: Services) -> Mapping[str, str]:
    """Addresses for people, by what they find there."""
    urls = state.urls
    bucket = services.bucket
    return {
        "Console": services.console_url or urls["console"],
        "MLflow": services.mlflow_url or urls["mlflow"],
        "Prefect": services.prefect_url or urls["prefect"],
        "Bucket": f"{(bucket.endpoint_url or 'AWS') if bucket else urls['bucket']} (S3)",
    }
