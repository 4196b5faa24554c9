"""Keeps the engine in service the one that the stored state names, and watches it.

1. A new state is stored before it is acted on.
2. `observe` never blocks: it counts in memory. When probation fails it swaps at once to the last good engine, which
   stays loaded meanwhile; what that means for the state is stored afterwards, by `settle` or the watch thread.
3. A judgement about an engine that is no longer the active one is dropped.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from edge_client.contract.errors import AndonError
from edge_client.engine import Engine
from edge_client.engine_slot import EngineSlot
from edge_client.images import MAX_PIXELS
from edge_client.updates import rules
from edge_client.updates.invariants import broken_rules
from edge_client.updates.loading import load_active, load_place
from edge_client.updates.rules import Phase, UpdateState
from edge_client.updates.slots import Slots
from edge_client.updates.store import UpdateStore
from edge_client.updates.updater_config import UpdaterConfig
from edge_client.updates.watch import Judgement, Watch


class Keeper:
    """Holds the state, the slot that requests go through, and the watch over it.

    Args:
        config: The updater's configuration.
        store: Keeps the state.
        slots: The engines on disk.
        denied: Digests that the last accepted settings deny.

    Raises:
        BadEngine: Not even the factory engine can be loaded.
    """

    def __init__(self, config: UpdaterConfig, store: UpdateStore, slots: Slots, denied: tuple[str, ...]) -> None:
        self._config = config
        self._store = store
        self._slots = slots
        self._lock = threading.RLock()  # the state and what follows from it; never held over the network
        self._watch_lock = threading.Lock()  # counts; never held over I/O
        self._signals: queue.SimpleQueue[tuple[Judgement, str, str] | None] = queue.SimpleQueue()
        self._standby: Engine | None = None
        self.problems: dict[str, str] = {}
        self.factory_sha256 = _digest_of(config.factory_engine)
        state = rules.active_denied(rules.started(store.load(), config.limits), denied)
        self._stored_size = _frame_size(store.fact("frame_size"))
        self._state, engine = load_active(state, slots, config, self._save, self.note, self._stored_size)
        self.slot = EngineSlot(engine, self._stored_size)
        self._watch = Watch(engine.sha256, _watched(self._state), config.limits)
        if self._state.phase is Phase.PROBATION:
            self._standby = self._load_good()

    @property
    def state(self) -> UpdateState:
        """The state that is stored."""
        return self._state

    @contextlib.contextmanager
    def deciding(self) -> Iterator[UpdateState]:
        """Hold the state still while a rule is applied to it."""
        with self._lock:
            yield self._state

    def apply(self, state: UpdateState) -> UpdateState:
        """Store a state and put the engine it names into service.

        Returns:
            The state that holds now: another one if that engine could not be loaded.
        """
        with self._lock:
            if state != self._state:
                self._save(state)
                if state.target != self._state.target and state.target.outcome is rules.Outcome.CONFIRMED:
                    self.problems.pop("engine", None)  # a newer release serves: what another did is history
                self._state = state
            held = state.at(state.active)
            wanted = self.factory_sha256 if held is None else held.engine_sha256
            if self.slot.engine.sha256 == wanted:
                if (self._watch.engine_sha256, self._watch.phase) != (wanted, _watched(state)):
                    self._follow(self.slot.engine)
            elif self._standby is not None and self._standby.sha256 == wanted:
                self._follow(self._standby)
            else:
                self._state, engine = load_active(
                    state, self._slots, self._config, self._save, self.note, self.slot.frame_size
                )
                self._follow(engine)
            return self._state

    def note(self, key: str, problem: str) -> None:
        """Remember a problem for the status; a later one under the same key replaces it."""
        self.problems[key] = problem

    def remember_frame_size(self) -> None:
        """Store the size of the line's frames for the next start, if it is another than before."""
        size = self.slot.frame_size
        if size != self._stored_size:
            self._store.save_fact("frame_size", size)
            self._stored_size = size

    def observe(self, ok: bool, latency_ms: float, engine_sha256: str | None) -> bool:
        """Count an answer; True when there is something to settle."""
        with self._watch_lock:
            watch = self._watch
            if engine_sha256 is not None and engine_sha256 != watch.engine_sha256:
                return False
            judgement = watch.add(ok, latency_ms)
            if judgement is Judgement.GO_ON:
                return False
            if judgement is Judgement.FALL_BACK and self._standby is not None:
                self.slot.swap(self._standby)
        self._signals.put((judgement, watch.engine_sha256, watch.reason))
        return True

    def next_signal(self) -> tuple[Judgement, str, str] | None:
        """Wait for what the watch finds next; None when waiting should end."""
        return self._signals.get()

    def end_waiting(self) -> None:
        """Let `next_signal` return None."""
        self._signals.put(None)

    def settle(self) -> None:
        """Store all that the watch has found so far."""
        while True:
            try:
                signal = self._signals.get_nowait()
            except queue.Empty:
                return
            if signal is not None:
                self.take(*signal)

    def take(self, judgement: Judgement, engine_sha256: str, reason: str) -> None:
        """Store one finding, if the engine it is about is still the active one (rule 3)."""
        with self._lock:
            state = self._state
            held = state.at(state.active)
            if engine_sha256 != (self.factory_sha256 if held is None else held.engine_sha256):
                return
            if judgement is Judgement.CONFIRM:
                self.apply(rules.confirmed(state))
            elif judgement is Judgement.HEALTHY:
                self.apply(rules.healthy(state))
            elif held is None:
                self.note("engine", f"the factory engine: {reason}; there is none to fall back to")
                self._follow(self.slot.engine)
            else:
                self.note("engine", f"engine {held.engine_id!r} was left: {reason}")
                self.apply(rules.engine_failed(state, reason))

    def _save(self, state: UpdateState) -> None:
        broken = broken_rules(state)
        if broken:
            raise AssertionError(f"the update state breaks rule {'; '.join(broken)}: {state}")
        self._store.save(state)

    def _follow(self, engine: Engine) -> None:
        """Put an engine into service and watch it; on probation keep the last good one loaded."""
        standby = None
        if self._state.phase is Phase.PROBATION:
            served = self.slot.engine
            standby = served if served.sha256 != engine.sha256 else self._load_good()
        with self._watch_lock:
            self._watch = Watch(engine.sha256, _watched(self._state), self._config.limits)
            self._standby = standby
            if self.slot.engine is not engine:
                self.slot.swap(engine)

    def _load_good(self) -> Engine | None:
        with contextlib.suppress(AndonError, OSError):
            return load_place(self._state.good, self._state, self._slots, self._config, self.slot.frame_size)
        return None


def _watched(state: UpdateState) -> Phase:
    return Phase.PROBATION if state.phase is Phase.PROBATION else Phase.STEADY


def _frame_size(stored: object) -> tuple[int, int] | None:
    """Return a height and a width, None for anything else."""
    match stored:
        case [int(height), int(width)] if min(height, width) > 0 and height * width <= MAX_PIXELS:
            return height, width
    return None


def _digest_of(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
