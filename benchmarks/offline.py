"""A week without the bucket: ``python -m benchmarks.offline [--json]``.

Seven days pass on a driven clock; on each a line runs for an hour at 10 frames a second (252,000 frames), and the
bucket is away. Everything between the application's thread and the bucket is the client's own: intake, weigher,
worker, sealing, spool with SQLite at FULL and synced blobs, outbox, uploader. Only the frames are made up: encoded
files of random bytes, of the sizes that such files have. After every commit the bounds are checked: no window above B,
nothing above G = 200 MB, on disk neither. Then the bucket comes back, everything is uploaded, and what lies in it is
read back, verified, and weighed: Horvitz-Thompson totals of frames, small and large ones, and of the weights, each day
and over all, against the truth, in standard errors (z).

The standard error is the estimator's own: Σ y²(1-p)/p over ALL frames, which only a simulation knows. The one that a
user has, Σ y²(1-p)/p² over the sample, is told beside it as a ratio; where few frames speak for many it is low exactly
when the estimate is, and z in its terms is skewed. How both spread over many draws is measured by `benchmarks.sampler`.
"""

from __future__ import annotations

import argparse
import logging
import math
import resource
import secrets
import sys
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.result import Row, tell
from edge_client.capture import Capture, draw_from_os
from edge_client.config import CaptureConfig
from edge_client.contract.bucket import Bucket, DirectoryBucket
from edge_client.contract.decision import Verdict
from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds
from edge_client.contract.errors import Unavailable
from edge_client.contract.inclusion import counts_for_estimates, inclusion_probability
from edge_client.contract.names import shard_key
from edge_client.contract.record import WindowRecord
from edge_client.contract.sealing import generate_identity, load_identity, unseal
from edge_client.contract.shard import read_shard
from edge_client.contract.signing import generate_private_key, load_private_key
from edge_client.intake import Policy
from edge_client.outbox import Outbox, Sender
from edge_client.prediction import Prediction
from edge_client.runs import Runs
from edge_client.spool import Spool
from edge_client.steps import Committed, Step
from edge_client.uploader import Uploader
from edge_client.weights import Weigher
from training.evaluate import Measure

