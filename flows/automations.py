"""Automations at the Prefect server, as code: what happens when a run fails.

1. An automation is known by its name. Applying makes the missing ones, brings changed ones back in line, and leaves
   alone those that people made.
2. A flow that fails or crashes starts the flow `tell`, which puts a notice into the outbox: so it goes the same ways,
   once, as everything else that people are told (flows/notify/).
3. `tell` itself starts nothing: a webhook that is away would feed on itself.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from data.notices import Notice
from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from flows.exclusive import Busy
from flows.notify.delivery import notify_once
from flows.notify.events import FLOW_RUN

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore

TELL = "tell"
PREFIX = "andon: "
_MOST_TEXT = 2_000


@flow(name=TELL, flow_run_name="tell of {flow_name}: {run_name}")
def tell(flow_name: str, run_name: str, run_id: str, state: str, message: str = "") -> State[Any]:
    """Put a failed run into the outbox and send what is due."""
    notice = Notice(
        key=f"flow:{run_id}:{state}"[:200],
        kind=FLOW_RUN,
        at=datetime.now(UTC),
        subject=f"flow {flow_name}: {state.lower()}",
        text=f"The run {run_name!r} of the flow {flow_name} ended as {state}: {message or 'no message'}"[:_MOST_TEXT],
        facts={"flow": flow_name, "run": run_id, "state": state},
    )
    try:
        told = notify_once(Workspace.open(), [notice])
    except Busy as busy:
        raise AndonError(str(busy)) from busy
    return Completed(message=f"{told.noted} noted, {told.sent} sent, {len(told.failed)} to be tried again")


def wanted(deployment_id: Any, flows: tuple[str, ...]) -> list[AutomationCore]:
    """The automations that there should be."""
    from prefect.events import EventTrigger, Posture
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore

    def of(name: str, states: set[str], why: str) -> AutomationCore:
        return AutomationCore(
            name=f"{PREFIX}{name}",
            description=why,
            enabled=True,
            trigger=EventTrigger(
                posture=Posture.Reactive,
                expect={f"prefect.flow-run.{state}" for state in states},
                match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(flows)},
                for_each={"prefect.resource.id"},
                threshold=1,
            ),
            actions=[
                RunDeployment(
                    source="selected",
                    deployment_id=deployment_id,
                    job_variables=None,
                    parameters={
                        "flow_name": _template("{{ flow.name }}"),
                        "run_name": _template("{{ flow_run.name }}"),
                        "run_id": _template("{{ flow_run.id|string }}"),
                        "state": _template("{{ flow_run.state.name }}"),
                        "message": _template("{{ flow_run.state.message|default('', true) }}"),
                    },
                )
            ],
        )

    return [
        of("a flow failed", {"Failed"}, "Tells people that a run failed, by the ways that policy.toml [notify] names."),
        of("a flow crashed", {"Crashed"}, "Tells people that a run crashed: its process was ended from outside."),
    ]


def apply() -> dict[str, str]:
    """Bring the server's automations in line (rule 1). Returns name → made, changed or as it was.

    Raises:
        PrefectUnavailable: The server is away.
        AndonError: The serving process has not told it of the flow `tell` yet.
    """
    from prefect.exceptions import ObjectNotFound

    from flows.prefect_runs import DEPLOYMENT, connected
    from flows.serving import FLOWS, LABEL_STUDIO

    done: dict[str, str] = {}
    with connected() as client:
        try:
            deployment = client.read_deployment_by_name(f"{TELL}/{DEPLOYMENT}")
        except ObjectNotFound as error:
            url = os.environ.get("PREFECT_API_URL", "")
            raise AndonError(f"{url}: no flow {TELL!r} is deployed there yet; run `andon up` and try again") from error
        for automation in wanted(deployment.id, (*FLOWS, LABEL_STUDIO)):
            found = _by_name(client, automation.name)
            if found is None:
                _ask(client, "POST", "/automations/", automation)
                done[automation.name] = "made"
            elif _core(found) != automation.model_dump(mode="json"):
                _ask(client, "PUT", f"/automations/{found['id']}", automation)
                done[automation.name] = "changed"
            else:
                done[automation.name] = "as it was"
    return done


def _by_name(client: Any, name: str) -> dict[str, Any] | None:
    answer = client.request("POST", "/automations/filter", json={"automations": {"name": {"any_": [name]}}})
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found[0] if found else None


def _core(found: dict[str, Any]) -> dict[str, Any]:
    """What of a stored automation people can state, as `wanted` states it."""
    from prefect.events.schemas.automations import AutomationCore

    core: dict[str, Any] = AutomationCore.model_validate(found).model_dump(mode="json")
    return core


def _ask(client: Any, method: str, path: str, automation: AutomationCore) -> None:
    client.request(method, path, json=automation.model_dump(mode="json")).raise_for_status()


def _template(text: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": text}
