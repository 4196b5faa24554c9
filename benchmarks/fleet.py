"""A fleet and its bad releases: ``python -m benchmarks.fleet [--json] [--devices 1000]``.

A thousand devices, each with the client's own updater and heartbeat, in virtual time (`infra/simulation`: what is real
and what is not is said there), on a folder in memory as the bucket. After some quiet hours version 2 is released to all
of them, by the default [rollout] policy; it is bad in one of four ways:

    shift      passes its trial and its probation, and calls a quarter of good parts defective: nothing on the device
               can know. The whole fleet gets this one
    slow       takes 90 ms instead of 12; nothing on the device can know either
    crash      fails on a fifth of the frames in service
    selftest   fails its self-test

The last three go to fewer devices (`--others`), since what stops them is the first device. A good version follows, to
see that it arrives. Each is repeated with `--seeds` seeds: other devices come first.

`bad_confirmed` is the most devices of any run that ever confirmed a bad version. Requests and bytes are those of a
device in the quiet hours, all kinds together, with headers as `benchmarks.wire` counts them before a real SeaweedFS
on kept HTTP connections; TLS is told beside it. Ten thousand devices on paper: the cloud's and the bucket's load are
those of a device times ten thousand, since both are sums over devices; the row "reading heartbeats" is what one run
of the watch costs for each heartbeat that is new.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.result import Row, tell
from benchmarks.wire import handshake_bytes, header_bytes
from data.policy import Policy
from edge_client.contract.bucket import DirectoryBucket
from infra.simulation.lines import Badness
from infra.simulation.link import KINDS
from infra.simulation.plan import Plan
from infra.simulation.report import Report
from infra.simulation.run import simulate
from training.evaluate import Measure

_WARM_UP_HOURS = 3.0
_HEADER_TIMES = 20
_MEMORY = Path("/dev/shm")


def run(bad: Badness, devices: int, seed: int) -> Report:
    """Release one version to one fleet."""
    plan = Plan(devices=devices, bad=bad, seed=seed, warm_up_hours=_WARM_UP_HOURS, settle_hours=0.3, most_hours=12)
    with tempfile.TemporaryDirectory(prefix="andon-fleet-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        report = simulate(
            plan,
            bucket=DirectoryBucket(Path(folder) / "bucket"),
            folder=Path(folder) / "fleet",
            policy=Policy(),
            tell=lambda line: print(f"  {bad} {seed}: {line}", file=sys.stderr),
        )
    print(f"{bad}, seed {seed}: {report.course.state}, {report.wall_seconds:.0f} s", file=sys.stderr)
    return report


def measure(devices: int, others: int, seeds: int) -> tuple[list[Row], dict[str, Measure]]:
    """Run all, and collect."""
    plans: list[tuple[Badness, int]] = [("shift", devices), ("slow", others), ("crash", others), ("selftest", others)]
    bad = {kind: [run(kind, size, seed) for seed in range(seeds)] for kind, size in plans}
    good = [run("none", others, seed) for seed in range(seeds)]
    rows = []
    for kind, reports in bad.items():
        told = f"{kind}, {reports[0].plan['devices']:,} devices"
        rows += [
            Row.of(f"{told}: ever confirmed it", "devices", [r.course.ever_confirmed for r in reports]),
            Row.of(f"{told}: ever served it", "devices", [r.course.served for r in reports]),
            Row.of(f"{told}: until it was taken back", "hours", [_hours(r) for r in reports]),
        ]
    rows.append(Row.of(f"good, {others:,} devices: until all had it", "hours", [_hours(r) for r in good]))
    main = bad["shift"]
    every = [report for reports in bad.values() for report in reports]
    rows += [
        Row.of(f"{kind} requests of a device", "a day", [r.quiet.requests[kind] for r in main])
        for kind in KINDS
        if main[0].quiet.requests[kind]
    ]
    rows += [
        Row.of("objects of a device", "bytes a day", [r.quiet.object_bytes for r in main]),
        Row.of("the cloud's requests for a device", "a day", [r.cloud.all_requests for r in main]),
        Row.of("reading heartbeats, a minute's run of the watch", "ms", [r.read_ms for r in main]),
        Row.of("looking at the rollout, a minute's run", "ms", [r.look_ms for r in main]),
        Row.of("catalog of a device, after these hours", "bytes", [r.catalog_bytes_per_device for r in main]),
        Row.of("processor for a device and hour, cloud included", "ms", [_cpu_ms(r) for r in main]),
        Row.of(f"{devices:,} devices: the whole simulation", "s", [r.wall_seconds for r in main]),
        Row.of(f"{devices:,} devices: memory at most", "MB", [r.peak_bytes / 1e6 for r in main]),
    ]
    headers = header_bytes(_HEADER_TIMES)
    rows += [Row.of(f"headers of a request: {kind}", "bytes", values) for kind, values in headers.items()]
    handshake = handshake_bytes()
    rows.append(Row.of("TLS handshake of a connection", "bytes", [float(handshake)]))
    tls = [r.quiet.wire_bytes + handshake * r.quiet.all_requests for r in main]
    rows.append(Row.of("bytes of a device, a TLS connection for each request", "a day", tls))
    failed = [r for r in every if r.course.state not in ("reverted", "halted")] + [
        r for r in good if r.course.state != "done"
    ]
    rows.append(Row.of("rollouts that ended otherwise than they should", "of all", [float(len(failed))]))
    return rows, {
        "devices": Measure(value=devices, low=devices, high=devices, n=seeds),
        "bad_confirmed": _most([r.bad_confirmed for r in every]),
        "requests_per_device_day": _mean([r.quiet.all_requests for r in main]),
        "bytes_per_device_day": _mean([r.quiet.wire_bytes for r in main]),
    }


def _hours(report: Report) -> float:
    return report.course.hours if report.course.hours is not None else float("inf")


def _cpu_ms(report: Report) -> float:
    return 1000.0 * report.cpu_seconds / (float(report.plan["devices"]) * report.virtual_hours)


def _most(values: Sequence[float]) -> Measure:
    """The largest, and between what they lie."""
    return Measure(value=max(values), low=min(values), high=max(values), n=len(values))


def _mean(values: Sequence[float]) -> Measure:
    """The mean, and between what the runs lie."""
    return Measure(value=sum(values) / len(values), low=min(values), high=max(values), n=len(values))


def main() -> int:
    """Measure and print; the exit code is 1 if a rollout ended otherwise than it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--devices", type=int, default=1000, help="that get the version nothing on a device can know of"
    )
    parser.add_argument("--others", type=int, default=100, help="devices of the other fleets")
    parser.add_argument("--seeds", type=int, default=2, help="repetitions of each, with other devices first")
    args = parser.parse_args()
    rows, figures = measure(args.devices, args.others, args.seeds)
    tell("fleet", rows, figures, as_json=args.json)
    return 1 if rows[-1].median else 0


if __name__ == "__main__":
    sys.exit(main())
