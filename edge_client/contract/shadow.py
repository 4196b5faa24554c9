"""Shadow: the signed document that lets a challenger answer frames unseen, and what a device reports of it.

1. ``channels/INSPECTION/CHANNEL.shadow`` is signed by `rollouts`; its engine, like any other, by `engines`.
2. `share` is of the frames of a device, drawn at random and whatever they look like: what was seen is a plain random
   sample of the frames, so that a rate of disagreement needs no weights.
3. It ends by itself: at `expires_at`, or with a `share` of 0, which is how it is stopped.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from edge_client.contract.errors import AndonError, BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.names import check_name
from edge_client.contract.releases import Cohort, NamedEngine, read_cohort, read_engine
from edge_client.contract.signing import canonical_json
from edge_client.contract.staging import DeviceFacts, takes

STATES = ("waits", "runs", "refused", "expired")
MOST_PAIRS = 20  # of classes that a report tells apart
OTHER_PAIRS = "other"
MOST_CPU_SHARE = 0.5
_DOCUMENT = "shadow document"


def shadow_target(inspection: str, channel: str) -> str:
    """TUF target path of a channel's shadow."""
    return f"channels/{check_name(inspection, 'inspection')}/{check_name(channel, 'channel')}.shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """Which challenger devices on a channel should run beside their engine.

    Attributes:
        version: The model version in the registry.
        share: Of the frames, 0 to 1; 0 is stopped.
        cpu_share: Most of a core's time that it may take.
        cohort: Which devices, by the same stable share as a rollout.
        salt: Hashed with a device's name; another one for each shadow, and what its counts belong to.
        expires_at: It ends by itself then.
    """

    inspection: str
    channel: str
    version: str
    engine: NamedEngine
    share: float
    cpu_share: float
    cohort: Cohort
    salt: str
    expires_at: datetime
    issued_at: datetime

    def runs_on(self, facts: DeviceFacts, now: datetime) -> bool:
        """Whether a device should run it now."""
        provider = self.engine.provider in ("", facts.provider)
        return self.share > 0 and now < self.expires_at and provider and takes(self.cohort, self.salt, facts)

    def to_json(self) -> bytes:
        """Serialise for signing."""
        times = {"expires_at": self.expires_at.isoformat(), "issued_at": self.issued_at.isoformat()}
        return canonical_json({**asdict(self), **times})

    @staticmethod
    def from_json(data: bytes) -> "Shadow":
        """Read and check.

        Raises:
            BadRelease: Not such a document.
        """
        value: Any = read_json(data, _DOCUMENT, BadRelease)
        fields = Fields(value, _DOCUMENT, BadRelease)
        inspection = fields.name("inspection", "inspection")
        return Shadow(
            inspection=inspection,
            channel=fields.name("channel", "channel"),
            version=fields.text("version", most=64),
            engine=read_engine(Fields(fields.raw("engine"), f"{_DOCUMENT}: engine", BadRelease), inspection),
            share=fields.number("share", least=0.0, most=1.0),
            cpu_share=fields.number("cpu_share", least=0.001, most=MOST_CPU_SHARE),
            cohort=read_cohort(Fields(fields.raw("cohort"), f"{_DOCUMENT}: cohort", BadRelease)),
            salt=fields.text("salt", most=256),
            expires_at=fields.time("expires_at"),
            issued_at=fields.time("issued_at"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """What a device tells of a challenger; a part of its heartbeat.

    Attributes:
        salt: Of the document; counts begin anew with another one.
        state: One of `STATES`.
        reason: Why it does not run, if it does not.
        seen: Frames that it answered.
        skipped: Frames drawn for it that it did not answer: it was busy, or its time was used up.
        failed: Frames that it could not answer.
        verdicts: Frames on which its verdict differed; `labels` its class; `far` neither, but its probability.
        pairs: ``ours > theirs`` → frames, of those that differed in class or verdict.
        cpu_seconds: Processor time that it took.
    """

    salt: str
    engine_id: str
    engine_sha256: str
    state: str
    reason: str = ""
    seen: int = 0
    skipped: int = 0
    failed: int = 0
    verdicts: int = 0
    labels: int = 0
    disagreed: int = 0
    far: int = 0
    pairs: Mapping[str, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    @staticmethod
    def read(value: object, error: type[AndonError]) -> "ShadowReport":
        """Read and check a part of a heartbeat.

        Raises:
            AndonError: Of the class `error`.
        """
        fields = Fields(value, "heartbeat: shadow", error)
        state = fields.text("state", most=16)
        if state not in STATES:
            raise fields.wrong("state", state, f"one of {STATES}")
        pairs = fields.counts("pairs")
        if len(pairs) > MOST_PAIRS + 1 or any(len(name) > 140 for name in pairs):
            raise fields.wrong("pairs", sorted(pairs)[:3], f"at most {MOST_PAIRS + 1} pairs of classes")
        return ShadowReport(
            salt=fields.text("salt", most=256),
            engine_id=fields.text("engine_id", most=64),
            engine_sha256=fields.text("engine_sha256", most=64),
            state=state,
            reason=fields.text("reason", most=500),
            pairs=pairs,
            cpu_seconds=fields.number("cpu_seconds", least=0.0),
            **{name: fields.whole(name) for name in _COUNTS},
        )


_COUNTS = ("seen", "skipped", "failed", "verdicts", "labels", "disagreed", "far")
