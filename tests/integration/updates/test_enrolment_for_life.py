"""A device's life in the bucket, on the real server with its IAM: claimed once, replaced without a visit, revoked.

The device is a real client; the cloud is the real enrolment, heartbeats' ingest and settling of accounts. MLflow and
Prefect are not there: none of this needs them.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data.device_accounts import account_of
from data.device_rights import AccessKey, DeviceAccounts
from data.devices import device_status, get_device
from data.ingest import ingest_heartbeats, ingest_inbox
from data.inspections import create_inspection
from data.quarantine import quarantined_window
from data.workspace import Workspace
from edge_client import Client
from edge_client.cli.main import main as edge
from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.engine_keys import EngineKeys, keys_object
from edge_client.contract.errors import Refused, Unavailable
from edge_client.contract.sealing import generate_identity
from edge_client.contract.signing import load_private_key
from edge_client.enrolment import claim_bundle, claimed, read_bundle, unpack_into
from flows.accounts import Settler, settle_accounts
from flows.engine_keys import rotate_engine_keys
from flows.releases.repository import ReleaseRepository
from infra.enrolment import EnrolmentError, enroll, revoke
from infra.invitation import Invitation, invite, write_qr
from infra.stack.foundation import SystemClock, lay
from tests.integration.capture.weed import Weed, running_weed
from tests.tiny_engine import tiny_engine
from tests.unit.capture.device import noise

POLICIES = Path(__file__).parents[3] / "infra" / "iam"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Plant:
    """A home directory on a real bucket."""

    folder: Path
    weed: Weed

    def __post_init__(self) -> None:
        home, settings = self.folder / "home", self.weed.settings
        (home / "keys").mkdir(parents=True, mode=0o700)
        generate_identity(home / "keys" / "recipient.age")
        stack = {"urls": {"bucket": settings.endpoint_url}, "bucket": {"name": settings.bucket}}
        (home / "stack.json").write_text(json.dumps(stack))
        secrets = {"access_key_id": settings.access_key_id, "secret_access_key": settings.secret_access_key}
        (home / "secrets.json").write_text(json.dumps(secrets))
        lay(home)
        self.workspace = Workspace.open(home, environ={})
        create_inspection(self.workspace.catalog(), "solar-cells", [("ok", "ok"), ("crack", "defect")])
        rotate_engine_keys(self.workspace, "solar-cells")  # engines are sealed
        self.bucket = self.workspace.bucket()  # made once: connections are most of what this costs
        self.settler = Settler.of(self.workspace, now)
        self.engine = self.folder / "engine.onnx"
        self.engine.write_bytes(tiny_engine(engine_id="factory"))

    def invite(self, device: str, **more: object) -> Invitation:
        where = {"site": "plant-a", "station": device, "inspection": "solar-cells", "engine": self.engine}
        return invite(self.workspace, device, **{**where, **more})  # type: ignore[arg-type]

    def watch(self) -> list[str]:
        """What the watch flow does about devices."""
        ingest_heartbeats(self.workspace.catalog(), self.bucket)
        return settle_accounts(self.workspace, now, self.settler)

    def claim(self, folder: Path) -> None:
        """Run the device's side, with the cloud's watch flow in each of its pauses."""

        def pause(_: float) -> None:
            self.watch()
            time.sleep(0.05)

        claim_bundle(folder, wait_seconds=60, sleep=pause)

    def take_over(self, device: str) -> None:
        """Let a device's client run until its heartbeat told of its account."""
        with client_of(self.folder / device):
            self.until_settled(device)

    def until_settled(self, device: str) -> None:
        """Watch until the device runs on the account that was made for it."""
        until(lambda: f"{device}: runs on its new account; the old one is ended" in self.watch())

    def opens_engines(self, device: str) -> bool:
        """Whether the device's own key opens the keys of engines that the cloud keeps for it."""
        sealed = self.bucket.get(keys_object("solar-cells", device), max_bytes=1 << 16)
        return bool(EngineKeys.open_with(sealed, load_private_key(self.folder / device / "device.key")).keys)

    def device_bucket(self, device: str) -> S3Bucket:
        return S3Bucket.connect(self.rights(device), attempts=1)

    def rights(self, device: str) -> S3Settings:
        import tomllib

        secrets = tomllib.loads((self.folder / device / "credentials.toml").read_text())
        return replace(self.weed.settings, **secrets)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    with running_weed(tmp_path_factory.mktemp("weed")) as weed:
        yield Plant(folder, weed)


