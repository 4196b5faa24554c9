"""What somebody does with the keys of stolen devices.

Worse than a real thief, who has a device's own rights in the bucket: this one may write anywhere under ``fleet/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random

from edge_client.contract.names import status_key
from infra.simulation.clocks import VirtualClock
from infra.simulation.device import SimulatedDevice
from infra.simulation.link import TimedBucket

SECONDS = 600.0  # between two rounds


class Thief:
    """Holds stolen keys.

    Args:
        stolen: The devices whose keys they are.
        others: Devices to speak for.
        bucket: Where to write.
        clock: The true time.
        random: For whom to speak.
    """

    def __init__(
        self,
        stolen: Sequence[SimulatedDevice],
        others: Sequence[SimulatedDevice],
        bucket: TimedBucket,
        clock: VirtualClock,
        random: Random,
    ) -> None:
        self._stolen, self._others, self._bucket, self._clock, self._random = stolen, others, bucket, clock, random
        self._kept: dict[str, bytes] = {}
        self.forged = self.replayed = self.lied = 0

    def act(self) -> None:
        """Speak for another device, repeat what was said before, and lie in the stolen device's own name."""
        number = int(self._clock.now().timestamp())
        for device in self._stolen:
            who = device.identity
            told = replace(device.say(), sequence=number, sent_at=self._clock.now(), interval_seconds=600.0)
            lie = replace(told, rollout=replace(told.rollout, outcome="confirmed"), health="ok", problems=())
            victim = self._random.choice(self._others).identity
            forged = replace(lie, device=victim.name, site=victim.site, station=victim.station, sequence=number + 10**6)
            self._bucket.put(status_key(victim.name), forged.sign(who.key))
            self.forged += 1
            if who.name in self._kept and self._random.random() < 0.5:
                self._bucket.put(status_key(who.name), self._kept[who.name])
                self.replayed += 1
                continue
            document = lie.sign(who.key)
            self._kept.setdefault(who.name, replace(lie, sent_at=lie.sent_at - timedelta(days=1)).sign(who.key))
            self._bucket.put(status_key(who.name), document)
            self.lied += 1
