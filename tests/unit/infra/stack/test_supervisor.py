import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.stack.bring_up import end_leftovers
from infra.stack.layout import Home
from infra.stack.process_identity import ProcessIdentity
from infra.stack.single_instance import holder
from infra.stack.state import Phase, load_state

PROGRAM = Path(__file__).with_name("supervised_program.py")
ROOT = Path(__file__).parents[4]


class Supervised:
    def __init__(self, path: Path, specs: list[dict]) -> None:
        self.home = Home(path / "home")
        document = path / "specs.json"
        document.write_text(json.dumps(specs))
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(self.home.path), str(document)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def until(self, met, seconds: float = 15.0):
        """Wait for what the state file says; the deadline is only there to fail."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = load_state(self.home)
            if state is not None and state.processes and met(state.processes):
                return state.processes
            time.sleep(0.02)
        raise AssertionError(f"not met: {self.home.stack_file.read_text()}")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@pytest.fixture
def supervise(tmp_path):
    started: list[Supervised] = []

    def start(*specs: dict) -> Supervised:
        started.append(Supervised(tmp_path, list(specs)))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait(10)
        state = load_state(one.home)
        if state is not None:
            end_leftovers(state)


def server(name: str, script: str = "touch ready; exec sleep 1000", **more: object) -> dict:
    """A process that is ready once the file `NAME.ready` is there."""
    text = script.replace("ready", f"../{name}.ready")
    return {"name": name, "command": ["sh", "-c", text], "ready": f"{name}.ready", **more}


def all_ready(processes) -> bool:
    return all(p.phase in (Phase.READY, Phase.DONE) for p in processes.values())


def test_a_process_starts_only_when_what_it_needs_is_ready(supervise, tmp_path):
    slow = server("slow", "while [ ! -e ../go ]; do sleep 0.02; done; touch ready; exec sleep 1000")
    one = supervise(slow, server("second", needs=["slow"]))
    one.until(lambda p: p["slow"].phase is Phase.STARTING)
    assert load_state(one.home).processes["second"].phase is Phase.WAITING
    (one.home.path / "go").touch()
    processes = one.until(all_ready)
    assert processes["second"].ready_at >= processes["slow"].ready_at


def test_a_killed_process_is_started_again_and_the_restart_is_counted(supervise):
    one = supervise(server("a"), server("b"))
    before = one.until(all_ready)
    os.kill(before["a"].identity.pid, signal.SIGKILL)
    after = one.until(lambda p: p["a"].restarts == 1 and all_ready(p))
    assert after["a"].identity.pid != before["a"].identity.pid
    assert after["b"].identity == before["b"].identity
    assert after["b"].restarts == 0


def test_what_a_killed_process_started_is_killed_with_it(supervise):
    one = supervise(server("a", "sleep 1000 & echo $! > ../below; touch ready; wait"))
    before = one.until(all_ready)
    below = ProcessIdentity.of(int((one.home.path / "below").read_text()))
    os.kill(before["a"].identity.pid, signal.SIGKILL)
    one.until(lambda p: p["a"].restarts == 1 and all_ready(p))
    assert not below.alive()


def test_a_process_that_left_its_group_is_ended_with_the_stack(supervise):
    one = supervise(
        server("a", "setsid sleep 1000 & sleep 0.2; pgrep -n -x sleep > ../below; touch ready; exec sleep 1001")
    )
    processes = one.until(all_ready)
    left = [p for p in psutil.Process(processes["a"].identity.pid).children() if os.getsid(p.pid) == p.pid]
    assert left
    assert one.stop() == 0
    assert not any(p.is_running() for p in left)


def test_a_process_that_ignores_sigterm_is_killed_after_its_time(supervise):
    one = supervise(server("deaf", "trap '' TERM; touch ready; while :; do sleep 0.05; done", stop_seconds=0.3))
    pid = one.until(all_ready)["deaf"].identity.pid
    assert one.stop() == 0
    assert not psutil.pid_exists(pid)


def test_stopping_ends_the_last_one_after_the_others(supervise):
    note = "trap 'sleep 0.2; echo {name} >> ../order; exit' TERM; touch ready; while :; do sleep 0.02; done"
    one = supervise(
        server("bottom", note.format(name="bottom"), stop_last=True),
        server("top", note.format(name="top"), needs=["bottom"]),
    )
    one.until(all_ready)
    assert one.stop() == 0
    assert (one.home.path / "order").read_text().split() == ["top", "bottom"]
    state = load_state(one.home)
    assert state.supervisor is None
    assert {p.phase for p in state.processes.values()} == {Phase.STOPPED}


def test_a_task_that_fails_is_done_again_until_it_succeeds(supervise):
    task = {"name": "task", "command": ["sh", "-c", "echo x >> ../runs; [ $(wc -l < ../runs) -ge 2 ]"]}
    one = supervise(task, server("after", needs=["task"]))
    processes = one.until(all_ready)
    assert processes["task"].phase is Phase.DONE
    assert processes["task"].restarts == 1
    assert (one.home.path / "runs").read_text() == "x\nx\n"


def test_a_process_that_cannot_be_started_is_told_with_the_reason(supervise):
    one = supervise({"name": "absent", "command": ["/nowhere/program"], "ready": "x"})
    processes = one.until(lambda p: p["absent"].failures >= 1)
    assert "could not be started" in processes["absent"].note
    assert "/nowhere/program" in processes["absent"].note


def test_a_second_supervisor_ends_at_once(supervise):
    one = supervise(server("a"))
    one.until(all_ready)
    again = subprocess.run(one.process.args, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=20, check=False)
    assert again.returncode == 1
    assert holder(one.home.supervisor_lock).pid == one.process.pid


def test_processes_of_a_killed_supervisor_are_found_and_ended_by_identity(supervise):
    one = supervise(server("a", "sleep 1000 & echo $! > ../below; touch ready; wait"))
    leader = one.until(all_ready)["a"].identity
    below = ProcessIdentity.of(int((one.home.path / "below").read_text()))
    one.process.kill()
    one.process.wait(10)
    assert leader.alive()  # they outlive it
    assert end_leftovers(load_state(one.home)) == [leader.pid]
    assert not leader.alive()
    assert not below.alive()
