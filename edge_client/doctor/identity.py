"""The device's own files: its key, its credentials, the cloud's recipient."""

import stat
from collections.abc import Iterator
from pathlib import Path

from edge_client.config import Config
from edge_client.contract.errors import AndonError
from edge_client.contract.sealing import seal
from edge_client.contract.signing import load_private_key, public_hex
from edge_client.doctor.finding import Finding, ok, problem, warning

_ENROL = "copy the bundle to the device again, or enrol it again (`andon enroll`)"


def check_key(config: Config) -> Iterator[Finding]:
    """The key that signs records and heartbeats."""
    try:
        key = load_private_key(config.device.key)
    except (AndonError, OSError) as error:
        yield problem("key", str(error), _ENROL)
        return
    yield from _privacy("key", config.device.key) or [ok("key", f"signs as {public_hex(key)[:16]}…")]


def check_credentials(config: Config) -> Iterator[Finding]:
    """The account in the bucket."""
    path = config.bucket.credentials if config.bucket is not None else None
    if path is None:
        yield ok("credentials", "none are needed")
        return
    try:
        config.open_bucket()
    except (AndonError, OSError, ValueError) as error:
        yield problem("credentials", str(error), _ENROL)
        return
    yield from _privacy("credentials", path) or [ok("credentials", f"{path} is complete, and its owner's alone")]


def check_recipient(config: Config) -> Iterator[Finding]:
    """The cloud's public key, to which samples are sealed."""
    if config.cloud is None:
        yield warning(
            "recipient", "no [cloud] table: capture is off", "add cloud.recipient to the configuration to capture"
        )
        return
    try:
        seal(b"", config.cloud.recipient)
    except AndonError as error:
        yield problem("recipient", str(error), "take cloud.recipient from the bundle that enrolment wrote")
        return
    yield ok("recipient", config.cloud.recipient)


def _privacy(check: str, path: Path) -> list[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return []
    return [warning(check, f"{path} has mode {mode:o}: others on this machine can use it", f"chmod 600 {path}")]
