"""The challenger at work: a thread behind a short queue feeds a process of its own, within a share of a core.

1. `offer` is called on the application's thread: it draws, copies the frame if it is drawn, and returns. It never
   waits; when the queue is full, the frame is skipped and counted. It copies into memory that the process already has,
   and wakes nobody: to wake a thread takes the line longer than all the rest. The thread looks for itself.
2. Which frames are drawn depends on nothing but chance: what is seen is a plain random sample.
3. The challenger's processor time is measured frame by frame and kept below `cpu_share` of the time that passes; while
   it is used up frames are skipped.
4. A challenger that fails `_MOST_FAILURES` times in a row is given up; nothing that it does reaches an answer.
5. The challenger computes between two frames of the line (`edge_client.shadow.turns`).
6. The thread only moves bytes and counts. Inference in this process would hold Python's lock between its steps, and on
   a busy machine a thread of low priority that holds it is not scheduled: the line would wait for it.
"""

from __future__ import annotations

import logging
import random as random_module
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.prediction import Prediction
from edge_client.shadow.doubt import Doubt
from edge_client.shadow.process import Challenger
from edge_client.shadow.tally import ShadowTally, difference
from edge_client.shadow.turns import Turns

log = logging.getLogger("edge_client.shadow")

_QUEUE = 2  # frames that wait; an answer that comes late weighs nothing
_MOST_FAILURES = 10
_BURST_SECONDS = 0.25  # of processor time that may be saved up
_MOST_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drawn:
    frame: NDArray[np.uint8]
    prediction: Prediction
    doubt: Doubt


class ShadowWorker:
    """Runs one challenger.

    Args:
        challenger: Answers; it is stopped with the worker.
        share: Of the frames.
        cpu_share: Most of a core's time.
        tally: Where it counts.
        random: Draws frames.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        challenger: Challenger,
        *,
        share: float,
        cpu_share: float,
        tally: ShadowTally,
        random: random_module.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._challenger = challenger
        self.turns = Turns(hold=challenger.hold, let_go=challenger.let_go, clock=clock)
        self.tally = tally
        self.gave_up = ""
        self._share, self._cpu_share = share, cpu_share
        self._random = random or random_module.Random()
        self._clock = clock
        self._queue: deque[_Drawn] = deque()
        self._spare: deque[NDArray[np.uint8]] = deque(maxlen=_QUEUE + 1)  # memory of frames that were answered
        self._stopping = False
        self._left = 0.0
        self._left_at = clock()
        self._failures = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="andon-shadow-run", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End it; frames that wait are not answered."""
        self._stopping = True
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        self._challenger.stop()

    def offer(self, frame: NDArray[np.uint8], prediction: Prediction) -> Doubt | None:
        """Offer a frame that was answered; returns at once, with a doubt if the frame was drawn."""
        if self._random.random() >= self._share or self.gave_up:
            return None
        if len(self._queue) >= _QUEUE:
            self.tally.skipped += 1
            return None
        doubt = Doubt()
        self._queue.append(_Drawn(frame=self._copied(frame), prediction=prediction, doubt=doubt))
        return doubt

    def step(self) -> bool:
        """Answer one frame that waits, if there is one and time for it; False when not."""
        now = self._clock()
        self._left, self._left_at = self._saved(now), now
        if self._left <= 0 or not self._queue:
            return False
        if not self.turns.begin(lambda: self._stopping):
            return False
        drawn = self._queue.popleft()
        self._challenger.keep_off(self.turns.core)
        try:
            theirs = self._challenger.answer(drawn.frame, lambda: self._stopping)
        except TimeoutError:  # the line needed the processor
            drawn.doubt.leave()
            self.tally.skipped += 1
            return True
        except Exception as error:  # noqa: BLE001 -- the challenger is on trial, not the line
            drawn.doubt.leave()
            if self._stopping:
                return False
            self.tally.failed += 1
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                self.gave_up = f"{self._failures} failures in a row: {error}"[:500]
                log.warning("shadow: %s", self.gave_up)
            return True
        finally:
            self.turns.end()
            self._spare.append(drawn.frame)
        self._failures = 0
        found = difference(drawn.prediction, theirs)
        self.tally.add(found, in_time=drawn.doubt.tell(found.distance))
        self._left -= theirs.cpu_seconds
        self.tally.cpu_seconds += theirs.cpu_seconds
        return True

    def rests(self) -> bool:
        """Whether nothing waits or is computed, and time is saved up for the next frame."""
        return not self._queue and not self.turns.computing and self._saved(self._clock()) > 0

    def _copied(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        try:
            memory = self._spare.pop()
        except IndexError:
            return frame.copy()
        if memory.shape != frame.shape:
            return frame.copy()
        np.copyto(memory, frame)
        return memory

    def _saved(self, now: float) -> float:
        """Processor time that it may take, seconds; below 0 it owes."""
        return min(_BURST_SECONDS, self._left + self._cpu_share * (now - self._left_at))

    def _work(self) -> None:
        while not self._stopping and not self.gave_up:
            if self.step():
                continue
            # what is owed passes at cpu_share; a frame that waits meanwhile keeps its place
            owed = max(0.0, -self._left) / self._cpu_share
            time.sleep(min(_MOST_LOOK_SECONDS, max(owed, self.turns.look_seconds)))
