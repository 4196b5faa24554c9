"""The device's half of the loop, put together: spool, capture, outbox, uploader.

A bundle with one life: `start`, `stop`, `close`. The client owns one; so does the command line's export.
"""

import logging
import sqlite3
from dataclasses import asdict, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_client.capture import Capture
from edge_client.clock import Clock, SystemClock
from edge_client.config import Config, UploadConfig
from edge_client.contract.bucket import Bucket, S3Bucket
from edge_client.contract.errors import ConfigError
from edge_client.contract.schedule import Schedule
from edge_client.contract.sealing import seal
from edge_client.contract.signing import load_private_key
from edge_client.figures import SpoolFigures, spool_figures
from edge_client.intake import Policy
from edge_client.masking import Mask
from edge_client.outbox import Outbox, Sender
from edge_client.settings_in_force import EffectiveSettings, zone_of
from edge_client.spool import Spool
from edge_client.uplink.permission import UploadRules
from edge_client.uplink.shared_link import SharedLink
from edge_client.uplink.uplink import Uplink
from edge_client.uploader import Uploader

log = logging.getLogger("edge_client.loop")

_SHARD_SECONDS = 300  # a shard at the bandwidth limit: what a cut line costs at most


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
        settings: EffectiveSettings | None = None,
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
            upload = upload_of(config, settings)
            self.outbox = Outbox(self.spool, sender_of(config), shard_bytes=shard_bytes_of(config, upload))
            self.capture.intake.set_campaigns(settings.campaigns if settings else ())
        except BaseException:
            self.spool.close()
            raise
        self._clock, self._bucket, self._upload = clock, bucket, upload
        self.uplink = uplink_of(config, bucket, clock, upload)
        self.uploader = None if bucket is None else Uploader(self.outbox, bucket, uplink=self.uplink, clock=clock)
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

    def take_settings(self, settings: EffectiveSettings) -> None:
        """Follow new signed settings; ones that cannot be used are refused and the old ones stay.

        Raises:
            ConfigError: The recipient is not one.
        """
        policy = policy_of(self._config, settings)
        seal(b"", policy.recipient)
        self.capture.intake.set_policy(policy)
        self.capture.intake.set_campaigns(settings.campaigns)
        upload = upload_of(self._config, settings)
        if upload != self._upload:
            self._upload = upload
            self.outbox.shard_bytes = shard_bytes_of(self._config, upload)
            self.uplink.follow(*rules_and_link(self._config, upload))
            if self.uploader is not None:
                self.uploader.ring()

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
        if self.uploader is not None and self.uploader.needs_attention:
            found.append(self.uploader.problem)
        if self.spool.loss:
            found.append(self.spool.loss)
        if self.uplink.problem:
            found.append(self.uplink.problem)
        return found

    def figures(self) -> SpoolFigures | None:
        """Return the spool's figures; None while its disk does not let it be read."""
        try:
            with self.spool.lock:
                return spool_figures(self.spool.db, limit_bytes=self.spool.capacity())
        except (OSError, sqlite3.Error) as error:
            log.info("the spool's figures cannot be read: %s", error)
            return None

    def status(self) -> dict[str, Any]:
        """Return how capture and upload are doing, as plain JSON values."""
        uploader, intake, figures = self.uploader, self.capture.intake, self.figures()
        return {
            **(asdict(figures) if figures is not None else {}),
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
                "next": self._next_upload(uploader),
            },
        }

    @staticmethod
    def _next_upload(uploader: Uploader) -> dict[str, Any]:
        try:
            return asdict(uploader.next_upload())
        except (OSError, sqlite3.Error) as error:
            return {"in_seconds": None, "reason": f"the spool cannot be read: {error}"}


def upload_of(config: Config, settings: EffectiveSettings | None) -> UploadConfig:
    """Return the uploads that are allowed: the cloud's signed settings before the device's own file."""
    own = config.upload
    if settings is None:
        return own
    return replace(
        own,
        hours=tuple(settings.of("upload.hours", own.hours)),
        bytes_per_second=settings.of("upload.bytes_per_second", own.bytes_per_second),
        bytes_per_day=settings.of("upload.bytes_per_day", own.bytes_per_day),
    )


def rules_and_link(config: Config, upload: UploadConfig) -> tuple[UploadRules, SharedLink | None]:
    """Return when uploads are allowed, and the link where it is limited."""
    link = None
    if upload.bytes_per_second or upload.bytes_per_day:
        folder = upload.share or config.device.state
        link = SharedLink(folder / "uplink", bytes_per_second=upload.bytes_per_second)
    return UploadRules(schedule=Schedule.read(upload.hours), bytes_per_day=upload.bytes_per_day), link


def uplink_of(config: Config, bucket: Bucket | None, clock: Clock, upload: UploadConfig) -> Uplink:
    """Return the link as configuration and settings describe it."""
    rules, link = rules_and_link(config, upload)
    return Uplink(
        rules,
        link=link,
        now=bucket.server_time.now if isinstance(bucket, S3Bucket) else clock.now,
        metered=upload.metered,
        zone=zone_of(config),
    )


def shard_bytes_of(config: Config, upload: UploadConfig) -> int:
    """Return the size of a shard: a slow link, or one with few bytes a day, takes smaller ones."""
    most = config.capture.shard_bytes
    if upload.bytes_per_day:
        most = min(most, upload.bytes_per_day // 4)
    if upload.bytes_per_second:
        most = min(most, _SHARD_SECONDS * upload.bytes_per_second)
    return most


def policy_of(config: Config, settings: EffectiveSettings | None) -> Policy:
    """Return the budgets that hold: the cloud's signed settings before the device's own file.

    Raises:
        ConfigError: Neither names a recipient.
    """
    settings = settings or EffectiveSettings()
    recipient = settings.of("cloud.recipient", config.cloud.recipient if config.cloud else None)
    if recipient is None:
        raise ConfigError("cloud.recipient is missing: captured samples are sealed to it; add the table [cloud]")
    capture = config.capture
    return Policy(
        byte_budget=settings.of("capture.byte_budget", capture.byte_budget),
        window_seconds=settings.of("capture.window_seconds", capture.window_seconds),
        idle_close_seconds=settings.of("capture.idle_close_seconds", capture.idle_close_seconds),
        audit_share=settings.of("capture.audit_share", capture.audit_share),
        recipient=recipient,
        mask=Mask.of(config, settings),
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
