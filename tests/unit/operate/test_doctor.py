"""The doctor: each finding is caused for real, and says what to do."""

from __future__ import annotations

import http.server
import json
import shutil
import sqlite3
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root

from edge_client import Client
from edge_client.cli.main import main
from edge_client.config import Config
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import Refused
from edge_client.contract.releases import METADATA_PREFIX
from edge_client.doctor.bucket import probe_key
from edge_client.doctor.disk import check_state
from edge_client.doctor.examination import examine
from edge_client.doctor.finding import Finding, Result
from edge_client.updates.trial import try_engine
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig
from flows.releases.keys import create_keys, public_key_of, signer_of
from flows.releases.repository import ReleaseRepository
from tests.tiny_engine import tiny_engine
from tests.unit.capture.device import Bundle, noise
from tests.unit.updates.release_world import HandClock, passing, selftest_of

WHOLE = '\n[releases]\nroot = "root.json"\n'


class Device:
    """An enrolled device whose bucket is a folder, with a release repository in it."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock(datetime(2026, 6, 1, tzinfo=UTC))
        self.bundle = Bundle(folder / "device", rest=WHOLE)
        self.folder = self.bundle.folder
        self.bucket = DirectoryBucket(self.folder / "bucket")
        self.repository = ReleaseRepository(self.bucket, folder / "keys", self.clock)
        self.repository.create()
        (self.folder / "root.json").write_bytes(self.repository.root_bytes())
        (self.folder / "factory.selftest").write_bytes(selftest_of(tiny_engine()))
        (self.folder / "device.key").chmod(0o600)

    @property
    def config(self) -> Config:
        return Config.load(self.bundle.config)

    def edit(self, old: str, new: str) -> None:
        text = self.bundle.config.read_text()
        assert old in text
        self.bundle.config.write_text(text.replace(old, new))

    def examine(self, **arguments: object) -> dict[str, Finding]:
        """By check; the worst where there are several."""
        worst: dict[str, Finding] = {}
        order = [Result.OK, Result.WARNING, Result.PROBLEM]
        arguments.setdefault("tries", passing)  # trials take a second each; the tests about them run real ones
        for finding in examine(self.config, clock=self.clock, **arguments):  # type: ignore[arg-type]
            if finding.result is not Result.OK:
                assert finding.remedy, finding
            before = worst.get(finding.check)
            if before is None or order.index(finding.result) > order.index(before.result):
                worst[finding.check] = finding
        return worst


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def only(findings: dict[str, Finding], *checks: str) -> None:
    """Nothing else is wrong."""
    assert {name for name, f in findings.items() if f.result is not Result.OK} == set(checks)


def test_a_sound_device_has_nothing_but_ok(device: Device):
    findings = device.examine(tries=try_engine)
    only(findings)
    assert set(findings) == {
        *("client", "extras", "software", "key", "credentials", "recipient", "state", "spool", "engine", "clock"),
        *("bucket", "root", "timestamp"),
    }
    assert "self-test passed" in findings["engine"].found
    assert device.bucket.get(probe_key("line-1"), max_bytes=100)


def test_a_configuration_that_cannot_be_used_is_the_only_finding_and_code_1(tmp_path: Path, capsys):
    assert main(["doctor", "--config", str(tmp_path / "none.toml"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    (finding,) = told["checks"]
    assert (told["ok"], finding["check"], finding["result"]) == (False, "configuration", "problem")
    assert finding["remedy"]


def test_people_see_the_remedy_below_each_finding(device: Device, capsys):
    (device.folder / "device.key").chmod(0o644)
    main(["doctor", "--config", str(device.bundle.config)])
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if "mode 644" in line)
    assert lines[at].startswith("warning  key")
    assert "→ chmod 600" in lines[at + 1]


def test_a_key_that_is_none_and_one_that_others_may_read(device: Device):
    (device.folder / "device.key").chmod(0o640)
    assert device.examine()["key"].result is Result.WARNING
    (device.folder / "device.key").write_bytes(b"rubbish")
    findings = device.examine()
    only(findings, "key")
    assert findings["key"].result is Result.PROBLEM


def test_credentials_that_lack_a_half_and_ones_that_others_may_read(device: Device):
    credentials = device.folder / "credentials.toml"
    credentials.write_text('access_key_id = "a"\nsecret_access_key = "b"\n')
    credentials.chmod(0o604)
    device.edit(
        'directory = "bucket"',
        'name = "andon"\nendpoint_url = "http://127.0.0.1:9"\ncredentials = "credentials.toml"\nconnect_seconds = 0.2',
    )
    findings = device.examine()
    assert (findings["credentials"].result, findings["bucket"].result) == (Result.WARNING, Result.PROBLEM)
    assert "127.0.0.1:9" in findings["bucket"].remedy  # nothing listens there
    credentials.write_text('access_key_id = "a"\n')
    assert "secret_access_key is missing" in device.examine()["credentials"].found


def test_a_recipient_that_is_none(device: Device):
    device.edit(device.bundle.recipient, "age1rubbish")
    assert device.examine()["recipient"].result is Result.PROBLEM


def test_a_state_folder_that_cannot_be_written(device: Device):
    (device.folder / "state").write_text("a file where the folder should be")
    findings = device.examine()
    assert findings["state"].result is Result.PROBLEM
    assert "owns the folder" in findings["state"].remedy


def test_too_little_room_for_capture_or_for_the_whole_spool(device: Device):
    device.edit("reserve_bytes = 0", f"reserve_bytes = 0\nspool_bytes = {1 << 43}")
    assert "bounded by" in device.examine()["state"].found
    device.edit("reserve_bytes = 0", f"reserve_bytes = {1 << 43}")
    assert "nothing is captured" in device.examine()["state"].found


def test_a_disk_that_takes_seconds_for_a_durable_write(device: Device):
    ticks = iter([0.0, 0.1, 1.0, 4.5, 5.0, 5.1])
    findings = list(check_state(device.config, now=lambda: next(ticks)))
    assert [f.result for f in findings] == [Result.OK, Result.WARNING]
    assert "3.5 s" in findings[1].found
    assert list((device.folder / "state").glob(".doctor*")) == []


def captured(device: Device, *, upload: bool) -> None:
    with Client(device.config, clock=device.clock) as client:
        for i in range(3):
            client.predict(noise(i))
        if upload:
            assert client.flush(seconds=20)


def test_a_damaged_spool_one_that_was_set_aside_and_one_with_lost_files(device: Device):
    captured(device, upload=True)
    only(device.examine())
    (device.folder / "state" / "spool" / "set-aside").mkdir()
    assert device.examine()["spool"].result is Result.WARNING
    (device.folder / "state" / "spool" / "set-aside").rmdir()
    database = device.folder / "state" / "spool" / "spool.db"
    data = bytearray(database.read_bytes())
    data[4096 : 4096 * 3] = b"\xa5" * 8192
    database.write_bytes(data)
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    finding = device.examine()["spool"]
    assert finding.result is Result.PROBLEM
    assert "sets" in finding.remedy
    assert database.read_bytes() == bytes(data)  # it changed nothing


def test_a_window_that_has_waited_for_days_and_a_spool_that_is_nearly_full(device: Device):
    device.edit('directory = "bucket"', 'directory = "/proc/nothing"')
    with Client(device.config, clock=device.clock) as client:
        for i in range(3):
            client.predict(noise(i))
        client.close(flush_seconds=0)
    device.clock.advance(days=3)
    findings = device.examine()
    assert "waiting for 3 days" in findings["spool"].found
    assert findings["bucket"].result is Result.PROBLEM
    with sqlite3.connect(device.folder / "state" / "spool" / "spool.db") as db:
        (held,) = db.execute("SELECT sum(bytes) FROM entries WHERE state = 'kept'").fetchone()
    device.edit("reserve_bytes = 0", f"reserve_bytes = 0\nspool_bytes = {int(held * 1.05)}")
    assert "are taken" in device.examine()["spool"].found


def test_engines_that_are_none_of_another_inspection_without_a_self_test_or_that_fail_it(device: Device):
    selftest = device.folder / "factory.selftest"
    engine = device.folder / "factory.onnx"
    selftest.write_bytes(selftest_of(tiny_engine(bias=9.0)))
    finding = device.examine(tries=try_engine)["engine"]
    assert finding.result is Result.PROBLEM
    assert "self-test answers differ" in finding.found
    selftest.unlink()
    assert device.examine()["engine"].result is Result.WARNING
    engine.write_bytes(tiny_engine(inspection="weld-seams"))
    assert "'weld-seams'" in device.examine()["engine"].found
    engine.write_bytes(b"rubbish")
    assert "cannot be used" in device.examine()["engine"].found


def test_an_engine_in_a_slot_is_tried_too(device: Device):
    slot = device.folder / "state" / "updates" / "slot-b"
    slot.mkdir(parents=True)
    engine = tiny_engine(engine_id="e7")
    (slot / "engine.onnx").write_bytes(engine)
    (slot / "selftest.npz").write_bytes(selftest_of(engine))
    (device.folder / "state" / "run.json").write_text('{"slot": "b"}')
    finding = device.examine(tries=try_engine)["slot b"]
    assert finding.result is Result.OK
    assert "(in service), e7" in finding.found
    (slot / "engine.onnx").write_bytes(engine[: len(engine) // 2])
    assert device.examine()["slot b"].result is Result.PROBLEM


# --- clock


class DatedServer(http.server.BaseHTTPRequestHandler):
    date = ""

    def do_GET(self) -> None:
        self.send_response_only(403)
        if self.date:
            self.send_header("Date", self.date)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), DatedServer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def at_server(device: Device, url: str) -> Device:
    credentials = device.folder / "credentials.toml"
    credentials.write_text('access_key_id = "a"\nsecret_access_key = "b"\n')
    credentials.chmod(0o600)
    device.edit('directory = "bucket"', f'name = "andon"\nendpoint_url = "{url}"\ncredentials = "credentials.toml"')
    return device


@pytest.mark.parametrize(
    ("seconds", "result"),
    [(2, Result.OK), (-100, Result.WARNING), (3600, Result.PROBLEM), (-86_400 * 30, Result.PROBLEM)],
)
def test_a_clock_is_compared_with_the_servers(device: Device, server, seconds: int, result: Result):
    at_server(device, f"http://127.0.0.1:{server.server_port}")
    DatedServer.date = format_datetime(device.clock.now() + timedelta(seconds=seconds), usegmt=True)
    finding = device.examine(bucket=device.bucket)["clock"]
    assert finding.result is result
    if result is not Result.OK:
        assert ("behind" if seconds > 0 else "ahead of") in finding.found
        assert "timedatectl" in finding.remedy


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_server_that_tells_no_time_is_no_finding(device: Device, server, date: str):
    at_server(device, f"http://127.0.0.1:{server.server_port}")
    DatedServer.date = date
    only(device.examine(bucket=device.bucket))


def test_a_clock_at_1970_is_found_without_any_server(device: Device):
    device.clock.at = datetime(1970, 1, 1, tzinfo=UTC)
    finding = device.examine()["clock"]
    assert finding.result is Result.PROBLEM
    assert "1970-01-01" in finding.found


def test_a_certificate_that_is_not_accepted_is_told_and_the_time_is_read_all_the_same(device: Device, tmp_path: Path):
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x"
    subprocess.run(["openssl", *words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), DatedServer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        at_server(device, f"https://127.0.0.1:{server.server_port}")
        DatedServer.date = format_datetime(device.clock.now() + timedelta(days=40), usegmt=True)
        findings = device.examine(bucket=device.bucket)
        server.shutdown()
        thread.join()
    only(findings, "clock", "certificate")
    assert "behind" in findings["clock"].found
    assert "ca_bundle" in findings["certificate"].remedy


# --- releases


class WithoutRoots(DirectoryBucket):
    """A bucket whose policy no longer lets this device read."""

    def get(self, key: str, *, max_bytes: int) -> bytes:
        if key.endswith(".root.json"):
            raise Refused(f"bucket refuses {key!r} (AccessDenied)")
        return super().get(key, max_bytes=max_bytes)


def test_a_root_that_may_not_be_read_is_a_silent_freeze_and_is_told(device: Device):
    bucket = WithoutRoots(device.bucket.path)
    # the updater itself notices nothing
    updater = Updater.open(UpdaterConfig.from_config(device.config), bucket, clock=device.clock, tries=passing)
    assert updater.check_once().check.value == "no release"
    assert updater.status().problems == ()
    updater.stop()
    findings = device.examine(bucket=bucket)
    only(findings, "releases")
    assert "in silence" in findings["releases"].found


def new_root(device: Device, keys: Path, *, version: int = 2, signers: list[Path]) -> bytes:
    """The next root, with the root key of `keys`, signed by the root keys in `signers`."""
    root = Metadata[Root].from_bytes(device.bucket.get(f"{METADATA_PREFIX}1.root.json", max_bytes=1 << 20))
    root.signed.version = version
    key = public_key_of(keys, "root")
    root.signed.keys[key.keyid] = key
    root.signed.roles["root"].keyids = [key.keyid]
    root.signatures.clear()
    for folder in signers:
        root.sign(signer_of(folder, "root"), append=True)
    return root.to_bytes()


def test_a_root_that_was_rotated_is_followed_in_thought_and_a_forged_one_is_not(device: Device, tmp_path: Path):
    create_keys(tmp_path / "new")
    forged = new_root(device, tmp_path / "new", signers=[tmp_path / "new"])
    device.bucket.put(f"{METADATA_PREFIX}2.root.json", forged)
    findings = device.examine()
    only(findings, "releases")
    assert "not signed by the one that this device trusts" in findings["releases"].found
    good = new_root(device, tmp_path / "new", signers=[tmp_path / "keys", tmp_path / "new"])
    device.bucket.put(f"{METADATA_PREFIX}2.root.json", good)
    findings = device.examine()
    assert (findings["releases"].result, findings["root"].result) == (Result.WARNING, Result.OK)
    assert "trusts root 1, the bucket has 2" in findings["releases"].found
    updater = Updater.open(UpdaterConfig.from_config(device.config), device.bucket, clock=device.clock, tries=passing)
    updater.check_once()
    updater.stop()
    only(device.examine())  # once it followed, nothing is left to tell


def test_a_timestamp_that_expires_soon_has_expired_or_is_not_signed(device: Device):
    device.clock.advance(days=25)
    assert device.examine()["timestamp"].result is Result.WARNING
    device.clock.advance(days=10)
    finding = device.examine()["timestamp"]
    assert finding.result is Result.PROBLEM
    assert "expired" in finding.found
    device.repository.refresh_timestamp()
    only(device.examine())
    key = f"{METADATA_PREFIX}timestamp.json"
    document = json.loads(device.bucket.get(key, max_bytes=1 << 20))
    document["signed"]["version"] += 1
    device.bucket.put(key, json.dumps(document).encode())
    assert "not signed" in device.examine()["timestamp"].found


def test_a_root_that_has_expired(device: Device):
    device.clock.advance(days=365 * 30)
    assert device.examine()["root"].result is Result.PROBLEM


def test_the_root_of_another_stack_no_releases_and_a_damaged_root(device: Device, tmp_path: Path):
    other = Device(tmp_path / "other")
    ours = (device.folder / "root.json").read_bytes()
    (device.folder / "root.json").write_bytes((other.folder / "root.json").read_bytes())
    assert "another stack" in device.examine()["releases"].found
    (device.folder / "root.json").write_bytes(b"rubbish")
    assert "cannot be read" in device.examine()["releases"].found
    (device.folder / "root.json").write_bytes(ours)
    shutil.rmtree(device.bucket.path / "releases")
    assert "no releases" in device.examine()["releases"].found


def test_a_device_without_bucket_or_releases_is_warned_not_failed(tmp_path: Path, capsys):
    bundle = Bundle(tmp_path / "device")
    bundle.config.write_text(bundle.config.read_text().replace('[bucket]\ndirectory = "bucket"\n', ""))
    assert main(["doctor", "--config", str(bundle.config), "--json"]) == 0
    told = {c["check"]: c for c in json.loads(capsys.readouterr().out)["checks"]}
    assert told["bucket"]["result"] == told["releases"]["result"] == "warning"
    assert "andon-edge export" in told["bucket"]["remedy"]


def test_a_check_that_breaks_in_a_way_nobody_thought_of_hides_no_other(device: Device):
    class Broken(DirectoryBucket):
        def put(self, key: str, data: bytes, *, content_type: str = "") -> None:
            raise ZeroDivisionError("a bug")

    findings = device.examine(bucket=Broken(device.bucket.path))
    only(findings, "bucket")
    assert "ZeroDivisionError" in findings["bucket"].found
