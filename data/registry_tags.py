"""The tags that the flows write on registered models and model versions, so that MLflow's pages tell the story.

On a model version: what it is (`ENGINE_SHA256`, `SNAPSHOT`, …), what was decided (`DECISION`, `APPROVED_BY`, …) and
what became of it in the field (`ROLLOUT_STATE`, `CONFIRMED`, …). On a registered model: which version each channel
carries.
"""

from enum import StrEnum


class Tag(StrEnum):
    """Tag names."""

    # What it is. Written once, with the version.
    IDEMPOTENCY = "andon.idempotency_key"  # same snapshot, seed and code: the same version
    ENGINE_ID = "andon.engine_id"
    ENGINE_SHA256 = "andon.engine_sha256"
    ENGINE_BYTES = "andon.engine_bytes"
    VARIANTS = "andon.variants"  # other files of the same model, as JSON (flows/variants.py)
    SNAPSHOT = "andon.snapshot"
    SEED = "andon.seed"
    CODE = "andon.code"
    LABELS = "andon.labels"  # class counts of the snapshot: "defect 24, ok 310"
    TIER = "andon.tier"  # head or finetune: what learnt
    TIER_REASON = "andon.tier.reason"  # why that tier, with what was measured
    LABEL_EVENTS = "andon.label_events"  # label events in the catalog when the snapshot was taken
    # What was decided.
    DECISION = "andon.decision"  # promote, reject, not_enough
    REASONS = "andon.decision.reasons"
    LABEL_MORE = "andon.decision.label_more"
    COMPARED_WITH = "andon.decision.champion"  # the version it was judged against
    SPENDS = "andon.decision.spends"  # whether it spent of the gate's error budget against that champion
    SABOTAGED = "andon.sabotaged"  # trained on shuffled labels, to show that the gate refuses the result
    ALIAS_GIVEN = "andon.alias_given"  # the alias that the retrain flow gave it; given once
    APPROVED_BY = "andon.approved_by"
    APPROVED_AT = "andon.approved_at"
    OVERRIDE = "andon.override"  # a person's reason to release what the gate refused
    HELD = "andon.held"  # a person decided not to promote it for now: who, and why
    # What became of it.
    ROLLOUT_STATE = "andon.rollout.state"
    CHANNELS = "andon.rollout.channels"  # channels that carry it now
    DEVICES = "andon.rollout.devices"  # devices that run it now
    CONFIRMED = "andon.rollout.confirmed"
    TRYING = "andon.rollout.trying"
    QUARANTINED = "andon.rollout.quarantined"  # with the reasons
    LATENCY = "andon.rollout.latency_ms"
    FRAMES = "andon.rollout.frames"
    EVIDENCE = "andon.rollout.evidence"  # each comparison with the controls, in a sentence
    SHADOW = "andon.shadow"  # where it differs from the engine in service, while it runs unseen
    # On a run.
    COMPLETE = "andon.complete"  # everything is logged; only the model version may be missing


def channel_tag(channel: str) -> str:
    """Tag on the registered model: the version that `channel` carries."""
    return f"andon.channel.{channel}"


def channel_time_tag(channel: str) -> str:
    """Tag on the registered model: when `channel` last changed. Makes every release another event."""
    return f"andon.channel.{channel}.at"


def next_tag(channel: str) -> str:
    """Tag on the registered model: the version whose rollout to `channel` is under way, or was taken back."""
    return f"andon.channel.{channel}.next"


def refused_tag(channel: str) -> str:
    """Tag on the registered model: the version whose release to `channel` was refused."""
    return f"andon.channel.{channel}.refused"
