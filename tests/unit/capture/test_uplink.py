"""The link's shared file, and an uploader that keeps to its uplink."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_client import Client
from edge_client.contract.errors import Unavailable
from edge_client.contract.schedule import Schedule
from edge_client.figures import read_ledger
from edge_client.uplink.permission import NotNow, UploadRules
from edge_client.uplink.shared_link import SharedLink
from edge_client.uplink.uplink import Uplink
from edge_client.uploader import Uploader
from tests.unit.capture.device import Bundle, DrivenClock, noise
from tests.unit.capture.test_uploader import Sending

_USER = """
import sys, time
from pathlib import Path
from edge_client.uplink.shared_link import SharedLink
link = SharedLink(Path(sys.argv[1]), bytes_per_second=60_000)
print("ready", flush=True)
until, taken = float(sys.stdin.readline()), 0
while time.monotonic() < until:
    link.take(3000, day=7)
    taken += 3000
print(taken)
"""


def test_processes_on_one_link_take_turns_at_its_rate_though_one_is_killed(tmp_path: Path):
    """Each that always has something to send gets its share, and together they keep to the rate, whoever dies."""
    path = tmp_path / "uplink"
    users = [
        subprocess.Popen(
            [sys.executable, "-c", _USER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert all(user.stdout is not None and user.stdout.readline() == "ready\n" for user in users)
    begun = time.monotonic()
    for user in users:
        assert user.stdin is not None
        print(begun + 2.0, file=user.stdin, flush=True)
    time.sleep(0.5)
    users[0].send_signal(signal.SIGKILL)
    users[0].communicate()
    taken = [int(user.communicate(timeout=20)[0]) for user in users[1:]]
    assert min(taken) >= 0.5 * sum(taken) / 3  # exactly a third each where no process wakes late: test_uplink_rules
    used = SharedLink(path, bytes_per_second=0).used_on(7)
    assert 0.5 * 2.0 * 60_000 < sum(taken) <= used
    assert used <= 60_000 * (2.0 + 0.5) + 4 * 3000  # the time, a burst, and the pieces in hand


def test_a_file_that_was_cut_begins_anew_and_one_that_cannot_be_used_costs_only_the_sharing(tmp_path: Path):
    path, rested = tmp_path / "folder" / "uplink", []
    link = SharedLink(path, bytes_per_second=1000, monotonic=lambda: 50.0, rest=rested.append)
    link.take(1000, day=1)
    path.write_bytes(b"half")
    assert link.used_on(1) == 0
    link.take(1000, day=1)
    assert link.used_on(1) == 1000
    assert link.problem == ""
    path.unlink()
    path.mkdir()
    link.take(2000, day=1)
    link.take(2000, day=1)
    assert rested[-1] > 1.0  # still limited
    assert link.used_on(1) == 5000
    assert str(path) in link.problem


def test_a_lock_that_is_not_let_go_is_waited_for_a_moment_only(tmp_path: Path):
    link = SharedLink(tmp_path / "uplink", bytes_per_second=0)
    link.take(10, day=1)
    with (tmp_path / "uplink").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        link.take(10, day=1)
    assert "keeps to the upload limits alone" in link.problem
    link.take(10, day=1)
    assert link.problem == ""


def uplink_at(clock: DrivenClock, folder: Path, rules: UploadRules, **more) -> Uplink:
    link = SharedLink(folder / "uplink", bytes_per_second=0, monotonic=clock.monotonic, rest=clock.pass_seconds)
    return Uplink(rules, link=link, now=clock.now, zone=UTC, **more)


def test_outside_its_hours_an_uploader_keeps_everything_and_says_when_it_goes_on(tmp_path: Path):
    clock, sending = DrivenClock(), Sending(tmp_path, limit_bytes=10_000_000)  # it is 00:16
    uplink = uplink_at(clock, tmp_path, UploadRules(schedule=Schedule.read(["22:00-23:00"])))
    uploader = Uploader(sending.outbox, sending.bucket, uplink=uplink, clock=clock)
    assert uploader.next_upload().reason == "nothing waits"
    sending.fill(1, range(1, 9))
    with pytest.raises(NotNow):
        uploader.send_next()
    assert uploader.flush(seconds=5) is False
    assert sending.bucket.puts == []
    assert uploader.problem == ""
    told = uploader.next_upload()
    assert "upload.hours" in told.reason
    assert told.in_seconds is not None
    clock.pass_seconds(told.in_seconds)
    assert uploader.next_upload().in_seconds == 0
    assert uploader.flush(seconds=5)
    assert {e.state for e in read_ledger(tmp_path / "spool")} == {"uploaded"}


def test_a_metered_link_holds_back_in_the_middle_of_a_window_too(tmp_path: Path):
    clock, sending = DrivenClock(), Sending(tmp_path, limit_bytes=10_000_000)
    uplink = uplink_at(clock, tmp_path, UploadRules())
    uploader = Uploader(sending.outbox, sending.bucket, uplink=uplink, clock=clock)
    sending.fill(1, range(1, 9))
    sending.bucket.trouble, sending.bucket.good_calls = Unavailable("cut"), 1
    with pytest.raises(Unavailable):
        uploader.send_next()
    sending.bucket.trouble = None
    uplink.set_metered(True)
    with pytest.raises(NotNow, match=r"upload\.metered"):
        uploader.send_next()
    assert uploader.next_upload().in_seconds is None
    assert len(sending.bucket.puts) == 1
    uplink.set_metered(False)
    assert uploader.send_next()


def test_no_day_sends_more_than_its_bytes_and_the_window_is_finished_on_the_next(tmp_path: Path):
    clock, sending = DrivenClock(), Sending(tmp_path, limit_bytes=10_000_000)
    rules = UploadRules(bytes_per_day=40_000)
    sending.fill(1, range(1, 30))  # eight shards of about 13 kB
    days: list[int] = []
    for _ in range(20):
        uploader = Uploader(sending.outbox, sending.bucket, uplink=uplink_at(clock, tmp_path, rules), clock=clock)
        done = uploader.flush(seconds=5)
        days.append(uploader.bytes_sent)
        if done:
            break
        told = uploader.next_upload()
        assert "upload.bytes_per_day" in told.reason
        assert told.in_seconds is not None
        clock.pass_seconds(told.in_seconds)
    assert len(days) > 2
    assert all(0 < sent <= 40_000 for sent in days)
    assert set(sending.stored(sending.records()[0])) == set(range(1, 30))


def test_a_client_tells_when_it_uploads_next(tmp_path: Path):
    now = datetime.now(UTC).astimezone()
    closed = f"{(now.hour + 6) % 24:02}:00-{(now.hour + 8) % 24:02}:00"
    bundle = Bundle(tmp_path, rest=f'[upload]\nhours = ["{closed}"]\nbytes_per_day = 1000000\n')
    with Client.from_config(bundle.config) as client:
        client.predict(noise(1))
        assert client.flush(seconds=1) is False
        upload = json.loads(json.dumps(client.status()))["capture"]["upload"]
        assert upload["next"]["in_seconds"] > 3600
        assert "upload.hours" in upload["next"]["reason"]
        assert client.status()["health"] == "ok"
    assert bundle.records() == []
    assert os.listdir(tmp_path / "state" / "spool" / "blobs") != []