def client_of(folder: Path) -> Client:
    return Client.from_config(folder / "andon.toml")


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_bundle_is_claimed_once_and_the_device_gets_an_account_of_its_own(plant: Plant) -> None:
    invitation = plant.invite("line-1", settings={"update": {"poll_seconds": 0.5}})
    assert invitation.path is not None
    for place in ("line-1", "thief", "late-thief"):
        unpack_into(read_bundle(str(invitation.path)), plant.folder / place)
    assert not (plant.folder / "line-1" / "device.key").exists()  # it has not been anywhere else

    invited = plant.rights("line-1")
    plant.claim(plant.folder / "line-1")
    assert claimed(plant.folder / "line-1")
    assert plant.opens_engines("line-1")
    account = account_of(plant.workspace.catalog(), "line-1")
    assert plant.rights("line-1").access_key_id == account.next_access_key_id != invited.access_key_id

    # before the first heartbeat a copy still may put a claim: it is reported, and gets nothing
    with pytest.raises(Unavailable, match="not sealed to this device's key"):
        claim_bundle(plant.folder / "thief", wait_seconds=0, sleep=lambda _: None)
    assert any("its bundle was copied; it gets no account" in line for line in plant.watch())

    plant.take_over("line-1")
    account = account_of(plant.workspace.catalog(), "line-1")
    assert (account.state, account.access_key_id) == ("in use", plant.rights("line-1").access_key_id)
    status = device_status(plant.workspace.catalog(), "line-1")
    assert status is not None
    assert status.heartbeat.account == account.access_key_id

    # from then on a copy is refused by the bucket itself
    with pytest.raises(Refused, match="this bundle was used already"):
        claim_bundle(plant.folder / "late-thief", wait_seconds=5)
    with pytest.raises(Refused):
        S3Bucket.connect(invited, attempts=1).get("releases/metadata/timestamp.json", max_bytes=1 << 20)
    with pytest.raises(EnrolmentError, match="enrolled already"):
        plant.invite("line-1", out=plant.folder / "again.andon")


def test_what_was_captured_meanwhile_is_uploaded_with_the_first_account(plant: Plant) -> None:
    """A device is claimed by its code; it inspects from the first minute on."""
    invitation = plant.invite("line-2", as_code=True)
    write_qr(invitation.code, plant.folder / "line-2.svg")
    assert (plant.folder / "line-2.svg").read_text().count("<path") == 1
    assert len(invitation.code) < 800  # a QR code of so many characters can still be scanned from a screen
    unpack_into(read_bundle(invitation.code), plant.folder / "line-2")
    plant.claim(plant.folder / "line-2")
    with client_of(plant.folder / "line-2") as client:
        for i in range(5):
            client.predict(noise(i))
        assert client.flush(seconds=30)
        plant.until_settled("line-2")
    workspace = plant.workspace
    report = ingest_inbox(workspace.catalog(), plant.bucket, workspace.lake(), workspace.identity(), now)
    assert (report.quarantined, report.samples) == ([], 5)
    assert not list(plant.bucket.list("releases/bundles/"))  # the sealed bundle went with the invitation


def test_an_account_is_replaced_without_a_visit_while_the_client_runs(plant: Plant) -> None:
    before = plant.rights("line-1")
    catalog = plant.workspace.catalog()
    with client_of(plant.folder / "line-1") as client:
        until(lambda: plant.watch() is not None and device_status(catalog, "line-1"))
        assert "offered" in plant.settler.replace_account("line-1")
        assert "offered already" in plant.settler.replace_account("line-1")
        plant.until_settled("line-1")
        after = plant.rights("line-1")
        assert after.access_key_id != before.access_key_id
        with pytest.raises(Refused):
            S3Bucket.connect(before, attempts=1).put("fleet/line-1/status.json", b"{}")
        client.predict(noise(1))
        assert client.flush(seconds=30)  # the same process, with the new account
        assert client.status()["capture"]["upload"]["problem"] == ""
    assert plant.watch() == []


class Cut(Exception):
    """The cloud's process dies here."""


