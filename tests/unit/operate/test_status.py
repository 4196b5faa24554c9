"""What ``andon-edge status`` says: cost, what waits, and each problem with what to do."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_client import Client
from edge_client.cli.main import main
from edge_client.cli.run_file import RunFile
from edge_client.cli.status import _duration, read_status
from edge_client.config import Config
from edge_client.remedies import remedy_for
from tests.unit.capture.device import Bundle, noise


def told(bundle: Bundle, **changes: object) -> None:
    path = bundle.folder / "state" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A device whose bucket is away, after five frames."""
    bundle = Bundle(tmp_path / "device", bucket='directory = "/proc/nothing"')
    with Client.from_config(bundle.config) as client:
        file = RunFile(client)
        for i in range(5):
            client.predict(noise(i))
        file.tell()
        client.close(flush_seconds=0)
    return bundle


def test_cost_uptime_memory_and_what_waits_are_told(bundle: Bundle, capsys):
    status = read_status(Config.load(bundle.config))
    process = status["run"]["process"]
    assert process["cpu_seconds_per_frame"] == pytest.approx(process["cpu_seconds"] / 5)
    assert process["memory_bytes"] > 10_000_000
    assert (process["energy_joules"] is None) == (process["energy_note"] != "")
    assert status["waits"]["upload_windows"] == 1
    assert status["waits"]["upload_bytes"] == status["spool"]["bytes"] > 0
    assert status["running"] is True  # the process that wrote it is this one
    main(["status", "--config", str(bundle.config)])
    text = capsys.readouterr().out
    for words in ("5 asked, 5 answered", "ms a frame", "MB, at most", "1 windows", "runs as process", ", up "):
        assert words in text, words
    assert ("energy      not readable" in text) == (process["energy_note"] != "")


def test_energy_is_shown_where_it_can_be_read(bundle: Bundle, capsys):
    process = json.loads((bundle.folder / "state" / "run.json").read_text())["process"]
    told(bundle, process={**process, "energy_joules": 2.5, "energy_joules_per_frame": 0.5, "energy_note": ""})
    main(["status", "--config", str(bundle.config)])
    assert "0.500 J a frame" in capsys.readouterr().out


def test_each_problem_has_its_remedy(bundle: Bundle, capsys):
    told(bundle, problems=["upload: the credentials need attention: bucket 'andon' refuses 'x'"])
    (item,) = read_status(Config.load(bundle.config))["problems"]
    assert "enrol it again" in item["remedy"]
    main(["status", "--config", str(bundle.config)])
    assert "→ run `andon-edge doctor`" in capsys.readouterr().out


def test_a_client_that_was_killed_is_told(bundle: Bundle, capsys):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    told(bundle, pid=dead.pid)
    status = read_status(Config.load(bundle.config))
    assert status["running"] is False
    assert "ended without finishing" in status["problems"][-1]["problem"]
    told(bundle, done=True, problems=[])
    status = read_status(Config.load(bundle.config))
    assert (status["running"], status["problems"]) == (False, [])
    main(["status", "--config", str(bundle.config)])
    assert "does not run" in capsys.readouterr().out


def test_what_was_told_has_an_age(bundle: Bundle):
    at = datetime(2030, 1, 1, tzinfo=UTC)
    told(bundle, updated_at=(at - timedelta(seconds=42)).isoformat(), pid=os.getpid())
    clock = SimpleNamespace(now=lambda: at, monotonic=lambda: 0.0)
    assert read_status(Config.load(bundle.config), clock=clock)["told_seconds_ago"] == 42


def test_a_spool_that_cannot_be_read_is_a_problem_not_an_end(bundle: Bundle):
    (bundle.folder / "state" / "spool" / "spool.db").write_bytes(b"no database" * 500)
    status = read_status(Config.load(bundle.config))
    assert status["spool"] is None
    assert "cannot be read" in status["problems"][-1]["problem"]


def test_a_device_that_never_ran_says_so(tmp_path: Path, capsys):
    bundle = Bundle(tmp_path / "device")
    assert main(["status", "--config", str(bundle.config)]) == 0
    assert "has not run here yet" in capsys.readouterr().out
    assert read_status(Config.load(bundle.config))["told_seconds_ago"] is None


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("capture: [Errno 28] No space left on device", "free some space"),
        ("capture: [Errno 30] Read-only file system: 'x'", "worn"),
        ("capture: [Errno 5] Input/output error", "the disk fails"),
        ("metrics are off: metrics.port 80 …", "metrics.port"),
        ("camera 0 gives no frames: …", "cable"),
        ("something new", "andon-edge doctor"),
    ],
)
def test_a_remedy_fits_its_problem(problem: str, words: str):
    assert words in remedy_for(problem)


def test_durations_read_well():
    assert [_duration(s) for s in (7.2, 65, 7260, 200_000, None)] == [
        *("7 s", "1 min 5 s", "2 h 1 min", "2 d 7 h", "some time")
    ]
