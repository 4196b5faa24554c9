"""Where the rules of rollouts meet registry, repository and catalog. One desk serves one run of the release flow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from data.catalog import Catalog
from data.decisions import list_releases
from data.inspections import get_inspection
from data.policy import RolloutPolicy
from data.rollouts.acts import changed
from data.rollouts.fleet import followers
from data.rollouts.stored import begin_rollout, mark_signed, newest_rollout, save_rollout
from data.rollouts.values import Rollout, State
from data.workspace import Workspace
from edge_client.contract.onnx_check import check_onnx
from edge_client.contract.releases import Channel, NamedEngine, engine_target, selftest_target
from flows.registry import Registry
from flows.registry_api import ModelVersion
from flows.releases.repository import ReleaseRepository
from flows.rollouts.begin import begin
from flows.rollouts.decision import FLOW
from flows.rollouts.document import base_of, document_of
from flows.rollouts.look import look_at
from flows.setting import ROLLOUT_STAGES
from flows.tags import Tag
from flows.variants import Variant, VariantFile, variants_of

_SERVED = ("release", "rollback")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The places that a rollout is read from and written to."""

    workspace: Workspace
    registry: Registry
    repository: ReleaseRepository
    now: datetime

    @property
    def catalog(self) -> Catalog:
        """The catalog."""
        return self.workspace.catalog()

    def is_of(self, rollout: Rollout, version: ModelVersion) -> bool:
        """Whether a rollout is that of a version and its file."""
        return rollout.version == version.number and version.tags[Tag.ENGINE_SHA256] in rollout.digests

    def policy_for(self, inspection: str) -> RolloutPolicy:
        """The policy, with the stages that the inspection states for itself."""
        policy = self.workspace.policy()
        stages = ROLLOUT_STAGES.of(get_inspection(self.catalog, inspection), policy)
        return replace(policy.rollout, stages=stages)

    def begin(
        self, newest: Rollout | None, current: Channel | None, channel: str, version: ModelVersion, who: str
    ) -> Rollout:
        """Publish a version's files and begin its rollout, which supersedes the one under way."""
        engines = self.publish(version)
        if newest is not None:
            base_version, base = base_of(newest)
        else:
            base_version, base = ("", ()) if current is None else (current.version, current.engines())
        policy = self.policy_for(version.inspection)
        fleet = followers(self.catalog, version.inspection, channel)
        lately = self.now - timedelta(minutes=policy.present_minutes)
        log = list_releases(self.catalog, version.inspection, limit=1_000)
        rollout = begin(
            inspection=version.inspection,
            channel=channel,
            version=version.number,
            engines=engines,
            base_version=base_version,
            base=base,
            devices=[follower.facts for follower in fleet],
            present={follower.name for follower in fleet if follower.answers_since(lately)},
            served_before={e.version for e in log if e.channel == channel and e.action in _SERVED and e.version},
            policy=policy,
            who=who,
            now=self.now,
        )
        return begin_rollout(self.catalog, rollout)

    def publish(self, version: ModelVersion) -> tuple[NamedEngine, ...]:
        """Publish a version's engine, its variants and their self-tests, before a channel names them."""
        own = self.registry.engine_bytes(version)
        described = Variant(
            engine_id=version.tags[Tag.ENGINE_ID],
            engine_sha256=version.tags[Tag.ENGINE_SHA256],
            engine_bytes=len(own),
            variant=check_onnx(own).metadata.variant,
        )
        files = [VariantFile(described=described, engine=own, selftest=self.registry.selftest_bytes(version))]
        files += [self.registry.variant_file(version, each) for each in variants_of(version.tags)]
        return tuple(self._publish(version, file) for file in files)

    def _publish(self, version: ModelVersion, file: VariantFile) -> NamedEngine:
        inspection, engine_id = version.inspection, file.described.engine_id
        facts = {"version": version.number, "run_id": version.run_id}
        digest = self.repository.publish_engine(inspection, engine_id, file.engine, file.selftest, facts)
        return NamedEngine(
            engine_path=engine_target(inspection, engine_id),
            engine_sha256=digest,
            engine_bytes=len(file.engine),
            engine_id=engine_id,
            selftest_path=selftest_target(inspection, engine_id),
            variant=file.described.variant[:32],
            provider=file.described.provider,
        )

    def look(self, rollout: Rollout) -> Rollout:
        """Take in what devices told, and what follows from it, while the rollout is open."""
        if not rollout.open:
            return rollout
        return look_at(self.catalog, rollout, self.workspace.policy().rollout, self.now)

    def hold_for(self, rollout: Rollout, version: ModelVersion) -> Rollout:
        """Hold a rollout because the alias names another version by now, which may not be released."""
        if rollout.state is not State.RUNNING or self.is_of(rollout, version):
            return rollout
        why = f"the alias names version {version.number} now, which is refused: nobody new gets version"
        held = changed(rollout, State.HELD, who=FLOW, what="hold", why=f"{why} {rollout.version}", at=self.now)
        if save_rollout(self.catalog, held, read=rollout.revision):
            return held
        return newest_rollout(self.catalog, rollout.inspection, rollout.channel) or rollout

    def sign(self, rollout: Rollout) -> None:
        """Make the channel say what the rollout calls for, unless it says so."""
        wanted = document_of(rollout, self.now)
        current = self.repository.read_channel(rollout.inspection, rollout.channel)
        if current is None or replace(current, issued_at=wanted.issued_at) != wanted:
            self.repository.set_channel(wanted)

    def signed(self, rollout: Rollout) -> None:
        """Note that channel and tags say what this revision says."""
        mark_signed(self.catalog, rollout)
