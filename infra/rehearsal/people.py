"""The person who labels, acted: the archive's own labels, given only for what was captured and drawn, within the
budget.

A label goes through `record_label`, the same call that the console makes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from data.catalog import Catalog
from data.draw_plan import Planner
from data.labels import record_label
from data.policy import DrawPolicy
from data.queue import draw_extra, next_to_label

WHO = "rehearsal"
_EVENTS = UUID("6f0d2f6e-6c8b-4f0e-9a2c-0d4f4d3c3b11")  # a name space: the same sample always gets the same event id
_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What one session of labelling gave."""

    labels: int
    draw_id: str | None


def label_round(
    catalog: Catalog,
    inspection: str,
    answers: Mapping[str, str],
    budget: int,
    *,
    planner: Planner,
    policy: DrawPolicy,
    rng: random.Random,
    at: datetime,
) -> Labelled:
    """Draw and choose up to `budget` captured samples and label them.

    Args:
        catalog: The catalog.
        inspection: Its name.
        answers: Part id → class, the archive's own labels.
        budget: Most labels to spend.
        planner: Draws and chooses.
        policy: How it does.
        rng: Of the draw.
        at: Now.
    """
    if budget < 1:
        return Labelled(labels=0, draw_id=None)
    asked = planner.ask(inspection, budget, policy, random=rng, at=at)
    if asked.labels < budget:  # fewer captured than may be labelled: leftovers still teach
        draw_extra(catalog, inspection, budget - asked.labels, random=rng, at=at)
    labelled = 0
    while page := next_to_label(catalog, inspection, WHO, min(_PAGE, budget - labelled), at=at):
        for item in page:
            record_label(
                catalog,
                sample_id=item.sample_id,
                classes=[answers[item.part_id or ""]],
                who=WHO,
                event_id=str(uuid5(_EVENTS, item.sample_id)),
                at=at,
                source="rehearsal",
            )
            labelled += 1
        if labelled >= budget:
            break
    return Labelled(labels=labelled, draw_id=asked.drawn.id)
