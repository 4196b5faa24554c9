"""The HTTP server on a real socket, before a real client with its tiny engine: answers, and what hostile or clumsy
clients get.
"""

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.served import wait_until
from edge_client.client import Client
from edge_client.encode import encode_lossless
from edge_client.serving.counts import ServerCounts
from edge_client.serving.http_reader import HttpLimits
from edge_client.serving.http_server import HttpServer
from edge_client.serving.models import Model, Models
from edge_client.serving.service import Service
from edge_client.serving.slots import Slots
from tests.unit.capture.device import Bundle

GREY = np.full((16, 16, 3), 200, np.uint8)
TOKEN = "0123456789abcdef"
LIMITS = HttpLimits(head_bytes=4096, body_bytes=200_000, head_seconds=0.3, body_seconds=0.3, idle_seconds=60)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    bundle = Bundle(tmp_path_factory.mktemp("served"))
    with Client.from_config(bundle.config) as client:
        yield client


@contextmanager
def serving(
    client: Client, *, slots: Slots | None = None, limits: HttpLimits = LIMITS, model: Model | None = None, **more: Any
) -> Iterator[HttpServer]:
    service = Service(Models([model or Model(client)]), slots or Slots(2, queue=8, deadline_seconds=10), ServerCounts())
    server = HttpServer(service, limits=limits, **more)
    server.start()
    try:
        yield server
    finally:
        server.stop(seconds=5)
        assert service.counts.in_flight == 0
        assert service.slots.running == 0


@pytest.fixture(scope="module")
def server(client: Client) -> Iterator[HttpServer]:
    with serving(client) as server:
        yield server


def head_and_frame(frame: np.ndarray = GREY, **told: Any) -> tuple[bytes, bytes]:
    size = {"binary_data_size": frame.nbytes}
    image = {"name": "image", "datatype": "UINT8", "shape": [1, *frame.shape], "parameters": size}
    return json.dumps({"inputs": [image], "outputs": [{"name": "verdict"}], **told}).encode(), frame.tobytes()


def infer(frame: np.ndarray = GREY, *, fields: str = "", **told: Any) -> bytes:
    head, data = head_and_frame(frame, **told)
    return (
        (
            f"POST /v2/models/solar-cells/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(head) + len(data)}\r\n"
            f"Inference-Header-Content-Length: {len(head)}\r\n{fields}\r\n"
        ).encode()
        + head
        + data
    )


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def read_answer(sock: socket.socket, kept: bytearray | None = None) -> tuple[int, dict[str, str], bytes]:
    """Read one answer; what follows it stays in `kept`."""
    data = kept if kept is not None else bytearray()
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        assert piece, f"closed after {bytes(data)!r}"
        data += piece
    head, _, _ = bytes(data).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    end = len(head) + 4 + int(fields.get("content-length", 0))
    while len(data) < end:
        piece = sock.recv(65536)
        assert piece
        data += piece
    body = bytes(data[len(head) + 4 : end])
    del data[:end]
    return int(lines[0].split()[1]), fields, body


def exchange(server: HttpServer, data: bytes) -> tuple[int, dict[str, str], Any]:
    """Send bytes and return status, fields and what the JSON body says."""
    with connect(server) as sock:
        sock.sendall(data)
        status, fields, body = read_answer(sock)
    return status, fields, json.loads(body)


def closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_frame_is_inspected_and_captured_and_its_request_id_comes_back(server: HttpServer, client: Client):
    before = client.status()["requests"]["frames"]
    status, _, told = exchange(server, infer(id="r-7", parameters={"part_id": "A-1", "humidity": 0.4}))
    assert status == 200
    assert (told["model_name"], told["model_version"], told["id"]) == ("solar-cells", "e1", "r-7")
    assert told["outputs"] == [{"name": "verdict", "datatype": "BYTES", "shape": [1], "data": ["ok"]}]
    assert len(told["parameters"]["sample_ids"]) == 1
    exchange(server, infer(parameters={"capture": False}))
    assert client.status()["requests"]["frames"] == before + 1


