"""The stages of a rollout, as a plant writes them in one line of its policy. Pure.

``1 device, site=pilot soak=2h, 10%, 50%, approve 100%``: stages in order, with commas between them. A stage is words:

1. How many: ``25%`` of the devices (by stable hash), or ``3 devices``. Without either: all that its other words name.
2. Which: ``site=``, ``station=``, ``hardware=``, ``device=``, each one name or several with ``|`` between them.
3. How long it must run well before the next one begins: ``soak=30m`` (``s``, ``m``, ``h``, ``d``); else the policy's.
4. ``approve``: it does not begin before a person says so.
5. Stages add up: who was reached stays reached. The last one is ``100%`` of all, else some device would wait for ever.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edge_client.contract.errors import ConfigError, InvalidName
from edge_client.contract.names import check_name
from edge_client.contract.releases import Cohort
from edge_client.contract.staging import DeviceFacts, stable_share, takes

MOST_STAGES = 32
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%\Z")
_SOAK = re.compile(r"soak=(\d{1,6})([smhd])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LISTS = {"site": "sites", "station": "stations", "hardware": "hardware", "device": "devices"}
_EXAMPLE = "such as '1 device, 10%, 50% soak=2h, approve 100%'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage.

    Attributes:
        text: As it was written.
        cohort: Who is in it; of a stage that counts devices the percentage is set when a rollout begins.
        devices: So many devices at least, 0 where a percentage is given.
        soak_seconds: None for the policy's.
        approve: A person must say when it begins.
    """

    text: str
    cohort: Cohort = field(default_factory=Cohort)
    devices: int = 0
    soak_seconds: float | None = None
    approve: bool = False


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read a line of stages.

    Raises:
        ConfigError: It is not one; the message names the stage and what was expected.

    >>> [stage.cohort.percent for stage in parse_stages("10%, 100%")]
    [10.0, 100.0]
    """
    written = [part.strip() for part in text.split(",")]
    if not text.strip() or len(written) > MOST_STAGES:
        raise ConfigError(f"[rollout] stages = {text!r}: expected 1 to {MOST_STAGES} stages, {_EXAMPLE}")
    stages = tuple(_stage(part, text) for part in written)
    if stages[0].approve:
        raise ConfigError(
            f"[rollout] stages = {text!r}: the first stage is to wait for a person, but a person's word begins the "
            "rollout; expected approve at later stages alone"
        )
    last = stages[-1]
    if last.devices or last.cohort != Cohort():
        raise ConfigError(
            f"[rollout] stages = {text!r}: the last stage is {last.text!r}, which does not reach every device; "
            "expected 100% as the last one"
        )
    return stages


def are_stages(value: object) -> bool:
    """Whether a value is a line of stages."""
    try:
        return isinstance(value, str) and bool(parse_stages(value))
    except ConfigError:
        return False


def _stage(part: str, text: str) -> Stage:
    words = part.split()
    lists: dict[str, tuple[str, ...]] = {}
    percent: float | None = None
    stage = Stage(text=part)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word == "approve":
            stage = replace(stage, approve=True)
        elif (found := _PERCENT.match(word)) and percent is None and 0 < float(found[1]) <= 100:
            percent = float(found[1])
        elif word.isdecimal() and words and words[0] in ("device", "devices") and 0 < int(word) <= 100_000:
            words.pop(0)
            stage = replace(stage, devices=int(word))
        elif soak := _SOAK.match(word):
            stage = replace(stage, soak_seconds=float(int(soak[1]) * _SECONDS[soak[2]]))
        elif equals and name in _LISTS and _LISTS[name] not in lists:
            lists[_LISTS[name]] = _names(value, name, part, text)
        else:
            raise ConfigError(
                f"[rollout] stages = {text!r}: the stage {part!r} has {word!r}; expected N%, N devices, approve, "
                f"soak=30m, site=, station=, hardware= or device=, each once, {_EXAMPLE}"
            )
    if percent is not None and stage.devices:
        raise ConfigError(f"[rollout] stages = {text!r}: the stage {part!r} says a percentage and a number: say one")
    if percent is None and not stage.devices and not lists:
        raise ConfigError(f"[rollout] stages = {text!r}: the stage {part!r} does not say who is in it, {_EXAMPLE}")
    return replace(stage, cohort=Cohort(percent=100.0 if percent is None else percent, **lists))


def _names(value: str, what: str, part: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(check_name(name, what) for name in value.split("|"))
    except InvalidName as error:
        raise ConfigError(f"[rollout] stages = {text!r}: the stage {part!r}: {error}") from error


def resolve(stages: Sequence[Stage], salt: str, present: Sequence[DeviceFacts]) -> tuple[Stage, ...]:
    """Give stages that count devices their percentage: the least that reaches so many of those that are present.

    Args:
        stages: As parsed.
        salt: Of the rollout.
        present: Devices that were heard of lately: one that is switched off can show nothing.
    """
    return tuple(_resolved(stage, salt, present) if stage.devices else stage for stage in stages)


def _resolved(stage: Stage, salt: str, present: Sequence[DeviceFacts]) -> Stage:
    everyone = replace(stage.cohort, percent=100.0)
    shares = sorted(stable_share(salt, facts.device) for facts in present if takes(everyone, salt, facts))
    if len(shares) <= stage.devices:
        return replace(stage, cohort=everyone)
    between = (shares[stage.devices - 1] + shares[stage.devices]) / 2
    return replace(stage, cohort=replace(everyone, percent=100.0 * between))


def reached(stages: Sequence[Stage], stage: int) -> tuple[Cohort, ...]:
    """The cohorts of a rollout that is at a stage (rule 5): the widest alone where it covers the others.

    >>> [cohort.percent for cohort in reached(parse_stages("10%, 50%, 100%"), 1)]
    [50.0]
    """
    cohorts = [each.cohort for each in stages[: stage + 1]]
    wide = max((c.percent for c in cohorts if c == Cohort(percent=c.percent)), default=0.0)
    kept = [c for c in cohorts if c != Cohort(percent=c.percent) and c.percent > 0 and not _covered(c, wide)]
    return (*([Cohort(percent=wide)] if wide else []), *dict.fromkeys(kept))


def _covered(cohort: Cohort, wide: float) -> bool:
    """Whether everybody in a cohort is below a percentage of all: shares are the same whatever is listed."""
    return cohort.percent <= wide
