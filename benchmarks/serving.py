"""``python -m benchmarks.serving``: the server beside bare sessions in process, LitServe and MLServer, in one run.

The same engine file and the same frames everywhere, one thread a run, the load generator on the same machine. Ours has
all features on: capture, counters, updates, part ids. Each peer answers over HTTP at its own best setting, which is
found in a short sweep first. In each round every case is measured once, in an order that is drawn anew; a peer whose
turn it is not is stopped (SIGSTOP), so that it takes no time from the others. All of it takes about five minutes once
the engines and the peers' environments are made.

With ``--swaps N`` it measures something else: N exchanges of the engine under load at 8 connections. A release is
downloaded, tried in a child process and swapped in, one after the other; what counts is how many requests fail, p99
before and during, and memory before and after.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.engines import bench_engines
from benchmarks.load import Load, finish_load, infer_request, run_load, start_load, write_requests
from benchmarks.peers.start import Peer, litserve, litserve_requests, mlserver, mlserver_requests
from benchmarks.result import Row, ratio_of_means, tell
from benchmarks.served import Line, Served, renamed, wait_until
from training.evaluate import Measure

CONNECTIONS = (1, 8)
# The peers' own knobs: workers, and LitServe's two kinds of queue.
LITSERVE = ((1, "plain"), (2, "plain"), (1, "fast"), (2, "fast"))
MLSERVER = ((0,), (1,), (2,))
_OUTPUTS = ("probabilities", "anomaly", "verdict", "label")
_NAMES = ["probabilities", "anomaly", "anomaly_map", "embedding"]
# The first frames of a capture window are nearly all kept, and encoding them takes time: ours is measured after that.
_SETTLE_SECONDS = 12.0
_WINDOW_SECONDS = 50.0  # some 18,000 requests, half of an hour's capture window at ten frames a second


class Pausable(Protocol):
    """A server that can be stopped while another is measured."""

    port: int

    def pause(self) -> None: ...

    def go_on(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One server at one number of connections."""

    name: str
    connections: int
    run: Callable[[float], Load]


