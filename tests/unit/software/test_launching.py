"""The small things that the launcher and an upgrade rest on: sockets handed over, messages, names of wheels."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge_client.cli.launch import first_config, software_folder
from edge_client.cli.main import main
from edge_client.config import Config
from edge_client.contract.errors import ConfigError
from edge_client.doctor.software import check_software
from edge_client.software import rules
from edge_client.software.checking import _read
from edge_client.software.environments import fits_this_machine
from edge_client.software.launcher import Launcher
from edge_client.software.protocol import fields, last_launch, remember_launch
from edge_client.software.rules import Environment, Limits, Phase, Place, SoftwareState
from edge_client.software.sockets import FIRST_DESCRIPTOR, environment_for, inherited, listening
from edge_client.software.store import SoftwareStore
from tests.unit.capture.device import Bundle


def test_a_socket_is_taken_by_the_process_that_it_is_meant_for() -> None:
    assert inherited({}) == {}
    assert inherited({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == {}  # it was another's, and is only in the environment
    mine = environment_for({"http": socket.socket()}, 4711)
    assert mine == {"LISTEN_PID": "4711", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}


def test_the_launcher_listens_where_the_server_was_told_to() -> None:
    (made,) = listening(["serve", "--config", "a.toml", "--port=0"]).values()
    with made:
        host, port = made.getsockname()
        assert host == "127.0.0.1"
        with socket.create_connection((host, port), timeout=5):  # nobody accepts, and nobody is refused
            pass
    assert listening(["run", "--source", "x"]) == {}
    assert listening(["serve", "--port", "many"]) == {}  # the client says what is wrong


def test_messages_of_other_versions_are_passed_over() -> None:
    assert fields(b"READY=1\nnonsense\nX_LATER=a=b\n\xff") == {"READY": "1", "X_LATER": "a=b"}


def test_how_it_was_launched_is_remembered(tmp_path: Path) -> None:
    assert last_launch(tmp_path) is None
    remember_launch(tmp_path, ["serve", "--port", "80"])
    found = last_launch(tmp_path)
    assert found is not None
    assert (found.words, found.base_python, found.working_folder) == (
        ("serve", "--port", "80"),
        Path(sys.executable),
        Path.cwd(),
    )
    (tmp_path / "launch.json").write_text("{")
    assert last_launch(tmp_path) is None


def test_the_launcher_and_what_it_imports_are_the_standard_library_alone() -> None:
    ask = (
        "import sys; before = set(sys.modules); import edge_client.cli.launch, edge_client.cli.main; "
        "print([m for m in sys.modules if m.split('.')[0] not in sys.stdlib_module_names and m not in before "
        "and not m.startswith('edge_client')])"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("andon_edge-0.2.0-py3-none-any.whl", True),
        ("x-1-py2.py3-none-any.whl", True),
        (f"x-1-cp{sys.version_info.major}{sys.version_info.minor}-none-any.whl", True),
        ("x-1-cp39-abi3-any.whl", True),
        ("x-1-cp27-cp27m-win32.whl", False),
        ("x-1-cp399-cp399-any.whl", False),
        ("x-1-py3-none-win_amd64.whl", False),
        (f"x-1-py3-none-manylinux_2_17_{os.uname().machine}.whl", True),
        ("x-1-py3-none-manylinux_2_17_riscv128.whl", False),
    ],
)
def test_only_wheels_for_this_machine_are_fetched(name: str, fits: bool) -> None:
    assert fits_this_machine(name) == fits


@pytest.mark.parametrize(
    ("output", "code", "passed", "certain"),
    [
        (json.dumps({"passed": True, "readable_by": 1, "later": "x"}).encode(), 0, True, True),
        (json.dumps({"passed": True, "readable_by": 1}).encode(), 3, False, True),  # it says yes and crashes
        (json.dumps({"passed": "yes", "readable_by": 1}).encode(), 0, False, True),
        (b"Traceback", 1, False, True),
        (b"", -9, False, False),  # killed from outside
        (b"", -11, False, True),  # it crashed
        (b"x" * 100_000, 0, False, True),
    ],
)
def test_what_a_broken_self_check_says_is_not_believed(output: bytes, code: int, passed: bool, certain: bool) -> None:
    report = _read(output, code, b"some last words")
    assert (report.passed, report.certain or report.passed) == (passed, certain)
    assert report.passed or report.reason


def test_the_state_folder_is_found_in_the_first_configuration(tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    config.write_text('[device]\nstate = "here"\n')
    words = ["serve", "--config", str(config), "--config", "b.toml"]
    assert software_folder(first_config(words)) == tmp_path / "here" / "software"
    config.write_text("[device")
    with pytest.raises(ConfigError, match="cannot be read"):
        software_folder(config)


def test_a_device_that_was_never_launched_says_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["launch", "status"]) == 2
    assert "expected one of ('run', 'serve')" in capsys.readouterr().err
    assert main(["upgrade", "--status", "--config", str(tmp_path / "andon.toml")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_the_doctor_says_whether_upgrades_can_be_built_and_what_was_left(tmp_path: Path) -> None:
    config = Config.load(Bundle(tmp_path / "device").config)
    assert [f.result.value for f in check_software(config)] == ["ok"]
    store = SoftwareStore(config.device.state / "software")
    remember_launch(store.folder, ["serve"])
    assert "upgrades can be built" in list(check_software(config))[-1].found
    state, place = rules.build_begins(SoftwareState())
    state = rules.switched(rules.staged(state, place, Environment(version="0.2.0", digest="ab")))
    store.save(rules.failed(state, "ended with code 3", certain=True))
    assert "client 0.2.0 was left: ended with code 3" in [f.found for f in check_software(config)]
    told = json.loads((store.folder / "launch.json").read_text())
    (store.folder / "launch.json").write_text(json.dumps({**told, "base_python": str(tmp_path / "no-python")}))
    assert list(check_software(config))[-1].result.value == "problem"


def test_a_disk_that_cannot_be_written_ends_no_client_and_the_state_is_stored_later(tmp_path: Path) -> None:
    store = SoftwareStore(tmp_path / "software")
    state, place = rules.build_begins(SoftwareState())
    store.save(rules.switched(rules.staged(state, place, Environment(version="0.2.0", digest="ab"))))
    full = [True]

    class FullDisk(SoftwareStore):
        def save(self, state: SoftwareState) -> None:
            if full[0]:
                raise OSError(28, "No space left on device")
            super().save(state)

    launcher = Launcher(FullDisk(store.folder), ["serve"], sockets={}, limits=Limits())
    after = launcher._change(lambda s: rules.failed(s, "ended with code 3", certain=True))
    assert after.active is Place.BASE  # it is acted on all the same
    assert launcher._state() == after
    assert store.load().phase is Phase.PROBATION
    full[0] = False
    assert launcher._change(rules.healthy).quarantine == after.quarantine
    assert store.load() == launcher._state()
    shutil.rmtree(launcher._folder)


ANEW = """
import os, sys
from edge_client.software.sockets import inherited
server = inherited()["http"]
if len(sys.argv) > 1:
    connection, _ = server.accept()
    connection.sendall(b"again")
else:
    server.close()  # as a server does that ends in order
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], "anew"])
"""


def test_a_client_that_begins_anew_still_has_its_sockets() -> None:
    with listening(["serve", "--port", "0"])["http"] as held:
        pid = os.fork()
        if pid == 0:
            os.dup2(held.fileno(), FIRST_DESCRIPTOR)
            os.set_inheritable(FIRST_DESCRIPTOR, True)
            os.environ.update(environment_for({"http": held}, os.getpid()))
            os.execv(sys.executable, [sys.executable, "-c", ANEW])
        with socket.create_connection(held.getsockname(), timeout=10) as caller:
            assert caller.recv(16) == b"again"
        os.waitpid(pid, 0)
