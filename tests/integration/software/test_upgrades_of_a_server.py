"""A served device whose client is upgraded under load: to a good version, and to broken ones. Everything is real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.launched import Launched, LineRequests, Requests
from benchmarks.served import Line
from benchmarks.software import FAULTS, broken_upgrade, good_upgrade
from edge_client.software.rules import Phase, Place
from tests.tiny_engine import tiny_engine

OPTIONS = ("--probation-seconds", "6", "--healthy-seconds", "1", "--hang-seconds", "3", "--stand-by-seconds", "40")
FAULT = {fault.name: fault for fault in FAULTS}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return Line(tmp_path_factory.mktemp("plant") / "line-1", tiny_engine(engine_id="factory"))


@pytest.fixture(scope="module")
def device(line: Line) -> Iterator[Launched]:
    with Launched(line, *OPTIONS) as device:
        yield device


@pytest.fixture(scope="module")
def requests(device: Launched, line: Line) -> Iterator[Requests]:
    with Requests(device.port, line.inspection, connections=2, pause_seconds=0.02) as requests:
        yield requests


@pytest.fixture(scope="module")
def remote(device: Launched, line: Line) -> Iterator[LineRequests]:
    with LineRequests(device.port, line.inspection, lines=1, pause_seconds=0.02) as remote:
        yield remote


@pytest.fixture(scope="module")
def upgraded(device: Launched, requests: Requests, remote: LineRequests) -> str:
    """The device runs a version that an upgrade brought, and no request was lost on the way."""
    case = good_upgrade(device, requests, remote, "1.0")
    assert (case.answers.broken, case.answers.lost) == (0, 0), case.answers.reasons
    assert case.answers.answered > 20
    return "1.0"


def test_an_upgrade_serves_from_its_own_environment_and_loses_no_request(device: Launched, upgraded: str) -> None:
    state = device.store.load()
    assert state.active is not Place.BASE
    assert device.runs(upgraded)
    served = Path(f"/proc/{_server_of(device)}/cmdline").read_bytes().split(b"\0")[0].decode()
    assert served.startswith(str(device.store.environment(state.active)))


@pytest.mark.parametrize("name", ["cannot be imported", "crashes at its start, in service only"])
def test_a_release_that_fails_before_it_serves_disturbs_nobody(
    device: Launched, requests: Requests, remote: LineRequests, upgraded: str, name: str
) -> None:
    server = _server_of(device)
    version = f"2.{list(FAULT).index(name)}"
    case = broken_upgrade(device, requests, remote, version, FAULT[name], upgraded)
    assert (case.answers.broken, case.answers.lost) == (0, 0), case.answers.reasons
    assert _server_of(device) == server  # the process in service was never exchanged
    assert device.left(version)


def test_a_release_that_crashes_in_service_is_left_and_repeated_requests_are_answered(
    device: Launched, requests: Requests, remote: LineRequests, upgraded: str
) -> None:
    name = "crashes after 10 frames, in service only"
    case = broken_upgrade(device, requests, remote, "3.0", FAULT[name], upgraded)
    assert case.answers.lost == 0, case.answers.reasons
    assert case.answers.broken <= 2, case.answers.reasons  # what was under way on each connection
    assert "code 3" in device.left("3.0")


def test_a_wheel_that_is_not_what_was_signed_is_never_built(
    device: Launched, requests: Requests, remote: LineRequests, upgraded: str
) -> None:
    case = broken_upgrade(device, requests, remote, "4.0", FAULT["is not what was signed"], upgraded)
    assert (case.answers.broken, case.answers.lost) == (0, 0)
    assert "not what was signed" in device.refused("4.0")
    assert device.left("4.0") == ""


def test_a_launcher_killed_on_probation_goes_on_from_there(line: Line, device: Launched, upgraded: str) -> None:
    device.publish("5.0")
    device.wait(lambda d: d.store.load().phase is Phase.PROBATION)
    device.process.send_signal(signal.SIGKILL)
    device.process.wait(30)
    server = _servers(line)
    end = time.monotonic() + 30
    while server and time.monotonic() < end:  # its child does not outlive it
        time.sleep(0.05)
        server = _servers(line)
    assert server == []
    with (
        Launched(line, *OPTIONS) as again,
        Requests(again.port, line.inspection, connections=1) as requests,
    ):
        again.wait(lambda d: d.runs("5.0"))
        requests.take()
        told = _upgrade(line, "--status")
        assert (told["version"], told["phase"], told["outcome"]) == ("5.0", "steady", None)
        assert _upgrade(line, "--back")["version"] == upgraded  # a person goes back
        again.wait(lambda d: d.runs(upgraded))
        requests.wait_for_answers(5)
        assert requests.take().broken == 0
        assert "a person went back" in again.left("5.0")
        assert _upgrade(line)["outcome"]["upgrade"] == "quarantined"  # and it is not taken again by itself


def _upgrade(line: Line, *options: str) -> dict[str, Any]:
    """Run ``andon-edge upgrade``."""
    command = [sys.executable, "-m", "edge_client.cli", "upgrade", "--json", "--config", str(line.config), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return dict(json.loads(done.stdout))


def _servers(line: Line) -> list[int]:
    """Server processes of a device."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(line.config).encode() in words and b"launch" not in words:
            found.append(int(path.parent.name))
    return found


def _server_of(device: Launched) -> int:
    children = Path(f"/proc/{device.process.pid}/task/{device.process.pid}/children").read_text().split()
    (only,) = [int(pid) for pid in children if os.path.exists(f"/proc/{pid}")]
    return only
