"""All checks, one after the other. One that fails in a way nobody thought of is a finding too."""

from collections.abc import Callable, Iterator
from pathlib import Path

from edge_client.clock import Clock, SystemClock
from edge_client.config import Config
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, ConfigError
from edge_client.doctor.bucket import check_bucket
from edge_client.doctor.clock import check_clock
from edge_client.doctor.disk import check_state
from edge_client.doctor.engine import Tries, check_factory_engine, check_slots
from edge_client.doctor.extras import check_client, check_extras
from edge_client.doctor.finding import Finding, ok, problem
from edge_client.doctor.identity import check_credentials, check_key, check_recipient
from edge_client.doctor.mirrors import check_mirrors
from edge_client.doctor.releases import check_releases
from edge_client.doctor.software import check_software
from edge_client.doctor.spool import check_spool
from edge_client.updates.trial import try_engine


def read_configuration(path: Path) -> tuple[Config | None, Finding]:
    """Read the configuration; None when it cannot be used."""
    try:
        config = Config.load(path)
    except ConfigError as error:
        return None, problem(
            "configuration", str(error), "correct the file, or take it from the bundle that enrolment wrote"
        )
    return config, ok("configuration", str(config.path))


def examine(
    config: Config, *, bucket: Bucket | None = None, clock: Clock | None = None, tries: Tries = try_engine
) -> list[Finding]:
    """Examine a device. Nothing is changed but one small object in the bucket (`bucket.probe_key`).

    Args:
        config: Its configuration.
        bucket: Instead of the one that the configuration names.
        clock: The device's clock.
        tries: Runs an engine's trial.
    """
    clock = clock or SystemClock()
    if bucket is None:
        try:
            bucket = config.open_bucket()
        except (AndonError, OSError, ValueError):
            bucket = None  # `check_credentials` tells why
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("client", lambda: check_client(config)),
        ("extras", lambda: check_extras(config)),
        ("software", lambda: check_software(config)),
        ("key", lambda: check_key(config)),
        ("credentials", lambda: check_credentials(config)),
        ("recipient", lambda: check_recipient(config)),
        ("state", lambda: check_state(config)),
        ("spool", lambda: check_spool(config, clock)),
        ("engine", lambda: check_factory_engine(config, tries)),
        ("slots", lambda: check_slots(config, tries)),
        ("clock", lambda: check_clock(config, clock)),
        ("bucket", lambda: check_bucket(config, bucket)),
        ("releases", lambda: check_releases(config, bucket, clock)),
        ("mirrors", lambda: check_mirrors(config, bucket)),
    ]
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check()
        except Exception as error:  # noqa: BLE001 -- a broken check must not hide the others
            findings.append(problem(name, f"could not be examined: {error!r}", "report this, with the client's log"))
    return findings
