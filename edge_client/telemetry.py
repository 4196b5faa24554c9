"""OpenTelemetry: spans of predict, upload and update, and the metrics bridged. The extra ``telemetry``.

1. Nothing of OpenTelemetry is imported unless ``[telemetry] enabled = true``.
2. The client uses the providers that the application set; it sets none itself. ``andon-edge`` sets them as the
   environment says (`export_by_environment`), unless there are some.
3. Whatever goes wrong in OpenTelemetry costs the span, never the call.
4. A look that found nothing to upload makes no span. Part ids, context and images are in no span: they leave the
   device sealed, or not at all.
5. Without telemetry the methods are as they were: they are replaced on the one object that is observed, so that the
   way of a frame has not even a test for it.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from edge_client.contract.errors import ConfigError
from edge_client.telemetry_metrics import observe_status
from edge_client.version import VERSION

log = logging.getLogger("edge_client.telemetry")

_NAME = "andon-edge"
_FLUSH_MILLISECONDS = 2000  # a collector that is away does not hold up the end
_MISSING = "telemetry.enabled is true, but opentelemetry-sdk is not installed: pip install 'andon-edge[telemetry]'"

Attributes = dict[str, str | int | float | bool]


class Telemetry:
    """Observes one client.

    Args:
        client: Its `predict` is traced.
        uploader: Its `send_next` is; None for none.
        updater: Its `check_once` is; None for none.
        status: What `Client.status` returns.
        place: Attributes of every span, such as device and inspection.
        tracer_provider: Instead of the global one.
        meter_provider: Likewise.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """

    def __init__(
        self,
        client: object,
        *,
        uploader: object | None,
        updater: object | None,
        status: Callable[[], dict[str, Any]],
        place: Attributes,
        tracer_provider: Any = None,
        meter_provider: Any = None,
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            raise ConfigError(_MISSING) from error
        self._trace = trace
        self._place = place
        self._tracer = trace.get_tracer(_NAME, VERSION, tracer_provider)
        meters = meter_provider or metrics.get_meter_provider()
        meter = meters.get_meter(_NAME, VERSION)
        self._latency = meter.create_histogram(
            "andon_edge_inference", unit="s", description="Time of the engine for a frame."
        )
        self._forget = observe_status(meters, meter, status)
        self._providers = (meters, tracer_provider or trace.get_tracer_provider())
        self._replace(client, "predict", "andon.predict", self._of_predictions)
        if uploader is not None:
            self._replace(uploader, "send_next", "andon.upload", lambda sent: {} if sent else None)
        if updater is not None:
            self._replace(updater, "check_once", "andon.update", _of_check)

    def stop(self) -> None:
        """Send what is known until now, for a short time, and ask the client no more."""
        for provider in self._providers:
            try:
                if hasattr(provider, "force_flush"):  # the SDK's; the bare API has nothing to send
                    provider.force_flush(_FLUSH_MILLISECONDS)
            except Exception as failure:  # noqa: BLE001 -- rule 3
                log.debug("the last telemetry was not sent: %r", failure)
        self._forget()

    def _replace(self, owner: object, method: str, name: str, describe: Callable[[Any], Attributes | None]) -> None:
        """Replace a method of one object by itself within a span (rule 5)."""
        plain = getattr(owner, method)

        def traced(*args: Any, **named: Any) -> Any:
            begun = time.time_ns()
            try:
                answer = plain(*args, **named)
            except Exception as error:
                self._write(name, begun, {}, error)
                raise
            self._write(name, begun, answer, None, describe)
            return answer

        setattr(owner, method, traced)

    def _write(
        self,
        name: str,
        begun: int,
        answer: Any,
        error: Exception | None,
        describe: Callable[[Any], Attributes | None] = lambda _: {},
    ) -> None:
        try:
            told = describe(answer)
            if told is None:
                return
            span = self._tracer.start_span(name, start_time=begun, attributes={**self._place, **told})
            if error is not None:
                span.record_exception(error)
                span.set_status(self._trace.StatusCode.ERROR, str(error)[:500])
            span.end()
        except Exception as failure:  # noqa: BLE001 -- rule 3
            log.debug("a span could not be written: %r", failure)

    def _of_predictions(self, answer: Any) -> Attributes:
        predictions: Sequence[Any] = answer if isinstance(answer, list) else [answer]
        first = predictions[0]
        each = first.latency_ms / len(predictions) / 1e3
        for _ in predictions if each > 0 else ():  # a repeated answer took no engine any time
            self._latency.record(each, {**self._place, "engine": first.engine_id})
        told: Attributes = {
            "andon.engine": first.engine_id,
            "andon.frames": len(predictions),
            "andon.engine_ms": first.latency_ms,
            "andon.advisory": first.advisory,
        }
        if len(predictions) == 1:
            told |= {"andon.verdict": first.verdict, "andon.label": first.label, "andon.anomaly": first.anomaly}
        return told


def export_by_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Set providers as ``OTEL_TRACES_EXPORTER`` and ``OTEL_METRICS_EXPORTER`` name them, for a program of our own.

    ``console`` comes with the SDK; others, such as ``otlp_proto_http``, with a package of that exporter. Unset or
    ``none`` exports nothing. Providers that are there already stay.

    Args:
        environment: The process's, by default.

    Raises:
        ConfigError: The SDK, or an exporter that is named, is not installed.
    """
    try:
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(_MISSING) from error
    spans = _exporters(environment, "OTEL_TRACES_EXPORTER", "opentelemetry_traces_exporter")
    if spans and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        tracer_provider = TracerProvider()
        for exporter in spans:
            tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(tracer_provider)
    values = _exporters(environment, "OTEL_METRICS_EXPORTER", "opentelemetry_metrics_exporter")
    if values and not isinstance(metrics.get_meter_provider(), MeterProvider):
        metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(exporter) for exporter in values]))


def _exporters(environment: Mapping[str, str], variable: str, group: str) -> list[Any]:
    named: Iterable[str] = (name.strip() for name in environment.get(variable, "").split(","))
    found = []
    for name in named:
        if name in ("", "none"):
            continue
        points = list(entry_points(group=group, name=name))
        if not points:
            raise ConfigError(
                f"{variable} names the exporter {name!r}, which is not installed: known are "
                f"{sorted(p.name for p in entry_points(group=group))}; install its package "
                "(opentelemetry-exporter-…), or unset it"
            )
        found.append(points[0].load()())
    return found


def _of_check(outcome: Any) -> Attributes:
    return {"andon.update.check": outcome.check.value, "andon.update.reason": outcome.reason[:500]}
