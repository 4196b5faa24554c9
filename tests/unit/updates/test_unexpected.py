"""What nobody thought of: it ends as an outcome and a line in the status, never as a thread that is gone."""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_client.updates import updater
from edge_client.updates.outcome import Check
from edge_client.updates.requests import UpdateRequest, answer_to, send_request
from tests.unit.updates.release_world import World, serve


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_callback_that_fails_costs_the_check_and_the_next_one_goes_well(world: World) -> None:
    world.release("e1")
    device = world.device()

    def fails(_: object) -> None:
        raise KeyError("no such thing")

    device.on_help = fails
    outcome = device.check_once()
    assert (outcome.check, outcome.reason) == (Check.RETRY, "unexpected: KeyError('no such thing')")
    assert device.status().problems == (outcome.reason,)
    device.on_help = lambda _: None
    assert device.check_once().check is Check.SWAPPED
    assert device.status().problems == ()
    device.stop()


def test_a_request_that_cannot_be_answered_leaves_the_thread_alive(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    world.release("e1")
    device, state = world.device(poll_seconds=1e6), world.config().state
    device.start()
    with monkeypatch.context() as patched:
        patched.setattr(updater, "answer_request", full)
        send_request(state, UpdateRequest(id="first"))
        wait_until(lambda: any("could not be served" in problem for problem in device.status().problems))
    second = UpdateRequest(id="second")
    send_request(state, second)
    wait_until(lambda: answer_to(state, second) is not None)
    wait_until(lambda: device.status().problems == ())
    device.stop()


@pytest.mark.parametrize("error", [KeyError("no such thing"), sqlite3.OperationalError("disk I/O error")])
def test_a_finding_that_cannot_be_stored_is_stored_later(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(updater, "_UNEXPECTED_SECONDS", 0.05)
    world.release("e1")
    device = world.device(poll_seconds=1e6)
    assert device.check_once().check is Check.SWAPPED
    device.start()

    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(device._keeper, "take", fails)
        assert serve(device, 3) == 0
        wait_until(lambda: any("cannot be stored" in problem for problem in device.status().problems))
    wait_until(lambda: device.status().phase == "steady")
    wait_until(lambda: device.status().problems == ())
    device.stop()


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between looks: what the thread has done it tells nobody
