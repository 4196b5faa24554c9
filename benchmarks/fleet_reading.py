"""What ten thousand devices cost the cloud: ``python -m benchmarks.fleet_reading [--json] [--devices 10000]``.

That many devices are registered and each has put a signed heartbeat. Measured are a run of ingest that reads all of
them for the first time; runs in which a fifth has changed (a minute of devices that tell of themselves every five
minutes); a run in which nothing has; one after which a whole site of a hundred devices is silent; and what a look at
the fleet costs: the summary, the first page, a late page and a search. The bucket is a folder in memory: over a
network each page of a thousand keys and each heartbeat that changed is one request more, eight at a time. Runs are
told in seconds of processor, of all threads. A folder has no pages: it lists all of itself for each shard, which is
nearly all of a run in which nothing has changed, and what S3 does not do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.result import Row, tell
from data.catalog import Catalog
from data.catalog.models import DeviceInspectionRow, DeviceRow
from data.fleet import FleetFilter, fleet_page, fleet_summary
from data.heartbeats import HeartbeatReport, ingest_heartbeats
from data.inspections import create_inspection
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.heartbeat import Heartbeat, Rollout
from edge_client.contract.names import status_key
from edge_client.contract.signing import public_hex
from infra.simulation.clocks import VirtualClock
from infra.simulation.engines import CLASSES
from infra.simulation.link import Meter, TimedBucket
from training.evaluate import Measure

_INSPECTION = "tiles"
_SITE = 100  # devices
_SHARE = 5  # of the fleet, that changes in a minute: one in so many
_LOOKS = 20


class Large:
    """A large fleet that says what it is told to."""

    def __init__(self, folder: Path, devices: int) -> None:
        self.clock = VirtualClock(datetime(2027, 1, 4, tzinfo=UTC))
        self.catalog = Catalog.open(f"sqlite:///{folder / 'catalog.db'}")
        self.bucket = TimedBucket(DirectoryBucket(folder / "bucket"), self.clock, Meter())
        self.key = Ed25519PrivateKey.generate()
        self.names = [f"site-{i // _SITE:03d}-line-{i % _SITE:03d}" for i in range(devices)]
        self._sequence = 0
        create_inspection(self.catalog, _INSPECTION, list(CLASSES))
        public, at = public_hex(self.key), self.clock.now()
        with self.catalog.session() as session:  # as enrolment leaves them, in one transaction
            for name in self.names:
                session.add(
                    DeviceRow(name=name, site=name[:8], station=name[9:], public_key_hex=public, registered_at=at)
                )
            session.flush()
            for name in self.names:
                session.add(DeviceInspectionRow(device=name, inspection=_INSPECTION, channel="stable"))

    def beat(self, names: Sequence[str]) -> int:
        """Let devices tell of themselves; returns the bytes of one heartbeat."""
        self._sequence += 1
        said = Heartbeat(
            device=self.names[0], site="site-000", station="line-000", sequence=self._sequence,
            sent_at=self.clock.now(), client_version="0.1.0", inspection=_INSPECTION, channel="stable",
            engine_id="engine-12", engine_sha256="a" * 64, slot="a", health="ok", interval_seconds=300.0,
            frames=1_234_567 + self._sequence, latency_ms_p50=3.214, latency_ms_p99=7.512,
            class_counts={"ok": 1_200_000, "defect": 34_567}, anomaly_mean=0.3124, spool_bytes=123_456_789,
            spool_limit=1_000_000_000, spool_windows=3, hardware="x86_64", variant="int8",
            rollout=Rollout(engine_id="engine-12", engine_sha256="a" * 64, outcome="confirmed"),
            metadata_versions={"root": 1, "timestamp": 812, "snapshot": 96, "targets": 4, "engines": 41, "rollouts": 7},
        )  # fmt: skip
        size = 0
        for name in names:
            document = replace(said, device=name, site=name[:8], station=name[9:]).sign(self.key)
            self.bucket.put(status_key(name), document)
            size = len(document)
        return size

    def read(self) -> tuple[float, HeartbeatReport]:
        """Let the cloud read; returns its seconds of processor too."""
        begun = time.process_time()
        report = ingest_heartbeats(self.catalog, self.bucket, self.clock.now, most_seconds=1e9)
        return time.process_time() - begun, report


def measure(devices: int, rounds: int) -> tuple[list[Row], dict[str, Measure]]:
    """Measure all cases."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="andon-large-", dir=memory if memory.is_dir() else None) as folder:
        fleet = Large(Path(folder), devices)
        size = fleet.beat(fleet.names)
        first, report = fleet.read()
        assert len(report.new) == devices, report
        changed, unchanged = [], []
        for n in range(rounds):
            fleet.clock.seconds += 60
            some = fleet.names[n % _SHARE :: _SHARE]
            fleet.beat(some)
            seconds, report = fleet.read()
            assert len(report.new) == len(some), report
            changed.append(1000 * seconds)
            unchanged.append(1000 * fleet.read()[0])
        fleet.clock.seconds += timedelta(minutes=20).total_seconds()
        fleet.beat(fleet.names[_SITE:])
        silent, report = fleet.read()
        assert len(report.silent) == _SITE, report
        catalog = fleet.catalog
        looks: dict[str, Callable[[], object]] = {
            "summary": lambda: fleet_summary(catalog),
            "first page": lambda: fleet_page(catalog),
            "last page, by last seen": lambda: fleet_page(catalog, sort="heard", offset=devices - 50),
            "search for a piece of a name": lambda: fleet_page(catalog, FleetFilter(search="line-05")),
        }
        rows = [
            Row.of("a heartbeat", "bytes", [float(size)]),
            Row.of(f"reading {devices:,} for the first time", "s", [first]),
            Row.of(f"a run when {devices // _SHARE:,} are new", "ms", changed),
            Row.of("a run when none is", "ms", unchanged),
            Row.of("a run that finds a site silent, all others new", "s", [silent]),
            *(Row.of(f"look: {name}", "ms", timed(look)) for name, look in looks.items()),
            Row.of(
                "catalog of a device", "bytes", [sum(p.stat().st_size for p in Path(folder).glob("*.db*")) / devices]
            ),
        ]
        fleet.catalog.close()
    return rows, {
        "devices": Measure(value=devices, low=devices, high=devices, n=1),
        "ms_per_minute": Measure(value=sum(changed) / rounds, low=min(changed), high=max(changed), n=rounds),
    }


def timed(look: Callable[[], object]) -> list[float]:
    """Milliseconds of each of some looks, after one that is not counted."""
    look()
    found = []
    for _ in range(_LOOKS):
        begun = time.perf_counter()
        look()
        found.append(1000 * (time.perf_counter() - begun))
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--devices", type=int, default=10_000, help="default 10,000; at least 200")
    parser.add_argument("--rounds", type=int, default=5, help="runs with changes (default 5)")
    args = parser.parse_args()
    rows, figures = measure(max(2 * _SITE, args.devices), args.rounds)
    tell("fleet_reading", rows, figures, as_json=args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
