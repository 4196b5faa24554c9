"""The running processes: ready, on loopback alone, phoning nobody."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import psutil

from infra.doctor.finding import Finding, Level
from infra.stack.layout import Home
from infra.stack.process_identity import ProcessIdentity, descendants
from infra.stack.processes import BUCKET, MLFLOW, PREFECT
from infra.stack.state import StackState
from infra.stack.status import stack_status

#: Process -> what in its environment or command keeps it from phoning home.
_TELEMETRY_ENVIRONMENT = {
    MLFLOW: {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"},
    PREFECT: {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"},
}
_TELEMETRY_FLAG = {BUCKET: "-master.telemetry=false"}


def check_processes(home: Home) -> Iterator[Finding]:
    """Each is tried."""
    status = stack_status(home.path)
    if not status.running:
        yield Finding(check="processes", level=Level.WRONG, text="the stack does not run", action="run `andon up`")
        return
    for process in status.processes:
        if not process.healthy:
            yield Finding(
                check="processes",
                level=Level.WRONG,
                text=f"{process.name} ({process.phase}): {process.health}",
                action=f"wait a minute: it is restarted when it dies; else read {process.log}",
            )
        elif process.restarts:
            yield Finding(
                check="processes",
                level=Level.NOTE,
                text=f"{process.name} works, after {process.restarts} restarts",
                action=f"read {process.log} for why it ended",
            )
    if status.healthy:
        yield Finding(check="processes", level=Level.OK, text=f"{len(status.processes)} processes were tried and work")


def check_telemetry(state: StackState) -> Iterator[Finding]:
    """What the running processes were really started with."""
    looked = 0
    for name, identity in _leaders(state):
        try:
            process = psutil.Process(identity.pid)
            environment, command = process.environ(), process.cmdline()
        except psutil.Error:
            continue
        missing = [f"{k}={v}" for k, v in _TELEMETRY_ENVIRONMENT.get(name, {}).items() if environment.get(k) != v]
        if name in _TELEMETRY_FLAG and _TELEMETRY_FLAG[name] not in command:
            missing.append(_TELEMETRY_FLAG[name])
        looked += 1
        if missing:
            yield Finding(
                check="telemetry",
                level=Level.WRONG,
                text=f"{name} runs without {', '.join(missing)}: it may phone home",
                action="`andon down`, then `andon up`",
            )
    if looked:
        yield Finding(check="telemetry", level=Level.OK, text="off in every process that has any")


def check_loopback(state: StackState) -> Iterator[Finding]:
    """Nothing listens for other machines."""
    open_to_others: list[str] = []
    counted = 0
    for name, identity in _leaders(state):
        for one in (identity, *descendants(identity.pid)):
            try:
                connections = psutil.Process(one.pid).net_connections(kind="inet")
            except psutil.Error:
                continue
            for connection in connections:
                if connection.status == psutil.CONN_LISTEN:
                    counted += 1
                    if not ipaddress.ip_address(connection.laddr.ip).is_loopback:
                        open_to_others.append(f"{name} on {connection.laddr.ip}:{connection.laddr.port}")
    for text in open_to_others:
        yield Finding(
            check="loopback",
            level=Level.WRONG,
            text=f"{text}, expected loopback alone: other machines can reach it",
            action="`andon down`, then `andon up`; if it stays so, close the port in the firewall and report it",
        )
    if counted and not open_to_others:
        yield Finding(check="loopback", level=Level.OK, text=f"all {counted} listening ports are on loopback")


def _leaders(state: StackState) -> Iterator[tuple[str, ProcessIdentity]]:
    for name, process in state.processes.items():
        if process.identity is not None and process.identity.alive():
            yield name, process.identity
