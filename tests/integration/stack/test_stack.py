"""The life of one real stack, in order: up, used, killed piece by piece, down."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import tomllib
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from data.device_rights import DeviceAccounts
from data.devices import get_device, list_devices
from data.inspections import create_inspection
from data.workspace import Workspace
from edge_client.config import Config
from edge_client.contract.bucket import S3Bucket
from edge_client.contract.errors import Refused
from flows import environment
from infra.enrolment import Bundle, EnrolmentError, enroll, revoke
from infra.stack.ports import LOOPBACK
from infra.stack.process_identity import ProcessIdentity, descendants
from infra.stack.processes import SERVERS
from infra.stack.readiness import NotReady, call
from infra.stack.state import Phase, load_state
from tests.tiny_engine import tiny_engine

#: MLflow loads tables for each of them when it is first asked.
MLFLOW_QUESTIONS = (
    ("POST", "runs/search", {"experiment_ids": ["0"]}),
    ("GET", "registered-models/search?max_results=1", None),
)


def ask_mlflow(url: str, question: tuple[str, str, dict[str, list[str]] | None]) -> dict[str, object]:
    method, path, body = question
    return call(method, f"{url}/api/2.0/mlflow/{path}", body)


@contextmanager
def asked_without_pause(url: str):
    """Eight threads ask MLflow, as the sentinel, flows and people do while it starts again."""
    stop = threading.Event()

    def ask(question) -> None:
        while not stop.wait(0.01):
            with suppress(NotReady):
                ask_mlflow(url, question)

    threads = [threading.Thread(target=ask, args=(q,)) for q in MLFLOW_QUESTIONS for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def workspace(stack) -> Workspace:
    opened = Workspace.open(stack.home.path)
    create_inspection(opened.catalog(), "solar-cells", [("ok", "ok"), ("defect", "defect")])
    return opened


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("engine") / "tiny.onnx"
    path.write_bytes(tiny_engine())
    return path


@pytest.fixture(scope="module")
def bundle(workspace, engine) -> Bundle:
    return enroll(workspace, "cam-1", site="plant", station="s-1", inspection="solar-cells", engine=engine)


@pytest.fixture(scope="module")
def device(bundle):
    """The device's own S3 client, by its bundle alone."""
    return Config.load(bundle.config).open_bucket().client


def test_up_ends_when_every_process_was_tried(stack):
    assert stack.up.returncode == 0, stack.up.stderr
    told = json.loads(stack.up.stdout)
    assert not told["already_running"]
    assert set(told["urls"]) == {"bucket", "mlflow", "prefect", "console"}
    for name in SERVERS:
        assert any(name in line and "ready" in line for line in stack.up.stderr.splitlines())
    found = stack.processes()
    assert {name: found[name].phase for name in SERVERS} == dict.fromkeys(SERVERS, Phase.READY)
    assert all(process.restarts == 0 for process in found.values())


