"""What a request weighs on the wire beside its object: headers of both directions, signature included.

Measured against SeaweedFS over HTTP by ``python -m benchmarks.fleet`` (case "headers of …"), which measures them again.
TLS adds a handshake for each new connection; see docs/fleet.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra.simulation.link import Meter

#: Kind of request → bytes of headers, both directions together.
HEADERS: Mapping[str, int] = {"put": 1058, "get": 1104, "unchanged": 997, "missing": 1238, "list": 1237}


def wire_bytes(meter: Meter) -> int:
    """Bytes of objects and headers."""
    return sum(meter.bytes.values()) + sum(HEADERS[kind] * n for kind, n in meter.requests.items())
