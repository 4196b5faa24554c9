"""The challenger's own process: ``python -m edge_client.shadow.challenger``.

It shares neither Python's lock nor memory with the line, gets the processor only when nobody else wants it
(SCHED_IDLE), has bounds on memory and files, and ends with its parent. It reads one JSON order, then frames; it answers
each with one line of JSON:

    frame   its number, height and width, little-endian uint32, then the pixels, uint8 RGB
    answer  {"n": …, "verdict": …, "label": …, "defect_probability": …, "cpu_seconds": …},
            or {"n": …, "error": …, "cpu_seconds": …}
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from edge_client.software.child import die_with_parent

HEAD = struct.Struct("<III")
MAX_LINE_BYTES = 65_536


def main() -> int:
    """Entry point of the child process."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no answer
    order = json.loads(sys.stdin.buffer.readline(MAX_LINE_BYTES))
    die_with_parent()
    _bound(int(order["memory_bytes"]))
    with contextlib.suppress(OSError):
        os.nice(19)
    try:
        engine = _load(order)
    except Exception as error:  # noqa: BLE001 -- told to the parent, which decides
        _say(answers, {"error": f"{error}"[:500], "cpu_seconds": time.process_time()})
        return 1
    _only_when_idle()
    _say(answers, {"ready": True, "cpu_seconds": time.process_time()})
    while (head := sys.stdin.buffer.read(HEAD.size)) and len(head) == HEAD.size:
        n, height, width = HEAD.unpack(head)
        pixels = sys.stdin.buffer.read(height * width * 3)
        if len(pixels) < height * width * 3:
            break
        _say(answers, {"n": n, **_answer(engine, pixels, height, width)})
    return 0


def _load(order: dict[str, Any]) -> Any:
    from edge_client.engine import Engine

    data = Path(order["engine"]).read_bytes()
    if hashlib.sha256(data).hexdigest() != order["engine_sha256"]:
        raise ValueError(f"{order['engine']} is not what was tried")
    return Engine.from_bytes(data, threads=1, provider=str(order["provider"]))


def _answer(engine: Any, pixels: bytes, height: int, width: int) -> dict[str, Any]:
    import numpy as np

    try:
        output = engine.run(np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3))
        verdict, best, defect = engine.judge.one(output.probabilities[0].tolist(), float(output.anomaly[0]))
        told: dict[str, Any] = {
            "verdict": verdict.value,
            "label": engine.judge.names[best],
            "defect_probability": float(defect),
        }
    except Exception as error:  # noqa: BLE001 -- counted by the parent
        told = {"error": f"{error}"[:500]}
    return {**told, "cpu_seconds": time.process_time()}


def _say(answers: BinaryIO, value: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        answers.write(json.dumps(value).encode() + b"\n")


def _bound(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return
    for kind, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (bound, bound))


def _only_when_idle() -> None:
    with contextlib.suppress(OSError, AttributeError):  # a container may forbid it; macOS has no such policy
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    sys.exit(main())