def test_a_batch_and_encoded_images_answer_as_the_client_does(server: HttpServer, client: Client):
    expected = [client.predict(f, capture=False).probabilities for f in (GREY, 255 - GREY)]
    png = encode_lossless(GREY)[0]
    batch = np.stack([GREY, 255 - GREY])
    told = {
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": list(batch.shape), "data": batch.tolist()}],
        "outputs": [{"name": "probabilities"}, {"name": "classes"}],
    }
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/v2/models/solar-cells/infer", json.dumps(told))
    answer = json.loads(connection.getresponse().read())
    probabilities, classes = answer["outputs"]
    assert classes["data"] == ["ok", "defect"]
    assert probabilities["shape"] == [2, 2]
    assert probabilities["data"] == pytest.approx([p for e in expected for p in e.values()], abs=1e-5)
    connection.request("POST", "/v2/models/solar-cells/infer?part_id=A%201", png, {"Content-Type": "image/png"})
    answer = json.loads(connection.getresponse().read())
    assert answer["outputs"][0]["data"] == pytest.approx(list(expected[0].values()), abs=1e-5)
    connection.close()


def test_binary_outputs_follow_the_json_in_the_order_asked(server: HttpServer):
    outputs = [{"name": "verdict", "parameters": {"binary_data": True}}, {"name": "anomaly"}, {"name": "embedding"}]
    with connect(server) as sock:
        sock.sendall(infer(outputs=outputs, parameters={"binary_data_output": True}))
        status, fields, body = read_answer(sock)
    assert status == 200
    end = int(fields["inference-header-content-length"])
    told = json.loads(body[:end])
    sizes = [o["parameters"]["binary_data_size"] for o in told["outputs"]]
    assert sizes == [6, 4, 64]
    assert body[end : end + 6] == b"\x02\x00\x00\x00ok"
    embedding = np.frombuffer(body[end + 10 :], np.float32)
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-4)


def test_a_flag_and_an_outcome_are_stored_and_an_unknown_sample_is_not(server: HttpServer):
    _, _, told = exchange(server, infer(parameters={"part_id": "A-9"}))
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)

    def post(path: str, value: Any) -> tuple[int, Any]:
        connection.request("POST", f"/v2/models/solar-cells/{path}", json.dumps(value))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    sample = told["parameters"]["sample_ids"][0]
    assert post("flag", {"sample_id": sample, "reason": "scratch", "label": "scratch"}) == (200, {"stored": True})
    assert post("outcome", {"part_id": "A-9", "outcome": "failed", "stage": "end"}) == (200, {"stored": True})
    assert post("flag", {"sample_id": "0" * 32})[0] == 404
    for path, value in (
        ("flag", {}),
        ("flag", []),
        ("flag", {"sample_id": 5}),
        ("flag", {"sample_id": sample, "colour": "red"}),
        ("outcome", {"part_id": "A", "outcome": ""}),
        ("outcome", {"outcome": "failed"}),
    ):
        status, said = post(path, value)
        assert (status, bool(said["error"])) == (400, True)
    connection.close()


def test_metadata_status_index_and_metrics(server: HttpServer, client: Client):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)

    def get(path: str, method: str = "GET") -> tuple[int, Any]:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.headers[
            "Content-Type"
        ] == "application/json" else body.decode()

    assert get("/v2")[1]["name"] == "andon-edge"
    assert get("/v2/health/live") == (200, {"live": True})
    assert get("/v2/health/ready") == (200, {"ready": True})
    assert get("/v2/models/solar-cells/versions/e1/ready")[0] == 200
    assert get("/v2/models/solar-cells/versions/e0/ready")[0] == 404
    assert get("/v2/models/other")[0] == 404
    assert {o["name"]: o["shape"] for o in get("/v2/models/solar-cells")[1]["outputs"]}["probabilities"] == [-1, 2]
    assert get("/v2/repository/index", "POST")[1] == [
        {"name": "solar-cells", "version": "e1", "state": "READY", "reason": ""}
    ]
    assert get("/v2/models/solar-cells/status")[1]["device"] == "line-1"
    text = get("/metrics")[1]
    assert 'andon_server_requests_total{transport="http",model="solar-cells",code="200"}' in text
    assert "andon_server_request_seconds_count" in text
    connection.close()


