"""The page of an inspection's models: champion and challenger side by side, why the gate said so, and three acts.

1. What the catalog knows (decisions, answers of both models, rollouts, devices) is there at once; what MLflow knows
   (aliases, tags) comes with it if MLflow answers in a moment, else the page says how old it is (`RegistryView`).
2. Without MLflow the champion is what `stable` carries by the catalog; nothing can be promoted.
3. Every number has its interval and its n; texts from the line go out as JSON.
4. The gate's report is MLflow's artifact. It is handed on under a policy that lets it run nothing and load nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from console.last_inspection import last_inspection
from console.model_acts import CHAMPION, hold, make_champion, promise
from console.model_registry import Reading, RegistryView
from console.pages import MakePage
from console.people import Person, needs
from data.catalog import Catalog
from data.decisions import GateDecision, comparisons, list_decisions, list_releases
from data.devices import devices_by_channel
from data.inspections import get_inspection, list_inspections
from data.registry_api import RegistryApi, RegistryUnavailable
from data.registry_tags import Tag
from data.rollouts.stored import list_rollouts
from data.rollouts.told import told
from data.rollouts.values import Rollout
from data.users import Role
from data.value.saved import Cell, saved_by, stopped_share
from data.workspace import Workspace
from edge_client.contract.errors import NotFound, Unavailable

_T = TypeVar("_T")
MOST_VERSIONS = 200
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
Decider = Annotated[Person, needs(Role.APPROVER, does="model.{what}")]
Version = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
_SHOWN_TAGS = {
    "labels": Tag.LABELS, "held": Tag.HELD, "rollout": Tag.ROLLOUT_STATE, "channels": Tag.CHANNELS,
    "devices": Tag.DEVICES, "confirmed": Tag.CONFIRMED, "approved_by": Tag.APPROVED_BY, "override": Tag.OVERRIDE,
}  # fmt: skip


class Word(BaseModel):
    """What a person says to a version."""

    champion: Version | None = None  # the one that was on the page
    why: Annotated[str, Field(max_length=500)] = ""


def make_models_api(
    workspace: Workspace, page: MakePage, registry: RegistryView, *, clock: Callable[[], datetime]
) -> APIRouter:
    """Make the router."""
    api = APIRouter()
    catalog = workspace.catalog()
    viewer = [needs(Role.VIEWER)]

    def name_of(inspection: str) -> str:
        return get_inspection(catalog, inspection).name

    @api.get("/models", dependencies=viewer)
    def choose(request: Request) -> Response:
        last = last_inspection(request, [each.name for each in list_inspections(catalog)])
        return RedirectResponse(f"/models/{last}" if last else "/")

    @api.get("/models/{inspection}", response_class=HTMLResponse, dependencies=viewer)
    def models(request: Request, inspection: str) -> HTMLResponse:
        return page(request, "models.html", here="models", inspection=name_of(inspection))

    @api.get("/models/{inspection}/{version}/report", dependencies=viewer)
    def report(inspection: str, version: Version) -> Response:
        run = next(
            (d.run_id for d in list_decisions(catalog, name_of(inspection), limit=1000) if d.version == version), None
        )
        if run is None:
            raise NotFound(f"the gate judged no version {version} of {inspection}; see /models/{inspection}")
        text = _asked(registry, lambda mlflow: mlflow.artifact_text(run, "gate_report.html"))
        return HTMLResponse(text, headers={"Content-Security-Policy": REPORT_POLICY})

    @api.get("/api/{inspection}/models", dependencies=viewer)
    def shown(inspection: str, version: Version | None = None) -> dict[str, Any]:
        name = name_of(inspection)
        return told_models(catalog, name, registry.now(name), mlflow_url=workspace.mlflow_url, version=version)

    @api.get("/api/{inspection}/models/{version}/promise", dependencies=viewer)
    def promised(inspection: str, version: Version) -> dict[str, Any]:
        name = name_of(inspection)
        return promise(catalog, name, version, registry.now(name).aliases, workspace.policy())

    @api.post("/api/{inspection}/models/{version}/{what}")
    def act(
        inspection: str,
        version: Version,
        what: Literal["promote", "rollback", "hold"],
        said: Word,
        person: Decider,
    ) -> dict[str, Any]:
        name, why = name_of(inspection), said.why.strip()
        person.tell(about=f"{name} version {version}", detail=why)
        if what == "hold":
            _asked(registry, lambda mlflow: hold(mlflow, name, version, who=person.name, why=why))
        else:
            _asked(
                registry,
                lambda mlflow: make_champion(
                    mlflow, name, version, seen=said.champion, who=person.name, why=why, at=clock()
                ),
            )
        registry.forget(name)
        return {"inspection": name, "version": version, "what": what, "by": person.name}

    return api


def _asked(registry: RegistryView, ask: Callable[[RegistryApi], _T]) -> _T:
    """Ask MLflow now; without it nothing is done, and the answer says so.

    Raises:
        Unavailable: MLflow is away.
    """
    if registry.api is None:
        raise Unavailable("this installation names no MLflow: nothing was done")
    try:
        return ask(registry.api)
    except RegistryUnavailable as error:
        raise Unavailable(f"nothing was done: {error}") from error


def told_models(
    catalog: Catalog, inspection: str, reading: Reading, *, mlflow_url: str | None, version: str | None = None
) -> dict[str, Any]:
    """Everything the page shows, as JSON.

    Args:
        catalog: The catalog.
        inspection: Its name.
        reading: What MLflow says.
        mlflow_url: Of MLflow's own pages.
        version: The version to look at; default the challenger, else the newest.
    """
    decisions = {
        decision.version: decision for decision in reversed(list_decisions(catalog, inspection, limit=MOST_VERSIONS))
    }
    newest: dict[str, Rollout] = {}
    for rollout in list_rollouts(catalog, inspection, limit=MOST_VERSIONS):
        newest.setdefault(rollout.channel, rollout)
    champion = reading.aliases.get(CHAMPION) or _carried(newest.get("stable")) or _released(catalog, inspection)
    looked_at = version or chosen(decisions, reading.aliases.get("challenger"), champion)
    decision = decisions.get(looked_at or "")
    return {
        "inspection": inspection,
        "registry": {"read": reading.known is not None, "age": round(reading.age), "problem": reading.problem},
        "mlflow": None if mlflow_url is None else f"{mlflow_url}/#/models/{inspection}",
        "aliases": reading.aliases,
        "champion": champion,
        "version": looked_at,
        "decision": None if decision is None else told_decision(decision),
        "comparison": told_comparison(comparisons(catalog, inspection, [looked_at or ""]).get(looked_at or "")),
        "versions": told_versions(decisions, reading, newest),
        "rollouts": [told(rollout) for rollout in newest.values()],
        "devices": devices_by_channel(catalog, inspection),
    }


def chosen(decisions: Mapping[str, GateDecision], challenger: str | None, champion: str | None) -> str | None:
    """The version that a person wants to see first: the challenger, else the newest that is not the champion."""
    if challenger and challenger != champion and challenger in decisions:
        newer = [v for v in decisions if int(v) > int(challenger) and v != champion]
        return max(newer, key=int) if newer else challenger
    others = [v for v in decisions if v != champion]
    return max(others or decisions, key=int, default=None)


def told_decision(decision: GateDecision) -> dict[str, Any]:
    """The gate's decision; its checks without what only the report needs."""
    wanted = ("name", "where", "role", "finding", "sentence", "champion", "challenger", "difference", "limit", "budget")
    return {
        "version": decision.version,
        "champion": decision.champion_version,
        "at": decision.at.isoformat(),
        "answer": decision.answer,
        "reasons": list(decision.reasons),
        "label_more": dict(decision.label_more),
        "checks": [{key: check.get(key) for key in wanted} for check in decision.checks],
    }


