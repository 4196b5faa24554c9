"""What a revoked device can still do, and for how long: ``python -m benchmarks.revoke [--json]``.

Real SeaweedFS with its IAM, as the stack runs it. Each device puts into its inbox, puts its heartbeat and gets releases
as fast as it can, each in a thread of its own, while `andon revoke` runs. Shown: seconds from the command's begin until
the bucket refuses each of them, and how many requests were answered after the first refusal (none, or the refusal is
not final). Afterwards everything else that a device might try is tried once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.result import Row, tell
from data.inspections import create_inspection
from data.workspace import Workspace
from edge_client.contract.bucket import S3Bucket
from edge_client.contract.errors import BucketError, Refused
from edge_client.contract.sealing import generate_identity
from infra.enrolment import enroll, revoke
from infra.stack.foundation import lay
from tests.integration.capture.weed import Weed, running_weed
from tests.tiny_engine import tiny_engine
from training.evaluate import Measure

VERBS = ("put inbox", "put heartbeat", "get releases")
_PATIENCE_SECONDS = 30.0


class Trying(threading.Thread):
    """Does one thing again and again; notes when it was last answered and first refused."""

    def __init__(self, what: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._what = what
        self._stop_it = threading.Event()
        self.answered_at = self.refused_at = float("nan")
        self.after = 0  # answered after a refusal

    def run(self) -> None:
        """Try until told to stop."""
        while not self._stop_it.is_set():
            begun = time.monotonic()
            try:
                self._what()
            except Refused:
                if np.isnan(self.refused_at):
                    self.refused_at = time.monotonic()
            except BucketError:
                continue
            else:
                self.after += begun > self.refused_at
                self.answered_at = time.monotonic()

    def stop(self) -> None:
        """End it."""
        self._stop_it.set()
        self.join(10)


def home_on(weed: Weed, folder: Path) -> Workspace:
    """A home directory on a real bucket."""
    (folder / "keys").mkdir(parents=True, mode=0o700)
    generate_identity(folder / "keys" / "recipient.age")
    settings = weed.settings
    stack = {"urls": {"bucket": settings.endpoint_url}, "bucket": {"name": settings.bucket}}
    (folder / "stack.json").write_text(json.dumps(stack))
    secrets = {"access_key_id": settings.access_key_id, "secret_access_key": settings.secret_access_key}
    (folder / "secrets.json").write_text(json.dumps(secrets))
    lay(folder)
    workspace = Workspace.open(folder, environ={})
    create_inspection(workspace.catalog(), "solar-cells", [("ok", "ok"), ("crack", "defect")])
    (folder / "engine.onnx").write_bytes(tiny_engine())
    return workspace


def run(devices: int) -> tuple[dict[str, list[float]], int, int, int]:
    """Revoke so many devices; return seconds by verb, answers after a refusal, other attempts, and how many got by."""
    seconds: dict[str, list[float]] = {verb: [] for verb in VERBS}
    after = tried = got_by = 0
    with tempfile.TemporaryDirectory(prefix="andon-revoke-") as folder, running_weed(Path(folder) / "weed") as weed:
        workspace = home_on(weed, Path(folder) / "home")
        for number in range(devices):
            name = f"line-{number}"
            place = Path(folder) / name
            enroll(
                workspace,
                name,
                site="plant",
                station=name,
                inspection="solar-cells",
                engine=workspace.home / "engine.onnx",
                out_dir=place,
            )
            bucket = _bucket_of(weed, place)
            verbs = _verbs(bucket, name)
            threads = {verb: Trying(verbs[verb]) for verb in VERBS}
            for thread in threads.values():
                thread.start()
            while any(np.isnan(thread.answered_at) for thread in threads.values()):
                time.sleep(0.01)
            begun = time.monotonic()
            revoke(workspace, name, reason="benchmark")
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while any(np.isnan(t.refused_at) for t in threads.values()) and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(1.0)  # nothing comes back
            for verb, thread in threads.items():
                thread.stop()
                seconds[verb].append(thread.refused_at - begun)
                after += thread.after
            for attempt in _everything_else(bucket, name):
                tried += 1
                try:
                    attempt()
                except BucketError:
                    continue
                got_by += 1
            print(f"revoke: {number + 1} of {devices}", file=sys.stderr)
    return seconds, after, tried, got_by


def _bucket_of(weed: Weed, place: Path) -> S3Bucket:
    import tomllib

    secrets = tomllib.loads((place / "credentials.toml").read_text())
    return S3Bucket.connect(replace(weed.settings, **secrets), attempts=1)


def _verbs(bucket: S3Bucket, name: str) -> dict[str, Callable[[], object]]:
    return {
        "put inbox": lambda: bucket.put(f"inbox/{name}/1-1/0.tar", b"x" * 1000),
        "put heartbeat": lambda: bucket.put(f"fleet/{name}/status.json", b"{}"),
        "get releases": lambda: bucket.get("releases/metadata/timestamp.json", max_bytes=1 << 20),
    }


def _everything_else(bucket: S3Bucket, name: str) -> list[Callable[[], object]]:
    return [
        *_verbs(bucket, name).values(),
        lambda: bucket.get(f"inbox/{name}/1-1/0.tar", max_bytes=1 << 20),
        lambda: bucket.get("releases/metadata/1.root.json", max_bytes=1 << 20),
        lambda: list(bucket.list("")),
        lambda: list(bucket.list(f"inbox/{name}/")),
        lambda: bucket.delete(f"inbox/{name}/1-1/0.tar"),
        lambda: bucket.put("fleet/another/status.json", b"{}"),
        lambda: bucket.put("releases/metadata/timestamp.json", b"{}"),
    ]


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.revoke", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--devices", type=int, default=20, help="devices revoked (default: 20)")
    parser.add_argument("--cache", help="not used here")
    args = parser.parse_args()
    begun = datetime.now(UTC)
    seconds, after, tried, got_by = run(args.devices)
    rows = [Row.of(f"{verb}: refused after", "s", values) for verb, values in seconds.items()]
    everything = [value for values in seconds.values() for value in values]
    low, middle, high = (float(q) for q in np.quantile(everything, [0.05, 0.5, 0.95]))
    n = len(everything)
    figures = {
        "seconds_to_refusal": Measure(value=middle, low=low, high=high, n=n),
        "answered_after_refusal": Measure(value=after, low=after, high=after, n=n),
        "other_attempts_that_got_by": Measure(value=got_by, low=got_by, high=got_by, n=tried),
    }
    tell("revoke", rows, figures, as_json=args.json)
    print(f"revoke: {(datetime.now(UTC) - begun).total_seconds():.0f} s in all", file=sys.stderr)
    return 1 if after or got_by else 0


if __name__ == "__main__":
    sys.exit(main())
