"""`andon up` and `andon down` as functions.

1. Running already: nothing is started; `up` waits until all is ready and says so.
2. Whatever is wrong is said before anything is started: disk, somebody else's folder, damaged files, a taken port, a
   database or a bucket elsewhere that cannot be used.
3. Processes that a killed supervisor left are ended first, by identity, never by pid alone.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.stack.disk import check_room
from infra.stack.inner_tls import create_certificates
from infra.stack.layout import RESTORING_FILE, Home, StackError
from infra.stack.log_rotation import tail
from infra.stack.ports import PORT_NAMES, check_free, choose_ports, is_free
from infra.stack.process_identity import ProcessIdentity, descendants, kill_all
from infra.stack.processes import ProcessSpec, process_specs, servers_of
from infra.stack.secrets_file import StackSecrets, load_secrets
from infra.stack.single_instance import holder, is_held, locked
from infra.stack.state import Phase, StackState, load_state
from infra.stack.stated import check_services

UP_SECONDS = 300.0  # a busy machine; alone it takes about 20
DOWN_SECONDS = 60.0
GIVE_UP_FAILURES = 3  # deaths of one process while starting, after which `up` no longer waits
_POLL_SECONDS = 0.1

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOutcome:
    """What `bring_up` found or did."""

    state: StackState
    already: bool
    seconds: float


def bring_up(path: Path, *, timeout: float = UP_SECONDS, report: Report = lambda _: None) -> UpOutcome:
    """Start the stack of a home directory and wait until every process was tried.

    Args:
        path: The home directory; made if need be.
        timeout: Seconds to wait for all to be ready.
        report: Gets one line of progress at a time.

    Raises:
        StackError: It cannot be started, or is not ready in time; the message names the log.
    """
    began = time.monotonic()
    home = Home(path)
    check_room(path)
    home.create()
    with locked(home.up_lock, what="`andon up`"):
        already = is_held(home.supervisor_lock)
        if not already:
            prepare(home)
            check_services(home, report)
            daemon = _start_supervisor(home, began + timeout)
            report(f"supervisor started (process {daemon.pid}); logs in {home.logs}")
    state = _wait_until_ready(home, began, timeout, report)
    return UpOutcome(state=state, already=already, seconds=time.monotonic() - began)


def prepare(home: Home, rng: random.Random | None = None, *, restoring: bool = False) -> StackState:
    """Make or check all that the supervisor reads. Nothing runs yet.

    Raises:
        StackError: Something is damaged, a remembered port is taken, or a restore is not finished.
    """
    if not restoring and (home.path / RESTORING_FILE).exists():
        raise StackError(
            f"{home.path} holds a backup that is restored in part: run `andon restore` again, which goes on where "
            "it ended"
        )
    from data.policy import Policy  # SQLAlchemy behind it is slow to import and `andon --help` needs none of it
    from flows.releases.keys import create_keys

    state = load_state(home)
    secrets = load_secrets(home)
    if state is not None:
        if end_leftovers(state):
            _await_ports(state)
        check_free(state.ports)
    else:
        state = StackState(ports=choose_ports(PORT_NAMES, rng or random.Random()))
    if secrets is None:
        StackSecrets.generate().save(home)
    create_certificates(home)
    create_keys(home.keys)
    if not home.policy_file.exists():
        home.policy_file.write_text(Policy.default_toml(), encoding="utf-8")
    state = state.without_processes()
    state.save(home)
    return state


def end_leftovers(state: StackState) -> list[int]:
    """End processes that stack.json names and that still run although no supervisor does; return their pids."""
    found = [p.identity for p in state.processes.values() if p.identity is not None and p.identity.alive()]
    below = [identity for leader in found for identity in descendants(leader.pid)]
    for leader in found:
        _signal(leader, signal.SIGTERM)
    deadline = time.monotonic() + 3.0
    while any(leader.alive() for leader in found) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_all([*found, *below])
    deadline = time.monotonic() + 5.0
    while any(identity.alive() for identity in (*found, *below)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [leader.pid for leader in found]


def _await_ports(state: StackState, seconds: float = 20.0) -> None:
    """Wait until what was ended let go of its ports: the other threads of a killed process may outlive its first."""
    deadline = time.monotonic() + seconds
    while not all(is_free(port) for port in state.ports.values()) and time.monotonic() < deadline:
        time.sleep(0.05)


def _specs(home: Home) -> tuple[ProcessSpec, ...]:
    state, secrets = load_state(home), load_secrets(home)
    assert state is not None
    assert secrets is not None
    return process_specs(home, state, secrets)


def _start_supervisor(home: Home, deadline: float) -> ProcessIdentity:
    environment = _specs(home)[0].environment["PYTHONPATH"]
    log = home.log("supervisor")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "infra.stack.supervisor", "--home", str(home.path)],
            cwd=home.run,
            env={**os.environ, "PYTHONPATH": environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while time.monotonic() < deadline:
        found = holder(home.supervisor_lock)
        if found is not None and found.pid == process.pid:
            return found
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise StackError(f"the supervisor did not start; the end of {log}:\n{tail(log)}")


def _wait_until_ready(home: Home, began: float, timeout: float, report: Report) -> StackState:
    told: set[str] = set()
    state: StackState | None = None
    servers = servers_of(_specs(home))
    while True:
        supervised = is_held(home.supervisor_lock)
        state = load_state(home)
        if state is not None:
            for name, process in state.processes.items():
                if process.phase in (Phase.READY, Phase.DONE) and name not in told:
                    told.add(name)
                    where = state.urls.get(name, "")
                    word = "done " if process.phase is Phase.DONE else "ready"
                    report(f"{time.monotonic() - began:5.1f} s  {name:<10} {word} {where}".rstrip())
            if all((p := state.processes.get(name)) and p.phase is Phase.READY for name in servers) and supervised:
                return state
            for name, process in state.processes.items():
                if process.failures >= GIVE_UP_FAILURES:
                    raise StackError(_not_ready(home, name, f"{process.note}, {process.failures} times while starting"))
        if not supervised:
            log = home.log("supervisor")
            raise StackError(f"the supervisor ended before all was ready; the end of {log}:\n{tail(log)}")
        if time.monotonic() - began > timeout:
            waiting = [n for n in servers if state is None or n not in state.processes or n not in told]
            first = waiting[0] if waiting else servers[0]
            process_now = state.processes.get(first) if state else None
            note = process_now.note if process_now and process_now.note else "not ready"
            others = f" (nor {', '.join(waiting[1:])})" if waiting[1:] else ""
            raise StackError(_not_ready(home, first, f"{note} after {timeout:.0f} s{others}"))
        time.sleep(_POLL_SECONDS)


def _not_ready(home: Home, name: str, why: str) -> str:
    log = home.log(name)
    return (
        f"{name} is not ready: {why}. The supervisor goes on trying (`andon status`); `andon down` ends it. "
        f"The end of {log}:\n{tail(log)}"
    )


def take_down(path: Path, *, timeout: float = DOWN_SECONDS, report: Report = lambda _: None) -> bool:
    """End the stack of a home directory and wait until nothing of it runs.

    Returns:
        Whether anything ran.

    Raises:
        StackError: The directory does not exist, or something cannot be ended.
    """
    home = Home(path)
    if not path.is_dir():
        raise StackError(f"there is no home directory {path}: name the right one with --home")
    with locked(home.up_lock, what="`andon down`"):
        daemon = holder(home.supervisor_lock)
        if daemon is not None:
            report(f"ending the stack (supervisor {daemon.pid}); the bucket takes about 15 s")
            _signal(daemon, signal.SIGTERM)
            deadline = time.monotonic() + timeout
            while daemon.alive() and time.monotonic() < deadline:
                time.sleep(0.05)
            if daemon.alive():
                report(f"the supervisor did not end within {timeout:.0f} s: killed")
                below = descendants(daemon.pid)
                kill_all([daemon, *below])
        elif is_held(home.supervisor_lock):
            raise StackError(
                f"{home.supervisor_lock} is held by a process it does not name: end it (`fuser {home.supervisor_lock}`)"
            )
        try:
            state = load_state(home)
        except StackError:
            if daemon is None:
                raise
            return True  # all that ran was the supervisor's, and has ended; `andon up` tells of the file
        left = end_leftovers(state) if state is not None else []
        if state is not None and (state.supervisor is not None or left):
            state.without_processes().save(home)
        return daemon is not None or bool(left)


def _signal(identity: ProcessIdentity, number: int) -> None:
    if identity.alive():
        try:
            os.kill(identity.pid, number)
        except ProcessLookupError:
            return
