"""Runs of a target: the child is started again after a crash that ended it, until the time is over."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.fuzz.target import SECONDS

_STATUS = re.compile(r"^#\d+\s+\S+\s+cov: (\d+) ft: (\d+) corp: (\d+)/\S+.*?rss: (\d+)Mb", re.MULTILINE)
_SHARE = 20  # the least share of a processor that it may get is one in so many
_RESTARTS = 20  # a target that ends its process so often has shown what it has to show


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One crash: where, what, and the file with the input."""

    place: str
    error: str
    input: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What the runs of one target found.

    Attributes:
        seconds: Processor time of the fuzzing.
        executions: Inputs that were read.
        accepted: Of them, those that the reader accepted (and the harness held to be of use); the rest was refused.
        edges: Covered edges of the instrumented code; `features` counts them by how often they were taken.
        corpus: Inputs that each reached something new.
        peak_megabytes: Resident memory of the process.
    """

    target: str
    seconds: float = 0.0
    executions: int = 0
    executions_per_second: float = 0.0
    accepted: int = 0
    edges: int = 0
    features: int = 0
    corpus: int = 0
    peak_megabytes: int = 0
    crashes: list[Crash] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


def fuzz(target: str, *, seconds: float, corpus: Path, out: Path, seed: int = 1) -> Report:
    """Fuzz one target in child processes.

    Args:
        target: Its name.
        seconds: For how long, of processor time.
        corpus: Folder of inputs to begin from; grows.
        out: Folder for crashing inputs and the log.
        seed: Of libFuzzer's random generator.
    """
    out.mkdir(parents=True, exist_ok=True)
    report = Report(target=target)
    seen: set[str] = set()
    for attempt in range(_RESTARTS):
        left = seconds - report.seconds
        if left < 1:
            break
        setup = out / "setup.json"
        setup.write_text(
            json.dumps(
                {
                    "target": target,
                    "seconds": left,
                    "corpus": str(corpus),
                    "out": str(out),
                    "seed": seed + attempt,
                    "known": [crash.place for crash in report.crashes],
                }
            )
        )
        log = out / f"log-{attempt}.txt"
        with log.open("wb") as file:
            ended = subprocess.run(
                [sys.executable, "-m", "tests.fuzz.child", str(setup)],
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=_SHARE * left + 600,
                check=False,
            )
        _take(report, log.read_text(errors="replace"), out)
        if ended.returncode == 0:
            break
        crash = _ended(ended.returncode, log, out, seen)
        seen.add(crash.input)
        if not crash.place.startswith("timeout") or confirm(target, Path(crash.input).read_bytes()) is not None:
            report.crashes.append(crash)  # a timeout in wall-clock time alone is the machine's, not the reader's
    report.executions_per_second = round(report.executions / max(report.seconds, 0.1), 1)
    return report


def confirm(target: str, data: bytes) -> str | None:
    """Read one input in a fresh process: None if it is accepted or refused in time, else what happened."""
    with tempfile.NamedTemporaryFile(prefix="andon-fuzz-") as file:
        file.write(data)
        file.flush()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tests.fuzz.replay", target, file.name],
                capture_output=True,
                text=True,
                timeout=20 * SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"does not end within {20 * SECONDS} s"
    return None if done.returncode == 0 else (done.stderr.strip() or f"exit status {done.returncode}")[-600:]


def _take(report: Report, log: str, out: Path) -> None:
    lines = list(_STATUS.finditer(log))
    if lines:
        edges, features, corpus, megabytes = map(int, lines[-1].groups())
        report.edges, report.features = max(report.edges, edges), max(report.features, features)
        report.corpus, report.peak_megabytes = corpus, max(report.peak_megabytes, megabytes)
    counts = out / "counts.json"
    if counts.exists():
        counted = json.loads(counts.read_text())
        report.executions += counted["accepted"] + counted["refused"] + counted["crashed"]
        report.accepted += counted["accepted"]
        report.seconds = round(report.seconds + counted["seconds"], 1)
        counts.unlink()
    found = out / "crashes.jsonl"
    if found.exists():
        known = {crash.place for crash in report.crashes}
        crashes = [Crash(**json.loads(line)) for line in found.read_text().splitlines()]
        report.crashes += [crash for crash in crashes if crash.place not in known]


def _ended(status: int, log: Path, out: Path, known: set[str]) -> Crash:
    """Describe a child that did not end by itself: the input that libFuzzer saved, else the end of the log."""
    saved = [p for kind in ("timeout", "oom", "crash", "leak") for p in out.glob(f"{kind}-*") if str(p) not in known]
    newest = max(saved, key=lambda path: path.stat().st_mtime, default=None)
    kind = newest.name.partition("-")[0] if newest else "end"
    return Crash(
        place=f"{kind}: the process ended with status {status}",
        error=log.read_text(errors="replace")[-600:],
        input=str(newest or log),
    )
