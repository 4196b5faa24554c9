"""Help from far away: logs, doctor and restart of real processes, by signed requests and sealed answers alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_client.contract.help import HelpReply, help_target, reply_key
from flows.stack import repository_of
from tests.integration.fleet_settings.installation import Installation, put_frame, wait_until


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frames")


@pytest.fixture(scope="module")
def helped(cloud: Installation, frames: Path) -> Path:
    """A device that inspects a folder; returns its bundle's folder."""
    bundle = cloud.enroll("helped")
    put_frame(frames, "first", 100)
    cloud.start(bundle, "run", "--source", str(frames), "--follow", "--consume", "--log-level", "debug")
    wait_until(lambda: cloud.heartbeat("helped"), "the first heartbeat")
    return bundle.path


def run_file(bundle: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((bundle / "state" / "run.json").read_text())
    return told


def test_logs_come_sealed_and_without_secrets(cloud: Installation, helped: Path, frames: Path) -> None:
    (frames / "broken.png").write_bytes(b"not an image")
    told = cloud.andon("device", "helped", "logs", "--timeout", "60")
    assert (told["state"], told["device"]) == ("done", "helped")
    assert any("help request" in line for line in told["lines"])
    credentials = (helped / "credentials.toml").read_text().split('"')
    assert not any(secret in json.dumps(told) for secret in (credentials[1], credentials[3]))
    # the answer is gone from the bucket once it was read, and the request is used: nothing is answered again
    assert cloud.workspace.bucket().head(reply_key("helped", told["id"])) is None


def test_a_doctor_looks_from_far_away(cloud: Installation, helped: Path) -> None:
    told = cloud.andon("device", "helped", "doctor", "--timeout", "90")
    checks = {check["check"]: check["result"] for check in told["checks"]}
    assert checks["key"] == "ok"
    assert checks["bucket"] == "ok"
    assert told["status"]["device"] == "helped"


def test_a_restart_loses_no_frame_and_happens_once(cloud: Installation, helped: Path, frames: Path) -> None:
    before = run_file(helped)
    for i in range(20):
        put_frame(frames, f"before-{i}", 100)
    told = cloud.andon("device", "helped", "restart", "--timeout", "90", "--why", "a drill")
    assert told["state"] == "done"
    for i in range(20):
        put_frame(frames, f"after-{i}", 100)
    wait_until(lambda: not list(frames.glob("[!.]*.png")), "all frames are inspected")
    wait_until(lambda: run_file(helped)["answered"] >= 20, "the new process tells")
    after = run_file(helped)
    assert (after["lost"], before["lost"]) == (0, 0)
    (process,) = [p for p in cloud.processes if str(helped) in " ".join(map(str, p.args))]
    assert process.poll() is None  # the same process: its supervisor has noticed nothing
    code, again = cloud.andon_code("device", "helped", "restart", "--timeout", "60")
    assert code == 1
    assert "at most once" in again["reason"]


def test_a_request_is_used_once_and_only_by_its_device(cloud: Installation, helped: Path) -> None:
    told = cloud.andon("device", "helped", "logs", "--timeout", "60")
    repository = repository_of(cloud.workspace, lambda: datetime.now(UTC))
    signed = repository.read_document(help_target("helped"))
    assert signed is not None
    # the same request, signed anew: a thief of the online key cannot have it answered twice
    repository.publish_documents({help_target("helped"): signed + b" "})
    later = cloud.andon("device", "helped", "logs", "--timeout", "60")
    assert later["id"] != told["id"]
    assert cloud.workspace.bucket().head(reply_key("helped", told["id"])) is None


def test_a_device_that_does_not_want_it_says_so(cloud: Installation, tmp_path: Path) -> None:
    bundle = cloud.enroll("private")
    with bundle.config.open("a") as file:
        file.write('\n[help]\nallow = ["doctor"]\n')
    process = cloud.start(bundle, "run", "--source", str(tmp_path), "--follow")
    wait_until(lambda: cloud.heartbeat("private"), "the first heartbeat")
    code, told = cloud.andon_code("device", "private", "logs", "--timeout", "60")
    assert code == 1
    assert (told["state"], "[help] allow" in told["reason"]) == ("refused", True)
    facts = cloud.andon("device", "private")
    assert (facts["device"], facts["station"], facts["heartbeat"]["health"]) == ("private", "private", "ok")
    cloud.end(process)


def test_an_answer_of_another_device_is_not_believed(cloud: Installation, helped: Path) -> None:
    from edge_client.contract.errors import BadSignature
    from edge_client.contract.sealing import recipient_of
    from edge_client.contract.signing import load_private_key

    identity = cloud.workspace.identity()
    reply = HelpReply(device="helped", id="1", verb="logs", state="done", at=datetime.now(UTC), content={"lines": []})
    forged = reply.seal(load_private_key(cloud.home / "devices" / "private" / "device.key"), recipient_of(identity))
    own = cloud.andon("device", "helped")["public_key"]
    with pytest.raises(BadSignature):
        HelpReply.open(forged, own, identity)
