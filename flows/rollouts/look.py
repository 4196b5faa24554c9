"""A look at an open rollout: what devices told since the last one is folded, and what follows from it is stored.

A look that is killed has changed nothing, or all: records and rollout are written in one transaction. What was decided
is signed afterwards, by the same run or by the next one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from data.catalog import Catalog
from data.inspections import get_inspection
from data.policy import RolloutPolicy
from data.rollouts.fleet import followers, history
from data.rollouts.records import Record, fold
from data.rollouts.stored import newest_rollout, records_of, save_rollout
from data.rollouts.values import Rollout
from flows.rollouts.begin import additions, first_stage
from flows.rollouts.decision import decide, weigh

_HISTORY = 64  # heartbeats of a device that say how it was before: half an hour at the usual interval


def look_at(catalog: Catalog, rollout: Rollout, policy: RolloutPolicy, now: datetime) -> Rollout:
    """Fold, decide, store. Returns the rollout as it is stored then.

    Raises:
        InspectionError: The inspection is gone.
    """
    inspection = get_inspection(catalog, rollout.inspection)
    fleet = followers(catalog, rollout.inspection, rollout.channel)
    known = records_of(catalog, rollout)
    fresh = [follower.name for follower in fleet if follower.name not in known]
    past = history(catalog, fresh, rollout.inspection, most=_HISTORY) if fresh else {}
    heard_from = now - timedelta(minutes=policy.present_minutes)
    records = {}
    for follower in fleet:
        record = known.get(follower.name, Record())
        if record.joined < 0 and (stage := first_stage(rollout, follower.facts)) is not None:
            record = replace(record, joined=stage, present=follower.answers_since(heard_from))
        for report in (*past.get(follower.name, ()), *([follower.report] if follower.report else [])):
            told = fold(
                record,
                report,
                new=rollout.digests,
                base=rollout.base_digests,
                defects=inspection.defect_names,
                began_at=rollout.started_at,
            )
            record = replace(told, present=told.present or (told.joined >= 0 and follower.answers_since(heard_from)))
        records[follower.name] = record
    adds = additions(rollout, [follower.facts for follower in fleet])
    after = decide(rollout, weigh(records, policy), policy, now, adds=adds)
    changed = {name: record for name, record in records.items() if known.get(name) != record}
    if after == rollout and not changed:
        return rollout
    if save_rollout(catalog, after, read=rollout.revision, records=changed):
        return after
    return newest_rollout(catalog, rollout.inspection, rollout.channel) or rollout  # a person was faster
