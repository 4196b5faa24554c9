"""The server as a process: swaps under load, a kill, an orderly end, who may reach it, what systemd hears."""

import datetime
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.load import finish_load, infer_request, start_load, write_requests
from benchmarks.served import Line, Served, wait_until
from edge_client.contract.errors import AndonError
from edge_client.remote import NoServer, RemoteClient, ServerRefused
from tests.tiny_engine import tiny_engine
from tests.unit.capture.device import noise, records_in

BRIGHT, DARK = np.full((16, 16, 3), 200, np.uint8), np.full((16, 16, 3), 5, np.uint8)
FRAMES = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
INSPECTION = "solar-cells"
TOKEN = "a-token-of-the-plant"


def get(served: Served, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return json.loads(body) if answer.headers["Content-Type"] == "application/json" else body.decode()


def post(served: Served, path: str, value: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("POST", path, json.dumps(value), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    return answer.status, told


def test_engines_are_exchanged_under_load_and_no_request_fails(tmp_path: Path):
    line = Line(tmp_path / "line-1", tiny_engine(engine_id="factory", inspection=INSPECTION))
    requests = tmp_path / "requests"
    frames = np.concatenate([FRAMES, BRIGHT[None], DARK[None]])
    write_requests(
        requests, [infer_request(INSPECTION, f, part_id=f"P{i}", outputs=["verdict"]) for i, f in enumerate(frames)]
    )
    with Served([line.config]) as served:
        load = start_load(served.port, requests, connections=8, seconds=60, warm_up=0)
        try:
            for number in range(3):
                engine_id = line.release(tiny_engine(engine_id=f"e{number}", inspection=INSPECTION), FRAMES)
                wait_until(
                    lambda engine_id=engine_id: get(served, f"/v2/models/{INSPECTION}")["versions"] == [engine_id],
                    seconds=60,
                    what=f"{engine_id} in service",
                )
        finally:
            load.send_signal(signal.SIGTERM)
        told = finish_load(load, timeout=60)
        status = get(served, f"/v2/models/{INSPECTION}/status")
    assert set(told.statuses) == {"200"}
    assert told.failed == 0
    assert status["engine"]["swaps"] == 3
    requests_counted = status["requests"]
    assert requests_counted["lost"] == 0
    assert requests_counted["refused"] == 0
    assert {"factory", "e0", "e1", "e2"} <= set(requests_counted["engines"])  # each was really in use


def test_a_server_that_is_killed_costs_no_request(tmp_path: Path):
    lines = [Line(tmp_path / f"line-{i}", tiny_engine(inspection=INSPECTION)) for i in (1, 2)]
    answered, errors = [0] * 4, []
    stop = threading.Event()
    with (
        Served([lines[0].config]) as first,
        Served([lines[1].config]) as second,
        RemoteClient([first.url, second.url], model=INSPECTION, timeout=30) as remote,
    ):

        def work(worker: int) -> None:
            while not stop.is_set():
                dark = (answered[worker] + worker) % 2
                try:
                    prediction = remote.predict(DARK if dark else BRIGHT, part_id=f"W{worker}")
                    assert prediction.verdict == ("defect" if dark else "ok")
                except Exception as error:
                    errors.append(repr(error))
                answered[worker] += 1

        threads = [threading.Thread(target=work, args=(w,)) for w in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(answered) > 50, seconds=60, what="fifty answers")
        first.kill()
        at = sum(answered)
        wait_until(lambda: sum(answered) > at + 100, seconds=60, what="a hundred more")
        stop.set()
        for thread in threads:
            thread.join(60)
        assert errors == []
        told = remote.status()
        assert (told["requests"], told["lost"], told["refused"]) == (sum(answered), 0, 0)
        assert told["answered"] == sum(answered)
        assert told["failures"] >= 1
        assert told["elsewhere"] >= 1
        second.kill()
        with pytest.raises(NoServer, match="none of 2 servers"):
            RemoteClient([first.url, second.url], model=INSPECTION, timeout=1).predict(BRIGHT)


def test_a_remote_client_answers_as_the_client_does(served: Served):
    with RemoteClient([served.url], model=INSPECTION) as remote:
        prediction = remote.predict(BRIGHT, part_id="A-1042", context={"humidity": 0.41})
        assert (prediction.verdict, prediction.label, prediction.part_id) == ("ok", "ok", "A-1042")
        assert prediction.probabilities["ok"] + prediction.probabilities["defect"] == pytest.approx(1, abs=1e-5)
        assert prediction.defect_probability == pytest.approx(prediction.probabilities["defect"], abs=1e-6)
        assert prediction.engine_id == "e1"
        assert prediction.anomaly_map.shape == (2, 2)
        batch = remote.predict(np.stack([BRIGHT, DARK]), part_id=["a", "b"], capture=False)
        assert [(p.part_id, p.verdict) for p in batch] == [("a", "ok"), ("b", "defect")]
        assert remote.flag(prediction, reason="scratch", label="scratch")
        assert remote.report_outcome("A-1042", "failed", stage="end-of-line")
        with pytest.raises(AndonError, match="expected PNG, JPEG or WebP"):
            remote.predict(b"no image")
    with (
        RemoteClient([served.url], model="another") as remote,
        pytest.raises(ServerRefused, match="no model 'another'"),
    ):
        remote.predict(BRIGHT)


def told_by_status(line: Line) -> Any:
    words = [sys.executable, "-m", "edge_client.cli", "status", "--config", str(line.config), "--json"]
    told = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    return {**told, "run": told["run"] or {"answered": 0}}


def test_sigterm_answers_what_runs_and_what_was_captured_arrives(tmp_path: Path):
    line = Line(tmp_path / "line-1", tiny_engine(inspection=INSPECTION))
    with Served([line.config], "--slots", "1") as served:
        answers: list[int] = []

        def ask(i: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
            data = infer_request(INSPECTION, noise(i), part_id=f"P{i}", outputs=["verdict"])
            head, _, body = data.partition(b"\r\n\r\n")
            fields = dict(f.split(": ", 1) for f in head.decode().split("\r\n")[1:])
            connection.request("POST", f"/v2/models/{INSPECTION}/infer", body, fields)
            answers.append(connection.getresponse().status)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert answers == [200] * 5
        wait_until(lambda: told_by_status(line)["run"]["answered"] == 5, seconds=30, what="its answers in the status")
        assert told_by_status(line)["running"]
        assert served.stop() == 0
    assert (told_by_status(line)["running"], told_by_status(line)["run"]["done"]) == (False, True)
    assert sum(record.frames for record in records_in(line.bucket, line.public_key)) == 5


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_tls_a_token_and_gathered_frames(tmp_path: Path, certificate: tuple[Path, Path]):
    line = Line(tmp_path / "line-1", tiny_engine(inspection=INSPECTION))
    (tmp_path / "token").write_text(TOKEN)
    more = [
        "--token-file",
        str(tmp_path / "token"),
        "--tls-cert",
        str(certificate[0]),
        "--tls-key",
        str(certificate[1]),
    ]
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    with Served([line.config], *more, "--max-batch", "4", "--max-wait-ms", "20", "--grpc-port", "0") as served:
        url = served.url.replace("127.0.0.1", "localhost")
        with RemoteClient([url], model=INSPECTION, token=TOKEN, tls=trust) as remote:
            large = np.full((600, 800, 3), 5, np.uint8)  # over many TLS records
            assert remote.predict(large).verdict == "defect"
            found: list[str] = []
            threads = [
                threading.Thread(target=lambda: found.append(remote.predict(BRIGHT, part_id="A").verdict))
                for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert found == ["ok"] * 8
        with (
            RemoteClient([url], model=INSPECTION, token="another token", tls=trust) as stranger,
            pytest.raises(ServerRefused, match="401"),
        ):
            stranger.predict(BRIGHT)
        with (
            RemoteClient([url], model=INSPECTION, timeout=2) as distrustful,
            pytest.raises(NoServer, match="CERTIFICATE"),
        ):
            distrustful.predict(BRIGHT)

        import tritonclient.grpc

        with tritonclient.grpc.InferenceServerClient(
            served.ready["grpc"].replace("127.0.0.1", "localhost"), ssl=True, root_certificates=str(certificate[0])
        ) as client:
            assert client.is_server_live()
            with pytest.raises(Exception, match="UNAUTHENTICATED"):
                client.get_server_metadata()
            assert client.get_server_metadata(headers={"authorization": f"Bearer {TOKEN}"}).name == "andon-edge"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_client.cli", "serve", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_a_server_that_anyone_could_reach_or_that_cannot_listen_does_not_start(tmp_path: Path, served: Served):
    line = Line(tmp_path / "line-1", tiny_engine(inspection=INSPECTION))
    for arguments, words in (
        (["--host", "0.0.0.0", "--port", "0"], "--token-file FILE"),
        (["--port", str(served.port)], "cannot be listened on"),
        (["--port", "0", "--tls-cert", "none.pem"], "go together"),
        (["--port", "0", "--config", str(line.config)], "process"),  # the same state folder twice
        (["--port", "eighty"], "expected a number from 0 to 65535"),
    ):
        ended = run("--config", str(line.config), *arguments)
        assert ended.returncode == 2, ended.stderr
        assert words in ended.stderr


def test_systemd_hears_when_it_is_ready_lives_and_ends(tmp_path: Path):
    line = Line(tmp_path / "line-1", tiny_engine(inspection=INSPECTION))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        os.environ |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        try:
            served = Served([line.config])
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
        with served:
            heard = [manager.recv(100) for _ in range(3)]
            assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            served.process.send_signal(signal.SIGTERM)
            end = time.monotonic() + 60
            while (last := manager.recv(100)) == b"WATCHDOG=1":
                assert time.monotonic() < end
            assert last == b"STOPPING=1"
