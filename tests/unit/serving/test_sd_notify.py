"""systemd's notification socket, with a socket of our own."""

import socket
from pathlib import Path

import pytest

from edge_client.sd_notify import notify, watchdog_seconds


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_arrives(tmp_path: Path, abstract):
    name = f"@andon-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(10)
        assert notify("READY=1", {"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


def test_without_a_manager_nothing_happens(tmp_path: Path):
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "relative"})


def test_the_watchdog_is_for_the_process_it_names():
    assert watchdog_seconds({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "7"}, pid=7) == 20.0
    assert watchdog_seconds({"WATCHDOG_USEC": "20000000"}, pid=7) == 20.0
    assert watchdog_seconds({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "8"}, pid=7) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "0"}, pid=7) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "soon"}, pid=7) is None
    assert watchdog_seconds({}, pid=7) is None
