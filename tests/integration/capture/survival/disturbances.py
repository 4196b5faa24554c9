"""What happens to a line, one thing after the other, beside what it does undisturbed in the same run.

The bucket's troubles come from `bad_line`, the disk's from `crash/shim.c`, the clock is the client's argument; the
spool is really removed, the engine on trial is really killed by SIGSEGV or really works on for longer than a trial may
take.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_client.clock import SystemClock
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.releases import Channel, engine_target, selftest_target
from flows.releases.repository import ReleaseRepository
from tests.integration.capture.bad_line import BadServer, running
from tests.tiny_engine import tiny_engine
from tests.unit.capture.device import Bundle
from tests.unit.updates.release_world import digest, selftest_of

_QUICK = """
window_seconds = 0.5
idle_close_seconds = 0.5
[update]
poll_seconds = 0.2
trial_seconds = 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One case: the undisturbed stretch before it, the disturbed one, and what the status said."""

    case: str
    before: dict[str, Any]
    during: dict[str, Any]
    told: str
    status_ms: float


@dataclass(slots=True, kw_only=True)
class _Process:
    """The line's process."""

    child: subprocess.Popen[str]

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        print(json.dumps(order), file=self.child.stdin, flush=True)
        answer = self.child.stdout.readline()
        if not answer:
            raise AssertionError(f"the line died with code {self.child.wait(10)} when told to {order}")
        return dict(json.loads(answer))


@dataclass(slots=True, kw_only=True)
class Survival:
    """A line, its device's folder, its cloud.

    Attributes:
        frames: Inspected in each stretch.
    """

    folder: Path
    shim: Path
    frames: int
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self) -> list[Outcome]:
        """Let everything happen."""
        bundle = self._bundle("far", 'name = "andon"\ncredentials = "credentials.toml"')
        near = self._bundle("near", 'directory = "bucket"')
        with running("answers") as server, self._process(near.folder / "state") as process:
            self._far(process, server, bundle)
            self._near(process, near)
            process.ask(do="end")
        return self.outcomes

    def _bundle(self, name: str, bucket: str) -> Bundle:
        bundle = Bundle(self.folder / name, bucket=bucket, capture=_QUICK)
        text = bundle.config.read_text().replace('key = "device.key"', 'key = "device.key"\nheartbeat_seconds = 0.5')
        bundle.config.write_text(text)
        (bundle.folder / "credentials.toml").write_text('access_key_id = "AK"\nsecret_access_key = "SK"\n')
        return bundle

    @contextlib.contextmanager
    def _process(self, state: Path) -> Iterator[_Process]:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.capture.survival.line"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_PRELOAD": str(self.shim), "SHIM_ROOT": str(state)},
        )
        try:
            yield _Process(child=child)
        finally:
            child.kill()
            child.communicate()

    def _far(self, process: _Process, server: BadServer, bundle: Bundle) -> None:
        """A bucket over HTTP that goes bad, and one whose name cannot be resolved."""
        text = bundle.config.read_text()

        def config(name: str, host: str) -> str:
            path = bundle.folder / name
            path.write_text(
                text.replace(
                    "[bucket]",
                    f'[bucket]\nendpoint_url = "http://{host}:{server.port}"\nread_seconds = 0.5\nconnect_seconds = 2',
                )
            )
            return str(path)

        def way(name: str) -> Callable[[], None]:
            return lambda: setattr(server, "way", name)

        process.ask(do="open", config=config("good.toml", "127.0.0.1"))
        for case, name in (
            ("bucket takes 1 byte/s", "takes a byte a second"),
            ("bucket answers 1 byte/s", "trickles its headers"),
        ):
            self._case(process, case, way(name), way("answers"), _upload_problem("bytes moved"))
        nowhere = config("nowhere.toml", "bucket.invalid")
        self._case(
            process,
            "DNS fails",
            lambda: process.ask(do="open", config=nowhere),
            lambda: None,
            _upload_problem("cannot be resolved"),
        )

    def _near(self, process: _Process, bundle: Bundle) -> None:
        """Disk, spool, clock and engines; the bucket is a folder."""
        bucket = DirectoryBucket(bundle.folder / "bucket")
        keys = bundle.folder / "keys"
        repository = ReleaseRepository(bucket, keys, SystemClock(), inspect=lambda *_: None)  # bad engines too
        repository.create()
        (bundle.folder / "root.json").write_bytes(repository.root_bytes())
        bundle.config.write_text(bundle.config.read_text() + '\n[releases]\nroot = "root.json"\n')
        process.ask(do="open", config=str(bundle.config))

        def disk(code: int) -> Callable[[], object]:
            return lambda: process.ask(do="disk", errno=code)

        def clock(year: int) -> Callable[[], object]:
            return lambda: process.ask(do="clock", year=year)

        spool = bundle.folder / "state" / "spool"

        def delete_spool() -> None:
            away = spool.rename(bundle.folder / "deleted")  # at once: the line goes on writing
            shutil.rmtree(away, ignore_errors=True)

        self._case(process, "disk full", disk(errno.ENOSPC), disk(0), _problem("free space"))
        self._case(process, "disk read-only", disk(errno.EROFS), disk(0), _problem("writable"))
        self._case(process, "spool deleted", delete_spool, lambda: None, _problem("was removed"))
        self._case(process, "clock at 1970", clock(1970), clock(0), None)
        self._case(process, "clock at 2099", clock(2099), clock(0), _problem("clock"))
        self._engine_that_crashes(process, repository)
        self._engine_that_never_returns(process, repository)

    def _engine_that_crashes(self, process: _Process, repository: ReleaseRepository) -> None:
        stop = threading.Event()
        killer = threading.Thread(target=_kill_trials, args=(process.child.pid, stop), daemon=True)

        def begin() -> None:
            killer.start()
            data = tiny_engine(engine_id="e-crash", bias=0.1)
            _release(repository, data, "e-crash", selftest_of(data))

        def end() -> None:
            stop.set()
            killer.join(10)

        self._case(process, "engine crashes on trial", begin, end, _rollout("SIGSEGV"))

    def _engine_that_never_returns(self, process: _Process, repository: ReleaseRepository) -> None:
        """A frame takes it minutes; its self-test is that of the same engine without the needless work."""
        test = selftest_of(tiny_engine(engine_id="e-slow"))
        data = tiny_engine(engine_id="e-slow", delay_ops=15_000)
        self._case(
            process,
            "engine never returns on trial",
            lambda: _release(repository, data, "e-slow", test),
            lambda: None,
            _rollout("did not end"),
        )

    def _case(
        self,
        process: _Process,
        case: str,
        begin: Callable[[], object],
        end: Callable[[], object],
        says: Callable[[dict[str, Any]], str] | None,
    ) -> None:
        before = process.ask(do="inspect", frames=self.frames)
        begin()
        during: dict[str, Any] = {"latencies": [], "digests": [], "errors": []}
        told, slowest, until = "", 0.0, time.monotonic() + 60
        while True:
            part = process.ask(do="inspect", frames=self.frames)
            during["latencies"] += part["latencies"]
            during["errors"] += part["errors"]
            during["digests"].append(part["digest"])
            answer = process.ask(do="status")
            slowest = max(slowest, answer["ms"])
            told = says(answer["status"]) if says is not None else "nothing: all goes on"
            if told or time.monotonic() > until:
                break
        end()
        self.outcomes.append(Outcome(case=case, before=before, during=during, told=told, status_ms=slowest))


