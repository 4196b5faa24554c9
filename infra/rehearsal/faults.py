"""Things that go wrong on purpose, at a set round: what a rehearsal must survive.

sabotage         a challenger is trained on permuted labels; the gate must refuse it
bucket-away      the bucket does not answer while a round is streamed; it comes back afterwards
device           a device process is killed in the middle of the stream, and started again
bucket, mlflow, prefect, console   the server is killed; its supervisor starts it again
serving-ingest, serving-retrain, serving-release   the serving process and the flow run are killed in the middle
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from edge_client.contract.errors import AndonError, ConfigError
from flows.prefect_runs import PrefectRuns
from infra.rehearsal.lines import Line

#: Server that is killed → the step in whose middle that happens.
SERVER_STEPS = {"bucket": "ingest", "prefect": "retrain", "mlflow": "retrain", "console": "ingest"}
SERVING_STEPS = {"serving-ingest": "ingest", "serving-retrain": "retrain", "serving-release": "release"}
KINDS = ("sabotage", "bucket-away", "device", *SERVER_STEPS, *SERVING_STEPS)
#: Seconds from when Prefect calls the flow run running to the kill: in the middle of its work.
_INTO = {"ingest": 0.5, "retrain": 6.0, "release": 0.5}
_STARTS_WITHIN = 120.0


def parse_faults(texts: Sequence[str], rounds: int) -> dict[str, set[int]]:
    """Read ``KIND@ROUND`` (rounds counted from 1) into kind → rounds counted from 0.

    Raises:
        ConfigError: Unknown kind, or no such round.
    """
    found: dict[str, set[int]] = {}
    for text in texts:
        kind, at, number = text.partition("@")
        if kind not in KINDS or not at or not number.isdigit() or not 1 <= int(number) <= rounds:
            raise ConfigError(
                f"fault {text!r}: expected KIND@ROUND, round 1 to {rounds}, kind one of {', '.join(KINDS)}"
            )
        found.setdefault(kind, set()).add(int(number) - 1)
    return found


@dataclass(slots=True)
class Faults:
    """Carries out the planned faults.

    Attributes:
        planned: Kind → rounds, counted from 0.
        stack_file: stack.json, which names the processes.
        lines: The devices.
        runs: The flow runs.
        say: Told about every fault.
    """

    planned: Mapping[str, set[int]]
    stack_file: Path
    lines: Sequence[Line]
    runs: PrefectRuns
    say: Callable[[str], None]
    _done: dict[int, list[str]] = field(default_factory=dict)
    _stopped: list[psutil.Process] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def told(self, number: int) -> tuple[str, ...]:
        """Return what went wrong in a round."""
        return tuple(self._done.get(number, ()))

    def all_told(self) -> tuple[str, ...]:
        """Return everything that went wrong, with its round."""
        return tuple(f"round {n + 1}: {text}" for n in sorted(self._done) for text in self._done[n])

    def sabotages(self, number: int) -> bool:
        """Tell whether a sabotaged challenger is due."""
        if self._due("sabotage", number):
            self._note(number, "a challenger was trained on sabotaged labels")
            return True
        return False

    def before_stream(self, number: int) -> None:
        """Take the bucket away."""
        if not self._due("bucket-away", number):
            return
        process = self._process("bucket")
        for each in [process, *process.children(recursive=True)]:
            each.suspend()
            self._stopped.append(each)
        self._note(number, "the bucket did not answer while frames were streamed")

    def during_stream(self, number: int) -> None:
        """Kill a device, half a second later start it again."""
        if self._due("device", number):
            line = self.lines[number % len(self.lines)]
            time.sleep(1.0)  # some frames of the round have passed
            line.kill()
            line.start()
            self._note(number, f"{line.device.name} was killed (SIGKILL) and started again")

    def after_stream(self, number: int) -> None:
        """Give the bucket back."""
        if self._stopped:
            self.give_back()
            self.say("the bucket answers again")

    def give_back(self) -> None:
        """Let a suspended bucket go on; harmless when none is."""
        while self._stopped:
            each = self._stopped.pop()
            if each.is_running():
                each.resume()

    def during(self, step: str, number: int) -> None:
        """Kill what is due in the middle of the next flow run of a step; call it before that can start."""
        for kind, its_step in SERVING_STEPS.items():
            if its_step == step and self._due(kind, number):
                self._in_background(lambda: self._kill_serving(step, number))
        for server, its_step in SERVER_STEPS.items():
            if its_step == step and self._due(server, number):
                self._in_background(lambda server=server: self._kill_server(server, step, number))  # type: ignore[misc]

    def wait(self) -> None:
        """Wait until every fault that was begun is done."""
        for thread in self._threads:
            thread.join(_STARTS_WITHIN + 30)

    def _kill_serving(self, step: str, number: int) -> None:
        serving = self._process("serving")
        run = self._running(step)
        victims = [serving, *serving.children(recursive=True)]
        for victim in victims:
            _kill(victim)
        seen = "its flow run with it" if run else "no flow run of it was seen"
        self._note(number, f"the serving process was killed (SIGKILL) in the middle of {step}, {seen}")

    def _kill_server(self, server: str, step: str, number: int) -> None:
        process = self._process(server)
        self._running(step)
        for victim in [process, *process.children(recursive=True)]:
            _kill(victim)
        self._note(number, f"{server} was killed (SIGKILL) in the middle of {step}")

    def _running(self, step: str) -> bool:
        """Wait until a run of the step's flow has got some way into its work; False where none was seen."""
        end = time.monotonic() + _STARTS_WITHIN
        while time.monotonic() < end:
            try:
                if self.runs.running(step):
                    time.sleep(_INTO[step])  # the kill must hit it at work, not at its start
                    return True
            except AndonError:  # Prefect is away: another fault's doing
                pass
            time.sleep(0.2)  # between two looks: Prefect tells nobody by itself
        return False

    def _process(self, name: str) -> psutil.Process:
        document = json.loads(self.stack_file.read_text())
        return psutil.Process(int(document["processes"][name]["pid"]))

    def _due(self, kind: str, number: int) -> bool:
        return number in self.planned.get(kind, ())

    def _note(self, number: int, text: str) -> None:
        self._done.setdefault(number, []).append(text)
        self.say(f"on purpose: {text}")

    def _in_background(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="fault", daemon=True)
        thread.start()
        self._threads.append(thread)


def _kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return
