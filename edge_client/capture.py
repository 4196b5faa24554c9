"""Capture: one worker thread between the intake and the spool. It encodes, seals and commits; nothing waits for it.

A commit that fails costs the candidates in it (overload: τ rises to their q), never a count or an event: those are
carried to the next attempt. A damaged spool starts a new epoch. The worker survives whatever happens and says what is
wrong in `problem`.
"""

import json
import logging
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_client.background import step_back
from edge_client.clock import Clock, SystemClock
from edge_client.config import CaptureConfig
from edge_client.contract.decision import Verdict
from edge_client.contract.errors import AndonError
from edge_client.contract.sample import Event, EventsBlob, SampleBlob
from edge_client.contract.sealing import seal
from edge_client.encode import encode_lossless, encode_smaller
from edge_client.images import decode_image, media_type_of
from edge_client.intake import Candidate, Count, Frame, Intake, Item, Policy, Told
from edge_client.runs import Runs
from edge_client.shadow.doubt import Doubt
from edge_client.spool import Spool
from edge_client.spool_database import SpoolError
from edge_client.steps import Committed, Extra, Offer, Open, Seal, Seen, Step
from edge_client.tally import Tally
from edge_client.weights import Weigher

log = logging.getLogger("edge_client.capture")

_BATCH = 16  # candidates of one commit
_GATHER_SECONDS = 0.5  # frames that arrive within it are weighed together: the second costs half of the first
_TICK_SECONDS = 1.0  # counts are committed at least so often
_LONGEST_PAUSE = 30.0  # between attempts when the disk refuses


def draw_from_os() -> float:
    """Draw u from U(0, 1] with the operating system's entropy."""
    return (secrets.randbits(53) + 1) / (1 << 53)


