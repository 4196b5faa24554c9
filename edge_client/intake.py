"""The door of capture: takes frames on the application's thread in microseconds, in order, and never waits for disk.

0. A frame arrives by being appended to a short queue, with the moment. Weighing it there and then would cost the
   application ten times what it costs the worker a few milliseconds later, while the processor already runs the next
   inference: after each inference everything that weighing needs has left the caches. The worker comes when half of
   the queue is taken, and every half second; if it does not come in time, the application's thread admits what has
   arrived. A frame that a challenger is asked about waits for its word for `_DOUBT_SECONDS` at most, and those behind
   it with it, while nothing else asks for them and the queue is less than half full.
1. Frames are weighed and drawn in the order they came, under one short lock: w, u, q, window and run are fixed here.
2. A frame with q ≤ τ is only counted. τ here is the last committed one, which never lies above the true one, so
   nothing is turned away that the sampler would have kept.
3. Anything else is a candidate and waits in a bounded queue. If there is no room the lowest q of all that wait is
   overload: counted, and the τ of EVERY window with a candidate in the queue rises to that q, as in the pool.
4. Counts keep their place between candidates, so that what the worker commits is always the first part of the stream.
5. A window begins with its first frame and ends after `window_seconds`, or when no frame came for
   `idle_close_seconds`.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from edge_client.clock import Clock
from edge_client.contract.campaigns import Campaign
from edge_client.contract.engine_metadata import EngineMetadata, Kind
from edge_client.contract.sample import Event
from edge_client.masking import Mask
from edge_client.prediction import Prediction
from edge_client.runs import Runs
from edge_client.shadow.doubt import Doubt
from edge_client.steps import Open, Seal
from edge_client.tally import Tally
from edge_client.weights import Weighed, Weigher


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """A frame with everything that a sample is made of.

    Attributes:
        image: uint8 [H, W, 3], owned by capture, or an encoded file.
        doubt: What a shadow challenger says of it, if the frame was drawn for one.
    """

    image: NDArray[np.uint8] | bytes
    prediction: Prediction
    metadata: EngineMetadata
    captured_at: datetime
    context: Mapping[str, float | str]
    doubt: Doubt | None = None

    @property
    def bytes(self) -> int:
        """Memory that the frame takes."""
        return len(self.image) if isinstance(self.image, bytes) else int(self.image.nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the cloud may change while the device runs; a window keeps the budget it began with."""

    byte_budget: int
    window_seconds: float
    idle_close_seconds: float
    audit_share: float
    recipient: str
    mask: Mask = field(default_factory=Mask)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A frame that may be kept. `tally` counts it alone."""

    window: int
    frame: Frame
    weighed: Weighed
    u: float
    run: int
    tally: Tally

    @property
    def weight(self) -> float:
        """Return w."""
        return self.weighed.weight

    @property
    def reasons(self) -> Mapping[str, float]:
        """What w is made of, for people."""
        return self.weighed.reasons

    @property
    def priority(self) -> float:
        """Return q = w/u."""
        return self.weight / self.u


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Frames that were only counted."""

    window: int
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Told:
    """An event, and the frame it is about where that is still at hand. `done` is set when it is stored or refused."""

    window: int
    event: Event
    frame: Frame | None
    done: threading.Event
    stored: list[bool]


Item = Open | Seal | Candidate | Count | Told

_MOST_ARRIVED = 256  # frames that have arrived and are not weighed yet
_MOST_ARRIVED_BYTES = 64_000_000  # the same for large frames
_DOUBT_SECONDS = 1.0  # a challenger's word is awaited for so long
_MOST_DEFECTS_TOLD = 32  # classes of kind defect that the record tells apart in its histograms


