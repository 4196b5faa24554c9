"""Prometheus text (exposition format 0.0.4), written by hand from `Client.status()`.

1. Base units: seconds, bytes, joules. Counters end in ``_total`` and never fall while the process lives.
2. Every series has the labels `device` and `inspection`; what an engine does also has `engine`. Part ids, reasons and
   messages are never labels: a label's values must stay few.
3. A figure that is not known is left out, never written as zero.
4. Figures of the process itself are written once, however many clients it has.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_client.counters import LATENCY_BOUNDS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = dict[str, str]
Value = tuple[str, Labels, float]  # suffix of the name (of a histogram), labels, value


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name without ``andon_edge_``, its type (counter, gauge, histogram), its help."""

    name: str
    kind: str
    help: str


_REQUESTS = Family("requests_total", "counter", "Calls of predict by how they ended.")
_FRAMES = Family("frames_total", "counter", "Frames inspected, without reference frames (capture off).")
_SKIPPED = Family(
    "frames_skipped_total", "counter", "Frames answered as the one before them since nothing had changed."
)
_VERDICTS = Family("verdicts_total", "counter", "Inspected frames by verdict.")
_CLASSES = Family("classes_total", "counter", "Inspected frames by their most probable class.")
_ENGINE_REQUESTS = Family("engine_requests_total", "counter", "Calls of predict answered by each engine.")
_LATENCY = Family("inference_seconds", "histogram", "Time of the engine for a frame.")
_ENGINE = Family("engine_info", "gauge", "The engine in service; always 1.")
_SWAPS = Family("engine_swaps_total", "counter", "Exchanges of the engine.")
_HEALTHY = Family("healthy", "gauge", "1 when nothing needs a person, else 0.")
_PROBLEMS = Family("problems", "gauge", "Problems that status() tells of.")
_ADVISORY = Family("advisory", "gauge", "1 when the application is told not to act.")
_CAPTURE_ERRORS = Family("capture_errors_total", "counter", "Frames that could not be offered to capture.")
_ACKNOWLEDGED = Family("samples_acknowledged_total", "counter", "Samples that capture stored durably.")
_OVERLOAD = Family("capture_overload_total", "counter", "Candidates that could not be queued in time.")
_CANDIDATES = Family("capture_queue_frames", "gauge", "Candidates that wait for encoding.")
_SPOOL_BYTES = Family("spool_bytes", "gauge", "Bytes that the spool holds.")
_SPOOL_LIMIT = Family("spool_limit_bytes", "gauge", "Most bytes that the spool may hold now.")
_SPOOL_WINDOWS = Family("spool_waiting_windows", "gauge", "Windows that wait for upload.")
_SPOOL_SAMPLES = Family("spool_samples", "gauge", "Samples by state, as far as the ledger remembers.")
_BUDGET = Family("capture_window_budget_bytes", "gauge", "Bytes that a capture window may keep.")
_UPLOAD_WINDOWS = Family("upload_windows_total", "counter", "Windows whose record is in the bucket.")
_UPLOAD_SAMPLES = Family("upload_samples_total", "counter", "Samples of those windows.")
_UPLOAD_BYTES = Family("upload_bytes_total", "counter", "Bytes that the bucket acknowledged.")
_UPLOAD_FAILING = Family("upload_failing", "gauge", "1 while the last attempt to upload failed.")
_READ = Family("source_frames_total", "counter", "Frames that the source delivered.")
_DROPPED = Family(
    "source_frames_dropped_total", "counter", "Oldest waiting frames dropped because the engine was slower."
)
_QUEUED = Family("source_queue_frames", "gauge", "Frames of the source that wait for inspection.")
_REOPENED = Family("source_reopened_total", "counter", "Times that a camera was opened again.")
_CPU = Family("process_cpu_seconds_total", "counter", "Processor time of all threads since the start.")
_MEMORY = Family("process_resident_memory_bytes", "gauge", "Memory of the process.")
_UPTIME = Family("process_uptime_seconds", "gauge", "Time since the start.")
_ENERGY = Family("package_energy_joules_total", "counter", "Energy of the processor's packages, all that ran on them.")


#: Every metric there is.
FAMILIES: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family))


def collect(statuses: Sequence[Mapping[str, Any]]) -> dict[Family, list[Value]]:
    """Return the values of all metrics that have one.

    Args:
        statuses: What `Client.status()` returned, one for each client of this process.
    """
    families: dict[Family, list[Value]] = {}
    for status in statuses:
        labels = {"device": str(status["device"]), "inspection": str(status["inspection"])}
        for family, suffix, more, value in _of_client(status):
            if value is not None:
                families.setdefault(family, []).append((suffix, labels | more, float(value)))
    for family, _, more, value in _of_process(statuses):
        if value is not None:
            families.setdefault(family, []).append(("", more, float(value)))
    return families


