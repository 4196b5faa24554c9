"""Log lines for machines."""

import io
import json
import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from edge_client.contract.errors import ConfigError
from edge_client.logs import set_up_logging
from tests.unit.capture.device import Bundle

ROOT = Path(__file__).parents[3]
log = logging.getLogger("edge_client.test")


@pytest.fixture(autouse=True)
def untouched_logging():
    """Leave the root logger as it was."""
    root, ours = logging.getLogger(), logging.getLogger("edge_client")
    before = (root.handlers[:], root.level, ours.level)
    yield
    root.handlers[:], (root.level, ours.level) = before[0], before[1:]


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_everything_a_collector_needs():
    stream = io.StringIO()
    set_up_logging("json", level="info", device="line-1", inspection="solar-cells", stream=stream)
    log.warning("upload of %d windows\nfailed", 3)
    (line,) = lines(stream)
    at = datetime.fromisoformat(line.pop("time"))
    assert at.utcoffset() is not None
    assert line == {
        "level": "WARNING",
        "logger": "edge_client.test",
        "message": "upload of 3 windows\nfailed",
        "device": "line-1",
        "inspection": "solar-cells",
    }


def test_an_exception_and_extras_are_in_the_line():
    stream = io.StringIO()
    set_up_logging("json", inspection="solar-cells", stream=stream)
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("failed", extra={"inspection": "weld-seams", "window": 7, "path": Path("x")})
    (line,) = lines(stream)
    assert "ValueError: no" in line["exception"]
    assert (line["inspection"], line["window"]) == ("weld-seams", 7)
    assert "Path" in line["path"]


def test_the_level_is_that_of_our_loggers_and_others_are_heard_from_warning_on():
    stream = io.StringIO()
    set_up_logging("json", level="info", stream=stream)
    log.debug("a")
    log.info("b")
    logging.getLogger("botocore").info("c")
    logging.getLogger("botocore").warning("d")
    assert [line["message"] for line in lines(stream)] == ["b", "d"]


def test_called_again_it_replaces_its_own_handler_and_no_other():
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    first, second = io.StringIO(), io.StringIO()
    set_up_logging("json", stream=first)
    set_up_logging("text", stream=second)
    log.warning("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
    assert other in logging.getLogger().handlers


@pytest.mark.parametrize(("kind", "level"), [("xml", "info"), ("json", "loud")])
def test_an_unknown_format_or_level_is_an_error_that_lists_the_known(kind: str, level: str):
    with pytest.raises(ConfigError, match="expected one of"):
        set_up_logging(kind, level=level)


def test_the_command_line_logs_json_with_the_names_of_the_configuration(tmp_path: Path):
    bundle = Bundle(tmp_path / "device", bucket='directory = "/proc/none"')  # no put can succeed there
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    words = ["run", "--config", bundle.config, "--source", tmp_path / "images", "--flush-seconds", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "edge_client.cli", *map(str, words), "--log-format", "json", "--log-level", "info"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert told
    assert all((t["device"], t["inspection"]) == ("line-1", "solar-cells") for t in told)
    assert any("a.png" in t["message"] for t in told)
