"""The heartbeat: what a device says of itself, signed, in ``fleet/<device>/status.json``.

Every device of a fleet sends it some hundred times a day, so it stays small: about a kilobyte. What can grow is cut
before it is sent (`Heartbeat.kept_small`); the whole of it is what `andon-edge status` and `doctor` say on the device.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_client.contract.errors import BadRecord
from edge_client.contract.fields import Fields
from edge_client.contract.quoting import cut
from edge_client.contract.shadow import ShadowReport
from edge_client.contract.signing import sign_payload, verify_payload

SCHEMA = 1
PURPOSE = "heartbeat"
HEALTH = ("ok", "degraded")
MOST_PROBLEMS = 10
MOST_QUARANTINED = 10  # the newest
LONGEST_REASON = 200  # of a problem or a quarantine
LONGEST_OUTCOME = 500  # of what became of the newest release
#: What clients of before do not send.
_OPTIONAL: Mapping[str, Any] = {
    "hardware": "",
    "variant": "",
    "settings_versions": {},
    "campaigns": [],
    "interval_seconds": 0.0,
    "ended": False,
    "software": "",
    "shadow": None,
    "account": "",
    "signs_as": "",
    "recipient": "",
}
OUTCOMES = ("none", "trial", "probation", "confirmed", "quarantined", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What became of the newest release on this device.

    Attributes:
        engine_id: The engine that the channel names; "" before the first.
        engine_sha256: Its digest.
        outcome: One of `OUTCOMES`.
        reason: Why, when it was not confirmed.
    """

    engine_id: str = ""
    engine_sha256: str = ""
    outcome: str = "none"
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """An engine that this device will not try again, and why."""

    engine_sha256: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """One status of one device; `sequence` rises, so that an old one can't replace a newer one."""

    device: str
    site: str
    station: str
    sequence: int
    sent_at: datetime
    client_version: str
    inspection: str
    channel: str
    engine_id: str
    engine_sha256: str
    slot: str  # "factory", "a" or "b"
    health: str  # ok or degraded
    problems: tuple[str, ...] = ()
    frames: int = 0
    requests_lost: int = 0
    latency_ms_p50: float = 0.0
    latency_ms_p99: float = 0.0
    class_counts: Mapping[str, int] = field(default_factory=dict)
    anomaly_mean: float = 0.0
    spool_bytes: int = 0
    spool_limit: int = 0
    spool_windows: int = 0  # windows that wait for upload
    rollout: Rollout = field(default_factory=Rollout)
    metadata_versions: Mapping[str, int] = field(default_factory=dict)
    quarantined: tuple[Quarantined, ...] = ()
    hardware: str = ""  # what kind of machine it is; rollouts may go by it
    variant: str = ""  # which file of its model the device runs: int8, fp32, …
    settings_versions: Mapping[str, int] = field(default_factory=dict)  # signed documents in force → version
    campaigns: tuple[str, ...] = ()  # ids of those that are followed
    interval_seconds: float = 0.0  # the next one comes after so long at the latest; 0: not said
    ended: bool = False  # the client was ended in order: its silence is none
    software: str = ""  # what became of the newest client software here
    shadow: ShadowReport | None = None
    account: str = ""  # access key that it signs requests with
    signs_as: str = ""  # begin of the key that it signs with from its next start on
    recipient: str = ""  # its own age recipient: what the cloud seals to it, it alone can open

    def kept_small(self) -> "Heartbeat":
        """Return what is sent of it: the newest of the lists, in texts that are not too long."""
        problems = tuple(cut(p, most=LONGEST_REASON) for p in self.problems[:MOST_PROBLEMS])
        if (more := len(self.problems) - MOST_PROBLEMS) > 0:
            problems = (*problems[:-1], f"and {more + 1} more: see `andon-edge status` there")
        return replace(
            self,
            problems=problems,
            rollout=replace(self.rollout, reason=cut(self.rollout.reason, most=LONGEST_OUTCOME)),
            quarantined=tuple(
                replace(q, reason=cut(q.reason, most=LONGEST_REASON)) for q in self.quarantined[-MOST_QUARANTINED:]
            ),
            latency_ms_p50=round(self.latency_ms_p50, 3),
            latency_ms_p99=round(self.latency_ms_p99, 3),
        )

    def to_payload(self) -> dict[str, Any]:
        """Return the heartbeat as plain JSON values."""
        return {**asdict(self), "schema": SCHEMA, "sent_at": self.sent_at.isoformat()}

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """Return the signed document that is uploaded."""
        return sign_payload(self.to_payload(), key, purpose=PURPOSE)

    @staticmethod
    def verify(document: bytes, public_key_hex: str) -> "Heartbeat":
        """Read a signed heartbeat.

        Raises:
            BadSignature: Not signed by that device's key.
            BadRecord: Signed, but its content is not acceptable.
        """
        return Heartbeat.from_payload(verify_payload(document, public_key_hex, purpose=PURPOSE))

    @staticmethod
    def from_payload(payload: Mapping[str, Any]) -> "Heartbeat":
        """Read and check what `to_payload` wrote.

        Raises:
            BadRecord: A field is missing, of the wrong type or out of bounds.
        """
        fields = Fields({**_OPTIONAL, **payload}, "heartbeat", BadRecord)
        if fields.whole("schema") != SCHEMA:
            raise fields.wrong("schema", fields.raw("schema"), f"{SCHEMA}; update the cloud side")
        health = fields.text("health")
        if health not in HEALTH:
            raise fields.wrong("health", health, f"one of {HEALTH}")
        return Heartbeat(
            device=fields.name("device", "device"),
            site=fields.name("site", "site"),
            station=fields.name("station", "station"),
            sequence=fields.whole("sequence"),
            sent_at=fields.time("sent_at"),
            client_version=fields.text("client_version", most=64),
            inspection=fields.name("inspection", "inspection"),
            channel=fields.name("channel", "channel"),
            engine_id=fields.text("engine_id", most=64),
            engine_sha256=fields.text("engine_sha256", most=64),
            slot=fields.text("slot", most=16),
            health=health,
            problems=tuple(p[:500] for p in fields.texts("problems", most=50, longest=10_000)),
            frames=fields.whole("frames"),
            requests_lost=fields.whole("requests_lost"),
            latency_ms_p50=fields.number("latency_ms_p50", least=0),
            latency_ms_p99=fields.number("latency_ms_p99", least=0),
            class_counts=fields.counts("class_counts"),
            anomaly_mean=fields.number("anomaly_mean"),
            spool_bytes=fields.whole("spool_bytes"),
            spool_limit=fields.whole("spool_limit"),
            spool_windows=fields.whole("spool_windows"),
            rollout=_rollout(Fields(fields.raw("rollout"), "heartbeat: rollout", BadRecord)),
            metadata_versions=fields.counts("metadata_versions"),
            quarantined=tuple(_quarantined(f) for f in fields.objects("quarantined", most=100)),
            hardware=fields.text("hardware", most=63),
            variant=fields.text("variant", most=32),
            settings_versions=fields.counts("settings_versions"),
            campaigns=fields.names("campaigns", "campaign", most=100),
            interval_seconds=fields.number("interval_seconds", least=0),
            ended=fields.flag("ended"),
            software=fields.text("software", most=600),
            shadow=None if fields.raw("shadow") is None else ShadowReport.read(fields.raw("shadow"), BadRecord),
            account=fields.text("account", most=128),
            signs_as=fields.text("signs_as", most=64),
            recipient=fields.text("recipient", most=128),
        )


def _rollout(fields: Fields) -> Rollout:
    outcome = fields.text("outcome")
    if outcome not in OUTCOMES:
        raise fields.wrong("outcome", outcome, f"one of {OUTCOMES}")
    return Rollout(
        engine_id=fields.text("engine_id", most=64),
        engine_sha256=fields.text("engine_sha256", most=64),
        outcome=outcome,
        reason=fields.text("reason", most=2000),
    )


def _quarantined(fields: Fields) -> Quarantined:
    return Quarantined(engine_sha256=fields.text("engine_sha256", most=64), reason=fields.text("reason", most=2000))