def told_comparison(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How both models answered the same frames: by class, in measures, and the frames that flipped."""
    if found is None:
        return None
    sets = {}
    for where, one in found["sets"].items():
        cells = [Cell.of(cell) for cell in one["cells"]]
        saved = saved_by(cells)
        classes = []
        for label in dict.fromkeys(cell.label for cell in cells):
            mine = [cell for cell in cells if cell.label == label]
            before, after = stopped_share(mine, after=False), stopped_share(mine, after=True)
            assert before is not None
            assert after is not None
            classes.append(
                {"label": label, "defect": mine[0].defect, "champion": before.to_dict(), "challenger": after.to_dict()}
            )
        sets[where] = {
            "n": one["n"],
            "measures": one["measures"],
            "classes": classes,
            "escapes": saved.escapes.to_dict(),
            "alarms": saved.alarms.to_dict(),
        }
    return {"sets": sets, "gained": found["gained"], "lost": found["lost"]}


def told_versions(
    decisions: Mapping[str, GateDecision], reading: Reading, newest: Mapping[str, Rollout]
) -> list[dict[str, Any]]:
    """Every version that the catalog or MLflow knows, newest first."""
    known = {} if reading.known is None else {v.number: v for v in reading.known.versions}
    aliases: dict[str, list[str]] = {}
    for alias, number in sorted(reading.aliases.items()):
        aliases.setdefault(number, []).append(alias)
    carried = {channel: _carried(rollout) for channel, rollout in newest.items()}
    told_of = []
    for number in sorted({*decisions, *known}, key=lambda each: int(each) if each.isdigit() else -1, reverse=True):
        decision, found = decisions.get(number), known.get(number)
        tags = {} if found is None else {key: found.tags.get(tag, "") for key, tag in _SHOWN_TAGS.items()}
        told_of.append(
            {
                "version": number,
                "at": decision.at.isoformat() if decision else found.created_at.isoformat() if found else None,
                "answer": decision.answer if decision else None,
                "champion": decision.champion_version if decision else None,
                "reason": decision.reasons[0] if decision and decision.reasons else "",
                "aliases": aliases.get(number, []),
                "carried": sorted(channel for channel, version in carried.items() if version == number),
                **dict.fromkeys(_SHOWN_TAGS, ""),
                **tags,
            }
        )
    return told_of[:MOST_VERSIONS]


def _released(catalog: Catalog, inspection: str) -> str | None:
    """The version that the log of releases says `stable` got last."""
    log = list_releases(catalog, inspection, limit=MOST_VERSIONS)
    served = (entry.version for entry in log if entry.channel == "stable" and entry.action in ("release", "rollback"))
    return next(served, None)


def _carried(rollout: Rollout | None) -> str | None:
    """The version that most of a channel's devices run."""
    if rollout is None:
        return None
    return rollout.version if rollout.done or not rollout.base_version else rollout.base_version
