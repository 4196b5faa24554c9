"""The metrics, read by prometheus_client's own parser, and the endpoint that serves them."""

from __future__ import annotations

import copy
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_client import BadImage, Client
from edge_client.contract.errors import ConfigError
from edge_client.counters import LATENCY_BOUNDS, Counters
from edge_client.metrics import CONTENT_TYPE, FAMILIES, metrics_text
from edge_client.metrics_endpoint import MetricsEndpoint
from tests.unit.capture.device import Bundle, noise

HOME = {"device": "line-1", "inspection": "solar-cells"}


def series(text: str) -> dict[tuple[str, frozenset], float]:
    """Every sample by name and labels; a repeated one fails."""
    found: dict[tuple[str, frozenset], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float:
    return series(text)[f"andon_edge_{name}", frozenset({**HOME, **labels}.items())]


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> dict:
    bundle = Bundle(tmp_path_factory.mktemp("metrics") / "device")
    with Client.from_config(bundle.config) as client:
        for i in range(7):
            client.predict(noise(i), part_id=f"P{i}")
        client.predict(np.stack([noise(8), noise(9)]))
        client.predict(noise(1), capture=False)
        with pytest.raises(BadImage):
            client.predict(b"no image")
        client.flush(seconds=20)
        return client.status()


def test_an_independent_parser_reads_what_the_client_counted(status: dict):
    text = metrics_text([status])
    assert value(text, "requests_total", outcome="answered") == 9
    assert value(text, "requests_total", outcome="refused") == 1
    assert value(text, "requests_total", outcome="lost") == 0
    assert value(text, "frames_total") == 9
    assert value(text, "engine_requests_total", engine="e1") == 9
    assert value(text, "spool_samples", state="uploaded") == 9
    assert value(text, "upload_windows_total") == 1
    assert value(text, "upload_bytes_total") == status["capture"]["upload"]["bytes_sent"] > 0
    assert value(text, "healthy") == 1
    assert series(text)["andon_edge_process_cpu_seconds_total", frozenset()] == status["process"]["cpu_seconds"] > 0


def test_the_latency_is_a_histogram_of_frames_in_seconds(status: dict):
    families = {f.name: f for f in text_string_to_metric_families(metrics_text([status]))}
    latency = families["andon_edge_inference_seconds"]
    assert latency.type == "histogram"
    buckets = [(float(s.labels["le"]), s.value) for s in latency.samples if s.name.endswith("_bucket")]
    assert [bound for bound, _ in buckets] == [*LATENCY_BOUNDS, float("inf")]
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert buckets[-1][1] == 10  # frames that an engine answered, with those of reference parts
    total = next(s.value for s in latency.samples if s.name.endswith("_sum"))
    assert 0 < total < 10


def test_every_family_has_a_help_a_type_and_a_name_by_the_rules(status: dict):
    text = metrics_text([status])
    assert text.endswith("\n")
    for family in text_string_to_metric_families(text):
        assert re.fullmatch(r"andon_edge_[a-z_]+", family.name)
        assert len(family.documentation) > 10
        assert family.type in ("counter", "gauge", "histogram")
        if family.type == "counter":  # the parser takes the suffix off
            assert f"# TYPE {family.name}_total counter" in text
        for sample in family.samples:
            if not family.name.startswith(("andon_edge_process", "andon_edge_package")):
                assert HOME.items() <= sample.labels.items()


def test_two_clients_share_each_family_and_the_process_is_told_once(status: dict):
    other = copy.deepcopy(status)
    other["inspection"] = "weld-seams"
    other["requests"]["frames"] = 3
    other["process"]["uptime_seconds"] = status["process"]["uptime_seconds"] + 100
    other["process"]["cpu_seconds"] = 55.5
    text = metrics_text([status, other])
    assert text.count("# TYPE andon_edge_frames_total") == 1
    assert value(text, "frames_total") == 9
    assert value(text, "frames_total", inspection="weld-seams") == 3
    assert series(text)["andon_edge_process_cpu_seconds_total", frozenset()] == 55.5


def test_labels_with_quotes_backslashes_and_line_breaks_read_back(status: dict):
    odd = copy.deepcopy(status)
    odd["requests"]["classes"] = {'scratch "deep"\\\n': 2}
    assert value(metrics_text([odd]), "classes_total", **{"class": 'scratch "deep"\\\n'}) == 2


def test_what_is_not_known_is_left_out(status: dict):
    bare = copy.deepcopy(status)
    bare["capture"] = None
    bare["process"]["energy_joules"] = None
    text = metrics_text([bare])
    assert "spool" not in text
    assert "joules" not in text
    assert metrics_text([]) == ""


def test_dropped_frames_of_a_source_are_told(status: dict):
    live = {**status, "source": {"kind": "camera", "read": 100, "dropped": 40, "queued": 2, "reopened": 1}}
    text = metrics_text([live])
    assert value(text, "source_frames_dropped_total", kind="camera") == 40
    assert value(text, "source_reopened_total", kind="camera") == 1


def test_a_latency_on_a_bound_is_counted_below_it():
    counters = Counters()

    class Answer:
        latency_ms, engine_id, label, verdict, anomaly = 2.0, "e", "ok", "ok", 0.0

    counters.answer([Answer()], inspected=True)  # type: ignore[list-item]
    Answer.latency_ms = 60_000.0
    counters.answer([Answer()] * 2, inspected=True)  # type: ignore[list-item]
    counts = counters.copy()
    assert counts.latency_counts[LATENCY_BOUNDS.index(0.002)] == 1
    assert counts.latency_counts[-1] == 2
    assert counts.latency_sum_seconds == pytest.approx(60.002)


def test_a_latency_is_told_of_the_engine_in_service():
    counters = Counters()

    class Answer:
        latency_ms, engine_id, label, verdict, anomaly = 50.0, "slow", "ok", "ok", 0.0

    counters.answer([Answer()] * 10, inspected=True)  # type: ignore[list-item]
    Answer.latency_ms, Answer.engine_id = 20.0, "next"
    counters.answer([Answer()], inspected=True)  # type: ignore[list-item]
    assert counters.copy().latency_ms_p99 == 20.0


# --- the endpoint


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_client_in_an_application_serves_its_metrics(tmp_path: Path):
    port = free_port()
    bundle = Bundle(tmp_path / "device", rest=f"[metrics]\nport = {port}")
    with Client.from_config(bundle.config) as client:
        client.predict(noise(1))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?x=1", timeout=10) as answer:
            assert answer.headers["Content-Type"] == CONTENT_TYPE
            assert value(answer.read().decode(), "frames_total") == 1
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
        assert refused.value.code == 404
        refused.value.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10)