class InProcess:
    """Bare `session.run`: as many one-thread sessions as threads, each on its own thread."""

    def __init__(self, engine: bytes, frames: NDArray[np.uint8], threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._sessions = [
            onnxruntime.InferenceSession(engine, options, providers=["CPUExecutionProvider"]) for _ in range(threads)
        ]
        self._frames = frames

    def run(self, seconds: float) -> Load:
        """Run for so long."""
        latencies: list[list[float]] = [[] for _ in self._sessions]
        end = time.perf_counter() + seconds

        def work(own: int) -> None:
            session, i = self._sessions[own], own
            while (start := time.perf_counter()) < end:
                session.run(_NAMES, {"image": self._frames[i % len(self._frames)][None]})
                latencies[own].append((time.perf_counter() - start) * 1e3)
                i += len(self._sessions)

        threads = [threading.Thread(target=work, args=(own,)) for own in range(len(self._sessions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        every = [x for own in latencies for x in own]
        return Load(per_second=len(every) / seconds, latencies_ms=every, statuses={}, failed=0)


class Ours(Served):
    """Our server, to be stopped like the peers."""

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


def loaded(server: Pausable, requests: Path, connections: int) -> Callable[[float], Load]:
    """Return what loads a server while only it runs."""

    def run(seconds: float) -> Load:
        server.go_on()
        try:
            load = run_load(server.port, requests, connections=connections, seconds=seconds)
        finally:
            server.pause()
        if load.failed or set(load.statuses) - {"200"}:
            raise RuntimeError(f"port {server.port}: {load.failed} failed, answers {load.statuses}")
        return load

    return run


def best_settings(
    start: Callable[[Any], Peer], settings: Iterable[Any], requests: Path, seconds: float
) -> dict[int, Any]:
    """Return, for each number of connections, the setting with which a peer answers most."""
    found: dict[int, dict[Any, float]] = {n: {} for n in CONNECTIONS}
    for setting in settings:
        with start(setting) as peer:
            for n in CONNECTIONS:
                found[n][setting] = loaded(peer, requests, n)(seconds).per_second
                print(f"  {peer.name} {setting}, {n}: {found[n][setting]:.1f} frames/s", file=sys.stderr)
    return {n: max(rates, key=rates.__getitem__) for n, rates in found.items()}


def compare(cache: Path, *, rounds: int, seconds: float, peers: bool) -> tuple[list[Row], dict[str, Measure]]:
    """Measure all cases."""
    made = bench_engines(cache)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="andon-serving-")))
        engine = folder / "engine.onnx"
        engine.write_bytes(made.int8)
        line = Line(folder / "line-1", made.int8, poll_seconds=30.0)
        requests = {name: folder / f"{name}.requests" for name in ("ours", "litserve", "mlserver")}
        write_requests(
            requests["ours"],
            [infer_request(line.inspection, f, part_id=f"P{i}", outputs=_OUTPUTS) for i, f in enumerate(made.frames)],
        )
        write_requests(requests["litserve"], litserve_requests(made.frames))
        write_requests(requests["mlserver"], mlserver_requests(made.frames))

        cases = [
            Case(name="in_process", connections=n, run=InProcess(made.int8, made.frames, min(n, 2)).run)
            for n in CONNECTIONS
        ]
        if peers:
            for name, start, settings in (("litserve", litserve, LITSERVE), ("mlserver", mlserver, MLSERVER)):

                def starts(setting: Any, name: str = name, start: Any = start) -> Peer:
                    own = folder / f"{name}-{'-'.join(map(str, setting))}"
                    own.mkdir(exist_ok=True)
                    peer: Peer = start(cache, own, engine, setting)
                    return peer

                running: dict[Any, Peer] = {}
                for n, setting in best_settings(starts, settings, requests[name], seconds).items():
                    if setting not in running:
                        running[setting] = stack.enter_context(starts(setting))
                        running[setting].pause()
                    cases.append(Case(name=name, connections=n, run=loaded(running[setting], requests[name], n)))
        ours = stack.enter_context(Ours([line.config]))
        stack.callback(ours.go_on)
        run_load(ours.port, requests["ours"], connections=8, seconds=_WINDOW_SECONDS)
        cases += [Case(name="ours", connections=n, run=loaded(ours, requests["ours"], n)) for n in CONNECTIONS]
        return _measure(cases, rounds=rounds, seconds=seconds)


def _measure(cases: list[Case], *, rounds: int, seconds: float) -> tuple[list[Row], dict[str, Measure]]:
    loads: dict[tuple[str, int], list[Load]] = defaultdict(list)
    random = np.random.default_rng(0)
    for number in range(rounds):
        for i in random.permutation(len(cases)):
            case = cases[i]
            loads[case.name, case.connections].append(case.run(seconds))
        print(f"  round {number + 1} of {rounds}", file=sys.stderr)
    rows: list[Row] = []
    for (name, n), found in sorted(loads.items()):
        rows.append(Row.of(f"{name}, {n}", "frames/s", [x.per_second for x in found]))
        rows += [
            Row.of(f"{name}, {n}, p{p}", "ms", [float(np.percentile(x.latencies_ms, p)) for x in found])
            for p in (50, 99)
        ]
    figures = {
        f"{figure}_{n}": ratio_of_means(*([x.per_second for x in loads[who, n]] for who in ("ours", other)))
        for figure, other in (
            ("of_in_process", "in_process"),
            ("over_litserve", "litserve"),
            ("over_mlserver", "mlserver"),
        )
        for n in CONNECTIONS
        if (other, n) in loads
    }
    return rows, figures


def swap(cache: Path, *, swaps: int) -> tuple[list[Row], dict[str, Measure]]:
    """Exchange the engine again and again under load."""
    made = bench_engines(cache)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="andon-swaps-")))
        line = Line(folder / "line-1", made.int8)
        requests = folder / "requests"
        write_requests(
            requests,
            [infer_request(line.inspection, f, part_id=f"P{i}", outputs=_OUTPUTS) for i, f in enumerate(made.frames)],
        )
        served = stack.enter_context(Served([line.config]))
        before = run_load(served.port, requests, connections=8, seconds=_SETTLE_SECONDS)
        memory = [served.resident_bytes() / 1e6]
        load = start_load(served.port, requests, connections=8, seconds=86_400, warm_up=0)
        try:
            for number in range(swaps):
                engine_id = line.release(renamed(made.int8, f"swap-{number}"), made.frames[:2])
                address = f"{served.url}/v2/models/{line.inspection}"
                wait_until(
                    lambda address=address, engine_id=engine_id: _version(address) == engine_id,
                    seconds=120,
                    what=f"{engine_id} in service",
                )
                memory.append(served.resident_bytes() / 1e6)
                print(f"  {number + 1} of {swaps}: {memory[-1]:.0f} MB", file=sys.stderr)
        finally:
            load.send_signal(signal.SIGTERM)
        during = finish_load(load, timeout=120)
        with urllib.request.urlopen(f"{served.url}/v2/models/{line.inspection}/status", timeout=30) as answer:
            status = json.load(answer)
    failed = during.failed + sum(n for code, n in during.statuses.items() if code != "200")
    answered = during.statuses.get("200", 0)
    first, last = memory[: max(1, len(memory) // 10)], memory[-max(1, len(memory) // 10) :]
    rows = [
        Row.of("p99 before", "ms", [float(np.percentile(before.latencies_ms, 99))]),
        Row.of("p99 during", "ms", [float(np.percentile(during.latencies_ms, 99))]),
        Row.of("answered during", "frames/s", [during.per_second]),
        Row.of("memory, first tenth", "MB", first),
        Row.of("memory, last tenth", "MB", last),
    ]
    figures = {
        "failed_requests": Measure(value=float(failed), low=float(failed), high=float(failed), n=failed + answered),
        "swaps": Measure(value=float(status["engine"]["swaps"]), low=float(swaps), high=float(swaps), n=swaps),
    }
    return rows, figures


def _version(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return str(json.load(answer)["versions"][0])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keeps engines and the peers' environments")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case is measured (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.5, help="of one measurement (default: 2.5)")
    parser.add_argument("--no-peers", action="store_true", help="leave LitServe and MLServer out")
    parser.add_argument("--swaps", type=int, metavar="N", help="exchange the engine N times under load instead")
    args = parser.parse_args()
    with ExitStack() as stack:
        cache = args.cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="andon-bench-")))
        cache.mkdir(parents=True, exist_ok=True)
        if args.swaps:
            rows, figures = swap(cache.resolve(), swaps=args.swaps)
            tell("serving, swaps", rows, figures, as_json=args.json)
        else:
            rows, figures = compare(cache.resolve(), rounds=args.rounds, seconds=args.seconds, peers=not args.no_peers)
            tell("serving", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
