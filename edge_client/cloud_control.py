"""What the cloud may direct on a running client by signed documents: settings, campaigns, help. A part of the client.

Without an updater (its folder cannot be used) nothing is signed, and all is as the device's own file says.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from edge_client.clock import Clock
from edge_client.config import Config
from edge_client.contract.bucket import Bucket, S3Bucket
from edge_client.contract.decision import Judge
from edge_client.contract.errors import AndonError, ConfigError
from edge_client.engine import Engine
from edge_client.help.desk import HelpDesk
from edge_client.help.of_client import desk_of
from edge_client.help.recent_logs import RECENT_LOGS
from edge_client.judging import Judging
from edge_client.loop import CaptureLoop
from edge_client.masking import Mask
from edge_client.settings_in_force import EffectiveSettings
from edge_client.updates.updater import Updater

log = logging.getLogger("edge_client.settings")


class CloudControl:
    """Follows what is signed.

    Args:
        config: The device's.
        updater: Where signed documents come from; None without.
    """

    def __init__(self, config: Config, updater: Updater | None) -> None:
        self._config = config
        self._updater = updater
        self._loop: CaptureLoop | None = None
        self._help: HelpDesk | None = None
        self._judging = Judging()
        self._problem = ""
        self._judging.change(self.settings.thresholds)
        self.mask = self._first_mask()

    def _first_mask(self) -> Mask:
        """The mask at the start; where what is signed cannot be followed, the device's own (`Mask`, rule 6)."""
        try:
            return Mask.of(self._config, self.settings)
        except ConfigError as error:
            self._problem = f"settings: {error}"
            return Mask.of(self._config)

    def start(
        self, loop: CaptureLoop | None, bucket: Bucket | None, clock: Clock, status: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Follow from now on what is signed, and answer requests for help where there is a bucket to answer into."""
        self._loop = loop
        updater = self._updater
        if updater is None:
            return
        updater.signed.listen(self._follow)
        updater.signed.tell()
        if bucket is None:
            return
        try:
            # requests end soon: a wrong clock would pass over all of them
            now = bucket.server_time.now if isinstance(bucket, S3Bucket) else clock.now
            self._help = desk_of(self._config, bucket, recipient=self._recipient, status=status, now=now)
        except (AndonError, OSError) as error:
            self._problem = f"requests for help are not answered: {error}"
            return
        RECENT_LOGS.listen()
        updater.on_help = self._help.take
        self._help.start()

    def stop(self) -> None:
        """End what was started."""
        if self._help is not None:
            self._help.stop()
            RECENT_LOGS.leave()

    @property
    def settings(self) -> EffectiveSettings:
        """What holds now."""
        return self._updater.settings() if self._updater is not None else EffectiveSettings()

    @property
    def advisory(self) -> bool:
        """Whether the application is told not to act: the device's own file or the cloud says so."""
        return self._config.mode.advisory or self.settings.advisory

    def judge_of(self, engine: Engine) -> Judge:
        """Return the rule that holds for an engine now."""
        return self._judging.of(engine)

    @property
    def rule(self) -> str:
        """Another text whenever another rule holds for the same engine."""
        return self._judging.mark

    def on_restart(self, restart: Callable[[], None]) -> None:
        """Offer restarts."""
        if self._help is not None:
            self._help.on_restart(restart)

    def problems(self) -> list[str]:
        """Return what a person should know."""
        signed = self._updater.signed.problem if self._updater is not None else ""
        return [problem for problem in (self._problem, signed) if problem]

    def campaigns(self, engine: Engine) -> tuple[str, ...]:
        """Return the ids of the campaigns that are followed with an engine."""
        if self._loop is None or not self.settings.campaigns:
            return ()
        resting = self._loop.capture.intake.resting_campaigns(engine.metadata)
        return tuple(campaign.id for campaign in self.settings.campaigns if campaign.id not in resting)

    def status(self, engine: Engine) -> dict[str, Any]:
        """Return what holds now, as plain JSON values."""
        settings = self.settings
        return {
            "versions": dict(settings.versions),
            "values": dict(settings.values),
            "local_only": list(self._config.settings.local_only),
            "campaigns": list(self.campaigns(engine)),
        }

    def _follow(self, settings: EffectiveSettings) -> None:
        self._judging.change(settings.thresholds)
        self.mask = Mask.of(self._config, settings)
        if self._loop is not None:
            self._loop.take_settings(settings)

    def _recipient(self) -> str | None:
        own = self._config.cloud.recipient if self._config.cloud is not None else None
        recipient: str | None = self.settings.of("cloud.recipient", own)
        return recipient
