"""``andon.toml`` → frozen `Config`.

Every table and key is known: an unknown one is an error that names it and lists the known ones, so that a misspelt
setting can't be silently ignored. Relative paths are relative to the file's own folder.

```toml
[device]
name = "line-1"
site = "plant-a"
station = "aoi-3"
key = "device.key"        # Ed25519, signs records and heartbeats
state = "state"           # spool, engine slots, metadata

[inspection]
name = "solar-cells"
factory_engine = "factory.onnx"
channel = "stable"

[bucket]                  # leave the table out to run without a cloud; `directory = "…"` uses a folder instead
name = "andon"
endpoint_url = "https://s3.example.com"
credentials = "credentials.toml"

[cloud]
recipient = "age1…"       # captured samples are sealed to this key

[upload]                  # leave the table out to upload at any time, as fast as it goes
hours = ["22:00-05:00"]   # nights only

[releases]
root = "root.json"        # trusted first TUF root; leave the table out for no updates
mirrors = ["http://10.0.0.5:8080/"]   # asked before the bucket; leave out for none
```
"""

import platform
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from edge_client.clock import Clock, SystemClock
from edge_client.contract.bucket import Bucket, DirectoryBucket, S3Bucket, S3Settings
from edge_client.contract.errors import AndonError, ConfigError
from edge_client.contract.help import VERBS
from edge_client.contract.names import check_name
from edge_client.contract.pace import Pace
from edge_client.contract.quoting import cut, quoted
from edge_client.contract.regions import read_regions
from edge_client.contract.schedule import Schedule
from edge_client.contract.server_time import ServerTime
from edge_client.contract.setting_keys import NEVER_LOCAL, SETTING_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """Who this device is. `key` signs records and heartbeats; `state` is the folder of all that it keeps.

    Attributes:
        name: As it was enrolled.
        site: The plant.
        station: The place on the line.
        key: File with its Ed25519 key.
        state: Folder of spool, engine slots, metadata.
        heartbeat_seconds: How often it tells of itself; what changes is told at once.
        hardware: What kind of machine it is, in the plant's own words; rollouts may go by it. Default: the architecture
            of its processor.
    """

    name: str
    site: str
    station: str
    key: Path
    state: Path = field(default=Path("state"))
    heartbeat_seconds: float = 300.0
    hardware: str = ""

    def hardware_name(self) -> str:
        """What kind of machine it is: as configured, else ``x86_64``, ``aarch64``, …."""
        return self.hardware or re.sub(r"[^a-z0-9._-]", "-", platform.machine().lower()).strip("-._") or "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionConfig:
    """What is inspected, the engine that came with the application, and how engines run.

    Attributes:
        name: The inspection.
        factory_engine: File of the engine that runs when nothing else may.
        channel: What it follows.
        factory_selftest: Default: the engine's path with the suffix ``.selftest``; it need not exist.
        provider: `cpu`, `openvino`, `cuda`, `tensorrt`, or `auto`: as `andon-edge tune` measured, else `cpu`.
        threads: Threads of one run; 0 as measured, else 1.
        slots: Most runs at once; 0 as measured, else one a core.
        goal: What was measured is chosen for: `latency` (one frame at a time) or `throughput` (many requests).
        skip_unchanged: Difference (0 to 1 of full scale; see `unchanged`) up to which a frame is answered as the one
            before it without running the engine; 0 is off.
    """

    name: str
    factory_engine: Path
    factory_selftest: Path | None = None
    channel: str = "stable"
    provider: str = "auto"
    threads: int = 0
    slots: int = 0
    goal: str = "latency"
    skip_unchanged: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketConfig:
    """Where the bucket is: S3 (`name`, `endpoint_url`, `credentials`) or a folder (`directory`).

    Attributes:
        name: Of the bucket.
        endpoint_url: Its address; none is AWS.
        region: As the service names it.
        credentials: File with this device's account.
        ca_bundle: Certificates of your own authority; none is the system's.
        addressing: `path` or `virtual`: the bucket's name in the path or in the host's name.
        directory: A folder instead of a service.
        connect_seconds: For a connection and its TLS handshake.
        read_seconds: A request without noticeable progress for so long is given up, and tried again later.
        least_bytes_per_second: What progress is.
        request_seconds: Longest time of any request, whatever its progress.
    """

    name: str = ""
    endpoint_url: str | None = None
    region: str = "us-east-1"
    credentials: Path | None = None
    ca_bundle: Path | None = None
    addressing: str = "path"
    directory: Path | None = None
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    least_bytes_per_second: float = 1000.0
    request_seconds: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudConfig:
    """The cloud's age recipient, to which samples are sealed.

    Attributes:
        recipient: `age1…`, the public half of the key that ingest has.
    """

    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasesConfig:
    """The trusted first TUF root, and where releases come from before the bucket is asked.

    Attributes:
        root: File with the first TUF root, which enrolment brought.
        mirrors: In order: addresses (``http://10.0.0.5:8080/``) and folders that have ``releases/`` in them. They need
            not be trusted.
        mirror_ca: Certificates for mirrors on HTTPS; default: the system's.
    """

    root: Path
    mirrors: tuple[str, ...] = ()
    mirror_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureConfig:
    """Budgets of the sampler and bounds of the spool.

    Attributes:
        enabled: False runs plain inference.
        byte_budget: B, sealed bytes a window may keep (signed settings of the cloud replace it).
        window_seconds: Length of a window.
        idle_close_seconds: A window is closed when no frame came for so long.
        spool_bytes: Most bytes the spool may hold; also bounded by free space less `reserve_bytes`.
        reserve_bytes: Free space that capture never touches.
        audit_share: φ, share of the sampling weight that every frame gets whatever it looks like.
        duplicate_distance: Cosine distance of embeddings below which a frame repeats the one before.
        shard_bytes: Most bytes of one uploaded tar (a single larger sample gets its own).
        queue_frames: Candidates that may wait for encoding; more are overload.
        recent_frames: Last frames kept in memory so that `flag` can send one that was not captured.
        recent_bytes: Most bytes of those frames.
    """

    enabled: bool = True
    byte_budget: int = 2_000_000
    window_seconds: float = 300.0
    idle_close_seconds: float = 60.0
    spool_bytes: int = 1_000_000_000
    reserve_bytes: int = 200_000_000
    audit_share: float = 0.3
    duplicate_distance: float = 0.002
    shard_bytes: int = 8_000_000
    queue_frames: int = 64
    recent_frames: int = 16
    recent_bytes: int = 64_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskConfig:
    """What of a frame never leaves the device.

    Attributes:
        regions: Black in what is stored and uploaded: ``["0,0 0.2,0.1", "0.5,0.5 0.9,0.5 0.7,0.9"]``, corners of a
            rectangle or points of a polygon, as shares of the frame's sides. The cloud's settings can add to them.
        engine: True shows the masked frame to the engine too.
    """

    regions: tuple[str, ...] = ()
    engine: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadConfig:
    """When and how fast windows are uploaded; heartbeats and updates are small and go on.

    Attributes:
        hours: Hours of uploading, local time: ``["22:00-05:00"]``, ``["mon-fri 18:00-06:00", "sat,sun 00:00-24:00"]``;
            empty is always.
        metered: True keeps all windows in the spool; `Client.set_metered` switches while it runs.
        bytes_per_second: Most bytes a second; 0 is no limit.
        bytes_per_day: Most bytes of a local day; 0 is no limit.
        share: Folder that several inspections on one link name together: they take turns, and both limits are those
            of the link. Every user of it needs to be able to write there.
    """

    hours: tuple[str, ...] = ()
    metered: bool = False
    bytes_per_second: int = 0
    bytes_per_day: int = 0
    share: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateConfig:
    """How often the device looks for releases, how it fetches a new engine, and how it tries it.

    Attributes:
        poll_seconds: How often it looks.
        probation_frames: Frames that a new engine must answer well before it is confirmed.
        trial_seconds: Most time of the trial in a child process.
        bytes_per_second: Most bytes a second of a download; 0 is no limit.
        hours: Hours of downloading, local time, as for uploads; empty is always.
    """

    poll_seconds: float = 300.0
    probation_frames: int = 50
    trial_seconds: float = 60.0
    bytes_per_second: int = 0
    hours: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareConfig:
    """Serving the engines that this device holds to its neighbours. Off while `port` is 0.

    Attributes:
        port: Where it serves.
        host: Address that it listens on.
        bytes_per_second: Most bytes a second over all neighbours; 0 is no limit.
    """

    port: int = 0
    host: str = "0.0.0.0"  # noqa: S104 -- neighbours are elsewhere; it is off unless a port is given
    bytes_per_second: int = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeConfig:
    """How the application is to take the answers.

    Attributes:
        advisory: Everything runs, the application is told not to act.
    """

    advisory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsConfig:
    """What this device takes over of the cloud's signed settings.

    Attributes:
        local_only: Keys that hold as this file says, whatever is signed, such as ``["mode.advisory"]``.
        time_zone: Of the hours in signed settings, such as ``Europe/Berlin``; default: the machine's own.
    """

    local_only: tuple[str, ...] = ()
    time_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpConfig:
    """Which signed requests for help this device answers.

    Attributes:
        allow: Of `logs`, `doctor` and `restart`; an empty list: none.
    """

    allow: tuple[str, ...] = VERBS


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """Prometheus text over HTTP at ``/metrics``.

    Attributes:
        port: Where; 0 is off.
        host: Address that it listens on; the endpoint has no password.
    """

    port: int = 0
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConfig:
    """OpenTelemetry: spans and bridged metrics. Needs the extra ``telemetry``.

    Attributes:
        enabled: True sends them.
    """

    enabled: bool = False


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
        document = _read_toml(file, "configuration")
        unknown = sorted(set(document) - set(_TABLES))
        if unknown:
            raise ConfigError(f"{file}: unknown table [{cut(unknown[0], most=80)}]: known are {sorted(_TABLES)}")
        tables: dict[str, Any] = {}
        for name, kind in _TABLES.items():
            if name in document or name in ("device", "inspection"):
                tables[name] = _table(file, name, kind, document.get(name))
        config = Config(**tables, path=file)
        _check(file, config)
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
        assert bucket.credentials is not None  # _check saw to it
        secrets = _read_toml(bucket.credentials, "credentials")
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


