"""The rounds of a rehearsal: stream, ingest, label, retrain, judge, release, measure."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import WindowRow
from data.decisions import GateDecision, list_decisions
from data.draw_plan import Planner
from data.estimates import field_sample
from data.field_measures import Truth, rate_of
from data.loop_status import loop_status
from data.workspace import Workspace
from edge_client.contract.engine_metadata import Kind
from flows.registry_api import RegistryApi
from flows.wanted import CHAMPION
from infra.rehearsal.calls import FlowCalls
from infra.rehearsal.faults import Faults
from infra.rehearsal.lines import Line, part_id, wait_for
from infra.rehearsal.measures import HoldoutMeasure
from infra.rehearsal.people import label_round
from infra.rehearsal.plan import Frame, Plan
from infra.rehearsal.results import HoldoutScore, RateEstimate, Refusal, Round

DRAIN_SECONDS = 300.0
SWAP_SECONDS = 240.0


@dataclass(slots=True)
class Rehearsal:
    """A rehearsal under way: what it runs on, and what it has found so far."""

    workspace: Workspace
    inspection: str
    plan: Plan
    lines: Sequence[Line]
    calls: FlowCalls
    faults: Faults
    measure: HoldoutMeasure
    label_share: float
    seed: int
    say: Callable[[str], None]
    rounds: list[Round] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    refused_engines: dict[str, str] = field(default_factory=dict)  # version → engine id
    labels: int = 0
    sent_bytes: int = 0
    streamed_bytes: int = 0
    seen_engines: dict[str, set[str]] = field(default_factory=dict)  # device → engine ids that it ever ran

    def play(self, number: int) -> Round:
        """Play one round, counted from 0."""
        started = time.monotonic()
        told = f"round {number + 1}/{self.plan.rounds}"
        frames = self.plan.in_round(number)
        self.faults.before_stream(number)
        self.say(f"{told}: {len(frames)} frames pass {len(self.lines)} devices")
        self._stream(number)
        self.faults.after_stream(number)
        self._await_upload()
        self.faults.during("ingest", number)
        self.calls.run("ingest", {})
        labelled, rate = self._label(number, frames)
        self.say(f"{told}: {labelled} labels, {self.labels} in all")
        if self.faults.sabotages(number):
            self._refuse_sabotaged(told)
        self.faults.during("retrain", number)
        self.faults.during("release", number)
        decision = self._retrain()
        self.say(f"{told}: challenger v{decision.version}: {decision.answer}")
        decided = time.monotonic()
        score = self._score()  # while the release goes its way
        waited = self._await_devices(decision, decided) if decision.answer == "promote" else None
        self.say(
            f"{told}: average precision on the holdout {score.average_precision}, engine v{self.champion_version()}"
        )
        found = Round(
            round=number + 1,
            engine_version=self.champion_version(),
            frames_seen=len(self.plan.streamed(number + 1)),
            bytes_uploaded_share=self.sent_bytes / max(1, self.streamed_bytes),
            labels=self.labels,
            labels_share=self.labels / len(self.plan.streamed(number + 1)),
            score=score,
            defect_rate=rate,
            decision=decision.answer,
            reasons=tuple(decision.reasons),
            challenger_version=decision.version,
            faults=self.faults.told(number),
            seconds=time.monotonic() - started,
            seconds_alias_to_devices=waited,
        )
        self.rounds.append(found)
        return found

    def champion_version(self) -> str:
        """Return the version that the alias `champion` names."""
        model = self._api().model(self.inspection)
        return model.aliases[CHAMPION] if model is not None else ""

    def note_engines(self) -> None:
        """Remember which engines each device has run."""
        for line in self.lines:
            engines = line.run_state().get("engines", {})
            self.seen_engines.setdefault(line.device.name, set()).update(engines)

    def refusals(self) -> tuple[Refusal, ...]:
        """Return what the gate refused, each with the devices that ever ran it all the same."""
        return tuple(
            replace(refusal, ran_on=self._ran_on(self.refused_engines[refusal.version])) for refusal in self.refused
        )

    def _ran_on(self, engine_id: str) -> tuple[str, ...]:
        return tuple(sorted(name for name, engines in self.seen_engines.items() if engine_id in engines))

    def _stream(self, number: int) -> None:
        for line in self.lines:
            frames = line.device.rounds[number]
            self.streamed_bytes += sum(frame.path.stat().st_size for frame in frames)
            line.show(frames)
        self.faults.during_stream(number)
        wait_for(self.lines, lambda line: line.waiting() == 0, "frames to pass", deadline_seconds=DRAIN_SECONDS)

    def _await_upload(self) -> None:
        """Wait until every window is closed and its record is in the bucket."""
        wait_for(
            self.lines, uploaded, "captured samples to be uploaded", deadline_seconds=DRAIN_SECONDS, poll_seconds=0.5
        )

    def _label(self, number: int, frames: Sequence[Frame]) -> tuple[int, RateEstimate | None]:
        catalog = self.workspace.catalog()
        self.sent_bytes = uploaded_bytes(self.workspace, self.inspection)
        budget = self.plan.labels_until(number, self.label_share) - self.labels
        # A label is spent on a frame here, so none of them serves a run of near-duplicates.
        policy = replace(self.workspace.policy().draw, near_duplicate=0.0)
        answers = {part_id(frame): frame.label for frame in self.plan.streamed(number + 1)}
        done = label_round(
            catalog,
            self.inspection,
            answers,
            budget,
            planner=Planner(catalog, self.workspace.lake()),
            policy=policy,
            rng=random.Random(f"{self.seed} {number}"),
            at=datetime.now(UTC),
        )
        self.labels += done.labels
        if done.draw_id is None:
            return done.labels, None
        sample = field_sample(catalog, self.inspection, windows=windows_of(catalog, done.draw_id))
        estimate = rate_of(Truth.of(sample))
        defects = {c.name for c in self.plan.classes if c.kind is Kind.DEFECT}
        truth = sum(frame.label in defects for frame in frames) / len(frames)
        rate = RateEstimate(value=estimate.value, low=estimate.low, high=estimate.high, n=estimate.n, truth=truth)
        return done.labels, rate

    def _refuse_sabotaged(self, told: str) -> None:
        self.say(f"{told}: first a challenger trained on sabotaged labels")
        from flows.retrain import retrain_once  # imports Prefect

        outcome = retrain_once(self.workspace, self.inspection, seed=self.seed, sabotage_labels=True)
        self.say(f"{told}: sabotaged challenger v{outcome.version}: {outcome.decision}")
        self._note_refusal(outcome.version, outcome.engine_id, outcome.reasons, sabotaged=True)

    def _retrain(self) -> GateDecision:
        catalog = self.workspace.catalog()
        before = {d.run_id for d in list_decisions(catalog, self.inspection)}
        self.calls.run("retrain", {"inspection": self.inspection, "seed": self.seed})
        new = [d for d in list_decisions(catalog, self.inspection) if d.run_id not in before]
        decision = max(new or list_decisions(catalog, self.inspection), key=lambda d: d.at)
        if decision.answer == "reject":
            self._note_refusal(decision.version, decision.engine_id or "", tuple(decision.reasons), sabotaged=False)
        return decision

    def _note_refusal(self, version: str, engine_id: str, reasons: tuple[str, ...], *, sabotaged: bool) -> None:
        self.refused_engines[version] = engine_id
        self.refused.append(Refusal(version=version, sabotaged=sabotaged, reasons=reasons, ran_on=()))

    def _await_devices(self, decision: GateDecision, decided: float) -> float:
        """Wait until every device runs the promoted engine and confirmed it; returns the seconds since the decision."""
        wait_for(
            self.lines,
            lambda line: confirmed(line, decision.engine_id or ""),
            f"engine {decision.engine_id} to be confirmed",
            deadline_seconds=SWAP_SECONDS,
            tick=self.note_engines,
        )
        self.note_engines()
        return time.monotonic() - decided

    def _score(self) -> HoldoutScore:
        return self.measure.of_version(self.champion_version())

    def _api(self) -> RegistryApi:
        return RegistryApi(self.workspace.mlflow_url or "")


def windows_of(catalog: Catalog, draw_id: str) -> list[tuple[str, int, int]]:
    """Return (device, epoch, window) of the windows whose samples a draw was offered."""
    with catalog.reading() as session:
        rows = session.scalars(select(WindowRow).where(WindowRow.draw_id == draw_id))
        return [(row.device, row.epoch, row.window) for row in rows]


def uploaded(line: Line) -> bool:
    """Tell whether a device has nothing left to upload."""
    capture = line.run_state().get("capture") or {}
    return bool(capture) and not any(capture[key] for key in ("waiting_candidates", "frames_open", "waiting_windows"))


def confirmed(line: Line, engine_id: str) -> bool:
    """Tell whether a device runs an engine and has confirmed it."""
    state = line.run_state()
    rollout = state.get("rollout") or {}
    return state.get("engine_id") == engine_id and rollout.get("outcome") == "confirmed"


def uploaded_bytes(workspace: Workspace, inspection: str) -> int:
    """Return the bytes of all shards that ingest has accepted."""
    return loop_status(workspace.catalog(), inspection).uploaded_bytes
