"""Taking over uploads, against reading and opening them: ``python -m benchmarks.ingest [--json]``.

A real SeaweedFS holds windows of `--window` samples from eight devices: photographs of 640 by 480 as JPEG, with an
embedding of 1,280 and an anomaly map, sealed and packed as devices do. Each run is a process of its own on a new
catalog, and takes over `--samples` of them. In turns:

    limit    get each shard and open each sample with the cloud's identity; nothing is checked, stored or kept
    one      ingest with one worker, the process and its decoder on one core
    two      ingest with two workers on two cores

`samples_per_second` is that of "two", `share_of_limit` the rate of "one" over that of the limit, which has one core
too. `memory_growth` is the most memory of a run that finds `--many` samples waiting over that of one that finds `--few`
(images of 24 pixels: how many there are is the question, not how large they are). The server runs beside it on the
same machine. Rows "cpu" count the processor's time of the process and its decoders, which a busy machine does not
stretch. Rows "step" say what that is made of (`benchmarks.ingest_steps`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.ingest_steps import steps
from benchmarks.result import Row, ratio_of_means, tell
from data.catalog import Catalog
from data.ingest import ingest_inbox
from data.lake import Lake
from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.sample import SampleBlob
from edge_client.contract.sealing import generate_identity, load_identity, recipient_of, unseal
from edge_client.contract.shard import read_shard
from tests.integration.capture.weed import running_weed
from tests.unit.ingest.uploads import Uploader, put, set_up
from training.evaluate import Measure

_DEVICES = 8
_VOLUMES = 150  # of 64 MB: 200,000 samples, and in the lake what became of them
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process does.

    Attributes:
        workers: Of ingest; 0: only read and open.
        cores: How many it may use.
    """

    settings: S3Settings
    catalog_url: str
    cache: Path
    identity: str
    workers: int
    cores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What it took."""

    samples: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def _work(job: Job, answer: Connection) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.cores])
    bucket = S3Bucket.connect(job.settings)
    catalog = Catalog.open(job.catalog_url)
    lake = Lake(bucket, job.cache)
    began, before = time.monotonic(), _cpu()
    if job.workers:
        with catalog.lean() as lean:  # as the flow does
            report = ingest_inbox(lean, bucket, lake, job.identity, workers=job.workers)
        if report.deferred or report.quarantined:
            raise SystemExit(f"not all was taken over: {[*report.deferred, *report.quarantined][:1]}")
        samples = report.samples
    else:
        samples = _read(bucket, job.identity)
    answer.send(
        Done(
            samples=samples,
            seconds=time.monotonic() - began,
            cpu_seconds=_cpu() - before,
            peak_bytes=_peak_bytes(),
        )
    )


def _read(bucket: S3Bucket, identity: str) -> int:
    """The limit."""
    opened = 0
    for found in list(bucket.list("inbox/")):
        if found.key.endswith(".tar"):
            for sealed in read_shard(bucket.get(found.key, max_bytes=found.bytes)).values():
                opened += bool(unseal(sealed, identity))
    return opened


def _peak_bytes() -> int:
    """Most resident memory of this process; what `getrusage` tells begins with that of the process that started it."""
    told = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(told.split()[1]) * 1024


def _cpu() -> float:
    """Of this process and of the decoders that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def photographs(count: int, rng: np.random.Generator) -> list[bytes]:
    """JPEGs of about 60 kB: smooth, with noise, as a camera's are."""
    found = []
    for _ in range(count):
        coarse = rng.integers(60, 200, (12, 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC), dtype=np.float32)
        noisy = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        buffer = BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=85)
        found.append(buffer.getvalue())
    return found


