"""The same lines through everything a device has between `predict` and its disk: intake, queue, worker, sealing, spool.

    overload    the worker comes seldom and the queue holds few: candidates of two windows compete for it
    restart     the process dies twice, with candidates in the queue; what was committed is the population

One thread plays application and worker in turn: every run of a scene meets the same moments, and u alone differs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.sampled_line import METADATA, Answers, Drawn, Floats, Line, answers, weights_of
from edge_client.capture import Capture
from edge_client.config import CaptureConfig
from edge_client.contract.inclusion import counts_for_estimates, inclusion_probability
from edge_client.contract.sealing import generate_identity
from edge_client.intake import Policy
from edge_client.prediction import Prediction
from edge_client.spool import Spool

BYTES = 40  # of a frame's file for each of the line's: what is sealed with it takes a kilobyte
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a device lives through.

    Attributes:
        line: Its frames; one a second.
        window_seconds: Length of a window.
        pump_every: The worker runs after so many frames.
        deaths: Frames before which the process dies.
        config: The queue's bounds.
        byte_budget: B.
        limit_bytes: G.
    """

    line: Line
    window_seconds: int
    pump_every: int
    config: CaptureConfig
    byte_budget: int
    limit_bytes: int
    deaths: tuple[int, ...] = ()

    def population(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Tell which frames are committed: those before a death that the worker did not come to are not."""
        found = np.ones(self.line.frames, dtype=np.bool_)
        born = 0
        for death in self.deaths:
            pumped = born + (death - born) // self.pump_every * self.pump_every
            found[pumped:death] = False
            born = death
        return found

    def without_bounds(self) -> Scene:
        """Return the scene where everything is kept."""
        return replace(
            self,
            byte_budget=1 << 30,
            limit_bytes=1 << 30,
            config=CaptureConfig(queue_frames=10_000, duplicate_distance=self.config.duplicate_distance),
        )


class _Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


class CapturedLine:
    """Plays a scene.

    Args:
        scene: The scene.
        folder: For the spools, one after another; memory will do.
    """

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene = scene
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "identity").unlink(missing_ok=True)
        self._recipient = generate_identity(folder / "identity")
        self._predictions = _predictions(scene.line.answers)
        self._files = [_JPEG + bytes(BYTES * int(size)) for size in scene.line.answers.bytes]

    def parts(self) -> dict[str, Floats]:
        """What is added up, for each committed frame; the weights are those that the device gave."""
        random = np.random.default_rng(0)
        with self._played(self.scene.without_bounds(), (1.0 - random.random(self.scene.line.frames)).tolist()) as spool:
            weight = np.zeros(self.scene.line.frames)
            for name, value in spool.db.execute("SELECT sample_id, weight FROM entries"):
                weight[int(name, 16)] = value
        here = self.scene.population()
        assert np.array_equal(weight > 0, here)
        return {**{name: y * here for name, y in self.scene.line.parts().items()}, "weight": weight}

    def draw(self, u: list[float], look: Callable[[Spool], None] = lambda _: None) -> Drawn:
        """Play once; returns what counts. `look` sees the spool at the end."""
        with self._played(self.scene, u) as spool:
            look(spool)
            rows = spool.db.execute(
                "SELECT sample_id, weight, u, tau FROM entries JOIN windows USING (window) WHERE entries.state = 'kept'"
            ).fetchall()
        counted = [(int(name, 16), w, tau) for name, w, v, tau in rows if counts_for_estimates(w, v, tau)]
        return Drawn(
            np.array([row for row, _, _ in counted], dtype=np.int64),
            np.array([inclusion_probability(w, tau) for _, w, tau in counted]),
        )

    def draws(self, runs: int, seed: int) -> Iterable[Drawn]:
        """Play again and again."""
        random = np.random.default_rng(seed)
        for _ in range(runs):
            yield self.draw((1.0 - random.random(self.scene.line.frames)).tolist())

    @contextmanager
    def _played(self, scene: Scene, u: list[float]) -> Iterator[Spool]:
        folder = self._folder / "spool"
        clock, draws = _Clock(), iter(u)
        spool, capture = self._start(scene, folder, clock, draws)
        born = 0
        try:
            for i, (prediction, file) in enumerate(zip(self._predictions, self._files, strict=True)):
                if i in scene.deaths:
                    spool.close()  # every commit was durable: to the spool this is what a kill is
                    spool, capture = self._start(scene, folder, clock, draws)
                    born = i
                clock.seconds += 1.0
                capture.offer(file, prediction, METADATA, {})
                if (i - born + 1) % scene.pump_every == 0:
                    capture.pump()
            capture.stop()
            yield spool
        finally:
            spool.close()
            shutil.rmtree(folder)

    def _start(self, scene: Scene, folder: Path, clock: _Clock, draws: Iterator[float]) -> tuple[Spool, Capture]:
        spool = Spool(folder, limit_bytes=scene.limit_bytes, clock=clock, free_bytes=lambda _: 1 << 40)
        policy = Policy(
            byte_budget=scene.byte_budget,
            window_seconds=scene.window_seconds,
            idle_close_seconds=1e9,
            audit_share=0.3,
            recipient=self._recipient,
        )
        capture = Capture(
            spool,
            device="line-1",
            station="station",
            inspection="line",
            policy=policy,
            config=scene.config,
            clock=clock,
            draw=lambda: next(draws),
            random=np.random.default_rng(0),
        )
        return spool, capture


def _predictions(found: Answers) -> list[Prediction]:
    return [
        Prediction(
            sample_id=f"{i:032x}",
            verdict="defect" if p >= METADATA.thresholds.defect else "ok",
            label="defect" if p >= 0.5 else "ok",
            probabilities={"ok": 1.0 - p, "defect": p},
            defect_probability=p,
            anomaly=anomaly,
            anomaly_map=np.zeros((1, 1), np.float32),
            embedding=found.embeddings[i],
            engine_id="simulated",
            engine_sha256="0" * 64,
            latency_ms=1.0,
        )
        for i, (p, anomaly) in enumerate(zip(found.probability.tolist(), found.anomaly.tolist(), strict=True))
    ]


def scenes() -> dict[str, Scene]:
    """Return the scenes of the module's table, always the same ones."""
    frames = 240
    found = answers(np.random.default_rng(21), frames, 0.12)
    windows = np.arange(frames) // 60 + 1
    line = Line(
        answers=found,
        weight=weights_of(found)[0],
        window=windows,
        station=np.arange(frames) % 3,
        budgets=(1,) * 4,
        pools=(1,) * 4,
    )
    plain = CaptureConfig(queue_frames=1000, duplicate_distance=0)
    return {
        "overload": Scene(
            line=line,
            window_seconds=60,
            pump_every=35,  # not a part of 60: the queue holds the end of one window and the start of the next
            config=CaptureConfig(queue_frames=9, duplicate_distance=0),
            byte_budget=60_000,
            limit_bytes=1 << 30,
        ),
        "restart": Scene(
            line=line,
            window_seconds=60,
            pump_every=25,
            config=plain,
            byte_budget=45_000,
            limit_bytes=110_000,
            deaths=(82, 173),
        ),
    }


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder in memory where there is one: these scenes are about counting, not about the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="andon-") as folder:
        yield Path(folder)
