"""Brings a challenger from its signed document to work, and ends it: a thread of its own, beside everything else.

1. A challenger is loaded only after it passed the same trial as a release, in a child process.
2. One that failed its trial, or was given up in the shadow, is not tried again for the same document.
3. Network and disk are tried again with the next look for releases.
4. Counts survive a restart; another document begins anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.background import step_back
from edge_client.clock import Clock
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, BadEngine, BadRelease, BucketError
from edge_client.contract.private_files import replace_private
from edge_client.contract.shadow import Shadow, ShadowReport
from edge_client.prediction import Prediction
from edge_client.shadow.doubt import Doubt
from edge_client.shadow.process import Challenger, ChallengerProcess
from edge_client.shadow.tally import ShadowTally
from edge_client.shadow.worker import ShadowWorker
from edge_client.updates.download import download
from edge_client.updates.fetching import fetch_target
from edge_client.updates.signed import ShadowOffer
from edge_client.updates.trial import TrialOrder, TrialReport, try_engine
from edge_client.updates.updater_config import UpdaterConfig

log = logging.getLogger("edge_client.shadow")

_NOBODY: AbstractContextManager[None] = nullcontext()
_LOOK_SECONDS = 10.0  # expiry is seen, and counts are stored, so often


class ShadowKeeper:
    """Owns the shadow of one client.

    Args:
        config: The updater's.
        clock: The device's clock.
        tries: Runs a trial.
        opens: Opens what passed it.
    """

    def __init__(
        self,
        config: UpdaterConfig,
        clock: Clock,
        *,
        tries: Callable[[TrialOrder], TrialReport] = try_engine,
        opens: Callable[..., Challenger] = ChallengerProcess,
    ) -> None:
        self._config = config
        self._clock = clock
        self._tries = tries
        self._opens = opens
        self._folder = config.state / "shadow"
        self._bell = threading.Condition()
        self._offered: tuple[ShadowOffer, Bucket] | None = None
        self._fresh = self._stopping = False
        self._thread: threading.Thread | None = None
        self._worker: ShadowWorker | None = None
        self._document: Shadow | None = None
        self._refused: dict[str, str] = {}  # salt of a document -> why
        self._reason = ""
        self._tally = ShadowTally()
        self._stored: dict[str, Any] = {}

    def start(self) -> None:
        """Start the thread that looks after it."""
        self._thread = threading.Thread(target=self._work, name="andon-shadow", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End it, and store the counts."""
        with self._bell:
            self._stopping = True
            self._bell.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        self._end()

    def take(self, offer: ShadowOffer | None, bucket: Bucket) -> None:
        """Take what the last look for releases found; returns at once."""
        with self._bell:
            self._offered = None if offer is None else (offer, bucket)
            self._fresh = True
            self._bell.notify_all()

    def inspecting(self) -> AbstractContextManager[None]:
        """A context for each frame of the line: a challenger rests meanwhile. Never waits."""
        worker = self._worker
        return _NOBODY if worker is None else worker.turns

    def offer(self, frame: NDArray[np.uint8], prediction: Prediction) -> Doubt | None:
        """Offer a frame that was answered. Never raises, never waits."""
        worker = self._worker
        return None if worker is None or prediction.repeated else worker.offer(frame, prediction)

    def report(self) -> ShadowReport | None:
        """What the heartbeat tells; None when no document names this device."""
        document, tally, worker = self._document, self._tally, self._worker
        if document is None:
            return None
        reason = self._refused.get(document.salt, self._reason)
        state = "refused" if document.salt in self._refused else "waits"
        if worker is not None:
            state, reason = ("refused", worker.gave_up) if worker.gave_up else ("runs", "")
        elif state != "refused" and self._clock.now() >= document.expires_at:
            state = "expired"
        return ShadowReport(
            salt=document.salt,
            engine_id=document.engine.engine_id,
            engine_sha256=document.engine.engine_sha256,
            state=state,
            reason=reason[:500],
            seen=tally.seen,
            skipped=tally.skipped,
            failed=tally.failed,
            verdicts=tally.verdicts,
            labels=tally.labels,
            disagreed=tally.disagreed,
            far=tally.far,
            pairs=tally.pairs,
            cpu_seconds=round(tally.cpu_seconds, 3),
        )

    def status(self) -> dict[str, Any] | None:
        """Return how it does, as plain JSON values."""
        report, worker = self.report(), self._worker
        if report is None:
            return None
        names = ("state", "reason", "engine_id", "salt")
        return {**{n: getattr(report, n) for n in names}, "running": worker is not None, **self._tally.to_json()}

    # --- on its thread ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        step_back()
        while True:
            with self._bell:
                self._bell.wait_for(lambda: self._fresh or self._stopping, timeout=_LOOK_SECONDS)
                if self._stopping:
                    return
                offered, self._fresh = self._offered, False
            try:
                self.look(offered)
            except Exception as error:  # the worker's boundary: record, go on
                self._reason = f"shadow: {error!r}"[:500]
                log.exception("shadow failed")

    def look(self, offered: tuple[ShadowOffer, Bucket] | None) -> None:
        """Bring what runs in line with what was offered last."""
        document = None if offered is None else offered[0].document
        facts, now = self._config.facts(), self._clock.now()
        wanted = document if document is not None and document.runs_on(facts, now) else None
        running = self._worker is not None and self._document == wanted
        if not running:
            self._end()
        if document is not None and (self._document is None or self._document.salt != document.salt):
            self._tally = self._counts_of(document.salt)
        # a document that is over keeps its counts in the heartbeat until another one comes
        self._document = document or self._document
        if wanted is None or running or wanted.salt in self._refused or offered is None:
            self._store_counts()
            return
        try:
            challenger = self._prepared(*offered)
        except (BadEngine, BadRelease) as error:
            self._refused[wanted.salt] = str(error)[:500]
            log.warning("shadow: %s", error)
            return
        except (BucketError, OSError) as error:
            self._reason = str(error)[:500]
            return
        self._reason = ""
        self._worker = ShadowWorker(challenger, share=wanted.share, cpu_share=wanted.cpu_share, tally=self._tally)
        self._worker.start()

    def _prepared(self, offer: ShadowOffer, bucket: Bucket) -> Challenger:
        """Fetch, try, load (rule 1).

        Raises:
            BadEngine: It failed its trial, or is not what it should be.
            BadRelease: What the bucket holds is not what was signed.
            BucketError, OSError: To be tried again.
        """
        config, named = self._config, offer.document.engine
        if named.engine_bytes > config.max_engine_bytes:
            raise BadEngine(
                f"challenger {named.engine_id!r} has {named.engine_bytes} bytes: at most "
                f"{config.max_engine_bytes} are loaded on this device"
            )
        selftest = fetch_target(bucket, offer.selftest)
        path = self._folder / "challenger.onnx"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != named.engine_sha256:
            part = download(
                bucket,
                offer.engine.key,
                sha256=offer.engine.sha256,
                length=offer.engine.length,
                folder=self._folder / "downloads",
                clock=self._clock,
                stopped=lambda: self._stopping,
            )
            os.replace(part, path)
        replace_private(self._folder / "challenger.npz", selftest)
        order = TrialOrder(
            engine=str(path),
            selftest=str(self._folder / "challenger.npz"),
            engine_sha256=named.engine_sha256,
            selftest_sha256=hashlib.sha256(selftest).hexdigest(),
            engine_bytes=named.engine_bytes,
            inspection=config.inspection,
            engine_id=named.engine_id,
            provider=config.provider,
            threads=1,
            limits=config.trial,
        )
        report = self._tries(order)
        if not report.passed:
            raise (BadEngine if report.certain else OSError)(f"challenger {named.engine_id!r}: {report.reason}")
        return self._opens(
            path,
            engine_sha256=named.engine_sha256,
            provider=config.provider,
            memory_bytes=config.trial.memory_bytes,
            stopped=lambda: self._stopping,
        )

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            if self._worker.gave_up and self._document is not None:
                self._refused[self._document.salt] = self._worker.gave_up
            self._worker = None
        self._store_counts()

    def _counts_of(self, salt: str) -> ShadowTally:
        """Rule 4."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AndonError):
            value = json.loads((self._folder / "counts.json").read_text(encoding="utf-8"))
            if value["salt"] == salt:
                return ShadowTally.from_json(value["tally"])
        return ShadowTally()

    def _store_counts(self) -> None:
        if self._document is None:
            return
        value = {"salt": self._document.salt, "tally": self._tally.to_json()}
        if value != self._stored:
            with contextlib.suppress(OSError):  # counts that are lost are fewer frames seen, no more
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_private(self._folder / "counts.json", json.dumps(value).encode())
                self._stored = value
