"""All settings of one device, read from ``andon.toml``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_client.clock import Clock, SystemClock
from edge_client.config.checks import check
from edge_client.config.reading import read_table, read_toml
from edge_client.config.tables import (
    BucketConfig,
    CaptureConfig,
    CloudConfig,
    DeviceConfig,
    HelpConfig,
    InspectionConfig,
    MaskConfig,
    MetricsConfig,
    ModeConfig,
    ReleasesConfig,
    SettingsConfig,
    ShareConfig,
    TelemetryConfig,
    UpdateConfig,
    UploadConfig,
)
from edge_client.contract.bucket import Bucket, DirectoryBucket, S3Bucket, S3Settings
from edge_client.contract.errors import ConfigError
from edge_client.contract.pace import Pace
from edge_client.contract.quoting import cut
from edge_client.contract.server_time import ServerTime

TABLES: dict[str, type[Any]] = {
    "device": DeviceConfig,
    "inspection": InspectionConfig,
    "bucket": BucketConfig,
    "cloud": CloudConfig,
    "releases": ReleasesConfig,
    "capture": CaptureConfig,
    "mask": MaskConfig,
    "upload": UploadConfig,
    "update": UpdateConfig,
    "share": ShareConfig,
    "mode": ModeConfig,
    "settings": SettingsConfig,
    "help": HelpConfig,
    "metrics": MetricsConfig,
    "telemetry": TelemetryConfig,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of one device. `load` reads them; every path in it is absolute."""

    device: DeviceConfig
    inspection: InspectionConfig
    bucket: BucketConfig | None = None
    cloud: CloudConfig | None = None
    releases: ReleasesConfig | None = None
    capture: CaptureConfig = field(default_factory=CaptureConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    upload: UploadConfig = field(default_factory=UploadConfig)
    update: UpdateConfig = field(default_factory=UpdateConfig)
    share: ShareConfig = field(default_factory=ShareConfig)
    mode: ModeConfig = field(default_factory=ModeConfig)
    settings: SettingsConfig = field(default_factory=SettingsConfig)
    help: HelpConfig = field(default_factory=HelpConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    path: Path | None = None

    @staticmethod
    def load(path: Path | str) -> "Config":
        """Read ``andon.toml``.

        Raises:
            ConfigError: The file is missing, is not TOML, has an unknown, missing or unusable key, or names a file
                that is not there.
        """
        file = Path(path).resolve()
        document = read_toml(file, "configuration")
        unknown = sorted(set(document) - set(TABLES))
        if unknown:
            raise ConfigError(f"{file}: unknown table [{cut(unknown[0], most=80)}]: known are {sorted(TABLES)}")
        tables: dict[str, Any] = {}
        for name, kind in TABLES.items():
            if name in document or name in ("device", "inspection"):
                tables[name] = read_table(file, name, kind, document.get(name))
        config = Config(**tables, path=file)
        check(file, config)
        return config

    def open_bucket(self, clock: Clock | None = None) -> Bucket | None:
        """Return the bucket, or None when none is configured. Nothing is sent yet.

        Args:
            clock: The device's clock; requests are signed with it, or with the bucket's time when it is off.

        Raises:
            ConfigError: The credentials file is missing or incomplete.
        """
        if self.bucket is None:
            return None
        if self.bucket.directory is not None:
            return DirectoryBucket(self.bucket.directory)
        return S3Bucket.connect(
            self._s3_settings(self.bucket),
            connect_timeout=self.bucket.connect_seconds,
            attempts=1,  # the uploader and the updater have their own backoff
            pace=Pace(
                stall_seconds=self.bucket.read_seconds,
                least_bytes_per_second=self.bucket.least_bytes_per_second,
                total_seconds=self.bucket.request_seconds,
            ),
            server_time=ServerTime((clock or SystemClock()).now),
        )

    def s3_settings(self) -> S3Settings | None:
        """How the bucket is reached, with the account of the credentials file; None for none, or a folder.

        Raises:
            ConfigError: The credentials file is missing or incomplete.
        """
        if self.bucket is None or self.bucket.directory is not None:
            return None
        return self._s3_settings(self.bucket)

    def _s3_settings(self, bucket: BucketConfig) -> S3Settings:
        assert bucket.credentials is not None  # `check` saw to it
        secrets = read_toml(bucket.credentials, "credentials")
        for key in ("access_key_id", "secret_access_key"):
            if not isinstance(secrets.get(key), str) or not secrets[key]:
                raise ConfigError(f"{bucket.credentials}: {key} is missing: expected a text; enrol the device again")
        return S3Settings(
            bucket=bucket.name,
            endpoint_url=bucket.endpoint_url,
            access_key_id=secrets["access_key_id"],
            secret_access_key=secrets["secret_access_key"],
            region=bucket.region,
            ca_bundle=str(bucket.ca_bundle) if bucket.ca_bundle else None,
            addressing=bucket.addressing,
        )
