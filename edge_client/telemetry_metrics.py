"""The metrics of `edge_client.metrics` as OpenTelemetry instruments.

1. OpenTelemetry keeps a callback for ever. So the instruments are made once for each meter provider, and ask the
   clients that are alive; one that stopped is asked no more.
2. A collection asks every instrument; the status behind them is read once a second at most.
3. The histogram of latencies can't be observed afterwards; `telemetry` records it as frames come.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from edge_client.metrics import FAMILIES, Family, Value, collect

_FRESH_SECONDS = 1.0
_UNITS = {"seconds": "s", "bytes": "By", "joules": "J"}

Status = Callable[[], dict[str, Any]]


class _Bridge:
    """The clients that are observed through one meter provider."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: list[Status] = []
        self._at = float("-inf")
        self._values: dict[Family, list[Value]] = {}

    def add(self, status: Status) -> Callable[[], None]:
        with self._lock:
            self._clients.append(status)
            self._at = float("-inf")

        def stop() -> None:
            with self._lock:
                if status in self._clients:
                    self._clients.remove(status)
                self._at = float("-inf")

        return stop

    def values(self, family: Family) -> list[Value]:
        with self._lock:
            if time.monotonic() - self._at > _FRESH_SECONDS:
                self._values = collect([status() for status in self._clients])
                self._at = time.monotonic()
            return self._values.get(family, [])


_BRIDGES: "WeakKeyDictionary[Any, _Bridge]" = WeakKeyDictionary()
_MAKING = threading.Lock()


def observe_status(provider: Any, meter: Any, status: Status) -> Callable[[], None]:
    """Let a meter provider observe a client.

    Args:
        provider: The meter provider.
        meter: Its meter.
        status: What `Client.status` returns.

    Returns:
        Ends it.
    """
    with _MAKING:
        bridge = _BRIDGES.get(provider)
        if bridge is None:
            bridge = _BRIDGES[provider] = _Bridge()
            for family in FAMILIES:
                _make(meter, bridge, family)
    return bridge.add(status)


def _make(meter: Any, bridge: _Bridge, family: Family) -> None:
    from opentelemetry.metrics import Observation

    def observe(_: Any) -> Iterable[Observation]:
        return [Observation(value, labels) for _, labels, value in bridge.values(family)]

    name = f"andon_edge_{family.name.removesuffix('_total')}"
    unit = next((unit for words, unit in _UNITS.items() if words in family.name.split("_")), "1")
    if family.kind == "counter":
        meter.create_observable_counter(name, callbacks=[observe], unit=unit, description=family.help)
    elif family.kind == "gauge":
        meter.create_observable_gauge(name, callbacks=[observe], unit=unit, description=family.help)
