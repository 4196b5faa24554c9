"""The help desk of a client: what each verb answers with, and which secrets this device has."""

import contextlib
import random
import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from edge_client.config import Config
from edge_client.contract.bucket import Bucket
from edge_client.contract.help import HelpRequest
from edge_client.contract.signing import load_private_key
from edge_client.help.desk import HelpDesk, Identity
from edge_client.help.memory import HelpMemory
from edge_client.help.recent_logs import RECENT_LOGS
from edge_client.help.redaction import Redaction


def desk_of(
    config: Config,
    bucket: Bucket,
    *,
    recipient: Callable[[], str | None],
    status: Callable[[], Mapping[str, Any]],
    now: Callable[[], datetime],
) -> HelpDesk:
    """Make the desk.

    Args:
        config: The device's.
        bucket: Where answers go.
        recipient: What they are sealed to.
        status: Of the client.
        now: The time, aware.

    Raises:
        ConfigError: The device's key cannot be read.
    """

    def logs(request: HelpRequest) -> Mapping[str, Any]:
        return {"lines": RECENT_LOGS.last(request.lines)}

    def doctor(_: HelpRequest) -> Mapping[str, Any]:
        from edge_client.doctor.examination import examine  # seldom needed

        return {"checks": [finding.to_json() for finding in examine(config)], "status": status()}

    identity = Identity(device=config.device.name, key=load_private_key(config.device.key), recipient=recipient)
    return HelpDesk(
        identity,
        bucket,
        HelpMemory(config.device.state / "help.json"),
        allow=config.help.allow,
        answers={"logs": logs, "doctor": doctor},
        redaction=Redaction(secrets_of(config)),
        now=now,
        jitter=random.random,
    )


def secrets_of(config: Config) -> list[str]:
    """Return what is secret on this device: its account in the bucket and its key."""
    found: list[str] = []
    if config.bucket is not None and config.bucket.credentials is not None:
        with contextlib.suppress(OSError, ValueError):  # what cannot be read cannot leave the device either
            account = tomllib.loads(config.bucket.credentials.read_text())
            found += [value for value in account.values() if isinstance(value, str)]
    with contextlib.suppress(OSError, ValueError):
        found += [line for line in config.device.key.read_text().splitlines() if not line.startswith("-----")]
    return found
