"""What an update moves over the wire, and what applying it costs, for engines of one inspection and their successors.

A device with the first engine in a slot follows the channel to a later one: bytes are counted where they are read from
the bucket, metadata, list and self-test included. Peers encode the same pair of files against one another: they know
both at once, which a publisher with ten thousand devices on several engines does not.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.result import Row
from benchmarks.update_engines import INSPECTION, SentEngine
from edge_client.clock import SystemClock
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.chunks import ChunkList
from edge_client.contract.releases import TARGETS_PREFIX, Channel, engine_target, selftest_target
from edge_client.updates.delta import compare
from edge_client.updates.download import download
from edge_client.updates.rules import Limits
from edge_client.updates.trial import TrialOrder, TrialReport
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig
from flows.releases.repository import ReleaseRepository
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import HandClock

_WINDOW_LOG = 24  # of zstd: the whole base in view


class CountedBucket(DirectoryBucket):
    """Counts what is read, by kind of object."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bytes: dict[str, int] = {}
        self.requests = 0

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        data = super().get_range(key, start, length)
        kind = "metadata" if "/metadata/" in key else key.rpartition(".")[2]
        self.bytes[kind] = self.bytes.get(kind, 0) + len(data)
        self.requests += 1
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What one update took.

    Attributes:
        bytes: Read from the bucket, by kind of object.
        requests: Reads.
        seconds: Of the whole check: metadata, comparing, putting together, verifying, storing; without a trial.
    """

    bytes: Mapping[str, int]
    requests: int
    seconds: float

    @property
    def of_files(self) -> int:
        """Engine, self-test and list."""
        return sum(self.bytes.get(kind, 0) for kind in ("onnx", "selftest", "chunks"))


class Plant:
    """A cloud that releases engines, and a device that has followed it to the first one.

    Args:
        folder: For both.
        first: Released and installed.
        at: What the clocks of both say.
    """

    def __init__(self, folder: Path, first: SentEngine, *, at: datetime = datetime(2026, 6, 1, tzinfo=UTC)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.clock = HandClock(at)
        self.cloud = folder / "cloud"
        self.repository = ReleaseRepository(DirectoryBucket(self.cloud), folder / "keys", self.clock)
        self.repository.create()
        (folder / "factory.onnx").write_bytes(tiny_engine(engine_id="factory", inspection=INSPECTION))
        (folder / "root.json").write_bytes(self.repository.root_bytes())
        self.release(first)
        self.follow()

    def release(self, sent: SentEngine) -> None:
        """Approve an engine and name it in the channel."""
        self.clock.advance(seconds=1)
        digest = self.repository.publish_engine(INSPECTION, sent.engine_id, sent.engine, sent.selftest, {})
        channel = Channel(
            inspection=INSPECTION,
            channel="stable",
            engine_path=engine_target(INSPECTION, sent.engine_id),
            engine_sha256=digest,
            engine_bytes=len(sent.engine),
            engine_id=sent.engine_id,
            version="1",
            selftest_path=selftest_target(INSPECTION, sent.engine_id),
            issued_at=self.clock.now(),
        )
        self.repository.set_channel(channel)

    def follow(self, state: Path | None = None) -> Moved:
        """Let the device look for a release and confirm it."""
        bucket = CountedBucket(self.cloud)
        config = UpdaterConfig(
            device="line-1",
            inspection=INSPECTION,
            channel="stable",
            state=state or self.folder / "state",
            factory_engine=self.folder / "factory.onnx",
            root=(self.folder / "root.json").read_bytes(),
            limits=Limits(probation_frames=0),
        )
        device = Updater.open(config, bucket, clock=self.clock, random=Random(0), tries=_passing)
        begun = time.perf_counter()
        device.check_once()
        moved = Moved(bytes=bucket.bytes, requests=bucket.requests, seconds=time.perf_counter() - begun)
        if device.slot.engine.sha256 != device.status().rollout.engine_sha256:
            raise RuntimeError(f"the update did not come through: {device.status().last_check}")
        device.stop()
        return moved


def wire(engines: Mapping[str, SentEngine], *, rounds: int) -> tuple[list[Row], dict[str, Moved]]:
    """Measure every successor of the first engine, whole files, damaged bases and the peers."""
    rows: list[Row] = []
    found: dict[str, Moved] = {}
    with tempfile.TemporaryDirectory(prefix="andon-updates-") as name:
        plant = Plant(Path(name), engines["base"])
        held = Path(name) / "held"
        shutil.copytree(Path(name) / "state", held, symlinks=True)
        for case in ("head-only", "refit", "thresholds"):
            plant.release(engines[case])
            for way, spoil in _WAYS.items():
                if way != "delta" and case != "head-only":
                    continue
                runs = [_run(plant, held, spoil, n) for n in range(rounds)]
                label = f"{case}, {way}"
                found[label] = runs[0]
                rows += _rows(label, runs, len(engines[case].engine))
            rows.append(_put_together(plant, engines["base"], engines[case], rounds))
            rows += _peers(case, engines["base"], engines[case])
    return rows, found


def _run(plant: Plant, held: Path, spoil: Callable[[Path, Random], None], n: int) -> Moved:
    state = plant.folder / "run"
    shutil.rmtree(state, ignore_errors=True)
    shutil.copytree(held, state, symlinks=True)
    for slot in ("slot-a", "slot-b"):
        if (file := state / slot / "engine.onnx").exists():
            spoil(file, Random(n))
    return plant.follow(state)


def _damaged(file: Path, random: Random) -> None:
    """Ten places of the base are overwritten, as failing memory does."""
    data = bytearray(file.read_bytes())
    for _ in range(10):
        at = random.randrange(len(data) - 512)
        data[at : at + 512] = random.randbytes(512)
    file.write_bytes(data)


def _ruined(file: Path, random: Random) -> None:
    file.write_bytes(random.randbytes(file.stat().st_size))


_WAYS: dict[str, Callable[[Path, Random], None]] = {
    "delta": lambda file, random: None,
    "ten places of the base damaged": _damaged,
    "the base ruined": _ruined,
}


def _rows(label: str, runs: list[Moved], engine_bytes: int) -> list[Row]:
    return [
        Row.of(f"{label}: engine, list and self-test", "bytes", [float(run.of_files) for run in runs]),
        Row.of(f"{label}: share of the engine", "%", [100 * run.of_files / engine_bytes for run in runs]),
        Row.of(f"{label}: list of chunks", "bytes", [float(run.bytes.get("chunks", 0)) for run in runs]),
        Row.of(f"{label}: self-test", "bytes", [float(run.bytes.get("selftest", 0)) for run in runs]),
        Row.of(
            f"{label}: channel and metadata",
            "bytes",
            [float(sum(run.bytes.values()) - run.of_files) for run in runs],
        ),
        Row.of(f"{label}: requests", "", [float(run.requests) for run in runs]),
        Row.of(f"{label}: applied in", "ms", [1000 * run.seconds for run in runs]),
    ]


def _put_together(plant: Plant, old: SentEngine, new: SentEngine, rounds: int) -> Row:
    """Comparing, copying, verifying and syncing alone, the rest from a local folder."""
    listed = ChunkList.of(new.engine, new.selftest).engine
    key = f"{TARGETS_PREFIX}engines/{INSPECTION}/{listed.sha256}.{new.engine_id}.onnx"
    seconds = []
    for _ in range(rounds):
        folder = plant.folder / "parts"
        shutil.rmtree(folder, ignore_errors=True)
        begun = time.perf_counter()
        download(
            DirectoryBucket(plant.cloud),
            key,
            sha256=listed.sha256,
            length=listed.length,
            folder=folder,
            clock=SystemClock(),
            plan=compare(listed, [old.engine]),
        )
        seconds.append(1000 * (time.perf_counter() - begun))
    return Row.of(f"{new.engine_id}, delta: compared, put together and verified in", "ms", seconds)


def _peers(case: str, old: SentEngine, new: SentEngine) -> list[Row]:
    """The same two engine files, encoded by peers that are installed."""
    rows = []
    for name, size in {"zstandard": _zstandard, "bsdiff4": _bsdiff4, "fastcdc": _fastcdc}.items():
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        rows.append(
            Row.of(f"{case}, peer {name}: engine alone", "bytes", [float(size(module, old.engine, new.engine))])
        )
    return rows


def _zstandard(module: Any, old: bytes, new: bytes) -> int:
    prefix = module.ZstdCompressionDict(old, dict_type=module.DICT_TYPE_RAWCONTENT)
    options = module.ZstdCompressionParameters.from_level(19, window_log=_WINDOW_LOG, enable_ldm=True)
    return len(module.ZstdCompressor(dict_data=prefix, compression_params=options).compress(new))


def _bsdiff4(module: Any, old: bytes, new: bytes) -> int:
    patch: bytes = module.diff(old, new)
    return len(patch)


def _fastcdc(module: Any, old: bytes, new: bytes) -> int:
    """Content-defined chunks of 8 kB on average, 18 bytes of list each."""
    chunks = [
        [(c.length, data[c.offset : c.offset + c.length]) for c in module.fastcdc(data, 2048, 8192, 32_768)]
        for data in (old, new)
    ]
    held = {piece for _, piece in chunks[0]}
    return 18 * len(chunks[1]) + sum(len(piece) for _, piece in chunks[1] if piece not in held)


def _passing(order: TrialOrder) -> TrialReport:
    return TrialReport(passed=True, latency_ms=1.0)


def whole_file(engines: Mapping[str, SentEngine], *, rounds: int) -> list[Row]:
    """The same update on a device that holds nothing alike."""
    with tempfile.TemporaryDirectory(prefix="andon-updates-") as name:
        plant = Plant(Path(name), engines["head-only"])
        runs = [plant.follow(Path(name) / f"fresh-{n}") for n in range(rounds)]
    return _rows("head-only, nothing held", runs, len(engines["head-only"].engine))
