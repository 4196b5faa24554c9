"""The device's half of the loop, put together: spool, capture, outbox, uploader.

A bundle with one life: `start`, `stop`, `close`. The client owns one; so does the command line's export.
"""

from dataclasses import asdict
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_client.capture import Capture
from edge_client.clock import Clock, SystemClock
from edge_client.config import Config
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import ConfigError
from edge_client.contract.sealing import seal
from edge_client.contract.settings import DeviceSettings
from edge_client.contract.signing import load_private_key
from edge_client.figures import SpoolFigures, spool_figures
from edge_client.intake import Policy
from edge_client.outbox import Outbox, Sender
from edge_client.spool import Spool
from edge_client.uploader import Uploader


class CaptureLoop:
    """Capture and upload of one device.

    Args:
        config: The device's configuration.
        bucket: Where windows go; None keeps them in the spool (for an export).
        settings: Signed settings, if the cloud ever sent any.
        clock: The device's clock.

    Raises:
        ConfigError: The key or the recipient cannot be used.
        SpoolError: The spool cannot be opened.
    """

    def __init__(
        self,
        config: Config,
        bucket: Bucket | None,
        *,
        settings: DeviceSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._config = config
        policy = policy_of(config, settings)
        seal(b"", policy.recipient)  # an unusable recipient is found now, not with the first frame
        self.spool = Spool(
            config.device.state / "spool",
            limit_bytes=config.capture.spool_bytes,
            reserve_bytes=config.capture.reserve_bytes,
            clock=clock,
        )
        try:
            self.capture = Capture(
                self.spool,
                device=config.device.name,
                station=config.device.station,
                inspection=config.inspection.name,
                policy=policy,
                config=config.capture,
                clock=clock,
            )
            self.outbox = Outbox(self.spool, sender_of(config), shard_bytes=config.capture.shard_bytes)
        except BaseException:
            self.spool.close()
            raise
        self.uploader = None if bucket is None else Uploader(self.outbox, bucket, clock=clock)
        if self.uploader is not None:
            self.capture.on_sealed = self.uploader.ring

    @staticmethod
    def load_key(config: Config) -> Ed25519PrivateKey:
        """Return the device's signing key.

        Raises:
            ConfigError: It cannot be read.
        """
        return load_private_key(config.device.key)

    def start(self) -> None:
        """Start the threads."""
        self.capture.start()
        if self.uploader is not None:
            self.uploader.start()

    def take_settings(self, settings: DeviceSettings) -> None:
        """Follow new signed settings; ones that cannot be used are refused and the old ones stay.

        Raises:
            ConfigError: The recipient is not one.
        """
        policy = policy_of(self._config, settings)
        seal(b"", policy.recipient)
        self.capture.intake.set_policy(policy)

    def flush(self, *, seconds: float) -> bool:
        """Close the window, commit, and send what waits; True when nothing waits any more."""
        self.capture.intake.rotate_if_due(now=True)
        self.capture.pump()
        if self.uploader is None:
            return self.outbox.next_window() is None
        return self.uploader.flush(seconds=seconds)

    def stop(self, *, flush_seconds: float) -> None:
        """End the threads; commit what was captured and try to send it."""
        self.capture.stop()
        if self.uploader is not None:
            self.uploader.stop(timeout=max(0.1, flush_seconds))
            if flush_seconds > 0 and not self.uploader.problem:
                self.uploader.flush(seconds=flush_seconds)

    def close(self) -> None:
        """Close the spool."""
        self.spool.close()

    def problems(self) -> list[str]:
        """Return what a person should know; being offline is normal and not among it."""
        found = [self.capture.problem] if self.capture.problem else []
        if self.uploader is not None and "credentials" in self.uploader.problem:
            found.append(self.uploader.problem)
        return found

    def figures(self) -> SpoolFigures:
        """Return the spool's figures."""
        with self.spool.lock:
            return spool_figures(self.spool.db, limit_bytes=self.spool.capacity())

    def status(self) -> dict[str, Any]:
        """Return how capture and upload are doing, as plain JSON values."""
        uploader, intake = self.uploader, self.capture.intake
        return {
            **asdict(self.figures()),
            "acknowledged": self.capture.acknowledged,
            "waiting_candidates": intake.waiting,
            "overload": intake.overload,
            "refused_extras": self.capture.refused_extras,
            "problem": self.capture.problem,
            "byte_budget": intake.policy.byte_budget,
            "upload": None
            if uploader is None
            else {
                "windows_sent": uploader.windows_sent,
                "samples_sent": uploader.samples_sent,
                "bytes_sent": uploader.bytes_sent,
                "problem": uploader.problem,
            },
        }


def policy_of(config: Config, settings: DeviceSettings | None) -> Policy:
    """Return the budgets that hold: the cloud's signed settings before the device's own file.

    Raises:
        ConfigError: Neither names a recipient.
    """
    recipient = (settings.recipient if settings else None) or (config.cloud.recipient if config.cloud else None)
    if recipient is None:
        raise ConfigError("cloud.recipient is missing: captured samples are sealed to it; add the table [cloud]")
    capture = config.capture
    return Policy(
        byte_budget=settings.byte_budget if settings else capture.byte_budget,
        window_seconds=settings.window_seconds if settings else capture.window_seconds,
        idle_close_seconds=capture.idle_close_seconds,
        audit_share=settings.audit_share if settings else capture.audit_share,
        recipient=recipient,
    )


def sender_of(config: Config) -> Sender:
    """Return who signs this device's records.

    Raises:
        ConfigError: The key cannot be read.
    """
    return Sender(
        device=config.device.name,
        site=config.device.site,
        station=config.device.station,
        inspection=config.inspection.name,
        key=load_private_key(config.device.key),
    )