@pytest.mark.parametrize("where", ["after the key was made", "before it is published", "after it was published"])
def test_the_cloud_cut_while_it_replaces_an_account_leaves_one_that_works(plant: Plant, where: str) -> None:
    class CutRights(DeviceAccounts):
        def add_key(self, device: str, *, known: Sequence[str]) -> AccessKey:
            super().add_key(device, known=known)
            raise Cut

    class CutRepository(ReleaseRepository):
        def put_document(self, path: str, data: bytes, facts: Mapping[str, str] | None = None) -> None:
            if where.startswith("after"):
                super().put_document(path, data, facts)
            raise Cut

    workspace, before = plant.workspace, plant.rights("line-2")
    rights = (CutRights if where.endswith("made") else DeviceAccounts)(workspace.bucket_settings)
    repository = CutRepository(plant.bucket, workspace.keys, SystemClock())
    with pytest.raises(Cut):
        Settler(workspace, plant.bucket, rights, repository, now).replace_account("line-2")
    S3Bucket.connect(before, attempts=1).put("fleet/line-2/probe", b"")  # the device goes on meanwhile
    plant.settler.replace_account("line-2")
    iam = DeviceAccounts(workspace.bucket_settings)._iam
    assert len(iam.list_access_keys(UserName="line-2")["AccessKeyMetadata"]) == 2  # AWS allows no more
    plant.take_over("line-2")
    after = plant.rights("line-2").access_key_id
    keys = iam.list_access_keys(UserName="line-2")["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in keys] == [after] != [before.access_key_id]


def test_a_device_makes_itself_a_new_signing_key_and_what_the_old_one_signed_still_counts(plant: Plant) -> None:
    catalog, workspace = plant.workspace.catalog(), plant.workspace
    old_key = get_device(catalog, "line-1").public_key_hex
    with client_of(plant.folder / "line-1") as client:
        plant.settler.replace_account("line-1", key=True)
        plant.until_settled("line-1")
        new_key = get_device(catalog, "line-1").public_key_hex
        assert new_key != old_key
        client.predict(noise(7))
        assert client.flush(seconds=30)  # signed by the old key: it is this process's until it ends
    with client_of(plant.folder / "line-1") as client:
        client.predict(noise(8))
        assert client.flush(seconds=30)
        until(lambda: plant.watch() is not None and _signs(plant, "line-1") == new_key[:16])
    assert not (plant.folder / "line-1" / "device.key.next").exists()
    assert plant.opens_engines("line-1")
    report = ingest_inbox(catalog, plant.bucket, workspace.lake(), workspace.identity(), now)
    assert report.quarantined == []
    assert get_device(catalog, "line-1").previous_public_key_hex == old_key
    settle_accounts(workspace, lambda: now() + timedelta(days=91), plant.settler)
    assert get_device(catalog, "line-1").previous_public_key_hex is None


def _signs(plant: Plant, device: str) -> str:
    """Begin of the key by which the device's heartbeat in the bucket is signed."""
    document = json.loads(plant.bucket.get(f"fleet/{device}/status.json", max_bytes=1 << 20))
    return str(document["key_id"])


def test_a_replaced_device_keeps_its_history(plant: Plant) -> None:
    catalog, workspace = plant.workspace.catalog(), plant.workspace
    ingest_inbox(catalog, plant.bucket, workspace.lake(), workspace.identity(), now)
    old_key = get_device(catalog, "line-1").public_key_hex
    invitation = plant.invite("line-1", replace=True, out=plant.folder / "new.andon")
    old = plant.rights("line-1")
    S3Bucket.connect(old, attempts=1).put("fleet/line-1/probe", b"")  # the old one goes on until the new one claims
    unpack_into(read_bundle(str(invitation.path)), plant.folder / "line-1-new")
    plant.claim(plant.folder / "line-1-new")
    with pytest.raises(Refused):
        S3Bucket.connect(old, attempts=1).put("fleet/line-1/probe", b"")
    with client_of(plant.folder / "line-1-new") as client:
        for i in range(3):
            client.predict(noise(i))
        assert client.flush(seconds=30)
        plant.until_settled("line-1")
    report = ingest_inbox(catalog, plant.bucket, workspace.lake(), workspace.identity(), now)
    assert (report.quarantined, report.windows) == ([], 1)
    assert get_device(catalog, "line-1").public_key_hex != old_key
    with catalog.reading() as session:
        from sqlalchemy import func, select

        from data.catalog.models import WindowRow

        epochs = session.scalar(select(func.count(func.distinct(WindowRow.epoch))).where(WindowRow.device == "line-1"))
    assert epochs == 2  # the windows of both lives, under one name


def test_a_bundle_that_nobody_uses_expires(plant: Plant) -> None:
    later: list[datetime] = [now()]
    invitation = plant.invite("line-9", days=1, clock=lambda: later[0])
    unpack_into(read_bundle(str(invitation.path)), plant.folder / "line-9")
    assert settle_accounts(plant.workspace, lambda: later[0] + timedelta(hours=23)) == []
    told = settle_accounts(plant.workspace, lambda: later[0] + timedelta(hours=25))
    assert told == ["line-9: its bundle expired unused; make another one with `andon enroll`"]
    assert edge(["enroll", "--into", str(plant.folder / "line-9"), "--timeout", "5"]) == 2


def test_a_revoked_device_reads_and_writes_nothing_and_what_it_sent_is_set_aside(plant: Plant) -> None:
    workspace, catalog = plant.workspace, plant.workspace.catalog()
    enroll(
        workspace, "line-3", site="plant-a", station="line-3", inspection="solar-cells",
        engine=plant.engine, out_dir=plant.folder / "line-3",
    )  # fmt: skip
    bucket = plant.device_bucket("line-3")
    with client_of(plant.folder / "line-3") as client:
        client.predict(noise(1))
        assert client.flush(seconds=30)
        waiting = [o.key for o in plant.bucket.list("inbox/line-3/")]
        assert waiting
        revoke(workspace, "line-3", reason="stolen")
        tries: dict[str, Callable[[], object]] = {
            "put inbox": lambda: bucket.put("inbox/line-3/1-1/0.tar", b"x"),
            "put fleet": lambda: bucket.put("fleet/line-3/status.json", b"x"),
            "get releases": lambda: bucket.get("releases/metadata/timestamp.json", max_bytes=1 << 20),
            "get own inbox": lambda: bucket.get(waiting[0], max_bytes=1 << 20),
            "list": lambda: list(bucket.list("")),
            "delete": lambda: bucket.delete(waiting[0]),
        }
        deadline = time.monotonic() + 10
        for what, attempt in tries.items():
            while True:
                try:
                    attempt()
                except Refused:
                    break
                assert time.monotonic() < deadline, what
        client.close(flush_seconds=0)
    report = ingest_inbox(catalog, plant.bucket, workspace.lake(), workspace.identity(), now)
    assert report.samples == 0
    assert any("was revoked" in reason for _, reason in report.quarantined)
    assert quarantined_window(catalog, next(key for key in waiting if key.endswith("window.json")))
    assert ingest_heartbeats(catalog, plant.bucket).rejected


@pytest.mark.parametrize(
    ("file", "allowed"),
    [
        ("device.json", {"put own", "get releases"}),
        ("devices-by-name.json", {"put own", "get releases"}),
        ("invitation.json", {"claim", "get releases"}),
        ("refresher.json", {"get releases", "list", "put metadata"}),
        ("cloud.json", {"put own", "claim", "get releases", "read back", "list", "delete", "put metadata"}),
    ],
)
def test_the_policies_of_the_documentation_allow_what_they_say(plant: Plant, file: str, allowed: set[str]) -> None:
    iam = DeviceAccounts(plant.weed.settings)._iam
    name = f"user-{file.partition('.')[0]}"
    policy = (POLICIES / file).read_text().replace("BUCKET", "andon").replace("DEVICE", name)
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    bucket = S3Bucket.connect(
        replace(plant.weed.settings, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"]),
        attempts=1,
    )
    plant.bucket.put("inbox/another/1-1/0.tar", b"x")
    tries: dict[str, Callable[[], object]] = {
        "put own": lambda: bucket.put(f"inbox/{name}/1-1/0.tar", b"x"),
        "claim": lambda: bucket.put(f"fleet/{name}/claim.json", b"x"),
        "get releases": lambda: bucket.get("releases/metadata/timestamp.json", max_bytes=1 << 20),
        "read back": lambda: bucket.get("inbox/another/1-1/0.tar", max_bytes=10),
        "list": lambda: list(bucket.list("inbox/")),
        "put metadata": lambda: bucket.put("releases/metadata/probe.json", b"{}"),
        "delete": lambda: bucket.delete("inbox/another/1-1/0.tar"),
    }
    expected = allowed | ({"claim"} if "put own" in allowed else set())
    until(lambda: _allowed(tries) == expected, seconds=10)


def _allowed(tries: dict[str, Callable[[], object]]) -> set[str]:
    found = set()
    for what, attempt in tries.items():
        with contextlib.suppress(Refused):
            attempt()
            found.add(what)
    return found