_TABLES: dict[str, type[Any]] = {
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

# Least and most of every number; a constant with a unit in its name says the rest.
_BOUNDS: dict[str, tuple[float, float]] = {
    "device.heartbeat_seconds": (0.1, 86_400),
    "inspection.threads": (0, 256),
    "inspection.slots": (0, 256),
    "inspection.skip_unchanged": (0, 0.5),
    "bucket.connect_seconds": (0.1, 300),
    "bucket.read_seconds": (0.1, 3600),
    "bucket.least_bytes_per_second": (1, 1 << 30),
    "bucket.request_seconds": (1, 7 * 86_400),
    "capture.byte_budget": (0, 1 << 40),
    "capture.window_seconds": (0.05, 7 * 86_400),
    "capture.idle_close_seconds": (0.05, 7 * 86_400),
    "capture.spool_bytes": (0, 1 << 44),
    "capture.reserve_bytes": (0, 1 << 44),
    "capture.audit_share": (0.01, 0.99),
    "capture.duplicate_distance": (0, 2),
    "capture.shard_bytes": (10_000, 512_000_000),
    "capture.queue_frames": (1, 10_000),
    "capture.recent_frames": (0, 10_000),
    "capture.recent_bytes": (0, 1 << 34),
    "upload.bytes_per_second": (0, 1 << 34),
    "upload.bytes_per_day": (0, 1 << 44),
    "update.poll_seconds": (0.1, 86_400),
    "update.probation_frames": (0, 1_000_000),
    "update.trial_seconds": (1, 3600),
    "update.bytes_per_second": (0, 1 << 34),
    "share.port": (0, 65_535),
    "share.bytes_per_second": (0, 1 << 34),
    "metrics.port": (0, 65_535),
}


def _read_toml(file: Path, what: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{what} file {file} does not exist: give its path, or enrol this device first") from None
    except OSError as error:
        raise ConfigError(f"{what} file {file} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number too long, brackets nested too deep
        raise ConfigError(f"{what} file {file} is not TOML in UTF-8: {cut(str(error))}") from error


def _table(file: Path, name: str, kind: type[Any], value: object) -> Any:
    known = {f.name: f for f in fields(kind)}
    if value is None:
        raise ConfigError(f"{file}: table [{name}] is missing: expected the keys {sorted(known)}")
    if not isinstance(value, Mapping):
        raise ConfigError(f"{file}: {name} is {quoted(value)}: expected a table [{name}]")
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise ConfigError(f"{file}: unknown key {name}.{cut(unknown[0], most=80)}: known are {sorted(known)}")
    read: dict[str, Any] = {}
    for key, item in value.items():
        read[key] = _value(file, f"{name}.{key}", str(known[key].type), item)
    try:
        made = kind(**read)
    except TypeError:
        required = sorted(set(_required(kind)) - set(read))
        raise ConfigError(f"{file}: {name}.{required[0]} is missing; add it to the table [{name}]") from None
    for key in known:
        path = getattr(made, key)
        if isinstance(path, Path):
            object.__setattr__(made, key, _absolute(file, f"{name}.{key}", path))
    return made


def _absolute(file: Path, key: str, path: Path) -> Path:
    try:
        found = (file.parent / path.expanduser()).resolve()
        found.exists()  # a name that is too long is refused here, with its key, and not by whoever opens it
    except (OSError, RuntimeError, ValueError) as error:  # no such home, a circle of links, a NUL in it
        raise ConfigError(
            f"{file}: {key} is {quoted(str(path))}, which is no usable path ({cut(str(error), most=80)}); correct it"
        ) from error
    return found


def _required(kind: type[Any]) -> list[str]:
    from dataclasses import MISSING

    return [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]


def _value(file: Path, key: str, kind: str, item: object) -> object:
    expected, read = _reader(kind)
    found = read(item)
    if found is None:
        raise ConfigError(f"{file}: {key} is {quoted(item)}: expected {expected}")
    if key in _BOUNDS and isinstance(found, int | float):
        least, most = _BOUNDS[key]
        if not least <= found <= most:
            raise ConfigError(f"{file}: {key} is {quoted(item)}: expected a number from {least:g} to {most:g}")
    return found


def _reader(kind: str) -> tuple[str, Callable[[object], object]]:
    """Return what a type is called in messages, and a function that gives the value or None."""
    if "tuple" in kind:
        return (
            "a list of texts",
            lambda v: tuple(v) if isinstance(v, list) and all(isinstance(i, str) for i in v) else None,
        )
    if "Path" in kind:
        return "a path", lambda v: Path(v) if isinstance(v, str) and v else None
    if "bool" in kind:
        return "true or false", lambda v: v if isinstance(v, bool) else None
    if "int" in kind:
        return "a whole number", lambda v: v if isinstance(v, int) and not isinstance(v, bool) else None
    if "float" in kind:
        return "a number", _float
    return "a text", lambda v: v if isinstance(v, str) and v else None


def _float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None


def _check(file: Path, config: Config) -> None:
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
