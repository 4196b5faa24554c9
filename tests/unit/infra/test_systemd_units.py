"""The systemd units: what they promise, by a reading of their own and, where it is installed, by systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_client.cli.main import COMMANDS, build_parser

FOLDER = Path(__file__).parents[3] / "infra" / "systemd"
UNITS = {"serve": FOLDER / "andon-edge@.service", "run": FOLDER / "andon-edge-run@.service"}
PROGRAM = "/opt/andon-edge/bin/andon-edge"

both = pytest.mark.parametrize("command", list(UNITS))


def directives(path: Path) -> dict[str, list[str]]:
    """``Section.Name`` → values, in order."""
    found: dict[str, list[str]] = {}
    section = ""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[(Unit|Service|Install)\]", line):
            section = heading[1]
            continue
        name, equals, value = line.partition("=")
        assert equals, f"{path}:{number}: {line}"
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name), f"{path}:{number}: {line}"
        assert not re.search(r"\s#", value), f"{path}:{number}: systemd takes a comment after a value for the value"
        found.setdefault(f"{section}.{name}", []).append(value)
    return found


@both
def test_the_sandbox_is_closed_but_for_what_the_client_needs(command: str):
    unit = directives(UNITS[command])
    for name, value in {
        "User": "andon-edge",
        "UMask": "0077",
        "StateDirectory": "andon-edge/%i",
        "StateDirectoryMode": "0700",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "DevicePolicy": "closed",
        "ProtectKernelModules": "yes",
        "RestrictNamespaces": "yes",
        "MemoryDenyWriteExecute": "yes",
        "SystemCallArchitectures": "native",
        "Restart": "on-failure",
        "KillMode": "mixed",
        "OOMPolicy": "continue",
    }.items():
        assert unit[f"Service.{name}"] == [value], name
    assert unit["Service.SystemCallFilter"] == ["@system-service", "~@privileged"]
    assert "Service.MemoryMax" in unit
    assert "Service.TasksMax" in unit
    assert "Service.ReadWritePaths" not in unit


@both
def test_it_tells_that_it_is_ready_and_alive(command: str):
    unit = directives(UNITS[command])
    assert unit["Service.Type"] == ["notify"]
    assert unit["Service.NotifyAccess"] == ["main"]
    assert unit["Service.WatchdogSec"] == ["60s"]


def test_a_bad_configuration_of_the_server_is_not_tried_again():
    unit = directives(UNITS["serve"])
    assert unit["Service.RestartPreventExitStatus"] == ["2"]
    assert int(unit["Unit.StartLimitBurst"][0]) > 0
    assert unit["Service.PrivateDevices"] == ["yes"]


def test_the_camera_is_the_only_device_and_is_waited_for():
    unit = directives(UNITS["run"])
    assert unit["Service.DeviceAllow"] == ["char-video4linux rw"]
    assert unit["Service.SupplementaryGroups"] == ["video"]
    assert unit["Unit.StartLimitIntervalSec"] == ["0"]
    assert "Service.RestartPreventExitStatus" not in unit


@pytest.mark.parametrize("command", [c for c in UNITS if c in COMMANDS])
def test_the_command_line_is_one_that_the_program_takes(command: str):
    (line,) = directives(UNITS[command])["Service.ExecStart"]
    program, *words = line.replace("${ANDON_EDGE_SOURCE}", "camera:0").replace("$ANDON_EDGE_OPTIONS", "").split()
    assert program == PROGRAM
    launcher = build_parser(["launch"]).parse_args(words)
    assert (launcher.command, launcher.log_format, launcher.words[0]) == ("launch", "json", command)
    args = build_parser([command]).parse_args(launcher.words)
    assert args.command == command
    assert args.log_format == "json"


def test_the_account_is_the_one_that_the_units_name():
    line = (FOLDER / "andon-edge.sysusers.conf").read_text().splitlines()[-1]
    assert line.split()[:2] == ["u", "andon-edge"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not on this machine")
@pytest.mark.parametrize(("command", "most"), [("serve", 15), ("run", 18)])
def test_systemd_itself_finds_nothing_wrong_and_little_exposed(tmp_path: Path, command: str, most: int):
    copy = tmp_path / UNITS[command].name
    copy.write_text(UNITS[command].read_text().replace(PROGRAM, "/bin/true"))  # it must be there to be verified
    verified = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={most}", "--no-pager", copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-400:]  # 0 is closed, 100 is open
