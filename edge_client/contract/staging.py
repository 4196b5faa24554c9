"""Who is staged: which engine of a channel document a device should run, given its own facts. Pure.

1. A device computes its share itself, from the rollout's salt and its own name: no list of devices is signed, a device
   that is enrolled later has its place already, and the cloud knows the same without asking.
2. A device is staged if any cohort of the document takes it. Stages only add cohorts or raise a percentage, so that a
   device that was staged stays staged until the rollout ends or is taken back.
3. Of several files of one model those that the device can run are offered in the document's order; a file that names
   a provider is offered to devices with that provider alone.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from edge_client.contract.releases import Channel, Cohort, NamedEngine

_File = TypeVar("_File")
_EXACT = 1 << 53  # up to here every whole number is a float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What a device knows of itself that decides which engine it should run.

    Attributes:
        hardware: What kind of machine it is, as its configuration says, else its processor's architecture.
        provider: Where its engines run: ``cpu``, ``openvino``, ….
    """

    device: str
    site: str = ""
    station: str = ""
    hardware: str = ""
    provider: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a device should run.

    Attributes:
        staged: Whether the engines are those of the rollout under way.
        version: Their model version in the registry.
        engines: Files of that one model in the order in which the device should try them; empty when none is for its
            provider.
    """

    staged: bool
    version: str
    engines: tuple[NamedEngine, ...]


def stable_share(salt: str, device: str) -> float:
    """Where a device stands in [0, 1) for a salt: always the same, and as good as uniform over devices.

    >>> round(stable_share("solar-cells/stable/7", "line-1"), 4)
    0.6155
    """
    digest = hashlib.sha256(f"{salt}\n{device}".encode()).digest()
    return (int.from_bytes(digest[:8]) >> 11) / _EXACT


def takes(cohort: Cohort, salt: str, facts: DeviceFacts) -> bool:
    """Whether a cohort takes a device: it is in every list that is not empty, and its share is below the percentage."""
    lists = (
        (cohort.devices, facts.device),
        (cohort.sites, facts.site),
        (cohort.stations, facts.station),
        (cohort.hardware, facts.hardware),
    )
    if any(wanted and own not in wanted for wanted, own in lists):
        return False
    return 100.0 * stable_share(salt, facts.device) < cohort.percent


def is_staged(channel: Channel, facts: DeviceFacts) -> bool:
    """Whether a device should run the rollout's engine (rule 2)."""
    staged = channel.staged
    return staged is not None and any(takes(cohort, staged.salt, facts) for cohort in staged.cohorts)


def choice_for(channel: Channel, facts: DeviceFacts) -> Choice:
    """What a device should run."""
    if channel.staged is not None and is_staged(channel, facts):
        return Choice(
            staged=True, version=channel.staged.version, engines=_runnable(channel.staged.engines, facts.provider)
        )
    return Choice(staged=False, version=channel.version, engines=_runnable(channel.engines(), facts.provider))


def first_usable(files: Sequence[_File], digest_of: Callable[[_File], str], unusable: Collection[str]) -> _File:
    """The first of a model's files that is not unusable here; when all are, the last one, so that it can be said why.

    Args:
        files: At least one, in order of preference.
        digest_of: Gives a file's digest.
        unusable: Digests in quarantine or on the deny-list.
    """
    return next((file for file in files if digest_of(file) not in unusable), files[-1])


def as_channel(channel: Channel, choice: Choice, engine: NamedEngine) -> Channel:
    """The channel as it reads for a device that should run one of its engines: that engine as the base, no others."""
    return replace(
        channel,
        engine_path=engine.engine_path,
        engine_sha256=engine.engine_sha256,
        engine_bytes=engine.engine_bytes,
        engine_id=engine.engine_id,
        selftest_path=engine.selftest_path,
        variant=engine.variant,
        provider=engine.provider,
        version=choice.version,
        variants=(),
        staged=None,
    )


def _runnable(engines: tuple[NamedEngine, ...], provider: str) -> tuple[NamedEngine, ...]:
    """Rule 3."""
    return tuple(engine for engine in engines if engine.provider in ("", provider))
