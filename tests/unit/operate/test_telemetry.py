"""OpenTelemetry, against the real SDK with its in-memory exporters; and that nothing of it is there when it is off."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from edge_client import BadImage, Client
from edge_client.config import Config
from edge_client.contract.errors import ConfigError
from edge_client.encode import encode_lossless
from edge_client.telemetry import Telemetry, export_by_environment
from tests.unit.capture.device import Bundle, noise

ROOT = Path(__file__).parents[3]
ON = "[telemetry]\nenabled = true\n"


class Watched:
    """A client whose spans and metrics are kept in memory."""

    def __init__(self, bundle: Bundle, provider: MeterProvider | None = None) -> None:
        self.spans = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.reader = InMemoryMetricReader()
        self.client = Client.from_config(bundle.config)
        assert self.client._loop is not None
        self.telemetry = Telemetry(
            self.client,
            uploader=self.client._loop.uploader,
            updater=self.client._updater,
            status=self.client.status,
            place={"andon.device": "line-1"},
            tracer_provider=tracers,
            meter_provider=provider or MeterProvider([self.reader]),
        )

    def named(self, name: str) -> list:
        return [s for s in self.spans.get_finished_spans() if s.name == name]


def metrics_of(reader: InMemoryMetricReader) -> dict[str, list]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {m.name: list(m.data.data_points) for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}


def test_predict_upload_and_update_are_spans_with_what_a_person_asks_for(tmp_path: Path):
    watched = Watched(Bundle(tmp_path / "device"))
    client = watched.client
    client.predict(noise(1), part_id="SECRET-1", context={"lot": "SECRET-2"})
    client.predict(np.stack([noise(2), noise(3)]))
    client.submit(noise(4)).result(timeout=20)
    with pytest.raises(BadImage):
        client.predict(b"no image")
    assert client.flush(seconds=20)
    assert client._updater is not None
    client._updater.check_once()
    client.close()
    one, batch, submitted, failed = watched.named("andon.predict")
    assert one.attributes["andon.verdict"] in ("ok", "defect", "unsure")
    assert (one.attributes["andon.engine"], one.attributes["andon.device"]) == ("e1", "line-1")
    assert one.end_time - one.start_time >= one.attributes["andon.engine_ms"] * 1e6
    assert (batch.attributes["andon.frames"], submitted.attributes["andon.frames"]) == (2, 1)
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.events[0].name == "exception"
    assert len(watched.named("andon.upload")) == 1  # looks that found nothing make none
    assert watched.named("andon.update")[-1].attributes["andon.update.check"] == "no release"
    assert "SECRET" not in "".join(s.to_json() for s in watched.spans.get_finished_spans())


def test_the_metrics_are_bridged_and_end_with_the_client(tmp_path: Path):
    watched = Watched(Bundle(tmp_path / "device"))
    for i in range(3):
        watched.client.predict(noise(i))
    found = metrics_of(watched.reader)
    (frames,) = found["andon_edge_frames"]
    assert frames.value == 3
    assert frames.attributes == {"device": "line-1", "inspection": "solar-cells"}
    answered = [p.value for p in found["andon_edge_requests"] if p.attributes["outcome"] == "answered"]
    assert answered == [3]
    watched.telemetry._of_predictions(replace(watched.client.predict(noise(9)), latency_ms=0.0))  # a repeated answer
    (latency,) = metrics_of(watched.reader)["andon_edge_inference"]
    assert latency.count == 4
    assert found["andon_edge_process_cpu_seconds"][0].value > 0
    watched.telemetry.stop()
    watched.client.close()
    assert metrics_of(watched.reader).get("andon_edge_frames", []) == []


def test_two_clients_share_the_instruments_of_one_provider(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    first = Watched(Bundle(tmp_path / "a"), provider)
    other = Bundle(tmp_path / "b")
    other.config.write_text(other.config.read_text().replace('name = "line-1"', 'name = "line-2"'))
    second = Watched(other, provider)
    first.client.predict(noise(1))
    found = {p.attributes["device"]: p.value for p in metrics_of(reader)["andon_edge_frames"]}
    assert found == {"line-1": 1, "line-2": 0}
    assert "already" not in caplog.text
    first.telemetry.stop()
    assert [p.attributes["device"] for p in metrics_of(reader)["andon_edge_frames"]] == ["line-2"]
    first.client.close(flush_seconds=0)
    second.client.close(flush_seconds=0)


def test_a_tracer_that_fails_costs_its_span_and_no_prediction(tmp_path: Path):
    watched = Watched(Bundle(tmp_path / "device"))

    class Broken:
        def start_span(self, *_: object, **__: object) -> None:
            raise RuntimeError("no")

    watched.telemetry._tracer = Broken()
    assert watched.client.predict(noise(1)).engine_id == "e1"
    watched.client.close(flush_seconds=0)


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def test_off_nothing_of_it_is_imported_and_no_method_is_replaced(tmp_path: Path):
    bundle = Bundle(tmp_path / "device")
    done = run_python(
        f"""
import sys
import numpy as np
from edge_client import Client
with Client.from_config({str(bundle.config)!r}) as client:
    client.predict(np.zeros((8, 8, 3), np.uint8))
    client.status()
    assert "predict" not in vars(client)
assert not [m for m in sys.modules if m.startswith("opentelemetry") or m == "edge_client.telemetry"]
print("none")
"""
    )
    assert done.stdout == "none\n"


def test_without_the_sdk_the_client_inspects_and_says_what_to_install(tmp_path: Path):
    bundle = Bundle(tmp_path / "device", rest=ON)
    done = run_python(
        f"""
import sys
sys.modules["opentelemetry"] = None  # what an import finds where the package is missing
import numpy as np
from edge_client import Client
with Client.from_config({str(bundle.config)!r}) as client:
    print(client.predict(np.zeros((8, 8, 3), np.uint8)).engine_id, client.status()["problems"])
"""
    )
    assert done.stdout.startswith("e1 ")
    assert "andon-edge[telemetry]" in done.stdout


def test_the_configuration_turns_it_on_and_the_environment_names_the_exporter(tmp_path: Path):
    bundle = Bundle(tmp_path / "device", rest=ON)
    assert Config.load(bundle.config).telemetry.enabled
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.webp").write_bytes(encode_lossless(noise(1))[0])
    command = [
        sys.executable,
        "-m",
        "edge_client.cli",
        "run",
        "--config",
        bundle.config,
        "--source",
        tmp_path / "images",
    ]

    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, "OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for words in ('"name": "andon.predict"', '"andon.verdict"', "andon_edge_frames"):
        assert words in done.stdout, words


def test_an_exporter_that_is_not_installed_is_named_with_those_that_are():
    with pytest.raises(ConfigError, match=r"'otlp_of_mars', which is not installed: known are .*console"):
        export_by_environment({"OTEL_TRACES_EXPORTER": "otlp_of_mars"})