BAD_HEADS: list[tuple[bytes, int]] = [
    (b"GARBAGE\r\n\r\n", 400),
    (b"\r\n\r\n\r\n", 400),
    (b"GET /v2\r\n\r\n", 505),  # as HTTP/0.9 had it
    (b"GET /v2 HTTP/1.1\r\n\r\n", 400),  # no Host
    (b"GET /v2 HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
    (b"GET /v2 HTTP/1.1\r\nHost: x\r\nbad name: y\r\n\r\n", 400),
    (b"GET /v2 HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400),
    (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /v2 HTTP/3.7\r\nHost: x\r\n\r\n", 400),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n", 400),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 200001\r\n\r\n", 413),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: x\r\n\r\n", 400),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}", 415),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 400),
    (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nExpect: a miracle\r\nContent-Length: 2\r\n\r\n{}", 417),
    (b"GET /v2 HTTP/1.1\r\nHost: x\r\nBig: " + b"x" * 5000 + b"\r\n\r\n", 431),
    (b"GET /v2 HTTP/1.1\r\nHost: x\r\n\nGET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
]


@pytest.mark.parametrize(("data", "status"), BAD_HEADS)
def test_a_head_that_cannot_be_understood_is_refused_and_the_connection_closed(server: HttpServer, data, status):
    with connect(server) as sock:
        sock.sendall(data)
        found, fields, body = read_answer(sock)
        assert found == status
        assert json.loads(body)["error"]
        assert fields["connection"] == "close"
        assert closed(sock)


def test_a_known_path_says_which_methods_it_takes_and_the_connection_goes_on(server: HttpServer):
    with connect(server) as sock:
        sock.sendall(b"DELETE /v2/models/solar-cells HTTP/1.1\r\nHost: x\r\n\r\n")
        status, fields, _ = read_answer(sock)
        assert (status, fields["allow"]) == (405, "GET, HEAD")
        sock.sendall(b"HEAD /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        kept = bytearray()
        while b"\r\n\r\n" not in kept:
            kept += sock.recv(65536)
        assert kept.startswith(b"HTTP/1.1 200")
        assert kept.endswith(b"\r\n\r\n")  # and no body
        sock.sendall(infer())
        assert read_answer(sock)[0] == 200


def test_a_path_that_is_no_text_is_refused(server: HttpServer):
    status, _, told = exchange(server, b"GET /v2/models/%ff HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, "UTF-8" in told["error"]) == (400, True)


def test_requests_sent_ahead_are_answered_in_order(server: HttpServer):
    with connect(server) as sock:
        ids = [f"r{i}" for i in range(7)]
        sock.sendall(b"".join(infer(id=i) for i in ids))
        kept = bytearray()
        assert [json.loads(read_answer(sock, kept)[2])["id"] for _ in ids] == ids


def test_a_request_in_pieces_of_any_size_is_one_request(server: HttpServer):
    data = infer(id="pieces")
    for size in (1, 7, 100):
        with connect(server) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, min(len(data), 40 * size), size):
                sock.sendall(data[at : at + size])
            sock.sendall(data[min(len(data), 40 * size) :])
            assert json.loads(read_answer(sock)[2])["id"] == "pieces"


def test_a_client_that_has_ended_its_half_still_gets_its_answer(server: HttpServer):
    with connect(server) as sock:
        sock.sendall(infer(id="half"))
        sock.shutdown(socket.SHUT_WR)
        assert json.loads(read_answer(sock)[2])["id"] == "half"
        assert closed(sock)


def test_a_body_in_chunks_is_read(server: HttpServer):
    head, data = head_and_frame(id="chunks")
    whole = head + data
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(whole[i : i + 100]), whole[i : i + 100]) for i in range(0, len(whole), 100)
    )
    fields = (
        f"POST /v2/models/solar-cells/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: {len(head)}\r\n"
    )
    with connect(server) as sock:
        for _ in range(2):  # and the connection goes on
            sock.sendall(fields.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
            assert json.loads(read_answer(sock)[2])["id"] == "chunks"


@pytest.mark.parametrize("behind", [b"", b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"])
def test_an_offer_of_another_protocol_does_not_cost_a_body_in_chunks(server: HttpServer, behind: bytes):
    head, data = head_and_frame(id="offered")
    fields = (
        "POST /v2/models/solar-cells/infer HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        f"Inference-Header-Content-Length: {len(head)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with connect(server) as sock:
        sock.sendall(fields.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(head + data), head + data) + behind)
        assert json.loads(read_answer(sock)[2])["id"] == "offered"


def test_endless_chunks_are_cut_off(server: HttpServer):
    with connect(server) as sock:
        sock.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sock.sendall((b"fff\r\n" + b"x" * 4095 + b"\r\n") * 60)
        assert read_answer(sock)[0] == 413


def test_a_compressed_body_is_read_and_a_bomb_is_not(server: HttpServer):
    head, data = head_and_frame(id="zip")
    for body, expected in ((gzip.compress(head + data), 200), (gzip.compress(bytes(10_000_000)), 413)):
        status, _, _ = exchange(
            server,
            (
                f"POST /v2/models/solar-cells/infer HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
                f"Content-Length: {len(body)}\r\nInference-Header-Content-Length: {len(head)}\r\n\r\n"
            ).encode()
            + body,
        )
        assert status == expected


def test_a_client_that_asks_first_is_told_to_go_on(server: HttpServer):
    data = infer(fields="Expect: 100-continue\r\n")
    end = data.index(b"\r\n\r\n") + 4
    with connect(server) as sock:
        sock.sendall(data[:end])
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(data[end:])
        assert read_answer(sock)[0] == 200


@pytest.mark.parametrize("sent", [b"POST /v2/mod", infer()[:300], infer()[:-1]])
def test_a_client_that_dawdles_is_cut_off_and_holds_up_nobody(server: HttpServer, sent):
    with connect(server) as slow:
        slow.sendall(sent)
        assert exchange(server, infer())[0] == 200
        assert read_answer(slow)[0] == 408
        assert closed(slow)


def test_one_connection_too_many_is_turned_away_and_room_is_made_again(client: Client):
    with serving(client, connections=2) as server:
        first, second = connect(server), connect(server)
        for sock in (first, second):
            sock.sendall(infer())
            assert read_answer(sock)[0] == 200
        status, fields, told = exchange(server, b"")
        assert (status, fields["retry-after"]) == (503, "1")
        assert "2 connections" in told["error"]
        first.close()
        deadline = time.monotonic() + 20
        while exchange(server, infer())[0] != 200:
            assert time.monotonic() < deadline
        second.close()


def test_who_cannot_wait_any_more_is_told_when_to_come_again(client: Client):
    slots = Slots(1, queue=0, deadline_seconds=1)
    with serving(client, slots=slots) as server:
        slots.take()
        status, fields, told = exchange(server, infer())
        slots.give()
        assert (status, fields["retry-after"]) == (503, "1")
        assert "come again" in told["error"]
        assert exchange(server, infer())[0] == 200
        assert b'reason="queue_full"} 1' in _get(server, "/metrics")


def test_a_token_is_asked_for_except_by_probes(client: Client):
    with serving(client, token=TOKEN) as server:
        for given, expected in (
            ("", 401),
            (f"Bearer {TOKEN}x", 401),
            (f"Basic {TOKEN}", 401),
            (f"Bearer {TOKEN}", 200),
        ):
            fields = f"Authorization: {given}\r\n" if given else ""
            status, answered, _ = exchange(server, infer(fields=fields))
            assert status == expected
            assert ("www-authenticate" in answered) == (expected == 401)
        assert exchange(server, b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200


def test_stopping_answers_what_runs_and_closes_what_is_idle(client: Client):
    slots = Slots(1, queue=4, deadline_seconds=10)
    with serving(client, slots=slots) as server:
        idle, busy = connect(server), connect(server)
        idle.sendall(infer())
        assert read_answer(idle)[0] == 200
        slots.take()
        busy.sendall(infer(id="last"))
        deadline = time.monotonic() + 20
        while not slots.waiting:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        stopping = threading.Thread(target=server.stop, kwargs={"seconds": 20})
        stopping.start()
        assert closed(idle)
        slots.give()
        status, fields, body = read_answer(busy)
        assert (status, fields["connection"], json.loads(body)["id"]) == (200, "close", "last")
        stopping.join(20)
        assert not stopping.is_alive()
        with pytest.raises(ConnectionRefusedError):
            connect(server)
        idle.close()
        busy.close()


def test_stopping_waits_for_a_request_that_is_still_arriving(client: Client):
    data = infer(id="late")
    with serving(client, limits=HttpLimits()) as server, connect(server) as sock:
        sock.sendall(data[: len(data) // 2])
        deadline = time.monotonic() + 20
        while not any(not reader.idle for _, reader in server._still_open().values()):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        stopping = threading.Thread(target=server.stop, kwargs={"seconds": 20})
        stopping.start()
        stopping.join(0.1)
        sock.sendall(data[len(data) // 2 :])
        status, fields, body = read_answer(sock)
        assert (status, fields["connection"], json.loads(body)["id"]) == (200, "close", "late")
        stopping.join(20)


def test_half_a_head_sent_ahead_is_cut_off(server: HttpServer):
    with connect(server) as sock:
        sock.sendall(infer() + b"GET /v2 HT")
        kept = bytearray()
        assert read_answer(sock, kept)[0] == 200
        assert read_answer(sock, kept)[0] == 408


def test_what_could_not_be_stored_is_not_acknowledged(tmp_path: Path):
    bundle = Bundle(tmp_path / "device")
    (bundle.folder / "state").mkdir()
    (bundle.folder / "state" / "spool").write_text("in the way")
    with Client.from_config(bundle.config) as client, serving(client) as server:
        body = json.dumps({"part_id": "A", "outcome": "failed"}).encode()
        head = f"POST /v2/models/solar-cells/outcome HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        status, fields, told = exchange(server, head.encode() + body)
        assert (status, fields["retry-after"]) == (503, "1")
        assert "could not be stored" in told["error"]


def test_an_engine_that_fails_on_a_frame_is_said_so(tmp_path: Path):
    from tests.tiny_engine import tiny_engine

    bundle = Bundle(tmp_path / "device")
    (bundle.folder / "factory.onnx").write_bytes(tiny_engine(nan=True))
    with Client.from_config(bundle.config) as client, serving(client) as server:
        status, _, told = exchange(server, infer(np.zeros_like(GREY)))
        assert status == 500
        assert "not finite" in told["error"]
        assert exchange(server, infer())[0] == 200


def _get(server: HttpServer, path: str) -> bytes:
    with connect(server) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return read_answer(sock)[2]


def test_bodies_of_all_connections_together_are_bounded(client: Client):
    body = 150_000
    head = f"POST /v2/models/solar-cells/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {body}\r\n\r\n".encode()
    limits = replace(LIMITS, bodies_bytes=100_000, body_seconds=30)  # the first 65,536 of each are the connection's own
    with serving(client, limits=limits) as server:
        first, second = connect(server), connect(server)
        first.sendall(head + b"x")
        wait_until(lambda: server.bodies_held > 0, seconds=10, what="the first body is charged")
        second.sendall(head)
        status, fields, told = read_answer(second)
        assert (status, "retry-after" in fields) == (503, True)
        assert b"at most 100000 are held at once" in told
        first.sendall(bytes(body - 1))
        assert read_answer(first)[0] == 400
        first.close()
        second.close()
        wait_until(lambda: server.bodies_held == 0, seconds=10, what="nothing is charged")
        with connect(server) as third:
            third.sendall(head + bytes(body))
            assert read_answer(third)[0] == 400


@pytest.mark.parametrize("encoded", [True, False])
def test_a_frame_of_too_many_pixels_is_refused_before_it_is_decoded(client: Client, encoded: bool):
    large = np.zeros((20, 16, 3), np.uint8)
    image, _ = encode_lossless(large)
    request = (
        f"POST /v2/models/solar-cells/infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(image)}\r\n\r\n".encode()
        + image
    )
    with serving(client, model=Model(client, max_pixels=16 * 16)) as server, connect(server) as sock:
        asked = client.status()["requests"]
        sock.sendall(request if encoded else infer(large))
        status, _, told = read_answer(sock)
        assert status == 413
        assert b"16 x 20 pixels: at most 256" in told
        assert client.status()["requests"] == asked
        sock.sendall(infer(GREY))
        assert read_answer(sock)[0] == 200
