"""The page of rollouts: how far each version has got, what its devices show against the controls, and five buttons.

1. What a button does is what `andon rollout` does, in the name of whoever presses it.
2. A button acts on the rollout that was on the page: if a newer one began meanwhile, it is refused.
3. The catalog is changed at once; the release flow signs it within seconds, and the page says while it has not.
4. What comes from the line (reasons, names) goes out as JSON; the page puts it in as text.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from console.people import Person, needs
from data.inspections import get_inspection
from data.rollouts.stored import act, list_rollouts
from data.rollouts.told import told, told_devices
from data.users import Role
from data.workspace import Workspace

MOST_SHOWN = 20
Decider = Annotated[Person, needs(Role.APPROVER, does="rollout.{what}")]


class Word(BaseModel):
    """What a person says to a rollout."""

    why: Annotated[str, Field(max_length=500)] = ""
    rollout: Annotated[int, Field(ge=1, le=1 << 62)]


def make_rollouts_api(workspace: Workspace, *, clock: Callable[[], datetime]) -> APIRouter:
    """Make the router."""
    api = APIRouter(prefix="/api")
    catalog = workspace.catalog()

    @api.get("/{inspection}/rollouts", dependencies=[needs(Role.VIEWER)])
    def rollouts(inspection: str) -> dict[str, Any]:
        name = get_inspection(catalog, inspection).name
        found = list_rollouts(catalog, name, limit=MOST_SHOWN)
        shown, seen = [], set()
        for rollout in found:
            newest = rollout.channel not in seen
            seen.add(rollout.channel)
            devices = told_devices(catalog, rollout) if newest else {"staged": 0, "controls": 0, "devices": []}
            can = told(rollout)["can"] if newest else []
            shown.append({**told(rollout), **devices, "can": can, "newest": newest})
        policy = workspace.policy().rollout
        return {
            "inspection": name,
            "rollouts": shown,
            "open": sum(1 for rollout in found if rollout.open),
            "stages": policy.stages,
            "staged_from": policy.staged_from,
        }

    @api.post("/{inspection}/rollouts/{channel}/{what}")
    def say(
        inspection: str,
        channel: str,
        what: Literal["hold", "resume", "advance", "halt", "revert"],
        said: Word,
        person: Decider,
    ) -> dict[str, Any]:
        person.tell(about=f"{inspection}/{channel}", rollout=said.rollout, detail=said.why.strip())
        name = get_inspection(catalog, inspection).name
        why = said.why.strip()
        done = act(catalog, name, channel, what, who=person.name, why=why, at=clock(), rollout=said.rollout)
        return told(done)

    return api
