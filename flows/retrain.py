"""The retrain flow: from what is labelled now to a judged, registered challenger.

1. Same snapshot, same seed, same code, same goal, same input, same tier: the same version. A retrain that was killed
   begins anew or is finished; one that is asked for twice finds the version that is there.
2. The decision is the gate's. A promoted challenger becomes `champion` by itself only if policy says so, or if the
   inspection has no champion yet; else it gets the alias `challenger` and waits for a person to move `champion`.
3. What the gate did not promote gets no alias that releases: with too little evidence `challenger`, refused none.
4. An alias is given once. A person who moves it afterwards is not overruled by a repeated run.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from data.decisions import GateDecision, record_decision
from data.inspections import get_inspection, list_inspections
from data.snapshots import Snapshot, take_snapshot
from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from flows.approval import NOT_ENOUGH, PROMOTE
from flows.code_version import code_version
from flows.exclusive import only_one
from flows.idempotency import challenger_key
from flows.input_settings import input_of
from flows.label_count import count_label_events
from flows.prefect_pages import named, show
from flows.registry import Registry
from flows.registry_api import ModelVersion, RegistryError
from flows.retrain_settings import asked_of, may_start_by_itself, promotes_by_itself
from flows.setting import VARIANTS
from flows.stack import registry_of
from flows.tags import Tag
from flows.tier_names import HEAD, check_tier
from flows.wanted import CHALLENGER, CHAMPION, retrain_wanted
from training.input_choice import DEFAULT_CHOICE

_log = logging.getLogger("andon.retrain")
_WAIT_SECONDS = 3_600.0  # another retrain of the same inspection ends in minutes; then its version is found
SABOTAGED = "sabotaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainOutcome:
    """What one run came to.

    Attributes:
        decision: promote, reject or not_enough.
        alias: The alias that the version was given, now or earlier; "" for none.
        label_more: Class -> how many more labels the gate asks for.
        reused: The version was there already.
    """

    inspection: str
    version: str
    run_id: str
    engine_id: str
    engine_sha256: str
    snapshot_id: str
    decision: str
    reasons: tuple[str, ...]
    label_more: dict[str, int]
    champion: str | None
    alias: str
    reused: bool

    def __str__(self) -> str:
        known = " (was there already)" if self.reused else ""
        given = f", alias {self.alias}" if self.alias else ""
        return f"{self.inspection} version {self.version}{known}: {self.decision}{given}: {'; '.join(self.reasons)}"


@flow(name="retrain", flow_run_name=named("retrain", everything="what has new labels"))
def retrain(inspection: str | None = None, seed: int = 0, tier: str = HEAD) -> State[Any]:
    """Train a challenger on what is labelled now, judge it against the champion and register it.

    Without an inspection: every one that has enough new labels. The tier says what learns: `head`, `finetune` or
    `auto`.
    """
    workspace = Workspace.open()
    names = [inspection] if inspection else inspections_with_new_labels(workspace)
    outcomes, failed = [], []
    for name in names:
        try:
            outcome = retrain_once(workspace, name, seed=seed, tier=tier)
            outcomes.append(str(outcome))
            show(f"decision {name}", page_of(outcome), about=f"What the gate said of version {outcome.version}")
        except AndonError as error:  # one inspection's trouble must not hold up the others
            _log.error("%s: %s", name, error)
            failed.append(f"{name}: {error}")
    if failed:
        raise AndonError("; ".join([*failed, *outcomes]))
    return Completed(message="; ".join(outcomes) or "no inspection has enough new labels")


def retrain_once(
    workspace: Workspace,
    inspection: str,
    *,
    seed: int = 0,
    tier: str = HEAD,
    sabotage_labels: bool = False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    wait_seconds: float = _WAIT_SECONDS,
) -> RetrainOutcome:
    """Do what the flow does for one inspection, without Prefect.

    Args:
        workspace: The installation.
        inspection: Its name.
        seed: Of everything that is drawn.
        tier: What learns: `head`, `finetune` or `auto` (`flows.tiers`).
        sabotage_labels: Train on shuffled labels, to show that the gate refuses the result; evidence stays true.
        clock: Aware time.
        wait_seconds: For another retrain of the same inspection to end.

    Raises:
        Busy: Another retrain was running for all of `wait_seconds`.
        AndonError: There is nothing to train on, or a server is away; running it again goes on from there.
    """
    check_tier(tier)
    with only_one(workspace.home, f"retrain-{inspection}", wait_seconds=wait_seconds):
        registry = registry_of(workspace)
        label_events = count_label_events(workspace.catalog(), inspection)  # before the snapshot: never too many
        snapshot = take_snapshot(
            workspace.catalog(), workspace.lake(), inspection, at=clock(), policy=workspace.policy()
        )
        of_inspection = get_inspection(workspace.catalog(), inspection)
        choice = input_of(of_inspection, workspace.policy())
        both = VARIANTS.of(of_inspection, workspace.policy()) == "both"
        key = challenger_key(
            inspection=inspection,
            snapshot_id=snapshot.id,
            seed=seed,
            code=code_version(),
            goal=asked_of(of_inspection, workspace.policy(), workspace.lake()),
            looks_at=("" if choice == DEFAULT_CHOICE else str(choice)) + (" and its float twin" if both else ""),
            sabotaged=sabotage_labels,
            tier=tier,
        )
        known = registry.find(inspection, key)
        version = known or train(
            workspace, registry, snapshot, key, seed=seed, tier=tier, sabotage=sabotage_labels, clock=clock
        )
        decision = registry.decision_of(version)
        log_decision(workspace, version, decision, clock())
        give_alias(workspace, registry, version, clock())
        if not sabotage_labels:
            registry.api.tag_model(inspection, {Tag.LABEL_EVENTS: str(label_events)})
        outcome = outcome_of(registry.api.version(inspection, version.number), decision, reused=known is not None)
        _log.info("%s", outcome)
        return outcome


def train(
    workspace: Workspace,
    registry: Registry,
    snapshot: Snapshot,
    key: str,
    *,
    seed: int,
    tier: str,
    sabotage: bool,
    clock: Callable[[], datetime],
) -> ModelVersion:
    """Fit, judge and register one challenger; what fails is marked so in MLflow."""
    from flows.champion import challengers_before, load_champion  # these import onnx, scikit-learn and perhaps torch
    from flows.doubts import suggest_reviews
    from flows.judged import judge_challenger, record_of
    from flows.task_runner import runner_of
    from flows.tiers import Order, fit_by_tier

    name = f"{snapshot.id[:8]} seed {seed}{'' if tier == HEAD else ' ' + tier}{' ' + SABOTAGED if sabotage else ''}"
    run_id = registry.begin(snapshot.inspection, key, name=name, tags={Tag.SNAPSHOT: snapshot.id})
    try:
        champion = load_champion(registry, snapshot.inspection)
        with runner_of(workspace) as runner:
            order = Order(tier=tier, run_id=run_id, seed=seed, sabotage=sabotage, now=clock(), runner=runner)
            fitted = fit_by_tier(workspace, snapshot, champion, order)
        judged = judge_challenger(
            workspace,
            fitted.ready,
            fitted.challenger,
            champion,
            previous_challengers=challengers_before(registry, champion, snapshot.inspection),
            tier=fitted.tier,
            figures=fitted.figures,
        )
        metadata = fitted.challenger.metadata
        workspace.lake().note_space(snapshot.inspection, metadata.engine_id, metadata.embedding_id)
        if not sabotage:
            suggest_reviews(workspace, fitted.ready, fitted.challenger, at=clock())
        return registry.log_challenger(run_id, record_of(workspace, judged, key=key, seed=seed, sabotage=sabotage))
    except Exception as error:
        try:
            registry.fail(run_id, str(error))
        except RegistryError as away:  # the next retrain ends the run
            _log.warning("the run %s could not be marked as failed: %s", run_id, away)
        raise


def give_alias(workspace: Workspace, registry: Registry, version: ModelVersion, now: datetime) -> None:
    """Rules 2 to 4."""
    if Tag.ALIAS_GIVEN in version.tags:
        return
    decision, inspection = version.tags.get(Tag.DECISION, ""), version.inspection
    aliases = registry.api.aliases(inspection)
    alias, approved_by = "", ""
    if decision == PROMOTE and CHAMPION not in aliases:
        alias, approved_by = CHAMPION, "the first model of the inspection: there was no champion to replace"
    elif decision == PROMOTE and promotes_by_itself(
        get_inspection(workspace.catalog(), inspection), workspace.policy()
    ):
        alias, approved_by = CHAMPION, "policy: auto_promote"
    elif decision in (PROMOTE, NOT_ENOUGH):
        alias = CHALLENGER
    tags: dict[str, str] = {Tag.ALIAS_GIVEN: alias or "none"}
    if approved_by:
        tags |= {Tag.APPROVED_BY: approved_by, Tag.APPROVED_AT: now.isoformat(timespec="seconds")}
        registry.api.tag_version(inspection, version.number, {k: v for k, v in tags.items() if k != Tag.ALIAS_GIVEN})
    if alias:
        registry.api.set_alias(inspection, alias, version.number)
    state = {CHAMPION: "waits for the release flow", CHALLENGER: "waits for a person to move the alias champion"}
    tags[Tag.ROLLOUT_STATE] = state.get(alias, "not released: the gate refused it")
    registry.api.tag_version(inspection, version.number, tags)


def log_decision(workspace: Workspace, version: ModelVersion, decision: Mapping[str, Any], now: datetime) -> None:
    """Note in the catalog what the gate said; once for each run."""
    record_decision(
        workspace.catalog(),
        GateDecision(
            inspection=version.inspection,
            version=version.number,
            champion_version=decision["champion"],
            run_id=version.run_id,
            snapshot_id=version.tags.get(Tag.SNAPSHOT),
            engine_id=version.tags.get(Tag.ENGINE_ID),
            at=now,
            answer=decision["answer"],
            reasons=decision["reasons"],
            checks=decision["checks"],
            label_more=decision["label_more"],
            metrics=decision["metrics"],
            comparison=decision.get("comparison"),  # a decision of before has none
        ),
    )


def outcome_of(version: ModelVersion, decision: Mapping[str, Any], *, reused: bool) -> RetrainOutcome:
    """Return the outcome that a version and its decision tell."""
    given = version.tags.get(Tag.ALIAS_GIVEN, "")
    return RetrainOutcome(
        inspection=version.inspection,
        version=version.number,
        run_id=version.run_id,
        engine_id=version.tags.get(Tag.ENGINE_ID, ""),
        engine_sha256=version.tags.get(Tag.ENGINE_SHA256, ""),
        snapshot_id=version.tags.get(Tag.SNAPSHOT, ""),
        decision=decision["answer"],
        reasons=tuple(decision["reasons"]),
        label_more=dict(decision["label_more"]),
        champion=decision["champion"],
        alias="" if given == "none" else given,
        reused=reused,
    )


def page_of(outcome: RetrainOutcome) -> str:
    """Return what a run came to, Markdown, as Prefect's page shows it."""
    against = f"version {outcome.champion}" if outcome.champion else "nothing: it is the first"
    lines = [
        f"# {outcome.inspection} version {outcome.version}: {outcome.decision}",
        f"Judged against {against}." + (f" It has the alias `{outcome.alias}`." if outcome.alias else ""),
        "",
        *(f"- {reason}" for reason in outcome.reasons),
    ]
    if outcome.label_more:
        lines += ["", "To decide, label more:", "", "| class | labels |", "|---|---|"]
        lines += [f"| {name} | {count} |" for name, count in sorted(outcome.label_more.items())]
    origin = f"Snapshot `{outcome.snapshot_id[:12]}`, engine `{outcome.engine_id}`, MLflow run `{outcome.run_id}`."
    lines += ["", origin]
    return "\n".join(lines)


def inspections_with_new_labels(workspace: Workspace) -> list[str]:
    """Return the inspections for which a retrain is wanted, as far as they may start by themselves."""
    api, catalog = registry_of(workspace).api, workspace.catalog()
    least = workspace.policy().retrain.min_new_labels
    names = [inspection.name for inspection in list_inspections(catalog) if may_start_by_itself(inspection)]
    return [n for n in names if retrain_wanted(count_label_events(catalog, n), api.model(n), least)]
