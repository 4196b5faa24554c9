import random

import pytest

from infra.stack.layout import Home
from infra.stack.ports import LOOPBACK, PORT_NAMES, choose_ports
from infra.stack.processes import BUCKET, FOUNDATION, SERVERS, process_specs
from infra.stack.secrets_file import StackSecrets
from infra.stack.state import StackState

FOREIGN = {
    "AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "theirs", "MLFLOW_TRACKING_URI": "http://other", "PREFECT_API_URL": "http://other",
    "PREFECT_API_KEY": "theirs", "WEED_JWT_SIGNING_KEY": "theirs", "ANDON_HOME": "/other", "PATH": "/bin",
}  # fmt: skip


@pytest.fixture
def specs(tmp_path):
    state = StackState(ports=choose_ports(PORT_NAMES, random.Random(0)))
    made = process_specs(Home(tmp_path), state, StackSecrets.generate(), FOREIGN)
    return {spec.name: spec for spec in made}


def test_the_servers_and_the_foundation_are_there_after_what_they_need(specs):
    assert set(specs) == {*SERVERS, FOUNDATION}
    seen: set[str] = set()
    for name, spec in specs.items():
        assert set(spec.needs) <= seen
        seen.add(name)


def test_no_account_or_address_of_the_caller_reaches_a_process(specs, tmp_path):
    for spec in specs.values():
        assert "theirs" not in spec.environment.values()
        assert "http://other" not in spec.environment.values()
        assert "AWS_PROFILE" not in spec.environment
        assert spec.environment.get("ANDON_HOME", str(tmp_path)) == str(tmp_path)
        assert spec.environment["PATH"] == "/bin"


def test_telemetry_is_off_everywhere(specs):
    assert all(spec.environment["DO_NOT_TRACK"] == "1" for spec in specs.values())
    assert "-master.telemetry=false" in specs[BUCKET].command


def test_no_secret_is_on_a_command_line(specs):
    secrets = {v for s in specs.values() for k, v in s.environment.items() if "SECRET" in k or "SIGNING" in k}
    assert len(secrets) == 5
    assert not any(secret in word for spec in specs.values() for word in spec.command for secret in secrets)


def test_every_listener_is_told_to_use_loopback(specs):
    assert {f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"} <= set(specs[BUCKET].command)
    for name in ("mlflow", "prefect"):
        command = specs[name].command
        assert command[command.index("--host") + 1] == LOOPBACK
