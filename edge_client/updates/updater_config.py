"""What the updater needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_client.config import Config, ShareConfig
from edge_client.contract.errors import ConfigError
from edge_client.contract.schedule import Schedule
from edge_client.contract.staging import DeviceFacts
from edge_client.runtime import Runtime
from edge_client.updates.rules import Limits
from edge_client.updates.trial import TrialLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdaterConfig:
    """What the updater needs to know.

    Attributes:
        device: Name, for its settings and for its place in rollouts.
        site, station, hardware: What cohorts of a rollout may go by.
        inspection: What its engines must be for.
        channel: What it follows.
        state: Folder of slots, metadata and database; the updater's alone.
        factory_engine: The engine in the application's own package.
        root: First TUF root; None for a device without updates.
        provider: Where engines run.
        threads: Threads of one run.
        poll_seconds: Between looks for releases.
        limits: Of probation and trial attempts.
        trial: Of the child process.
        max_engine_bytes: Larger engines are refused before they are fetched.
        deadline_seconds: Of one download call; the next goes on where it stopped.
        least_bytes_per_second: Slower downloads are given up until the next check.
        bytes_per_second: Most bytes a second of a download; 0 is no limit.
        hours: When downloads may run, by the wall where the device hangs.
        mirrors: Addresses and folders that are asked before the bucket.
        mirror_ca: Certificates for those on HTTPS.
        share: How engines are served to neighbours.
        device_key: The device's private key, to open the keys of sealed engines with; None: sealed engines are refused.
        bundled_keys: Those keys as the bundle brought them; the file need not exist.
    """

    device: str
    inspection: str
    channel: str
    state: Path
    factory_engine: Path
    root: bytes | None = None
    provider: str = "cpu"
    threads: int = 1
    poll_seconds: float = 300.0
    limits: Limits = field(default_factory=Limits)
    trial: TrialLimits = field(default_factory=TrialLimits)
    max_engine_bytes: int = 256 * 1024 * 1024
    deadline_seconds: float = 1800.0
    least_bytes_per_second: float = 1000.0
    bytes_per_second: int = 0
    hours: Schedule = field(default_factory=Schedule)
    mirrors: tuple[str, ...] = ()
    mirror_ca: Path | None = None
    share: ShareConfig = field(default_factory=ShareConfig)
    device_key: Path | None = None
    bundled_keys: Path | None = None
    site: str = ""
    station: str = ""
    hardware: str = ""

    def facts(self) -> DeviceFacts:
        """What decides which engine of a channel is for this device."""
        return DeviceFacts(
            device=self.device,
            site=self.site,
            station=self.station,
            hardware=self.hardware,
            provider=self.provider,
        )

    @staticmethod
    def from_config(config: Config, runtime: Runtime | None = None) -> UpdaterConfig:
        """Take the updater's part out of a device's `Config`.

        Args:
            config: The device's.
            runtime: How engines run on it; default: on the processor, as many threads as the configuration names.

        Raises:
            ConfigError: The root can't be read.
        """
        runtime = runtime or Runtime(threads=max(1, config.inspection.threads))
        root = None
        if config.releases is not None:
            try:
                root = config.releases.root.read_bytes()
            except OSError as error:
                raise ConfigError(f"releases.root {config.releases.root} cannot be read: {error}") from error
        frames = config.update.probation_frames
        return UpdaterConfig(
            device=config.device.name,
            inspection=config.inspection.name,
            channel=config.inspection.channel,
            state=config.device.state / "updates",
            factory_engine=config.inspection.factory_engine,
            root=root,
            provider=runtime.provider,
            threads=runtime.threads,
            poll_seconds=config.update.poll_seconds,
            limits=Limits(probation_frames=frames),
            trial=TrialLimits(seconds=config.update.trial_seconds),
            bytes_per_second=config.update.bytes_per_second,
            hours=Schedule.read(config.update.hours),
            mirrors=mirrors_of(config),
            mirror_ca=config.releases.mirror_ca if config.releases is not None else None,
            share=config.share,
            device_key=config.device.key,
            bundled_keys=config.releases.root.with_name("fleet.age") if config.releases is not None else None,
            site=config.device.site,
            station=config.device.station,
            hardware=config.device.hardware_name(),
        )


def mirrors_of(config: Config) -> tuple[str, ...]:
    """The mirrors that a configuration names; folders are relative to its own, as every path in it."""
    if config.releases is None:
        return ()
    folder = config.path.parent if config.path is not None else Path()
    return tuple(name if "://" in name else str(folder / Path(name).expanduser()) for name in config.releases.mirrors)
