"""The process in which atheris runs one target. Started by `runs.py`: `python -m tests.fuzz.child SETUP.json`.

A crash that Python sees (an exception that is no documented refusal) is saved and fuzzing goes on, so that one run
finds more than one; each place in the code is saved once. What ends the process (time, memory, a signal) is for the
parent to see.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random
from types import TracebackType

import atheris

_PLAIN_SHARE = 0.2
# libFuzzer begins from inputs that reached something new, most of which were refused, and what is made of a refused one
# is refused as well. So that the checks behind acceptance are reached too, many mutations begin from an accepted one.
_ACCEPTED_SHARE = 0.4
_INSTRUMENTED = (
    "edge_client",
    "data.decode_child",
    "data.ingest.open_shard",
    "data.ingest.plan",
    "tomllib",
    "tarfile",
    "zipfile",
    "PIL",
)


def main(setup_path: str) -> None:
    """Fuzz until the processor time is over."""
    setup = json.loads(Path(setup_path).read_text())
    out = Path(setup["out"])
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        from tests.fuzz.target import MEMORY_BYTES, SECONDS, Verdict, run_one
        from tests.fuzz.targets import TARGETS
    target = TARGETS[setup["target"]]
    corpus = Path(setup["corpus"])
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = target.seeds()
    for seed in seeds:
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    known: set[str] = set(setup["known"])
    accepted = [seeds[i % len(seeds)] for i in range(200)]
    counts = {"accepted": 0, "refused": 0, "crashed": 0}

    def note() -> None:
        counted = {**counts, "seconds": round(time.process_time(), 1)}
        (out / "counts.json").write_text(json.dumps(counted))

    def one(data: bytes) -> None:
        try:
            verdict = run_one(target, data)
            counts[verdict.value] += 1
            if verdict is Verdict.ACCEPTED:
                accepted[counts["accepted"] % len(accepted)] = data
        except Exception as error:  # the finding itself
            counts["crashed"] += 1
            place = place_of(error)
            if place not in known:
                known.add(place)
                name = f"crash-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"
                (out / name).write_bytes(data)
                text = "".join(traceback.format_exception_only(error))[-500:].strip()
                with (out / "crashes.jsonl").open("a") as file:
                    file.write(json.dumps({"place": place, "error": text, "input": str(out / name)}) + "\n")
        if sum(counts.values()) % 256 == 0:
            note()
            if time.process_time() > setup["seconds"]:
                os._exit(0)  # libFuzzer knows wall-clock time alone, which on a busy machine is no measure of work

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < _PLAIN_SHARE:
            return bytes(atheris.Mutate(data, most))
        if random.random() < _ACCEPTED_SHARE:
            data = random.choice(accepted)
        try:
            return target.mutate(data, random)[:most]
        except Exception:  # a mutation that fails would end the process without a word
            traceback.print_exc()
            return bytes(atheris.Mutate(data, most))

    dictionary = out / "tokens.dict"
    dictionary.write_text("".join(f'"{_escaped(token)}"\n' for token in target.tokens))
    _limit_memory(MEMORY_BYTES)
    arguments = [
        sys.argv[0],
        f"-seed={setup['seed']}",
        f"-timeout={SECONDS}",
        f"-rss_limit_mb={MEMORY_BYTES >> 20}",
        f"-max_len={max(4096, 3 * max(map(len, seeds)))}",
        f"-artifact_prefix={out}/",
        *([f"-dict={dictionary}"] if target.tokens else []),
        str(corpus),
    ]
    atheris.Setup(arguments, one, custom_mutator=mutate)
    atheris.Fuzz()


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


def place_of(error: BaseException) -> str:
    """Name a crash by its type and the innermost line of the product (else of anything) that it came through."""
    lines = [f"{code.co_filename}:{line}" for code, line in _frames(error.__traceback__)]
    own = [line for line in lines if "/edge_client/" in line or "/data/" in line]
    return f"{type(error).__name__} at {(own or lines)[-1]} ({lines[-1].rpartition('/')[2]})"


def _frames(trace: TracebackType | None) -> list[tuple[object, int]]:
    found = []
    while trace is not None:
        found.append((trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _limit_memory(more_bytes: int) -> None:
    """Let the process grow by so much: a reader that asks for more gets a MemoryError, which is a crash."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1])
