"""Finding out how an engine runs best on this device, by running it. No files; what runs it is given.

1. A provider is tried if ONNX Runtime has it, and used if its answers pass the engine's self-test.
2. One at a time: the fewest threads within 5 % of the fastest median. Many at once: runs side by side (slots x threads
   up to the cores), then frames gathered in batches with the best of them; plain wins
   unless the gain is over 5 %, since gathering makes a frame wait.
3. Ways are timed in turns, round after round, so that a slow minute of the machine hits all of them.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import AndonError, BadEngine
from edge_client.runtime import Measured, Runtime, Tuning

_WORTH = 1.05
_BATCHES = (2, 4, 8)


class Runs(Protocol):
    """What is timed: an `Engine`."""

    def run(self, frames: NDArray[np.uint8]) -> object:
        """Answer a batch."""


Load = Callable[[Runtime], Runs]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it is measured."""

    processor: str
    cores: int
    onnxruntime: str


@dataclass(slots=True)
class _Times:
    """Runs of one way: times of single runs, frames a second of each round."""

    latencies: list[float]
    rates: list[float]


def tune(
    load: Load,
    frames: NDArray[np.uint8],
    *,
    machine: Machine,
    providers: Iterable[str],
    accept: Callable[[str], None],
    rounds: int = 5,
    seconds: float = 0.5,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Tuning:
    """Measure and choose.

    Args:
        load: Loads the engine for a way to run it.
        frames: uint8 [N, H, W, 3] such as the line's; used in turn.
        machine: Stored with the outcome.
        providers: What to try; `cpu` must be among them.
        accept: Raises `AndonError` if a provider's answers are not acceptable.
        rounds: Of each way.
        seconds: Of one round of one way.
        tell: Takes progress for people.
        clock: Seconds.

    Raises:
        BadEngine: No provider answers acceptably.
    """
    usable, refused = _usable(providers, accept, tell)
    if not usable:
        raise BadEngine(f"no provider answers acceptably: {'; '.join(f'{p}: {why}' for p, why in refused.items())}")
    engines = _Loaded(load)
    counts = _thread_counts(machine.cores)
    alone = [Runtime(provider=p, threads=t) for p in usable for t in counts]
    side_by_side = [
        Runtime(provider=p, threads=t, slots=s)
        for p in usable
        for t in counts
        for s in counts[1:]
        if s * t <= machine.cores
    ]
    timed = _time([*alone, *side_by_side], engines, frames, rounds, seconds, clock, tell)
    fewest = _fewest(alone, timed)
    # frames submitted side by side still find every core
    single = replace(fewest, slots=max(1, machine.cores // fewest.threads))
    fastest = max([*alone, *side_by_side], key=lambda way: _rate(timed[way]))
    batched = [
        Runtime(provider=fastest.provider, threads=fastest.threads, slots=fastest.slots, batch=b) for b in _BATCHES
    ]
    again = _time([fastest, *batched], engines, frames, rounds, seconds, clock, tell)
    best = max(batched, key=lambda way: _rate(again[way]))
    parallel = best if _rate(again[best]) > _WORTH * _rate(again[fastest]) else fastest
    measured = [_measured(way, times) for way, times in {**timed, **{b: again[b] for b in batched}}.items()]
    return Tuning(
        processor=machine.processor,
        cores=machine.cores,
        onnxruntime=machine.onnxruntime,
        single=single,
        parallel=parallel,
        measured=tuple(measured),
        refused=refused,
    )


def _usable(providers: Iterable[str], accept: Callable[[str], None], tell: Tell) -> tuple[list[str], dict[str, str]]:
    usable, refused = [], {}
    for provider in providers:
        try:
            accept(provider)
            usable.append(provider)
        except AndonError as error:
            refused[provider] = str(error)
            tell(f"{provider}: refused: {error}")
    return usable, refused


class _Loaded:
    """Engines by provider and threads: a slot needs no session of its own."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._engines: dict[tuple[str, int], Runs] = {}

    def of(self, way: Runtime) -> Runs:
        key = (way.provider, way.threads)
        if key not in self._engines:
            self._engines[key] = self._load(Runtime(provider=way.provider, threads=way.threads))
        return self._engines[key]


def _thread_counts(cores: int) -> list[int]:
    """1, 2, 4… and the cores."""
    counts = {cores}
    n = 1
    while n < cores:
        counts.add(n)
        n *= 2
    return sorted(counts)


def _time(
    ways: Sequence[Runtime],
    engines: _Loaded,
    frames: NDArray[np.uint8],
    rounds: int,
    seconds: float,
    clock: Callable[[], float],
    tell: Tell,
) -> dict[Runtime, _Times]:
    """Time each way in each round (rule 3)."""
    times = {way: _Times([], []) for way in ways}
    for number in range(rounds + 1):
        for way in ways:
            latencies, rate = _round(engines.of(way), way, frames, seconds if number else seconds / 5, clock)
            if number:  # the first round warms up
                times[way].latencies += latencies
                times[way].rates.append(rate)
        tell(f"round {number} of {rounds}: {len(ways)} ways")
    return times


def _round(
    engine: Runs, way: Runtime, frames: NDArray[np.uint8], seconds: float, clock: Callable[[], float]
) -> tuple[list[float], float]:
    batches = [frames[np.arange(i, i + way.batch) % len(frames)] for i in range(0, len(frames), way.batch)]
    found: list[list[float]] = [[] for _ in range(way.slots)]
    failed: list[BaseException] = []
    start = clock()

    def work(mine: list[float], first: int) -> None:
        i, began = first, clock()
        try:
            while began - start < seconds or not mine:
                engine.run(batches[i % len(batches)])
                ended = clock()
                mine.append(ended - began)
                i, began = i + 1, ended
        except AndonError as error:
            failed.append(error)

    others = [threading.Thread(target=work, args=(mine, k + 1)) for k, mine in enumerate(found[1:])]
    for thread in others:
        thread.start()
    work(found[0], 0)
    for thread in others:
        thread.join()
    if failed:
        raise failed[0]
    all_runs = [t for mine in found for t in mine]
    return all_runs, len(all_runs) * way.batch / (clock() - start)


def _rate(times: _Times) -> float:
    return statistics.median(times.rates)


def _fewest(ways: Sequence[Runtime], timed: Mapping[Runtime, _Times]) -> Runtime:
    """The fewest threads within 5 % of the fastest median run (rule 2)."""
    typical = {way: statistics.median(timed[way].latencies) for way in ways}
    limit = _WORTH * min(typical.values())
    return min((way for way in ways if typical[way] <= limit), key=lambda way: (way.threads, typical[way]))


def _measured(way: Runtime, times: _Times) -> Measured:
    ordered = sorted(times.latencies)
    return Measured(
        runtime=way,
        frames_per_second=_rate(times),
        low=min(times.rates),
        high=max(times.rates),
        latency_ms=1e3 * statistics.median(ordered),
        latency_ms_p99=1e3 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        n=len(ordered),
    )