def test_a_second_up_changes_nothing(stack):
    before = stack.processes()
    again = stack.andon("up", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["already_running"]
    assert {n: p.identity for n, p in stack.processes().items()} == {n: p.identity for n, p in before.items()}


def test_mlflow_knows_all_its_tables_before_it_answers():
    """A table that a request defines while another configures them breaks the server until its next restart."""
    asked = "import sys, infra.stack.mlflow_app; print('mlflow.server.auth.db.models' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_the_pages_answer(stack):
    urls = load_state(stack.home).urls
    assert "html" in str(call("GET", urls["console"] + "/login"))[:200].lower()
    assert "MLflow" in call("GET", urls["mlflow"])
    assert "Prefect" in call("GET", f"{urls['prefect']}/")


def test_the_schedules_are_there(stack):
    found = call("POST", f"{load_state(stack.home).urls['prefect']}/api/deployments/filter", {})
    assert {item["entrypoint"].split(".")[-1] for item in found} == {"ingest", "retrain", "release", "watch", "tell"}
    assert all(schedule["active"] for item in found for schedule in item["schedules"])


def test_every_port_is_on_loopback_and_the_inner_ones_of_the_bucket_tell_nothing(stack):
    state = load_state(stack.home)
    for process in state.processes.values():
        for one in (process.identity, *descendants(process.identity.pid)) if process.identity else ():
            listening = [c for c in psutil.Process(one.pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
            assert {c.laddr.ip for c in listening} <= {LOOPBACK, "::1"}
    Workspace.open(stack.home.path).bucket().put("probe/secret", b"the secret")
    for name in ("bucket-filer", "bucket-volume", "bucket-master"):
        for path in ("/buckets/andon/probe/secret", "/buckets/", "/dir/assign", "/dir/lookup?volumeId=1", "/1,01"):
            answer = _raw(state.ports[name], f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            assert answer.split(b" ")[1] in (b"401", b"404"), (name, path, answer[:200])
    for name in ("bucket-filer-grpc", "bucket-volume-grpc", "bucket-master-grpc", "bucket-s3-grpc"):
        answer = _raw(state.ports[name], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        assert b"\x00\x00" not in answer[:4]  # no HTTP/2 settings frame comes back without a certificate


def _raw(port: int, sent: bytes) -> bytes:
    with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
        connection.sendall(sent)
        connection.settimeout(5)
        try:
            return connection.recv(65_536)
        except (ConnectionError, TimeoutError):
            return b""


def test_status_and_doctor_find_nothing_wrong(stack):
    status = stack.andon("status", "--json")
    assert status.returncode == 0, status.stdout
    assert {p["name"]: p["health"] for p in json.loads(status.stdout)["processes"]} == dict.fromkeys(SERVERS, "ok")
    doctor = stack.andon("doctor", "--json")
    findings = json.loads(doctor.stdout)["findings"]
    assert doctor.returncode == 0, [f for f in findings if f["level"] == "wrong"]
    checked = {f["check"]: f["level"] for f in findings}
    good = ("secrets", "processes", "telemetry", "loopback", "bucket", "clock", "releases", "expiry")
    assert {name: checked[name] for name in good} == dict.fromkeys(good, "ok")
    assert checked["keys"] == "note"


def test_a_bundle_is_whole_private_and_loads_on_the_device(workspace, bundle, engine):
    config = Config.load(bundle.config)
    assert (config.device.name, config.device.station, config.inspection.channel) == ("cam-1", "s-1", "stable")
    assert config.inspection.factory_engine.read_bytes() == engine.read_bytes()
    assert config.releases.root.read_bytes() == workspace.bucket().get(
        "releases/metadata/1.root.json", max_bytes=100_000
    )
    assert get_device(workspace.catalog(), "cam-1").public_key_hex == bundle.public_key_hex
    for name in ("device.key", "credentials.toml"):
        assert (bundle.path / name).stat().st_mode & 0o777 == 0o600


def test_a_device_can_put_its_own_and_get_releases(device):
    device.put_object(Bucket="andon", Key="inbox/cam-1/000001-00000001/0.tar", Body=b"mine")
    device.put_object(Bucket="andon", Key="fleet/cam-1/status.json", Body=b"mine")
    assert device.get_object(Bucket="andon", Key="releases/metadata/timestamp.json")["Body"].read()


@pytest.fixture(scope="module")
def others(workspace) -> dict[str, bytes]:
    """What must be as it was after a device tried everything."""
    bucket = workspace.bucket()
    held = {
        "inbox/cam-1/there": b"sent",
        "inbox/cam-2/there": b"theirs",
        "lake/there": b"lake",
        "mlflow/there": b"model",
    }
    for key, data in held.items():
        bucket.put(key, data)
    key = "releases/metadata/1.root.json"
    return {**held, key: bucket.get(key, max_bytes=100_000)}


IN = {"Bucket": "andon"}
OPEN = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::andon/*"}]}
EXPIRE = {"Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}
FORBIDDEN = {
    "put for another device": ("put_object", {"Key": "inbox/cam-2/there", "Body": b"x"}),
    "put for a device whose name begins alike": ("put_object", {"Key": "inbox/cam-11/x", "Body": b"x"}),
    "put another's status": ("put_object", {"Key": "fleet/cam-2/status.json", "Body": b"x"}),
    "put a release": ("put_object", {"Key": "releases/metadata/1.root.json", "Body": b"x"}),
    "put into the lake": ("put_object", {"Key": "lake/there", "Body": b"x"}),
    "put a model": ("put_object", {"Key": "mlflow/there", "Body": b"x"}),
    "put at the top": ("put_object", {"Key": "x", "Body": b"x"}),
    "put in parts into the lake": ("create_multipart_upload", {"Key": "lake/x"}),
    "get what it sent": ("get_object", {"Key": "inbox/cam-1/there"}),
    "head what it sent": ("head_object", {"Key": "inbox/cam-1/there"}),
    "get another's": ("get_object", {"Key": "inbox/cam-2/there"}),
    "get the lake": ("get_object", {"Key": "lake/there"}),
    "get a model": ("get_object", {"Key": "mlflow/there"}),
    "copy the lake to itself": ("copy_object", {"Key": "inbox/cam-1/copied", "CopySource": "andon/lake/there"}),
    "delete what it sent": ("delete_object", {"Key": "inbox/cam-1/there"}),
    "delete another's": ("delete_object", {"Key": "inbox/cam-2/there"}),
    "delete a release": ("delete_object", {"Key": "releases/metadata/1.root.json"}),
    "list": ("list_objects_v2", {}),
    "list its own": ("list_objects_v2", {"Prefix": "inbox/cam-1/"}),
    "list versions": ("list_object_versions", {}),
    "list uploads": ("list_multipart_uploads", {}),
    "tag": ("put_object_tagging", {"Key": "inbox/cam-1/there", "Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}),
    "open an object": ("put_object_acl", {"Key": "inbox/cam-1/there", "ACL": "public-read"}),
    "open the bucket": ("put_bucket_acl", {"ACL": "public-read-write"}),
    "write a bucket policy": ("put_bucket_policy", {"Policy": json.dumps({"Version": "2012-10-17", **OPEN})}),
    "let objects expire": ("put_bucket_lifecycle_configuration", {"LifecycleConfiguration": EXPIRE}),
    "version the bucket": ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}}),
    "make a bucket": ("create_bucket", {"Bucket": "other"}),
    "delete the bucket": ("delete_bucket", {}),
}


@pytest.mark.parametrize("attempt", FORBIDDEN)
def test_a_device_cannot(attempt, device, others):
    operation, arguments = FORBIDDEN[attempt]
    with pytest.raises(ClientError) as error:
        getattr(device, operation)(**{**IN, **arguments})
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_device_that_deletes_many_deletes_none(device, others):
    answer = device.delete_objects(**IN, Delete={"Objects": [{"Key": key} for key in others]})
    assert not answer.get("Deleted")
    assert {error["Code"] for error in answer["Errors"]} == {"AccessDenied"}


def _administrator(workspace: Workspace, bundle: Bundle):
    """A client of the bucket's IAM API with a device's credentials."""
    credentials = tomllib.loads((bundle.path / "credentials.toml").read_text())
    return boto3.client(
        "iam",
        endpoint_url=workspace.bucket_settings.endpoint_url,
        aws_access_key_id=credentials["access_key_id"],
        aws_secret_access_key=credentials["secret_access_key"],
        region_name="us-east-1",
        config=BotoConfig(retries={"max_attempts": 1}),
    )


@pytest.mark.parametrize("attempt", ["list_users", "create_user", "widen", "take a key of another"])
def test_a_device_cannot_administer(attempt, workspace, bundle):
    iam = _administrator(workspace, bundle)
    everything = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::*"}],
    }
    tries = {
        "list_users": iam.list_users,
        "create_user": lambda: iam.create_user(UserName="intruder"),
        "widen": lambda: iam.put_user_policy(UserName="cam-1", PolicyName="x", PolicyDocument=json.dumps(everything)),
        "take a key of another": lambda: iam.create_access_key(UserName="cam-2"),
    }
    with pytest.raises(ClientError) as error:
        tries[attempt]()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_after_all_that_everything_is_as_it_was(workspace, others):
    bucket = workspace.bucket()
    assert {key: bucket.get(key, max_bytes=100_000) for key in others} == others


def test_a_device_is_not_enrolled_twice_and_a_bundle_is_not_overwritten(workspace, bundle, engine, tmp_path):
    again = {"site": "plant", "station": "s-1", "inspection": "solar-cells", "engine": engine}
    with pytest.raises(EnrolmentError, match=r"enrolled already.*andon revoke cam-1"):
        enroll(workspace, "cam-1", **again, out_dir=tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(EnrolmentError, match="is there already"):
        enroll(workspace, "cam-3", **again, out_dir=bundle.path)


def test_without_a_champion_and_without_an_engine_there_is_nothing_to_enrol_with(workspace):
    environment.point_at(workspace)
    with pytest.raises(EnrolmentError, match=r"no champion yet.*--engine FILE"):
        enroll(workspace, "cam-4", site="plant", station="s-4", inspection="solar-cells")


def test_a_folder_that_cannot_be_made_is_named_and_nothing_is_enrolled(workspace, engine, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnrolmentError, match=r"file/below cannot be made.*--out"):
        enroll(
            workspace, "cam-4", site="plant", station="s-4", inspection="solar-cells", engine=engine,
            out_dir=tmp_path / "file" / "below",
        )  # fmt: skip
    assert "cam-4" not in {device.name for device in list_devices(workspace.catalog())}


def test_an_enrolment_that_was_interrupted_is_simply_run_again_and_its_first_account_ends(workspace, engine, tmp_path):
    left = DeviceAccounts(workspace.bucket_settings).create("cam-5")  # interrupted here: the catalog knows nothing
    made = enroll(
        workspace,
        "cam-5",
        site="plant",
        station="s-5",
        inspection="solar-cells",
        engine=engine,
        out_dir=tmp_path / "new",
    )
    Config.load(made.config).open_bucket().put("fleet/cam-5/status.json", b"x")
    settings = replace(
        workspace.bucket_settings, access_key_id=left.access_key_id, secret_access_key=left.secret_access_key
    )
    with pytest.raises(Refused):
        _put_again_and_again(S3Bucket.connect(settings, attempts=1), "fleet/cam-5/status.json")


def _put_again_and_again(bucket: S3Bucket, key: str) -> None:
    for _ in range(2_000):  # the bucket takes note of an ended account within some seconds
        bucket.put(key, b"x")


def test_a_revoked_device_is_refused_also_with_keys_it_made_itself(workspace, engine, tmp_path):
    place = {"site": "plant", "station": "s-6", "inspection": "solar-cells", "engine": engine}
    made = enroll(workspace, "cam-6", **place, out_dir=tmp_path / "first")
    account = Config.load(made.config).open_bucket()
    own = _administrator(workspace, made).create_access_key(UserName="cam-6")["AccessKey"]  # the IAM API allows that
    second = S3Bucket.connect(
        replace(workspace.bucket_settings, access_key_id=own["AccessKeyId"], secret_access_key=own["SecretAccessKey"]),
        attempts=1,
    )
    for bucket in (account, second):
        bucket.put("fleet/cam-6/status.json", b"x")
    revoke(workspace, "cam-6", reason="stolen")
    revoke(workspace, "cam-6")  # again: harmless
    for bucket in (account, second):
        with pytest.raises(Refused):
            _put_again_and_again(bucket, "fleet/cam-6/status.json")
    assert get_device(workspace.catalog(), "cam-6").revoked_reason == "stolen"
    anew = enroll(workspace, "cam-6", **place, out_dir=tmp_path / "second")
    assert anew.public_key_hex != made.public_key_hex
    Config.load(anew.config).open_bucket().put("fleet/cam-6/status.json", b"x")


def test_killed_processes_are_started_again_and_nothing_stored_is_lost(stack, workspace, others):
    before = stack.processes()
    below = [identity for name in SERVERS for identity in descendants(before[name].identity.pid)]
    for name in SERVERS:
        os.kill(before[name].identity.pid, signal.SIGKILL)
    with asked_without_pause(workspace.mlflow_url):
        after = stack.until(lambda p: all(p[n].phase is Phase.READY and p[n].restarts == 1 for n in SERVERS))
    for question in MLFLOW_QUESTIONS:
        assert isinstance(ask_mlflow(workspace.mlflow_url, question), dict)  # anything but a JSON answer of 2xx raises
    for name in SERVERS:
        assert after[name].identity != before[name].identity
        assert not before[name].identity.alive()
    assert not [identity for identity in below if identity.alive()]
    assert {key: workspace.bucket().get(key, max_bytes=100_000) for key in others} == others
    assert stack.andon("status").returncode == 0


def test_down_leaves_no_process_and_keeps_the_ports(stack):
    state = load_state(stack.home)
    tree = [*descendants(state.supervisor.pid), state.supervisor]
    assert len(tree) > len(SERVERS)
    down = stack.andon("down", "--json")
    assert json.loads(down.stdout)["ran"]
    assert not [identity for identity in tree if identity.alive()]
    assert not [
        p.pid for p in psutil.process_iter(["cmdline"]) if str(stack.home.path) in " ".join(p.info["cmdline"] or [])
    ]
    assert load_state(stack.home).ports == state.ports
    assert not [
        path for path in Path("/tmp").glob("seaweedfs-*.sock") if path.stem.endswith(str(state.ports["bucket"]))
    ]
    again = stack.andon("down", "--json")
    assert again.returncode == 0
    assert not json.loads(again.stdout)["ran"]
    assert ProcessIdentity.from_json(json.loads(stack.home.stack_file.read_text())["supervisor"]) is None
