"""What wants a person: read from what the flows wrote into the catalog.

1. A challenger that the gate would promote and that waits for a person; a rollout stage that waits for one.
2. An alarm of drift. Devices that are silent, together for each site and look: most silences are a site's link.
3. A rollout that was halted or reverted by itself. What a person did, people know.
4. Nothing older than a day: who switches notices on is not told the past.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from data.catalog import Catalog
from data.decisions import list_decisions
from data.drift.alarms import list_alarms
from data.fleet.silence import SilenceAlarm, list_silences
from data.inspections import Inspection, list_inspections
from data.notices import Notice
from data.policy import Policy
from data.rollouts.stored import list_rollouts
from flows.approval import PROMOTE
from flows.retrain_settings import promotes_by_itself
from flows.rollouts.decision import FLOW

DECISION, DRIFT, SILENCE, ROLLOUT, FLOW_RUN = "decision", "drift", "silence", "rollout", "flow"
KINDS = (DECISION, DRIFT, SILENCE, ROLLOUT, FLOW_RUN)
_RECENT = timedelta(days=1)
_NAMED = 10
_HALTED = {"halt": "was halted", "revert": "was taken back"}


def events(catalog: Catalog, policy: Policy, now: datetime) -> Iterator[Notice]:
    """Everything of the last day that wants a person."""
    since = now - _RECENT
    for inspection in list_inspections(catalog):
        yield from _decisions(catalog, inspection, policy, since)
        yield from _drift(catalog, inspection.name, since)
        yield from _rollouts(catalog, inspection.name, since)
    yield from _silences(catalog, since)


def _decisions(catalog: Catalog, inspection: Inspection, policy: Policy, since: datetime) -> Iterator[Notice]:
    if promotes_by_itself(inspection, policy):
        return
    for decision in list_decisions(catalog, inspection.name, limit=20):
        if decision.answer != PROMOTE or decision.champion_version is None or decision.at < since:
            continue
        name, version = inspection.name, decision.version
        yield Notice(
            key=f"decision:{name}:{version}",
            kind=DECISION,
            at=decision.at,
            subject=f"{name}: version {version} waits for your decision",
            text="\n".join(
                [
                    f"The gate would promote version {version} of {name} over version {decision.champion_version}:",
                    *(f"- {reason}" for reason in decision.reasons),
                    "Read its report, then move the alias champion to it, or let it be.",
                ]
            ),
            inspection=name,
            facts={"version": version, "champion": decision.champion_version, "reasons": list(decision.reasons)},
        )


def _drift(catalog: Catalog, inspection: str, since: datetime) -> Iterator[Notice]:
    for alarm in list_alarms(catalog, inspection, only_open=True, limit=50):
        if alarm.at < since:
            continue
        yield Notice(
            key=f"drift:{alarm.id}",
            kind=DRIFT,
            at=alarm.at,
            subject=f"{inspection}: drift at station {alarm.station}",
            text=f"Device {alarm.device} at station {alarm.station}: {alarm.words}",
            inspection=inspection,
            facts={"alarm": alarm.id, "device": alarm.device, "station": alarm.station, "cause": alarm.cause},
        )


def _rollouts(catalog: Catalog, inspection: str, since: datetime) -> Iterator[Notice]:
    for rollout in list_rollouts(catalog, inspection, limit=5):
        for event in rollout.events:
            if event.who != FLOW or event.at < since:
                continue
            where = f"version {rollout.version} on channel {rollout.channel}"
            facts = {"version": rollout.version, "channel": rollout.channel, "rollout": rollout.id, "what": event.what}
            if event.what == "hold":
                kind, subject = DECISION, f"{inspection}: the rollout of {where} waits for you"
            elif event.what in _HALTED:
                kind, subject = ROLLOUT, f"{inspection}: the rollout of {where} {_HALTED[event.what]}"
            else:
                continue
            yield Notice(
                key=f"rollout:{rollout.id}:{event.what}:{event.at:%Y%m%dT%H%M%S.%f}",
                kind=kind,
                at=event.at,
                subject=subject,
                text=f"{subject}: {event.why}",
                inspection=inspection,
                facts=facts,
            )


def _silences(catalog: Catalog, since: datetime) -> Iterator[Notice]:
    """Rule 2."""
    together: defaultdict[tuple[str, datetime], list[SilenceAlarm]] = defaultdict(list)
    for alarm in list_silences(catalog, open_only=True, limit=5_000):
        if alarm.raised_at >= since:
            together[alarm.site, alarm.raised_at].append(alarm)
    for (site, at), alarms in together.items():
        names = sorted(alarm.device for alarm in alarms)
        listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        many = f"{len(names)} devices are silent" if len(names) > 1 else f"device {names[0]} is silent"
        yield Notice(
            key=f"silence:{site}:{at:%Y%m%dT%H%M%S.%f}",
            kind=SILENCE,
            at=at,
            subject=f"site {site}: {many}",
            text=f"Not heard of for longer than said, at site {site}: {listed}.",
            facts={"site": site, "devices": names},
        )
