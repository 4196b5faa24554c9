"""Who may read ``/metrics``: a monitoring system has no session.

1. This machine itself, directly: a request that a proxy passed on says so, and is not from here.
2. Whoever brings the token of ``metrics.token`` in the home directory, or of the file that is named by
   ``$ANDON_METRICS_TOKEN_FILE``, as ``Authorization: Bearer …``. Without such a file there is none.
3. Whoever is signed in.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
from pathlib import Path

from fastapi import Request
from starlette.exceptions import HTTPException

from console.people import Person

TOKEN_FILE = "metrics.token"  # noqa: S105 - a file's name
VARIABLE = "ANDON_METRICS_TOKEN_FILE"
_PASSED_ON = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-real-ip", "via")


def check_may_read(request: Request, home: Path) -> None:
    """Refuse who may not.

    Raises:
        HTTPException: 401.
    """
    if isinstance(request.scope.get("state", {}).get("person"), Person) or _from_here(request):
        return
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    token = _token(Path(os.environ.get(VARIABLE) or home / TOKEN_FILE))
    if not token or kind.lower() != "bearer" or not hmac.compare_digest(token.encode(), given.strip().encode()):
        raise HTTPException(401, f"metrics are for this machine, or for who brings the token of {TOKEN_FILE}")


def _from_here(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in _PASSED_ON):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