def test_a_taken_port_is_told_and_the_line_goes_on(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bundle = Bundle(tmp_path / "device", rest=f"[metrics]\nport = {port}")
        with Client.from_config(bundle.config) as client:
            assert client.predict(noise(1)).engine_id == "e1"
            (problem,) = client.status()["problems"]
            assert f"metrics.port {port}" in problem
        with pytest.raises(ConfigError, match="choose another port"):
            MetricsEndpoint(str, port=port)


def test_nobody_listens_by_default(tmp_path: Path):
    bundle = Bundle(tmp_path / "device")
    with Client.from_config(bundle.config) as client:
        assert client._endpoint is None


@pytest.mark.parametrize(
    ("request_head", "status_line"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 405"),
        (b"GET /metrics\r\n\r\n", b"HTTP/1.1 400"),
        (b"\x00\xff\r\n\r\n", b"HTTP/1.1 400"),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"HTTP/1.1 200"),
    ],
)
def test_odd_requests_get_an_answer(request_head: bytes, status_line: bytes):
    endpoint = MetricsEndpoint(lambda: "a 1\n", port=0)
    endpoint.start()
    try:
        with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as connection:
            connection.sendall(request_head)
            told = b"".join(iter(lambda: connection.recv(4096), b""))
        assert told.startswith(status_line)
        assert told.endswith(b"a 1\n") is False
    finally:
        endpoint.stop()


def test_who_sends_too_much_or_nothing_does_not_end_the_endpoint():
    endpoint = MetricsEndpoint(lambda: "a 1\n", port=0)
    endpoint.start()
    try:
        with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as loud:
            try:
                loud.sendall(b"x" * 200_000)
                assert loud.recv(100) == b""
            except ConnectionError:
                pass
        silent = socket.create_connection(("127.0.0.1", endpoint.port), timeout=10)
        begun = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=30) as answer:
            assert answer.read() == b"a 1\n"
        assert time.monotonic() - begun > 1  # it waited for the silent one, and no longer than its deadline
        silent.close()
    finally:
        endpoint.stop()


def test_metrics_that_cannot_be_read_are_an_error_500():
    def fail() -> str:
        raise RuntimeError("no")

    endpoint = MetricsEndpoint(fail, port=0)
    endpoint.start()
    try:
        with pytest.raises(urllib.error.HTTPError) as failed:
            urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=10)
        assert failed.value.code == 500
        failed.value.close()
    finally:
        endpoint.stop()


def test_the_page_lists_every_metric_with_its_help():
    page = (Path(__file__).parents[3] / "docs" / "operating.md").read_text()
    for family in FAMILIES:
        assert f"| `andon_edge_{family.name}` | {family.kind}: {family.help} |" in page, family.name
