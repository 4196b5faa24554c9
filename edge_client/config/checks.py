"""What no single key can say: names, files that must be there, tables that need one another."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from edge_client.config.tables import MaskConfig, UploadConfig
from edge_client.contract.errors import AndonError, ConfigError
from edge_client.contract.help import VERBS
from edge_client.contract.names import check_name
from edge_client.contract.quoting import quoted
from edge_client.contract.regions import read_regions
from edge_client.contract.schedule import Schedule
from edge_client.contract.setting_keys import NEVER_LOCAL, SETTING_KEYS

if TYPE_CHECKING:
    from edge_client.config.config import Config


def check(file: Path, config: Config) -> None:
    """Check what no single key can: names, files that must be there, tables that need one another."""
    for key, value, what in (
        ("device.name", config.device.name, "device"),
        ("device.site", config.device.site, "site"),
        ("device.station", config.device.station, "station"),
        ("device.hardware", config.device.hardware_name(), "hardware"),
        ("inspection.name", config.inspection.name, "inspection"),
        ("inspection.channel", config.inspection.channel, "channel"),
    ):
        try:
            check_name(value, what)
        except AndonError as error:
            raise ConfigError(f"{file}: {key}: {error}") from error
    for key, value, allowed in (
        ("inspection.provider", config.inspection.provider, ("auto", "cpu", "openvino", "cuda", "tensorrt")),
        ("inspection.goal", config.inspection.goal, ("latency", "throughput")),
    ):
        if value not in allowed:
            raise ConfigError(f"{file}: {key} is {quoted(value)}: expected one of {', '.join(allowed)}")
    needed = {"device.key": config.device.key, "inspection.factory_engine": config.inspection.factory_engine}
    if config.releases is not None:
        needed["releases.root"] = config.releases.root
        if config.releases.mirror_ca is not None:
            needed["releases.mirror_ca"] = config.releases.mirror_ca
    if config.bucket is not None and config.bucket.directory is None:
        if not config.bucket.name:
            raise ConfigError(f"{file}: bucket.name is missing: expected the bucket's name, or bucket.directory")
        if config.bucket.credentials is None:
            raise ConfigError(f"{file}: bucket.credentials is missing: expected the path of a credentials file")
        if config.bucket.addressing not in ("path", "virtual"):
            raise ConfigError(
                f"{file}: bucket.addressing is {quoted(config.bucket.addressing)}: expected 'path' or 'virtual'"
            )
        needed["bucket.credentials"] = config.bucket.credentials
        if config.bucket.ca_bundle is not None:
            needed["bucket.ca_bundle"] = config.bucket.ca_bundle
    for key, path in needed.items():
        if not path.is_file():
            raise ConfigError(f"{file}: {key} names {path}, which is not a file: put it there or correct the path")
    _check_upload(file, config.upload)
    _check_mask(file, config.mask)
    _check_remote(file, config)
    _check_update(file, config)
    if config.capture.enabled and config.cloud is None:
        raise ConfigError(
            f"{file}: cloud.recipient is missing: captured samples are sealed to it; "
            "add the table [cloud], or set capture.enabled = false"
        )
    if config.cloud is not None and not config.cloud.recipient.startswith("age1"):
        raise ConfigError(
            f"{file}: cloud.recipient is {quoted(config.cloud.recipient)}: expected an age recipient 'age1…'"
        )


def _check_remote(file: Path, config: Config) -> None:
    for key, found, known in (
        ("settings.local_only", config.settings.local_only, set(SETTING_KEYS) - set(NEVER_LOCAL)),
        ("help.allow", config.help.allow, set(VERBS)),
    ):
        if unknown := sorted(set(found) - known):
            raise ConfigError(f"{file}: {key} names {quoted(unknown[0])}: expected some of {', '.join(sorted(known))}")
    if config.settings.time_zone:
        try:
            ZoneInfo(config.settings.time_zone)
        except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
            raise ConfigError(
                f"{file}: settings.time_zone is {quoted(config.settings.time_zone)}, which this machine does not know: "
                "expected a name such as 'Europe/Berlin' (the package tzdata has them all), or leave it out"
            ) from None


def _check_upload(file: Path, upload: UploadConfig) -> None:
    try:
        Schedule.read(upload.hours)
    except ConfigError as error:
        raise ConfigError(f"{file}: upload.hours: {error}") from None
    # less is a link that no request could ever cross in its time
    for key, value, least in (
        ("bytes_per_second", upload.bytes_per_second, 2000),
        ("bytes_per_day", upload.bytes_per_day, 100_000),
    ):
        if 0 < value < least:
            raise ConfigError(f"{file}: upload.{key} is {value}: expected 0 (no limit), or at least {least}")


def _check_mask(file: Path, mask: MaskConfig) -> None:
    try:
        read_regions(mask.regions)
    except ConfigError as error:
        raise ConfigError(f"{file}: mask.regions: {error}") from None


def _check_update(file: Path, config: Config) -> None:
    try:
        Schedule.read(config.update.hours)
    except ConfigError as error:
        raise ConfigError(f"{file}: update.hours: {error}") from None
    if 0 < (rate := config.update.bytes_per_second) < 2000:  # as for uploads
        raise ConfigError(f"{file}: update.bytes_per_second is {rate}: expected 0 (no limit), or at least 2000")
    for name in config.releases.mirrors if config.releases is not None else ():
        if "://" in name and not re.fullmatch(r"https?://[^\s?#@]+", name):
            raise ConfigError(
                f"{file}: releases.mirrors has {quoted(name)}: expected http://HOST[:PORT]/ or the path of a folder"
            )