class Line:
    """Devices whose windows are made as they are wanted."""

    def __init__(self, folder: Path, settings: S3Settings, *, window: int, seed: int) -> None:
        generate_identity(folder / "recipient.age")
        self.identity = load_identity(folder / "recipient.age")
        self._folder, self._settings, self._size = folder, settings, window
        self._bucket = S3Bucket.connect(settings)
        self._devices = [Uploader(f"line-{i}", recipient_of(self.identity)) for i in range(_DEVICES)]
        rng = np.random.default_rng(seed)
        self._images = photographs(32, rng)
        self._vectors = rng.normal(size=(32, 1280)).astype(np.float16)
        self._map = rng.random((28, 28)).astype(np.float16)
        self._number = self._runs = 0

    def send(self, samples: int, *, large: bool) -> None:
        """Upload so many samples, about."""
        for _ in range(max(1, samples // self._size)):
            self._number += 1
            device = self._devices[self._number % _DEVICES]
            change: Callable[[SampleBlob], SampleBlob] = self._as_photograph if large else (lambda blob: blob)
            put(self._bucket, device.window(self._number, samples=self._size, shards=1, change=change))

    def steps(self, *, windows: int, repeats: int) -> list[Row]:
        """What a sample's time is made of, on so many windows of photographs."""
        device = Uploader("line-steps", recipient_of(self.identity))
        uploads = [
            device.window(number, samples=self._size, shards=1, change=self._as_photograph) for number in range(windows)
        ]
        return steps(self._bucket, self.identity, device, uploads, repeats)

    def _as_photograph(self, blob: SampleBlob) -> SampleBlob:
        i = int(blob.sample_id[:4], 16) % len(self._images)
        return replace(
            blob, image=self._images[i], media_type="image/jpeg", embedding=self._vectors[i], anomaly_map=self._map
        )

    def run(self, *, workers: int, cores: int) -> Done:
        """Take over what waits, in a process of its own."""
        self._runs += 1
        place = self._folder / f"run-{self._runs}"
        url = f"sqlite:///{place}/catalog.db"
        catalog = Catalog.open(url)
        set_up(catalog, *self._devices)
        catalog.close()
        job = Job(
            settings=self._settings, catalog_url=url, cache=place / "cache", identity=self.identity, workers=workers,
            cores=cores,
        )  # fmt: skip
        mine, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(job, theirs))
        process.start()
        theirs.close()
        done = mine.recv()
        process.join(60)
        assert isinstance(done, Done)
        return done


def measure(
    folder: Path, settings: S3Settings, *, samples: int, window: int, repeats: int, few: int, many: int, seed: int
) -> tuple[list[Row], dict[str, Measure]]:
    """All runs."""
    line = Line(folder, settings, window=window, seed=seed)
    found: dict[str, list[Done]] = {"limit": [], "one": [], "two": []}
    for _ in range(repeats):
        for name, workers, cores in (("one", 1, 1), ("two", 2, 2)):
            line.send(samples, large=True)
            if name == "one":
                found["limit"].append(line.run(workers=0, cores=1))  # the same objects, which it leaves there
            found[name].append(line.run(workers=workers, cores=cores))
    rates = {name: [done.samples / done.seconds for done in runs] for name, runs in found.items()}
    rows = [Row.of(f"{name}: samples", "a second", values) for name, values in rates.items()]
    rows += [
        Row.of(f"{name}: cpu of a sample", "ms", [1000 * done.cpu_seconds / done.samples for done in runs])
        for name, runs in found.items()
    ]
    rows += [
        Row.of(f"{name}: memory at most", "MB", [d.peak_bytes / 1e6 for d in runs]) for name, runs in found.items()
    ]
    rows += line.steps(windows=16, repeats=max(3, repeats))
    peaks: dict[int, float] = {}
    for count in (few, many):
        line.send(count, large=False)
        done = line.run(workers=2, cores=2)
        peaks[count] = float(done.peak_bytes)
        rows.append(Row.of(f"{done.samples:,} small samples: memory at most", "MB", [done.peak_bytes / 1e6]))
        rows.append(Row.of(f"{done.samples:,} small samples", "a second", [done.samples / done.seconds]))
    two, growth = rates["two"], peaks[many] / peaks[few]
    return rows, {
        "samples_per_second": Measure(value=float(np.median(two)), low=min(two), high=max(two), n=len(two)),
        "share_of_limit": ratio_of_means(rates["one"], rates["limit"], seed=seed),
        "memory_growth": Measure(value=growth, low=growth, high=growth, n=1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--samples", type=int, default=1_000, help="photographs of each run")
    parser.add_argument("--window", type=int, default=25, help="samples of a window")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each kind, in turns")
    parser.add_argument("--few", type=int, default=10_000, help="small samples of the first run whose memory is told")
    parser.add_argument("--many", type=int, default=200_000, help="and of the second")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="andon-ingest-") as name,
        running_weed(Path(name) / "weed", volumes=_VOLUMES) as weed,
    ):
        rows, figures = measure(
            Path(name), weed.settings, samples=args.samples, window=args.window, repeats=args.repeats, few=args.few,
            many=args.many, seed=args.seed,
        )  # fmt: skip
    tell("ingest", rows, figures, as_json=args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