class Capture:
    """Keeps the frames worth learning from.

    Args:
        spool: Where they are kept.
        device: This device's name.
        station: Its station.
        inspection: The inspection.
        policy: Budgets and recipient, to begin with.
        config: Bounds of queue and memory.
        clock: For windows and times of capture.
        draw: Draws u.
        random: For what the weigher remembers.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        device: str,
        station: str,
        inspection: str,
        policy: Policy,
        config: CaptureConfig | None = None,
        clock: Clock | None = None,
        draw: Callable[[], float] = draw_from_os,
        random: np.random.Generator | None = None,
    ) -> None:
        config = config or CaptureConfig()
        self._spool = spool
        self._epoch = spool.epoch
        self._device, self._station, self._inspection = device, station, inspection
        self._clock = clock or SystemClock()
        self.intake = Intake(
            policy=policy,
            clock=self._clock,
            draw=draw,
            runs=Runs(duplicate_distance=config.duplicate_distance, first_run=spool.next_run),
            weigher=Weigher(audit_share=policy.audit_share, random=random or np.random.default_rng()),
            next_window=spool.next_window,
            queue_frames=config.queue_frames,
            recent_frames=config.recent_frames,
            recent_bytes=config.recent_bytes,
        )
        self._carried: list[Step] = []
        self._budgets: dict[int, int] = {}
        self._pause = self._pause_before = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pumping = threading.Lock()
        self.problem = ""
        self.acknowledged = 0
        self.refused_extras = 0
        self.on_sealed: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Start the worker."""
        self._thread = threading.Thread(target=self._work, name="andon-capture", daemon=True)
        self._thread.start()

    def stop(self, *, timeout: float = 30.0) -> None:
        """Seal the window, commit what waits, and end the worker."""
        self.intake.rotate_if_due(now=True)
        self._stop.set()
        self.intake.ring()
        if self._thread is not None:
            self._thread.join(timeout)
        else:
            self.pump()

    def offer(
        self,
        image: "np.ndarray[Any, np.dtype[np.uint8]] | bytes",
        prediction: Any,
        metadata: Any,
        context: Mapping[str, float | str],
        doubt: Doubt | None = None,
    ) -> None:
        """Offer a frame; returns at once. An array is copied, since the application may use it again."""
        own = image if isinstance(image, bytes) else image.copy()
        self.intake.offer(
            Frame(
                image=own,
                prediction=prediction,
                metadata=metadata,
                captured_at=self._clock.now(),
                context=dict(context),
                doubt=doubt,
            )
        )

    def tell(self, event: Event, *, timeout: float) -> bool:
        """Store an event durably; True once it is."""
        told = self.intake.tell(event)
        if self._thread is None:
            self.pump()
        return told.done.wait(timeout) and told.stored == [True]

    def pump(self) -> None:
        """Process everything that waits, on this thread. What arrives meanwhile waits for the next time."""
        with self._pumping:
            self._pause_before = self._pause
            self.intake.rotate_if_due()
            while items := self.intake.take(_BATCH):
                self._process(items)
            if self._carried:
                self._process([])

    def _work(self) -> None:
        step_back()
        pumped = time.monotonic()
        while not self._stop.is_set():
            self._guarded(lambda: self.intake.gather(min(_GATHER_SECONDS, self._tick())))
            if not self.intake.urgent and time.monotonic() - pumped < self._tick():
                continue
            if self._pause and self._stop.wait(self._pause):
                break
            self._guarded(self.pump)
            pumped = time.monotonic()
        self._guarded(self.pump)

    def _tick(self) -> float:
        policy = self.intake.policy
        return max(0.02, min(_TICK_SECONDS, policy.window_seconds / 4, policy.idle_close_seconds / 4))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # the worker's boundary: record, go on
            self.problem = f"capture: {error}"
            self._pause = self._longer_pause()
            log.exception("capture failed")

    def _longer_pause(self) -> float:
        """Return the pause after a failure: doubled once a pump, however many batches of it failed."""
        return min(_LONGEST_PAUSE, max(1.0, 2 * self._pause_before))

    def _process(self, items: Sequence[Item]) -> None:
        steps: list[Step] = self._carried
        self._carried = []
        waiting: list[tuple[Told, list[str]]] = []
        thresholds = self._spool.thresholds()
        for item in items:
            if isinstance(item, Open):
                self._budgets[item.window] = item.byte_budget
                steps.append(item)
            elif isinstance(item, Seal):
                self._budgets.pop(item.window, None)
                steps.append(item)
            elif isinstance(item, Count):
                steps.append(Seen(window=item.window, tally=item.tally, at=self._clock.now()))
            elif isinstance(item, Candidate):
                steps += self._steps_of(item, thresholds.get(item.window, 0.0))
            else:
                extras = self._extras_of(item)
                waiting.append((item, [e.sample_id for e in extras]))
                steps += extras
        self._commit(steps, waiting)

    def _commit(self, steps: list[Step], waiting: list[tuple[Told, list[str]]]) -> None:
        try:
            done = self._spool.commit(steps)
        except (SpoolError, MemoryError) as error:
            self.problem = str(error) or "capture: out of memory"
            self._pause = self._longer_pause()
            log.warning("%s", self.problem)
            if self._spool.epoch != self._epoch:
                self._epoch = self._spool.epoch
                self.intake.restart(self._spool.next_window)
                self._budgets.clear()
            else:
                self._carried = _without_samples(steps)
            for told, _ in waiting:
                _answer(told, False)
            return
        self._finish(steps, waiting, done)

    def _finish(self, steps: Sequence[Step], waiting: list[tuple[Told, list[str]]], done: Committed) -> None:
        self.problem, self._pause = "", 0.0
        self.acknowledged += len(done.kept)
        self.refused_extras += len(done.refused)
        self.intake.publish(done.thresholds)
        for told, ids in waiting:
            _answer(told, not done.refused.intersection(ids[:1]))
        if any(isinstance(s, Seal) for s in steps):
            self.on_sealed()

    def _steps_of(self, candidate: Candidate, threshold: float) -> list[Step]:
        """Turn a candidate into steps: encoded and sealed if τ still lets it in."""
        tally, window = candidate.tally, candidate.window
        seen = Seen(window=window, tally=tally, at=self._clock.now())
        if candidate.weight / candidate.u <= threshold:
            return [seen]
        sealed = self._sealed(candidate.frame, self._budgets.get(window, self.intake.policy.byte_budget))
        if sealed is None:
            tally.excluded += 1
            return [seen]
        offer = Offer(
            window=window,
            sample_id=candidate.frame.prediction.sample_id,
            weight=candidate.weight,
            u=candidate.u,
            run=candidate.run,
            reasons=json.dumps(candidate.reasons),
            sealed=sealed,
        )
        return [seen, offer]

    def _extras_of(self, told: Told) -> list[Extra]:
        """Turn an event into extras: the event itself, then the frame it is about."""
        recipient = self.intake.policy.recipient
        extras = [
            Extra(
                window=told.window,
                sample_id=uuid.uuid4().hex,
                kind="events",
                sealed=seal(EventsBlob(events=(told.event,)).pack(), recipient),
            )
        ]
        if told.frame is not None and told.event.kind == "flag":
            sealed = self._sealed(told.frame, self.intake.policy.byte_budget)
            if sealed is not None:
                extras.append(
                    Extra(window=told.window, sample_id=told.frame.prediction.sample_id, kind="flag", sealed=sealed)
                )
        return extras

    def _sealed(self, frame: Frame, budget: int) -> bytes | None:
        """As `_seal_frame`; a frame that cannot be encoded costs itself, not the counts and events of its batch."""
        try:
            return self._seal_frame(frame, budget)
        except (AndonError, OSError, ValueError, MemoryError) as error:
            log.warning("frame %s cannot be captured: %s", frame.prediction.sample_id, error)
            self.problem = f"capture: {error or type(error).__name__}"
            return None

    def _seal_frame(self, frame: Frame, budget: int) -> bytes | None:
        """Encode and seal a frame into at most `budget` bytes; None when it can't be made to fit."""
        mask = self.intake.policy.mask
        if mask:  # what of the frame may not leave is gone before it is encoded
            whole = decode_image(frame.image) if isinstance(frame.image, bytes) else frame.image
            frame = replace(frame, image=mask.applied(whole), context={**frame.context, **mask.told()})
        if isinstance(frame.image, bytes):
            image, media_type = frame.image, media_type_of(frame.image)
        else:
            image, media_type = encode_lossless(frame.image)
        sealed = seal(self._blob(frame, image, media_type).pack(), self.intake.policy.recipient)
        if len(sealed) <= budget:
            return sealed
        smaller = encode_smaller(frame.image, budget - (len(sealed) - len(image)))
        if smaller is None:
            return None
        sealed = seal(self._blob(frame, *smaller).pack(), self.intake.policy.recipient)
        return sealed if len(sealed) <= budget else None

    def _blob(self, frame: Frame, image: bytes, media_type: str) -> SampleBlob:
        prediction = frame.prediction
        return SampleBlob(
            sample_id=prediction.sample_id,
            inspection=self._inspection,
            device=self._device,
            station=self._station,
            engine_id=prediction.engine_id,
            media_type=media_type,
            image=image,
            captured_at=frame.captured_at,
            part_id=prediction.part_id,
            context=frame.context,
            classes=tuple(prediction.probabilities),
            probabilities=np.clip(np.fromiter(prediction.probabilities.values(), dtype=np.float32), 0, 1),
            anomaly=prediction.anomaly,
            verdict=Verdict(prediction.verdict),
            embedding=prediction.embedding.astype(np.float16),
            anomaly_map=_bounded_map(prediction.anomaly_map),
        )


def _bounded_map(values: "np.ndarray[Any, np.dtype[np.float32]]") -> "np.ndarray[Any, np.dtype[np.float16]]":
    """Return the map as float16, thinned to at most 128 a side: it is for people's eyes."""
    step = max(1, -(-max(values.shape) // 128)) if values.size else 1
    return np.clip(values[::step, ::step], -60_000, 60_000).astype(np.float16)


def _answer(told: Told, stored: bool) -> None:
    told.stored.append(stored)
    told.done.set()


def _without_samples(steps: Sequence[Step]) -> list[Step]:
    """Return steps to try again: samples become overload, events and counts stay; counts of one window are added up."""
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, Offer):
            lost = Tally()
            lost.miss(step.weight / step.u)
            last = kept[-1]
            assert isinstance(last, Seen)  # an offer follows its own count
            last.tally.add(lost)
        elif isinstance(step, Extra):
            if step.kind == "events":
                kept.append(step)
        elif isinstance(step, Seen) and kept and isinstance(kept[-1], Seen) and kept[-1].window == step.window:
            kept[-1].tally.add(step.tally)
        else:
            kept.append(step)
    return kept