class Intake:
    """The queue between the application and the worker.

    Args:
        policy: Budgets, to begin with.
        clock: For windows.
        draw: Draws u from U(0, 1].
        runs: Finds near-duplicates.
        weigher: Weighs frames.
        next_window: Number of the first window.
        queue_frames: Most candidates that wait.
        queue_bytes: Most bytes that they take.
        recent_frames: How many frames are remembered for `flag`.
        recent_bytes: Most bytes that those take.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        clock: Clock,
        draw: Callable[[], float],
        runs: Runs,
        weigher: Weigher,
        next_window: int,
        queue_frames: int,
        queue_bytes: int = 256_000_000,
        recent_frames: int = 0,
        recent_bytes: int = 0,
    ) -> None:
        self._lock = threading.RLock()
        self._bell = threading.Lock()  # held while nothing happened since the worker last looked
        self._arrived: deque[tuple[float, Frame]] = deque()
        self._policy = policy
        self._clock = clock
        self._draw = draw
        self._runs = runs
        self._weigher = weigher
        self._next_window = next_window
        self._queue_frames = queue_frames
        self._queue_bytes = queue_bytes
        self._items: deque[Item] = deque()
        self._waiting = 0
        self._waiting_bytes = 0
        self._window: int | None = None
        self._threshold = 0.0
        self._opened = 0.0
        self._touched = 0.0
        self._urgent = False
        self._recent: deque[Frame] = deque()
        self._recent_frames = recent_frames
        self._recent_bytes = recent_bytes
        self._recent_held = 0
        self.overload = 0
        self._metadata: EngineMetadata | None = None
        self._defects: tuple[str, ...] = ()

    @property
    def policy(self) -> Policy:
        """What holds now."""
        return self._policy

    @property
    def waiting(self) -> int:
        """Candidates in the queue."""
        self.admit()
        return self._waiting

    def set_policy(self, policy: Policy) -> None:
        """Change budgets; from the next window on where they belong to one."""
        with self._lock:
            self.admit()
            self._policy = policy
            self._weigher.audit_share = policy.audit_share

    def set_campaigns(self, campaigns: Sequence[Campaign]) -> None:
        """Follow these campaigns from the next frame on."""
        with self._lock:
            self.admit()
            self._weigher.campaigns.follow(campaigns)

    def resting_campaigns(self, metadata: EngineMetadata) -> list[str]:
        """Return the campaigns that an engine cannot follow."""
        with self._lock:
            return self._weigher.campaigns.resting(metadata)

    def offer(self, frame: Frame) -> None:
        """Take one frame (rule 0). `frame.image` must not change any more."""
        self._arrived.append((self._clock.monotonic(), frame))
        full = self._fullness(frame)
        if full > 1.0:
            self.admit()
        elif full > 0.5:
            self.ring()

    def admit(self, *, patient: bool = False) -> None:
        """Weigh what has arrived (rules 1 to 4); if `patient`, up to a frame whose challenger is awaited (rule 0)."""
        with self._lock:
            while self._arrived:
                if patient and self._awaited(*self._arrived[0]):
                    return
                self._admit(*self._arrived.popleft())

    def _awaited(self, at: float, frame: Frame) -> bool:
        if frame.doubt is None or frame.doubt.known or self._fullness(frame) > 0.5:
            return False
        return self._clock.monotonic() - at < _DOUBT_SECONDS

    def _fullness(self, newest: Frame) -> float:
        frames = len(self._arrived)
        return max(frames / _MOST_ARRIVED, frames * newest.bytes / _MOST_ARRIVED_BYTES)

    @property
    def urgent(self) -> bool:
        """Whether something waits that the worker should not leave to its next tick."""
        return self._urgent

    def gather(self, seconds: float) -> None:
        """Let frames arrive for so long, or until there are many or something is urgent; then admit them."""
        self._bell.acquire(timeout=seconds)
        self.admit(patient=True)
        self._bell.acquire(blocking=False)  # rung by what was admitted: that is no reason to come again at once

    def ring(self) -> None:
        """End the worker's wait."""
        if self._bell.locked():
            with contextlib.suppress(RuntimeError):  # another thread was faster
                self._bell.release()

    def _admit(self, at: float, frame: Frame) -> None:
        prediction, metadata = frame.prediction, frame.metadata
        window = self._current_window(at)
        place = self._runs.place(prediction.part_id, prediction.embedding, metadata.embedding_id)
        weighed = self._weigher.weigh(
            probabilities=list(prediction.probabilities.values()),
            anomaly=prediction.anomaly,
            embedding=prediction.embedding,
            metadata=metadata,
            k=place.k,
            label=prediction.label,
            disagree=frame.doubt.take() if frame.doubt is not None else 0.0,
        )
        u = self._draw()
        rejected = weighed.weight / u <= self._threshold
        tally = self._counting(window) if rejected else Tally()
        tally.see(
            weight=weighed.weight,
            label=prediction.label,
            verdict=prediction.verdict,
            engine_id=metadata.engine_id,
            anomaly=prediction.anomaly,
            margin=weighed.margin,
            run=place.run,
            defect_probability=prediction.defect_probability,
            likeliest_defect=self._likeliest_defect(prediction, metadata),
        )
        if self._recent_frames > 0:
            self._remember(frame)
        if rejected:
            return
        candidate = Candidate(window=window, frame=frame, weighed=weighed, u=u, run=place.run, tally=tally)
        if self._make_room(candidate):
            self._waiting += 1
            self._waiting_bytes += frame.bytes
            self._put(candidate)
        else:
            self._counting(window).add(tally)

    def _likeliest_defect(self, prediction: Prediction, metadata: EngineMetadata) -> str:
        """Return the most probable class of kind defect; none with one class, or with more than a record can tell."""
        if metadata is not self._metadata:
            self._metadata, self._defects = metadata, tuple(c.name for c in metadata.classes if c.kind is Kind.DEFECT)
        if not 1 < len(self._defects) <= _MOST_DEFECTS_TOLD:
            return self._defects[0] if len(self._defects) == 1 else ""
        return max(self._defects, key=prediction.probabilities.__getitem__)

    def tell(self, event: Event) -> Told:
        """Queue an event; the frame comes along if it is among the last few."""
        with self._lock:
            self.admit()
            frame = next((f for f in self._recent if f.prediction.sample_id == event.sample_id), None)
            told = Told(
                window=self._current_window(self._clock.monotonic()),
                event=event,
                frame=frame,
                done=threading.Event(),
                stored=[],
            )
            self._put(told)
            return told

    def rotate_if_due(self, *, now: bool = False) -> None:
        """Admit what has arrived, and end the window if its time is over (rule 5), or at once."""
        with self._lock:
            at = self._clock.monotonic()
            due = now or self._idle(at) or self._over(at)
            self.admit(patient=not due)  # a window ends with the last frame that arrived in it
            if self._window is not None and (now or self._idle(at)):
                self._end_window()
            self._end_window_if_over(at)

    def take(self, most_candidates: int) -> list[Item]:
        """Give the worker the next items of what was admitted, in order; an event only at the front of a batch."""
        taken: list[Item] = []
        candidates = 0
        with self._lock:
            while self._items and candidates < most_candidates:
                item = self._items[0]
                if isinstance(item, Told) and any(not isinstance(t, Open | Told) for t in taken):
                    break
                taken.append(self._items.popleft())
                if isinstance(item, Candidate):
                    candidates += 1
                    self._waiting -= 1
                    self._waiting_bytes -= item.frame.bytes
            self._urgent = any(not isinstance(i, Count) for i in self._items)
        return taken

    def publish(self, thresholds: Mapping[int, float]) -> None:
        """Learn τ from the worker after a commit (rule 2)."""
        with self._lock:
            if self._window is not None:
                self._threshold = max(self._threshold, thresholds.get(self._window, 0.0))

    def restart(self, next_window: int) -> None:
        """Begin anew after the spool was set aside: what waits for its windows is lost with them."""
        with self._lock:
            for item in self._items:
                if isinstance(item, Told):
                    item.stored.append(False)
                    item.done.set()
            self._items.clear()
            self._arrived.clear()
            self._waiting = self._waiting_bytes = 0
            self._window, self._threshold, self._next_window = None, 0.0, next_window

    def _current_window(self, at: float) -> int:
        """Return the window of a frame that arrived at `at`; begins one if need be (rule 5)."""
        self._end_window_if_over(at)
        if self._window is None:
            self._window, self._next_window = self._next_window, self._next_window + 1
            self._threshold, self._opened = 0.0, at
            self._put(Open(window=self._window, opened_at=self._clock.now(), byte_budget=self._policy.byte_budget))
        self._touched = at
        return self._window

    def _end_window_if_over(self, at: float) -> None:
        if self._over(at):
            self._end_window()

    def _over(self, at: float) -> bool:
        return self._window is not None and at - self._opened >= self._policy.window_seconds

    def _idle(self, at: float) -> bool:
        return self._window is not None and at - self._touched >= self._policy.idle_close_seconds

    def _end_window(self) -> None:
        assert self._window is not None
        self._put(Seal(window=self._window, closed_at=self._clock.now()))
        self._window, self._threshold = None, 0.0

    def _make_room(self, candidate: Candidate) -> bool:
        """Turn the lowest priorities in the queue away until the candidate fits; False if its own is the lowest."""
        while (
            self._waiting >= self._queue_frames or self._waiting_bytes + candidate.frame.bytes > self._queue_bytes
        ) and self._waiting:
            at, lowest = min(
                ((i, item) for i, item in enumerate(self._items) if isinstance(item, Candidate)),
                key=lambda pair: pair[1].priority,
            )
            if candidate.priority <= lowest.priority:
                self._overload(candidate, candidate)
                return False
            self._overload(lowest, candidate)
            self._items[at] = Count(window=lowest.window, tally=lowest.tally)
            self._waiting -= 1
            self._waiting_bytes -= lowest.frame.bytes
        return True

    def _overload(self, lowest: Candidate, newest: Candidate) -> None:
        """Raise τ to what is turned away (rule 3): its own count says so, and one candidate's of each other window."""
        priority = lowest.priority
        lowest.tally.miss(priority)
        self.overload += 1
        told = {lowest.window}
        for item in (newest, *self._items):
            if isinstance(item, Candidate) and item.window not in told:
                told.add(item.window)
                item.tally.overload_priority = max(item.tally.overload_priority, priority)
        if self._window in told:
            self._threshold = max(self._threshold, priority)

    def _counting(self, window: int) -> Tally:
        """Return what a frame that is only counted adds to: the count at the end of the queue (rule 4)."""
        last = self._items[-1] if self._items else None
        if not (isinstance(last, Count) and last.window == window):
            last = Count(window=window, tally=Tally())
            self._items.append(last)
        return last.tally

    def _put(self, item: Item) -> None:
        self._items.append(item)
        self._urgent = True
        self.ring()

    def _remember(self, frame: Frame) -> None:
        self._recent.append(frame)
        self._recent_held += frame.bytes
        while self._recent and (len(self._recent) > self._recent_frames or self._recent_held > self._recent_bytes):
            self._recent_held -= self._recent.popleft().bytes
