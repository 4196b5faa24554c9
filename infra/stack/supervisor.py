"""The supervisor: a daemon that starts the processes of a home directory and keeps them. Started by `andon up`.

1. One a home directory: a second ends at once.
2. A process is started when all it needs are ready; else everything starts at the same time.
3. A process that dies is started again, after a wait that grows (`restart`); what it left of its group is killed
   first. Those that depend on it are not touched: they must bear its absence.
4. Whoever loses its parent becomes the supervisor's child and is ended: nothing is left behind.
5. stack.json always tells what is so; it is written atomically, and a disk too full for it stops nothing.
6. SIGTERM ends all, the bucket last, each within its own time, then by SIGKILL. A supervisor that is itself killed
   leaves the processes running; the next `andon up` ends them by their identity and starts anew.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from edge_client.contract.errors import AndonError
from infra.stack.child import Child
from infra.stack.layout import Home, StackError
from infra.stack.log_rotation import rotate
from infra.stack.process_identity import ProcessIdentity, kill_all
from infra.stack.processes import ProcessSpec, process_specs
from infra.stack.readiness import NotReady, Probe
from infra.stack.restart import deaths_in_a_row, wait_seconds
from infra.stack.secrets_file import load_secrets
from infra.stack.single_instance import FileLock
from infra.stack.state import Phase, ProcessState, StackState, load_state

_log = logging.getLogger("andon.supervisor")
TICK_SECONDS = 0.1
PROBE_SECONDS = 0.25  # between two tries of a process that is starting
HOUSEKEEPING_SECONDS = 2.0
STRAY_SECONDS = 5.0  # a process without a parent may finish what it does for so long
_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


@dataclass(slots=True)
class _Slot:
    """One process as it is supervised."""

    spec: ProcessSpec
    state: ProcessState = field(default_factory=lambda: ProcessState(phase=Phase.WAITING))
    child: Child | None = None
    probe: Probe | None = None
    trial: Future[None] | None = None
    not_before: float = 0.0  # monotonic: next start, or next try
    started_wall: float | None = None
    ready_monotonic: float | None = None
    deaths: int = 0


class Supervisor:
    """Starts and keeps processes until told to stop."""

    def __init__(
        self, home: Home, state: StackState, specs: Sequence[ProcessSpec], rng: random.Random | None = None
    ) -> None:
        self._home = home
        self._state = state
        self._slots = {spec.name: _Slot(spec) for spec in specs}
        self._rng = rng or random.Random()
        self._stop = threading.Event()
        self._trials = ThreadPoolExecutor(max_workers=len(specs), thread_name_prefix="probe")
        self._strays: dict[ProcessIdentity, float] = {}
        self._next_housekeeping = 0.0
        self._changed = True

    def stop(self) -> None:
        """Ask it to end everything and return from `run`. May be called from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Supervise until `stop`."""
        self._state = replace(self._state, supervisor=ProcessIdentity.of(os.getpid()))
        try:
            while not self._stop.is_set():
                now = time.monotonic()
                for slot in self._slots.values():
                    self._step(slot, now)
                if now >= self._next_housekeeping:
                    self._housekeeping(now)
                self._save()
                self._stop.wait(TICK_SECONDS)
        finally:
            self._end_all()
            self._trials.shutdown(wait=False, cancel_futures=True)

    def _step(self, slot: _Slot, now: float) -> None:
        if slot.child is not None:
            ending = slot.child.ended()
            if ending is not None:
                self._died(slot, ending, now)
                return
        match slot.state.phase:
            case Phase.WAITING | Phase.BACKOFF if now >= slot.not_before and self._has_what_it_needs(slot):
                self._start(slot, now)
            case Phase.STARTING if slot.probe is not None and slot.child is not None:
                self._try(slot, slot.probe, now)
            case _:
                return

    def _has_what_it_needs(self, slot: _Slot) -> bool:
        return all(self._slots[name].state.phase in (Phase.READY, Phase.DONE) for name in slot.spec.needs)

    def _start(self, slot: _Slot, now: float) -> None:
        again = slot.state.restarts + (1 if slot.started_wall is not None else 0)
        slot.started_wall = time.time()
        slot.ready_monotonic = None
        try:
            slot.child = Child(slot.spec, directory=self._home.run, log=self._home.log(slot.spec.name))
        except OSError as error:
            self._put(slot, restarts=again)
            self._died(slot, f"could not be started: {error}", now)
            return
        slot.probe = slot.spec.probe(lambda: slot.started_wall) if slot.spec.probe else None
        slot.trial = None
        slot.not_before = now
        _log.info("%s: started, process %d", slot.spec.name, slot.child.pid)
        self._put(slot, phase=Phase.STARTING, identity=slot.child.identity, restarts=again, ready_at=None)

    def _try(self, slot: _Slot, probe: Probe, now: float) -> None:
        if slot.trial is None:
            if now >= slot.not_before:
                slot.trial = self._trials.submit(probe)
            return
        if not slot.trial.done():
            return
        trial, slot.trial = slot.trial, None
        slot.not_before = now + PROBE_SECONDS
        try:
            trial.result()
        except NotReady as reason:
            if slot.state.note != str(reason):
                self._put(slot, note=str(reason))
            return
        except Exception as error:  # noqa: BLE001 - a probe's fault must not end the supervisor; it is told and tried again
            self._put(slot, note=f"trying it failed: {error!r}")
            return
        slot.ready_monotonic = now
        _log.info("%s: ready after %.1f s", slot.spec.name, time.time() - (slot.started_wall or time.time()))
        self._put(slot, phase=Phase.READY, failures=0, ready_at=time.time(), note=None)

    def _died(self, slot: _Slot, ending: str, now: float) -> None:
        code = slot.child.exit_code if slot.child is not None else None
        slot.child, slot.trial = None, None
        if slot.spec.probe is None and code == 0:
            self._put(slot, phase=Phase.DONE, identity=None, failures=0, ready_at=time.time(), note=None)
            return
        ready_seconds = None if slot.ready_monotonic is None else now - slot.ready_monotonic
        slot.deaths = deaths_in_a_row(slot.deaths, ready_seconds)
        wait = wait_seconds(slot.deaths, self._rng)
        slot.not_before = now + wait
        _log.warning("%s: %s; starting it again in %.1f s", slot.spec.name, ending, wait)
        failures = slot.state.failures + 1 if ready_seconds is None else 0
        self._put(slot, phase=Phase.BACKOFF, identity=None, failures=failures, ready_at=None, note=ending)

    def _put(self, slot: _Slot, **changes: object) -> None:
        slot.state = replace(slot.state, **changes)  # type: ignore[arg-type]  # names and types are those of ProcessState
        self._changed = True

    def _save(self) -> None:
        if not self._changed:
            return
        self._state = replace(self._state, processes={name: slot.state for name, slot in self._slots.items()})
        try:
            self._state.save(self._home)
            self._changed = False
        except OSError as error:
            _log.error("%s cannot be written: %s", self._home.stack_file, error)

    def _housekeeping(self, now: float) -> None:
        self._next_housekeeping = now + HOUSEKEEPING_SECONDS
        for name in (*self._slots, "supervisor"):
            try:
                rotate(self._home.log(name))
            except OSError as error:
                _log.warning("%s: its log cannot be rotated: %s", name, error)
        self._end_strays(now)

    def _end_strays(self, now: float, grace: float = STRAY_SECONDS) -> None:
        """Reap and end children that are none of the supervised processes: orphans of one that died."""
        ours = {slot.child.pid for slot in self._slots.values() if slot.child is not None}
        seen: dict[ProcessIdentity, float] = {}
        for process in psutil.Process().children():
            if process.pid in ours:
                continue
            identity = ProcessIdentity.of(process.pid)
            if identity is None:
                _reap(process.pid)
                continue
            first = self._strays.get(identity, now)
            seen[identity] = first
            if now - first >= grace:
                _log.warning("process %d lost its parent; ended", identity.pid)
                kill_all([identity])
                _reap(identity.pid)
        self._strays = seen

    def _end_all(self) -> None:
        slots = list(self._slots.values())
        for last in (False, True):
            self._end([slot for slot in slots if slot.spec.stop_last is last and slot.child is not None])
        for _ in range(20):  # what is ended may leave orphans in turn
            self._end_strays(time.monotonic(), grace=0.0)
            if not psutil.Process().children():
                break
            time.sleep(0.05)
        for slot in slots:
            self._put(slot, phase=Phase.STOPPED, identity=None, ready_at=None, failures=0, note=None)
        self._save()
        self._state = replace(self._state, supervisor=None)
        self._changed = True
        self._save()

    def _end(self, slots: Sequence[_Slot]) -> None:
        began = time.monotonic()
        for slot in slots:
            if slot.child is not None:
                slot.child.terminate()
        running = list(slots)
        while running:
            waited = time.monotonic() - began
            for slot in list(running):
                child = slot.child
                if child is None or child.ended() is not None:
                    _log.info("%s: ended after %.1f s", slot.spec.name, waited)
                elif waited > slot.spec.stop_seconds:
                    level = logging.INFO if slot.spec.stop_by_kill else logging.WARNING
                    _log.log(level, "%s: did not end within %.0f s; killed", slot.spec.name, slot.spec.stop_seconds)
                    child.kill()
                else:
                    continue
                slot.child = None
                running.remove(slot)
                self._put(slot, phase=Phase.STOPPED, identity=None)
            self._save()
            if running:
                time.sleep(0.05)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own (Linux)."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (OSError, AttributeError):
        _log.warning("this system does not hand over orphans: a killed process may leave some")


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon: ``python -m infra.stack.supervisor --home DIR``."""
    parser = argparse.ArgumentParser(prog="python -m infra.stack.supervisor", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    home = Home(parser.parse_args(arguments).home)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    lock = FileLock(home.supervisor_lock)
    if not lock.acquire():
        print(f"supervisor: another one already runs for {home.path}", file=sys.stderr)  # noqa: T201 - before any log
        return 1
    try:
        state, secrets = load_state(home), load_secrets(home)
        if state is None or secrets is None:
            raise StackError(f"{home.path} is not prepared: run `andon up`")
        supervisor = Supervisor(home, state.without_processes(), process_specs(home, state, secrets))
    except AndonError:
        _log.exception("cannot start")
        lock.release()
        return 1
    _adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal it was started from may close
    try:
        supervisor.run()
    finally:
        lock.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