def metrics_text(statuses: Sequence[Mapping[str, Any]]) -> str:
    """Return the metrics of one process as Prometheus text.

    Args:
        statuses: What `Client.status()` returned, one for each client of this process.
    """
    lines: list[str] = []
    for family, values in collect(statuses).items():
        name = f"andon_edge_{family.name}"
        lines += [f"# HELP {name} {_help(family.help)}", f"# TYPE {name} {family.kind}"]
        lines += [f"{name}{suffix}{_labels(labels)} {_number(value)}" for suffix, labels, value in values]
    return "\n".join(lines) + "\n" if lines else ""


_Told = Iterator[tuple[Family, str, Labels, float | int | None]]


def _of_client(status: Mapping[str, Any]) -> _Told:
    requests, engine = status["requests"], status["engine"]
    for outcome in ("answered", "refused", "lost"):
        yield _REQUESTS, "", {"outcome": outcome}, requests[outcome]
    yield _FRAMES, "", {}, requests["frames"]
    yield _SKIPPED, "", {}, requests.get("skipped")
    for verdict, count in requests["verdicts"].items():
        yield _VERDICTS, "", {"verdict": verdict}, count
    for name, count in requests["classes"].items():
        yield _CLASSES, "", {"class": name}, count
    for name, count in requests["engines"].items():
        yield _ENGINE_REQUESTS, "", {"engine": name}, count
    yield from _latency(requests)
    info = {"engine": str(engine["engine_id"]), "sha256": str(engine["engine_sha256"]), "slot": str(engine["place"])}
    yield _ENGINE, "", info, 1
    yield _SWAPS, "", {}, engine["swaps"]
    yield _HEALTHY, "", {}, status["health"] == "ok"
    yield _PROBLEMS, "", {}, len(status["problems"])
    yield _ADVISORY, "", {}, bool(status["advisory"])
    yield _CAPTURE_ERRORS, "", {}, requests["capture_errors"]
    if status.get("capture"):
        yield from _of_capture(status["capture"])
    if source := status.get("source"):
        for family, key in ((_READ, "read"), (_DROPPED, "dropped"), (_QUEUED, "queued"), (_REOPENED, "reopened")):
            yield family, "", {"kind": str(source["kind"])}, source.get(key)


def _latency(requests: Mapping[str, Any]) -> _Told:
    counts = requests["latency_counts"]
    reached = 0
    for bound, count in zip((*map(_number, LATENCY_BOUNDS), "+Inf"), counts, strict=True):
        reached += count
        yield _LATENCY, "_bucket", {"le": bound}, reached
    yield _LATENCY, "_sum", {}, requests["latency_sum_seconds"]
    yield _LATENCY, "_count", {}, reached


def _of_capture(capture: Mapping[str, Any]) -> _Told:
    for family, key in (
        (_ACKNOWLEDGED, "acknowledged"),
        (_OVERLOAD, "overload"),
        (_CANDIDATES, "waiting_candidates"),
        (_SPOOL_BYTES, "bytes"),
        (_SPOOL_LIMIT, "limit_bytes"),
        (_SPOOL_WINDOWS, "waiting_windows"),
        (_BUDGET, "byte_budget"),
    ):
        yield family, "", {}, capture.get(key)
    for state in ("kept", "evicted", "uploaded", "damaged"):
        yield _SPOOL_SAMPLES, "", {"state": state}, capture.get(state)
    if upload := capture.get("upload"):
        yield _UPLOAD_WINDOWS, "", {}, upload.get("windows_sent")
        yield _UPLOAD_SAMPLES, "", {}, upload.get("samples_sent")
        yield _UPLOAD_BYTES, "", {}, upload.get("bytes_sent")
        yield _UPLOAD_FAILING, "", {}, bool(upload.get("problem"))


def _of_process(statuses: Sequence[Mapping[str, Any]]) -> _Told:
    """Rule 4: the client that was started first has measured longest."""
    known = [status["process"] for status in statuses if status.get("process")]
    if not known:
        return
    process = max(known, key=lambda p: float(p["uptime_seconds"]))
    yield _CPU, "", {}, process["cpu_seconds"]
    yield _MEMORY, "", {}, process["memory_bytes"] or None
    yield _UPTIME, "", {}, process["uptime_seconds"]
    yield _ENERGY, "", {}, process["energy_joules"]


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    """Write a whole number without a point, anything else so that it reads back the same.

    >>> [_number(v) for v in (3.0, 0.0005, 1e16)]
    ['3', '0.0005', '1e+16']
    """
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