def build_shim(folder: Path) -> Path:
    """Build the library that lets changes on disk fail."""
    library, source = folder / "shim.so", Path(__file__).parents[1] / "crash" / "shim.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


def _upload_problem(word: str) -> Callable[[dict[str, Any]], str]:
    def says(status: dict[str, Any]) -> str:
        problem = str(status["capture"]["upload"]["problem"])
        return problem if word in problem else ""

    return says


def _problem(word: str) -> Callable[[dict[str, Any]], str]:
    return lambda status: next((p for p in status["problems"] if word in p), "")


def _rollout(word: str) -> Callable[[dict[str, Any]], str]:
    def says(status: dict[str, Any]) -> str:
        rollout = status["engine"]["rollout"]
        told = f"{rollout['outcome']}: {rollout['reason']}"
        return told if word in told else ""

    return says


def _release(repository: ReleaseRepository, engine: bytes, engine_id: str, selftest: bytes) -> None:
    repository.publish_engine("solar-cells", engine_id, engine, selftest, {})
    repository.set_channel(
        Channel(
            inspection="solar-cells",
            channel="stable",
            engine_path=engine_target("solar-cells", engine_id),
            engine_sha256=digest(engine),
            engine_bytes=len(engine),
            engine_id=engine_id,
            version=engine_id,
            selftest_path=selftest_target("solar-cells", engine_id),
            issued_at=SystemClock().now(),
        )
    )


def _kill_trials(parent: int, stop: threading.Event) -> None:
    """Send SIGSEGV to each trial that the line starts, as a fault in its runtime would."""
    while not stop.wait(0.01):
        for child in _children(parent):
            with contextlib.suppress(OSError):
                if b"edge_client.updates.trial" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGSEGV)


def _children(parent: int) -> Sequence[int]:
    found: list[int] = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(n) for n in task.read_text().split()]
    return found
