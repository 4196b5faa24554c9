"""The tables of ``andon.toml`` as values, with their defaults."""

import platform
import re
from dataclasses import dataclass, field
from pathlib import Path

from edge_client.contract.help import VERBS


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
