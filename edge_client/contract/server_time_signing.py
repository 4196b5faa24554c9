"""Signs a client's requests with the server's time, through botocore's own events and its own signer.

botocore signs with the local clock and does not correct it: with a clock at 1970 or 2099 every request is refused.
A request that botocore has signed is signed again when `ServerTime` differs from the clock; its handler runs last.
"""

from datetime import UTC, datetime
from typing import Any

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth

from edge_client.contract.server_time import NEGLIGIBLE_SECONDS, ServerTime


class _ServerTimeAuth(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """SigV4 with a given time."""

    def __init__(self, credentials: Any, region: str, at: datetime) -> None:
        super().__init__(credentials, "s3", region)
        self._at = at

    def _modify_request_before_signing(self, request: Any) -> None:
        request.context["timestamp"] = self._at.strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)


def sign_with_server_time(client: Any, credentials: Any, server_time: ServerTime) -> None:
    """Let a client learn the server's time and sign with it."""

    def learn(response_dict: Any = None, **_: Any) -> None:
        if response_dict:
            server_time.learn(response_dict["headers"].get("date"))

    def sign(request: Any, **_: Any) -> None:
        at = server_time.now()
        if abs((at - datetime.now(UTC)).total_seconds()) > NEGLIGIBLE_SECONDS:
            region = request.context.get("signing", {}).get("region") or client.meta.region_name
            _ServerTimeAuth(credentials, region, at).add_auth(request)

    client.meta.events.register("response-received.s3", learn)
    client.meta.events.register_last("request-created.s3", sign)
