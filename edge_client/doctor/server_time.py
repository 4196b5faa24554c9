"""What time the bucket's server says it is: the `Date` of any answer, a refusal included.

Asked without credentials, since a wrong clock makes signed requests fail, and without believing the certificate if it
is not accepted, since a wrong clock does that too. The time is shown to a person, nothing is decided by it.
"""

import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from edge_client.config import BucketConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTime:
    """The server's time; `certificate_problem` says why its certificate was not accepted, or ""."""

    at: datetime
    certificate_problem: str = ""


def ask_server_time(bucket: BucketConfig) -> ServerTime | None:
    """Ask; None when the answer has no date.

    Raises:
        OSError: The server cannot be reached.
    """
    url = bucket.endpoint_url or f"https://s3.{bucket.region}.amazonaws.com"
    context = ssl.create_default_context(cafile=str(bucket.ca_bundle) if bucket.ca_bundle else None)
    doubt = ""
    try:
        date = _date_of(url, context, bucket.connect_seconds)
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLCertVerificationError):
            raise
        doubt = error.reason.verify_message
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        date = _date_of(url, context, bucket.connect_seconds)
    try:
        at = parsedate_to_datetime(date) if date is not None else None
    except ValueError:
        at = None
    if at is None:
        return None
    return ServerTime(at=at if at.tzinfo is not None else at.replace(tzinfo=UTC), certificate_problem=doubt)


def _date_of(url: str, context: ssl.SSLContext, seconds: float) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=seconds, context=context) as answer:  # noqa: S310 -- from the owner's own configuration
            date: str | None = answer.headers.get("Date")
            return date
    except urllib.error.HTTPError as error:  # refused, as it should be
        with error:
            return error.headers.get("Date")
