"""What a person does with versions: promote, hold, go back.

1. The truth stays MLflow's alias `champion`, moved here as a person would move it there; the release flow does the
   rest.
2. Whoever acts says which champion they saw: if it is another by now, nothing is done.
3. Who said so is written to the version before the alias moves, so that the release says it too. What the gate
   refused needs a reason (`flows/approval.py`); it is taken back if the alias could not be moved.
4. Before anything is done the page tells what will follow (`promise`): which devices, at once or in stages.
5. Holding a version decides nothing for ever: it notes who does not want it now, and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from data.catalog import Catalog
from data.decisions import list_decisions, list_releases
from data.devices import devices_by_channel
from data.inspections import get_inspection
from data.policy import Policy
from data.registry_api import RegistryApi, RegistryError
from data.registry_tags import Tag
from data.rollouts.stages import parse_stages
from data.rollouts.stored import newest_rollout
from edge_client.contract.errors import AndonError

CHAMPION, CANARY = "champion", "canary"
_SERVED = ("release", "rollback")


class ActError(AndonError):
    """What was asked of a version can't be done; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What a channel's devices will do when the champion moves.

    Attributes:
        devices: How many follow it.
        stages: In words, when it goes in stages; empty: all at once.
    """

    channel: str
    devices: int
    stages: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"channel": self.channel, "devices": self.devices, "stages": list(self.stages)}


def promise(
    catalog: Catalog, inspection: str, version: str, aliases: Mapping[str, str], policy: Policy
) -> dict[str, Any]:
    """What moving the alias champion to a version will do (rule 4), as JSON."""
    info = get_inspection(catalog, inspection)
    devices = devices_by_channel(catalog, inspection)
    stated = info.settings.get("rollout")
    own = stated.get("stages") if isinstance(stated, Mapping) else None
    stages = [stage.text for stage in parse_stages(own or policy.rollout.stages)]
    channels = ["stable"] if CANARY in aliases else ["stable", CANARY]
    following = [
        Following(
            channel=channel,
            devices=devices.get(channel, 0),
            stages=_stages(catalog, inspection, channel, version, devices.get(channel, 0), stages, policy),
        )
        for channel in channels
        if devices.get(channel, 0) or channel == "stable"
    ]
    answer = next((d.answer for d in list_decisions(catalog, inspection, limit=1000) if d.version == version), None)
    return {
        "version": version,
        "champion": aliases.get(CHAMPION),
        "answer": answer,
        "needs_reason": answer == "reject",
        "following": [each.to_dict() for each in following],
        "devices": sum(each.devices for each in following),
    }


def _stages(
    catalog: Catalog, inspection: str, channel: str, version: str, devices: int, stages: Sequence[str], policy: Policy
) -> tuple[str, ...]:
    """By which stages a version goes to a channel; none: at once, by the rules of `flows/rollouts/begin.py`."""
    newest = newest_rollout(catalog, inspection, channel)
    base = "" if newest is None else newest.version if newest.done else newest.base_version
    served = {
        entry.version
        for entry in list_releases(catalog, inspection, limit=1000)
        if entry.channel == channel and entry.action in _SERVED
    }
    older = version.isdigit() and base.isdigit() and int(version) < int(base) and version in served
    at_once = not base or version == base or older or len(stages) == 1 or devices < policy.rollout.staged_from
    return () if at_once else tuple(stages)


def make_champion(
    api: RegistryApi, inspection: str, version: str, *, seen: str | None, who: str, why: str, at: datetime
) -> None:
    """Point the alias champion at a version (rules 1 to 3).

    Args:
        api: MLflow's registry.
        inspection: Its name.
        version: Which.
        seen: The champion that the person saw; None: there was none.
        who: Wants it.
        why: Must be said of a version that the gate refused.
        at: Aware time.

    Raises:
        ActError: The champion is another by now, it is this version already, or a reason is wanting.
        RegistryUnavailable: MLflow is away: nothing was changed.
    """
    found = api.version(inspection, version)
    champion = api.aliases(inspection).get(CHAMPION)
    if champion == version:
        raise ActError(f"version {version} of {inspection} is the champion already: nothing was changed")
    if champion != seen:
        raise ActError(
            f"the champion of {inspection} is {f'version {champion}' if champion else 'none'} by now, not "
            f"{f'version {seen}' if seen else 'none'} as on the page: look again, then decide"
        )
    refused = found.tags.get(Tag.DECISION) == "reject"
    if refused and not why:
        raise ActError(f"the gate refused version {version} of {inspection}: say why it is wanted all the same")
    tags = {Tag.APPROVED_BY: f"{who}, on the console", Tag.APPROVED_AT: at.isoformat(timespec="seconds")}
    if refused:
        tags[Tag.OVERRIDE] = f"{who}: {why}"
    api.tag_version(inspection, version, {str(key): value for key, value in tags.items()})
    try:
        api.set_alias(inspection, CHAMPION, version)
    except RegistryError:
        if refused:
            api.untag_version(inspection, version, Tag.OVERRIDE)
        raise
    if Tag.HELD in found.tags:
        api.untag_version(inspection, version, Tag.HELD)


def hold(api: RegistryApi, inspection: str, version: str, *, who: str, why: str) -> None:
    """Note that a person does not want a version now (rule 5).

    Raises:
        ActError: It is the champion.
        RegistryUnavailable: MLflow is away: nothing was changed.
    """
    api.version(inspection, version)
    if api.aliases(inspection).get(CHAMPION) == version:
        raise ActError(
            f"version {version} of {inspection} is the champion: hold its rollout, or roll back to another version"
        )
    api.tag_version(inspection, version, {str(Tag.HELD): f"{who}: {why or 'not now'}"})
