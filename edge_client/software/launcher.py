"""The launcher: starts the client that the state names, watches it, and goes back by itself.

It lives in the base environment, is never upgraded with the client, and uses the standard library alone.

1. Requests are never refused for want of a process: the listening sockets are the launcher's.
2. A staged release is started *beside* the client in service and stands by; only then is that one asked to hand over.
   A release that cannot even be imported never disturbs what runs.
3. The state is stored before it is acted on: whatever ends the launcher, the next one goes on from there.
4. On probation the first fault of its own ends a release: the good one is started at once.
5. A client that ends in order ends the launcher with it; SIGTERM is passed on. The base that cannot be started is left
   to the service manager, with its exit code.
6. A disk that is full or broken never ends a client: what cannot be stored holds in memory, and is stored when it can
   be.
"""

from __future__ import annotations

import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edge_client.sd_notify import notify
from edge_client.software import protocol, rules
from edge_client.software.child import CANNOT_START, Child
from edge_client.software.rules import Limits, Phase, Place, SoftwareState
from edge_client.software.store import SoftwareStore

log = logging.getLogger("edge_client.launcher")

_LOOK_SECONDS = 0.25
_HAND_OVER_SECONDS = 20.0  # what the old client may take to answer what it has begun
_STOP_SECONDS = 55.0  # below systemd's TimeoutStopSec
_LONGEST_PAUSE = 10.0
_UNUSABLE = 2  # exit code: the configuration cannot be used
_BASE_STARTS = 5
_HANGS = 2  # a request that hangs is told after one, and the silence after another
_SERVICE_MANAGERS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Launcher:
    """Runs a client until it ends in order or a signal comes.

    Args:
        store: The state.
        words: The client's command line, without its program.
        sockets: Listening sockets, by name.
        limits: How much is enough.
        environment: Of this process; what the service manager put there is answered, not passed on.
    """

    def __init__(
        self,
        store: SoftwareStore,
        words: Sequence[str],
        *,
        sockets: Mapping[str, socket.socket],
        limits: Limits,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._store = store
        self._words = list(words)
        self._sockets = dict(sockets)
        self._limits = limits
        self._outer = dict(environment)
        self._stopping = False
        self._early_ends = 0
        self._exchange_after = 0.0
        self._last = SoftwareState()
        self._unsaved: SoftwareState | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="andon-edge-"))  # short: a socket's path has 107 characters
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Launch, and return the exit code."""
        wake, waker = socket.socketpair()
        wake.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(wake, selectors.EVENT_READ, wake)
        child: Child | None = None
        try:
            protocol.remember_launch(self._store.folder, self._words)
        except OSError as error:
            log.warning("upgrades are off: %s cannot be written: %s", self._store.folder, error)
        try:
            child = self._start_active()
            while True:
                self._wait(_LOOK_SECONDS)
                self._hear(child)
                if child.ready_at is None:
                    notify("WATCHDOG=1", self._outer)  # while one starts this is on the launcher, within its limits
                if self._stopping:
                    return self._end(child)
                if not child.running:
                    code = self._ended(child)
                    if code is not None:
                        return code
                    child = self._start_active()
                elif (fault := self._fault_of(child)) is not None:
                    self._forget(child)
                    self._fail(child, fault, certain=True)
                    child = self._start_active()
                else:
                    child = self._look(child)
        finally:
            signal.set_wakeup_fd(-1)
            if child is not None and child.running:
                child.kill()
            shutil.rmtree(self._folder, ignore_errors=True)
            wake.close()
            waker.close()
            self._selector.close()

    # --- one step each ----------------------------------------------------------------------------------------------

    def _start_active(self) -> Child:
        """Start the client that the state names, after whatever it names cannot be started is left."""
        self._change(lambda s: rules.switched(s) if s.phase is Phase.STAGED else s)
        while True:
            state = self._change(lambda s: rules.starting(s, self._limits))
            if (child := self._spawn(state.active)) is not None:
                return child
            self._damaged(state.active)

    def _spawn(self, place: Place) -> Child | None:
        """Start the client in a place; None when there is none."""
        if place is Place.BASE:
            command = [sys.executable, "-P", "-m", "edge_client.cli", *self._words]
        else:
            python = self._store.environment(place) / "bin" / "python"
            if not os.access(python, os.X_OK):
                return None
            command = [str(python), "-I", "-m", "edge_client.cli", *self._words]
        inner = {k: v for k, v in self._outer.items() if k not in _SERVICE_MANAGERS}
        inner |= {
            protocol.LAUNCH: protocol.VERSION,
            protocol.SOFTWARE: str(self._store.folder),
        }
        child = Child(
            command,
            place=place,
            folder=self._folder,
            environment=inner,
            sockets=self._sockets,
            hang_seconds=self._limits.hang_seconds,
        )
        log.info("started the client of %s as process %d", place.value, child.pid)
        self._selector.register(child.socket, selectors.EVENT_READ)
        return child

    def _hear(self, child: Child) -> None:
        """Take its messages; pass on what the service manager should know."""
        was_ready = child.ready_at is not None
        for message in child.listen():
            if "WATCHDOG" in message:
                notify("WATCHDOG=1", self._outer)
        if child.ready_at is not None and not was_ready:
            notify("READY=1", self._outer)

    def _fault_of(self, child: Child) -> str | None:
        """Say what is wrong with a client that runs, if something is."""
        limits, now = self._limits, time.monotonic()
        if child.ready_at is None and now - child.started_at > limits.stand_by_seconds + limits.start_seconds:
            return f"was not ready within {limits.stand_by_seconds + limits.start_seconds:g} s"
        if child.hangs:
            return f"hangs: no sign of life for {limits.hang_seconds:g} s"
        return None

    def _look(self, child: Child) -> Child:
        """A client runs well: judge probation, and see whether another one should run."""
        if child.ready_at is None:
            return child
        served = child.heard_at - child.ready_at  # as it told itself: a silent client has not served
        healthy = served >= max(self._limits.healthy_seconds, _HANGS * self._limits.hang_seconds)
        if healthy:
            self._early_ends = 0
        state = self._state()
        if state.phase is Phase.PROBATION and child.place is state.active:
            enough = healthy and (
                served >= self._limits.probation_seconds or child.answered >= self._limits.probation_requests
            )
            if enough and child.lost * 10 > child.answered + child.lost:
                self._forget(child)
                self._fail(child, f"lost {child.lost} of {child.answered + child.lost} requests", certain=True)
                return self._start_active()
            if enough:
                log.info("%s", self._change(rules.confirmed).note)
        elif state.phase is Phase.STAGED or child.place is not state.active:
            if time.monotonic() >= self._exchange_after:
                return self._exchange(child)
        elif state.starts and healthy:
            self._change(rules.healthy)
        return child

    def _exchange(self, old: Child) -> Child:
        """Bring the client that the state names into service, beside the one that is (rules 2 and 3)."""
        state = self._change(
            lambda s: rules.starting(rules.switched(s) if s.phase is Phase.STAGED else s, self._limits)
        )
        place = state.active
        if place is old.place:
            return old
        if (new := self._spawn(place)) is None:
            self._damaged(place)
            return old
        until = time.monotonic() + self._limits.stand_by_seconds
        while not new.standing_by and new.running and time.monotonic() < until and not self._stopping and old.running:
            self._wait(_LOOK_SECONDS)
            self._hear(old)
            new.listen()
        if self._stopping:
            self._forget(new)
            return old
        if not new.standing_by and old.running:
            late = f"did not stand by within {self._limits.stand_by_seconds:g} s"
            reason = late if new.running else f"{new.how_it_ended()}, while it was to stand by"
            killed = new.exit_code == -signal.SIGKILL
            self._forget(new)
            self._fail(new, reason, certain=not killed)
            self._exchange_after = time.monotonic() + _LONGEST_PAUSE
            return old
        old.signal(protocol.HAND_OVER)
        until = time.monotonic() + _HAND_OVER_SECONDS
        while old.running and time.monotonic() < until:
            self._wait(_LOOK_SECONDS)
            new.listen()
            notify("WATCHDOG=1", self._outer)
        self._forget(old)
        log.info("the client of %s took over from that of %s", place.value, old.place.value)
        return new

    def _ended(self, child: Child) -> int | None:
        """A client ended by itself: return the exit code of the launcher, or None to start the next one."""
        code = child.exit_code
        self._forget(child)
        if code == 0:
            self._change(rules.healthy)
            return 0
        if code == CANNOT_START and child.place is not Place.BASE:
            self._damaged(child.place)
            return None
        # SIGKILL comes from outside: the kernel short of memory, or a person
        self._fail(child, child.how_it_ended(), certain=code != -signal.SIGKILL)
        if self._state().active is not child.place:
            return None
        self._early_ends += 1
        if child.place is Place.BASE and (code == _UNUSABLE or self._early_ends >= _BASE_STARTS):
            return _UNUSABLE if code == _UNUSABLE else 1
        if self._early_ends > 1:
            self._pause(min(_LONGEST_PAUSE, 0.5 * 2 ** (self._early_ends - 2)))
        return None

    def _damaged(self, place: Place) -> None:
        reason = f"the environment {place.value} cannot be started: its files, or the Python under it, are gone"
        self._change(lambda s: rules.place_damaged(s, place, reason))
        log.warning("%s", reason)

    def _fail(self, child: Child, reason: str, *, certain: bool) -> None:
        before = self._state().active
        state = self._change(lambda s: rules.failed(s, reason, certain=certain))
        log.warning("the client of %s %s", child.place.value, reason)
        if state.active is not before:
            log.warning("back to the client of %s", state.active.value)

    def _end(self, child: Child) -> int:
        """A signal came: end in order."""
        notify("STOPPING=1", self._outer)
        for s in self._sockets.values():
            s.close()  # who asks now is refused: nobody will come
        child.signal(signal.SIGTERM)
        until = time.monotonic() + _STOP_SECONDS
        while child.running and time.monotonic() < until:
            self._wait(_LOOK_SECONDS)
            child.listen()
        in_order = not child.running
        self._forget(child)
        if in_order:
            self._change(rules.healthy)
        return 0 if child.exit_code == 0 else 1

    # --- waiting and reading ----------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.data is not None:
                key.data.recv(4096)  # a signal came

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            self._wait(min(_LOOK_SECONDS, seconds))
            notify("WATCHDOG=1", self._outer)

    def _state(self) -> SoftwareState:
        """What holds: what is stored, or what could not be stored yet (rule 6)."""
        if self._unsaved is not None:
            return self._unsaved
        try:
            self._last = self._store.load()
        except OSError as error:
            log.warning("the software's state cannot be read: %s", error)
        return self._last

    def _change(self, rule: Callable[[SoftwareState], SoftwareState]) -> SoftwareState:
        """Apply a rule and store what it gives."""
        unsaved = self._unsaved
        try:
            self._last = self._store.change(rule if unsaved is None else lambda _: rule(unsaved))
            self._unsaved = None
        except OSError as error:
            self._last = self._unsaved = rule(self._state())
            log.warning("the software's state cannot be stored: %s", error)
        return self._last

    def _forget(self, child: Child) -> None:
        if child.socket.fileno() >= 0:
            self._selector.unregister(child.socket)
        child.kill()

    def _stop(self, *_: object) -> None:
        self._stopping = True
