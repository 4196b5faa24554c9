"""The device's clock, against the bucket's server and against what can't be."""

from collections.abc import Iterator

from edge_client.clock import Clock
from edge_client.config import Config
from edge_client.doctor.finding import Finding, ok, problem, warning
from edge_client.doctor.server_time import ask_server_time
from edge_client.updates.trusted import BUILT_AT

_REMEDY = "set the clock, and let NTP keep it (timedatectl set-ntp true)"
_WARN_SECONDS = 30.0
_PROBLEM_SECONDS = 300.0  # S3 refuses a signature that is 15 minutes off; times of capture are wrong long before


def check_clock(config: Config, clock: Clock) -> Iterator[Finding]:
    """Compare.

    Args:
        config: Names the bucket.
        clock: The device's clock.
    """
    if clock.now() < BUILT_AT:
        yield problem(
            "clock",
            f"it says {clock.now():%Y-%m-%d %H:%M} UTC, before this client was built: TLS and times of capture fail",
            _REMEDY,
        )
        return
    bucket = config.bucket
    if bucket is None or bucket.directory is not None:
        yield ok("clock", f"{clock.now():%Y-%m-%d %H:%M:%S} UTC; no server to compare with")
        return
    try:
        server = ask_server_time(bucket)
    except OSError as error:
        yield warning(
            "clock",
            f"{clock.now():%Y-%m-%d %H:%M:%S} UTC; the server could not be asked: {error}",
            "see the finding about the bucket",
        )
        return
    if server is None:
        yield ok("clock", f"{clock.now():%Y-%m-%d %H:%M:%S} UTC; the server tells no time")
        return
    ahead = (clock.now() - server.at).total_seconds()
    told = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the bucket's server"
    if abs(ahead) > _PROBLEM_SECONDS:
        yield problem("clock", f"{told}: requests may be refused, and times of capture are wrong", _REMEDY)
    elif abs(ahead) > _WARN_SECONDS:
        yield warning("clock", told, _REMEDY)
    else:
        yield ok("clock", f"within {_WARN_SECONDS:g} s of the bucket's server")
    if server.certificate_problem:
        yield problem(
            "certificate",
            f"the server's certificate is not accepted: {server.certificate_problem}",
            "set the clock first if it is wrong; else bucket.ca_bundle must name the authority that signed it",
        )