_AUDIT_SHARE = 0.3
LARGE_BYTES = 40_000  # where "large" begins
_WHAT = ("frames", "small frames", "large frames", "weight")
_MAP = np.zeros((4, 4), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What is simulated.

    Attributes:
        work_seconds: How long the line runs on each day.
    """

    days: int = 7
    work_seconds: int = 3600
    frames_per_second: int = 10
    spool_bytes: int = 200_000_000
    byte_budget: int = 4_000_000
    window_seconds: float = 300.0
    seed: int = 0


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 3, 2, 6, tzinfo=UTC) + timedelta(seconds=self.seconds)


class CheckedSpool(Spool):
    """The spool, with its bounds checked after every commit."""

    commits = 0
    most_bytes = 0
    byte_budget = 0

    def commit(self, steps: Sequence[Step]) -> Committed:
        done = super().commit(steps)
        type(self).commits += 1
        type(self).most_bytes = max(self.most_bytes, self.sampler.total_bytes)
        if self.sampler.total_bytes > self._limit_bytes:
            raise AssertionError(f"the spool holds {self.sampler.total_bytes} bytes, G is {self._limit_bytes}")
        for window in self.sampler.thresholds():
            if self.sampler.window_bytes(window) > self.byte_budget:
                raise AssertionError(f"window {window} holds {self.sampler.window_bytes(window)} bytes")
        return done

    def check_disk(self) -> int:
        """Check the blobs' own bytes; returns them."""
        held = sum(p.stat().st_size for p in (self.folder / "blobs").iterdir())
        if held > self._limit_bytes or held != self.sampler.total_bytes:
            raise AssertionError(f"{held} bytes of blobs lie on disk, {self.sampler.total_bytes} are charged")
        return held


class AwayBucket(DirectoryBucket):
    """A bucket that can be out of reach."""

    away = True
    attempts = 0

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        if self.away:
            self.attempts += 1
            raise Unavailable("the bucket is away")
        super().put(key, data, content_type=content_type)


@dataclass(slots=True, kw_only=True)
class Truth:
    """What passed the line: totals by (day, what), and each frame's day and size."""

    totals: dict[tuple[int, str], float] = field(default_factory=lambda: defaultdict(float))
    frames: dict[str, tuple[int, bool]] = field(default_factory=dict)
    passed: list[tuple[datetime, float, bool]] = field(default_factory=list)  # time, weight, large
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """One total, estimated and true."""

    day: int  # -1: over all
    what: str
    estimate: float
    truth: float
    variance: float
    estimated_variance: float

    @property
    def z(self) -> float:
        """Distance in standard errors."""
        if self.variance == 0:
            return 0.0 if math.isclose(self.estimate, self.truth, rel_tol=1e-9) else math.inf
        return (self.estimate - self.truth) / math.sqrt(self.variance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a week came to."""

    week: Week
    frames: int
    stream_bytes: int
    uploaded_bytes: int
    samples: int
    windows: int
    commits: int
    most_bytes: int
    attempts: int
    working_seconds: float
    uploading_seconds: float
    estimates: tuple[Estimated, ...]


def metadata_of_line() -> EngineMetadata:
    """The engine that is said to answer."""
    return EngineMetadata(
        contract=1,
        engine_id="e1",
        inspection="plates",
        classes=(ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="scratch", kind=Kind.DEFECT)),
        thresholds=Thresholds(defect=0.5, unsure_low=0.4, unsure_high=0.6, anomaly=1.0),
        training_prior=(0.9, 0.1),
        embedding_id="b1",
        run_id="r",
        snapshot_id="s",
        variant="int8",
        created_at="2026-01-01T00:00:00+00:00",
    )


def frames_of(week: Week, random: np.random.Generator, metadata: EngineMetadata) -> Iterator[tuple[Prediction, bytes]]:
    """Frames without end: mostly plainly ok, some unsure, one in a hundred scratched (and larger), stopped belts."""
    noise = random.bytes(400_000)
    normal = random.normal(size=16)
    while True:
        scratch = float(
            random.beta(12, 2) if random.random() < 0.01 else random.beta(1, 30 if random.random() < 0.9 else 3)
        )
        size = int(min(200_000, random.lognormal(10.1, 0.5) * (1.6 if scratch > 0.5 else 1.0)))
        embedding = (normal + 0.3 * random.normal(size=16)).astype(np.float32)
        embedding /= np.linalg.norm(embedding)
        anomaly = float(abs(random.normal(0.3 + 0.5 * scratch, 0.15)))
        image = b"\xff\xd8\xff" + noise[(at := int(random.integers(0, 200_000))) : at + size]
        for _ in range(1 if random.random() < 0.97 else int(random.integers(2, 30))):
            yield (
                Prediction(
                    sample_id=secrets.token_hex(16),
                    verdict=(Verdict.DEFECT if scratch > 0.5 or anomaly > 1 else Verdict.OK).value,
                    label="scratch" if scratch > 0.5 else "ok",
                    probabilities={"ok": 1 - scratch, "scratch": scratch},
                    defect_probability=scratch,
                    anomaly=anomaly,
                    anomaly_map=_MAP,
                    embedding=embedding,
                    engine_id=metadata.engine_id,
                    engine_sha256="",
                    latency_ms=1.0,
                ),
                image,
            )


def live(week: Week, folder: Path, *, draw: Callable[[], float] = draw_from_os) -> Told:
    """Let the days pass, then let the bucket come back and read what lies in it.

    Args:
        week: What is simulated.
        folder: Where the spool and the bucket lie.
        draw: Draws u from U(0, 1].
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipient = generate_identity(folder / "recipient.age")
    public_key = generate_private_key(folder / "device.key")
    clock, metadata, truth = Clock(), metadata_of_line(), Truth()
    CheckedSpool.commits = CheckedSpool.most_bytes = 0
    CheckedSpool.byte_budget = week.byte_budget
    spool = CheckedSpool(folder / "spool", limit_bytes=week.spool_bytes, clock=clock)
    random = np.random.default_rng(week.seed)
    capture = Capture(
        spool,
        device="line-1",
        station="aoi-1",
        inspection="plates",
        policy=Policy(
            byte_budget=week.byte_budget,
            window_seconds=week.window_seconds,
            idle_close_seconds=60.0,
            audit_share=_AUDIT_SHARE,
            recipient=recipient,
        ),
        config=CaptureConfig(queue_frames=256, recent_frames=0),
        clock=clock,
        draw=draw,
        random=np.random.default_rng(week.seed + 1),
    )
    sender = Sender(
        device="line-1", site="a", station="aoi-1", inspection="plates", key=load_private_key(folder / "device.key")
    )
    bucket = AwayBucket(folder / "bucket")
    uploader = Uploader(Outbox(spool, sender), bucket, clock=clock)
    begun = time.perf_counter()
    frames = frames_of(week, random, metadata)
    # the same rules on the same frames, so that the weights of frames that were not kept are known too
    runs = Runs(duplicate_distance=CaptureConfig().duplicate_distance)
    weigher = Weigher(audit_share=_AUDIT_SHARE, random=np.random.default_rng(week.seed + 1))
    for day in range(week.days):
        morning = clock.seconds
        for second in range(week.work_seconds):
            clock.seconds = morning + second
            for _ in range(week.frames_per_second):
                prediction, image = next(frames)
                large = len(image) >= LARGE_BYTES
                truth.frames[prediction.sample_id] = (day, large)
                truth.totals[day, "frames"] += 1
                truth.totals[day, "large frames" if large else "small frames"] += 1
                truth.bytes += len(image)
                weighed = weigher.weigh(
                    probabilities=list(prediction.probabilities.values()),
                    anomaly=prediction.anomaly,
                    embedding=prediction.embedding,
                    metadata=metadata,
                    k=runs.place(None, prediction.embedding, metadata.embedding_id).k,
                )
                truth.passed.append((clock.now(), weighed.weight, large))
                capture.offer(image, prediction, metadata, {})
            if second % 5 == 4:
                capture.pump()
        capture.pump()
        clock.seconds += 61.0
        capture.pump()  # the line stands: the window is closed
        uploader.flush(seconds=0.001)  # the bucket is away
        spool.check_disk()
        clock.seconds = morning + 86_400.0
    working = time.perf_counter() - begun
    bucket.away = False
    begun = time.perf_counter()
    while uploader.send_next():
        pass
    uploading = time.perf_counter() - begun
    if spool.check_disk() != 0:
        raise AssertionError("something stays in the spool after everything was uploaded")
    spool.close()
    records = sorted(_records(bucket, public_key, folder / "recipient.age"), key=lambda record: record.window)
    if sum(record.frames for record in records) != len(truth.frames):
        raise AssertionError("the records do not tell of all frames")
    return Told(
        week=week,
        frames=len(truth.frames),
        stream_bytes=truth.bytes,
        uploaded_bytes=uploader.bytes_sent,
        samples=uploader.samples_sent,
        windows=len(records),
        commits=CheckedSpool.commits,
        most_bytes=CheckedSpool.most_bytes,
        attempts=bucket.attempts,
        working_seconds=working,
        uploading_seconds=uploading,
        estimates=tuple(estimate(records, truth)),
    )


def _records(bucket: Bucket, public_key: str, identity_file: Path) -> Iterator[WindowRecord]:
    """All records, verified; every sample that one names is there, is what it names, and opens."""
    identity = load_identity(identity_file)
    for found in bucket.list("inbox/"):
        if not found.key.endswith("window.json"):
            continue
        record = WindowRecord.verify(bucket.get(found.key, max_bytes=1 << 26), public_key)
        members: dict[str, bytes] = {}
        for shard in record.shards:
            key = shard_key(record.device, record.epoch, record.window, shard.n)
            members |= read_shard(bucket.get(key, max_bytes=1 << 28))
        if set(members) != {entry.name for entry in record.manifest}:
            raise AssertionError(f"window {record.window}: what is in its shards is not what its record names")
        for entry in record.manifest[:2]:
            unseal(members[entry.name], identity)
        yield record


def estimate(records: Sequence[WindowRecord], truth: Truth) -> Iterator[Estimated]:
    """Horvitz-Thompson totals of each day and over all."""
    sums: dict[tuple[int, str], float] = defaultdict(float)
    estimated: dict[tuple[int, str], float] = defaultdict(float)
    own: dict[tuple[int, str], float] = defaultdict(float)
    opened = [record.opened_at for record in records]
    for at, weight, large in truth.passed:
        record = records[bisect_right(opened, at) - 1]
        p = inclusion_probability(weight, record.threshold)
        for key, y in _ys((at - opened[0]).days, weight, large):
            own[key] += y * y * (1 - p) / p
    for record in records:
        day = (record.opened_at - opened[0]).days
        truth.totals[day, "weight"] += record.weight_total
        for entry in record.manifest:
            if not counts_for_estimates(entry.weight, entry.u, record.threshold):
                continue
            p = inclusion_probability(entry.weight, record.threshold)
            its_day, large = truth.frames[entry.sample_id]
            if its_day != day:
                raise AssertionError(f"a frame of day {its_day} lies in a window of day {day}")
            for key, y in _ys(day, entry.weight, large):
                sums[key] += y / p
                estimated[key] += y * y * (1 - p) / p**2
    told, passed = sum(r.weight_total for r in records), sum(weight for _, weight, _ in truth.passed)
    if not math.isclose(told, passed, rel_tol=1e-6):
        raise AssertionError(f"the records tell of a weight of {told}, {passed} passed")
    for what in _WHAT:
        days = sorted(day for day, other in truth.totals if other == what)
        for day, of in [*((day, [day]) for day in days), (-1, days)]:
            yield Estimated(
                day=day,
                what=what,
                estimate=sum(sums[d, what] for d in of),
                truth=sum(truth.totals[d, what] for d in of),
                variance=sum(own[d, what] for d in of),
                estimated_variance=sum(estimated[d, what] for d in of),
            )


def _ys(day: int, weight: float, large: bool) -> Iterator[tuple[tuple[int, str], float]]:
    """What a frame adds to which totals."""
    yield (day, "frames"), 1.0
    yield (day, "large frames" if large else "small frames"), 1.0
    yield (day, "weight"), weight


def largest_z(told: Told) -> float:
    """The largest |z| of all totals."""
    return max(abs(e.z) for e in told.estimates)


def _median_ratio(estimates: Sequence[Estimated]) -> float:
    return float(np.median([e.estimated_variance / e.variance for e in estimates if e.day >= 0 and e.variance > 0]))


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--days", type=int, default=7, help="days without the bucket (default: 7)")
    parser.add_argument("--seed", type=int, default=0, help="of the frames; the sample is drawn anew each time")
    parser.add_argument("--folder", type=Path, help="where the spool and the bucket lie (default: a temporary folder)")
    parser.add_argument("--cache", help="not used here")
    args = parser.parse_args()
    logging.getLogger("edge_client").setLevel(logging.ERROR)  # that the bucket is away is no news here
    with tempfile.TemporaryDirectory(prefix="andon-offline-", dir=args.folder) as folder:
        told = live(Week(days=args.days, seed=args.seed), Path(folder))
    rows = [
        Row(
            case=f"{'all days' if e.day < 0 else f'day {e.day + 1}'}: {e.what}, z",
            unit="",
            median=e.z,
            low=e.z,
            high=e.z,
            n=told.frames,
        )
        for e in told.estimates
    ]
    daily = [e.z for e in told.estimates if e.day >= 0]
    values = {
        "frames": told.frames,
        "windows": told.windows,
        "samples_uploaded": told.samples,
        "bounds_checked_commits": told.commits,
        "most_spool_bytes": told.most_bytes,
        "largest_abs_z": largest_z(told),
        "rms_z_of_days": math.sqrt(sum(z * z for z in daily) / len(daily)),
        "variance_estimate_ratio": _median_ratio(told.estimates),
        "uploaded_to_all_bytes": told.uploaded_bytes / told.stream_bytes,
        "uploaded_bytes": told.uploaded_bytes,
        "working_seconds": told.working_seconds,
        "uploading_seconds": told.uploading_seconds,
        "resident_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    figures = {name: Measure(value=float(v), low=float(v), high=float(v), n=told.frames) for name, v in values.items()}
    tell("offline", rows, figures, as_json=args.json)
    return 0 if largest_z(told) < 4 else 1


if __name__ == "__main__":
    sys.exit(main())
