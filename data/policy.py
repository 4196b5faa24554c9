"""Policy: every number that a plant may want to change, in one readable file.

``policy.toml`` in the home directory holds what differs from the defaults below; a missing file means all
defaults. An unknown section or key is an error that names the known ones, since a misspelt limit that is
silently ignored is worse than none. ``Policy.default_toml()`` is the whole file with its explanations.

The ``[gate]``, ``[learning]`` and ``[input]`` sections are checked here for their form, and for their keys by the gate
(``training/gate.py``) and by training (``training/goal.py``, ``training/input_choice.py``).
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from data.rollouts.stages import parse_stages
from edge_client.contract.errors import ConfigError

_log = logging.getLogger("andon.policy")


def _value(default: Any, doc: str, *, least: float | None = None, most: float | None = None) -> Any:
    return field(default=default, metadata={"doc": doc, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainPolicy:
    """When training starts, and what may follow without a person."""

    min_new_labels: int = _value(20, "labels since the last snapshot before a retrain starts by itself", least=1)
    auto_promote: bool = _value(False, "move the alias `champion` when the gate says promote")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellingPolicy:
    """How many labels are asked for, and of whom."""

    draw_size: int = _value(50, "samples drawn for labelling at a time", least=1)
    budget_share: float = _value(1.0, "labels asked for, at most, as a share of all frames seen", least=0.0, most=1.0)
    lease_seconds: float = _value(120.0, "how long a sample shown to one person is kept from others", least=1)
    second_labeller: bool = _value(False, "ask a second person for samples on the holdout side of the split")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawPolicy:
    """Which samples people are asked to label: what counts how much, against each other. See docs/labelling.md."""

    captured: float = _value(1.0, "how much the device wanted the frame", least=0.0)
    uncertain: float = _value(1.0, "the model's two best answers are near each other", least=0.0)
    novel: float = _value(0.5, "far from everything that is labelled", least=0.0)
    rare: float = _value(1.0, "may be of a class with few labels", least=0.0)
    disagree: float = _value(0.5, "labelled neighbours say something else than the model", least=0.0)
    cover: float = _value(0.5, "few frames look like it", least=0.0)
    audit_share: float = _value(0.3, "part that every frame gets alike: what estimates rest on", least=0.05, most=0.95)
    chosen_share: float = _value(
        0.5, "of the labels asked for, those chosen for what they teach: no estimate rests on them", least=0.0, most=0.9
    )
    near_duplicate: float = _value(
        0.005, "cosine distance up to which one label serves a run; 0: each for itself", least=0.0, most=0.2
    )
    review_share: float = _value(0.2, "of what people see, at most, labels to look at again", least=0.0, most=0.5)
    golden_share: float = _value(
        0.02, "of what people see, samples whose answer is known, to know how sure labels are", least=0.0, most=0.2
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPolicy:
    """Which groups are held out. Changing the salt or a share moves samples between the sides."""

    salt: str = _value("andon", "hashed with the group; new holdouts are drawn by changing it")
    golden_share: float = _value(0.25, "share of factory groups in the golden set", least=0.0, most=0.9)
    holdout_share: float = _value(0.2, "share of field groups held out", least=0.0, most=0.9)
    cross_fit_below: int = _value(
        300, "with fewer labelled field samples none is held out: the gate's evidence is cross-fitted", least=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPolicy:
    """What goes into a training set."""

    max_rows_per_device: int = _value(
        20_000, "field rows of one device in the training side: bounds what a bad device can poison", least=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """How a version reaches a channel's devices, when that goes on and when it stops. See docs/rollout.md."""

    stages: str = _value("1 device, 10%, 50%, 100%", "who gets it when; `approve` before one waits for a person")
    staged_from: int = _value(5, "devices on a channel below which all are served at once", least=0)
    soak_minutes: float = _value(30.0, "a stage runs well so long before the next one begins", least=0.0)
    present_minutes: float = _value(60.0, "a device that was not heard of for so long is not waited for", least=0.1)
    confirm_share: float = _value(0.9, "of a stage's devices, those that must have confirmed", least=0.01, most=1.0)
    min_frames: int = _value(200, "frames under each version before a device is compared", least=1)
    max_quarantined: int = _value(0, "devices that may refuse a version", least=0)
    max_quarantined_share: float = _value(
        0.02, "of many devices, the share that may: a disk fails here and there", least=0.0, most=1.0
    )
    max_class_shift: float = _value(0.1, "change in the share of defects, and of each defect class", least=0.001)
    max_anomaly_shift: float = _value(0.25, "change in the mean anomaly score; 1 is its alarm", least=0.001)
    max_error_share: float = _value(0.01, "more requests lost, as a share", least=0.0001, most=1.0)
    max_latency_ratio: float = _value(2.0, "p99 latency after over before", least=1.0)
    false_stops: float = _value(
        0.01, "chance that these comparisons stop a version that is just within them", least=1e-6, most=0.5
    )
    on_bad: str = _value("revert", "revert: its devices go back; halt: they stay, nobody new gets it")

    def __post_init__(self) -> None:
        """Check what no bound can."""
        parse_stages(self.stages)
        if self.on_bad not in ("revert", "halt"):
            raise ConfigError(f"[rollout] on_bad = {self.on_bad!r}: expected 'revert' or 'halt'")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How much history is kept. See docs/retention.md."""

    frames_days: float = _value(
        0.0, "captured frames that nothing needs are erased after so many days; 0: never", least=0.0
    )

    heartbeats_per_device: int = _value(250, "heartbeats kept, newest first", least=1)
    heartbeat_minutes: float = _value(
        15.0, "one in so many minutes is kept, and each that tells of another engine, health or outcome", least=0.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPolicy:
    """How often devices ask and tell, and when their silence is an alarm. See docs/fleet.md for what it costs."""

    poll_seconds: float = _value(
        300.0, "a newly enrolled device looks for releases so often; an update is seen that late", least=1, most=86_400
    )
    heartbeat_seconds: float = _value(
        300.0, "and tells of itself so often; what changes is told at once", least=1, most=86_400
    )
    silent_after: float = _value(3.0, "intervals without a heartbeat after which a device is silent", least=1.0)
    silent_grace_seconds: float = _value(60.0, "and so many seconds on top, for links that are slow", least=0.0)
    silent_at_most_hours: float = _value(
        24.0, "whatever interval a device says; also for devices that were enrolled and never heard of", least=0.1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestPolicy:
    """How uploads are taken over. See docs/capacity.md."""

    workers: int = _value(2, "windows taken at once, of different devices; about one a core", least=1, most=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaPolicy:
    """What ingest takes over of one device a day (UTC); the rest waits in the inbox."""

    bytes_per_day: int = _value(5_000_000_000, "bytes of shards; 0: no bound", least=0)
    windows_per_day: int = _value(20_000, "windows; 0: no bound", least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPolicy:
    """What counts as drift, and what follows an alarm."""

    watch: bool = _value(True, "look for drift in every watch run")
    reference_days: int = _value(14, "whole days from which is learnt what is usual on a device", least=5)
    false_alarms_per_year: float = _value(1.0, "alarms a year that an inspection may raise by chance", least=0.001)
    on_alarm: str = _value("labels", "nothing; labels: ask for them; retrain: ask, and train on fewer")
    labels: int = _value(50, "labels asked for at an alarm", least=1)
    retrain_after: int = _value(10, "new labels that start a retrain while an alarm with `retrain` is open", least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CausesPolicy:
    """How variables are looked for that go with defects."""

    fdr: float = _value(0.1, "expected share of chance among what is called found, at most", least=0.001, most=0.5)
    shift_hours: float = _value(8.0, "parts are compared with parts of the same so many hours", least=0.1, most=168.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomePolicy:
    """Which outcomes that are reported later count as truth."""

    defect_values: str = _value("failed, fail, defect, rejected, scrapped, nok", "results that mean a defect")
    ok_values: str = _value("passed, pass, ok, good", "results that mean there is none")
    every_part_stages: str = _value(
        "", "stages that together report EVERY part (`end-of-line, scrap`): only they count in estimates"
    )
    least_reported: float = _value(
        0.95,
        "of a window's captured parts, the share that must have been reported before it counts",
        least=0.5,
        most=1.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuePolicy:
    """What things are worth to you: the value page counts in these. An inspection may state its own."""

    currency: str = _value("EUR", "of the prices below")
    escape: float = _value(0.0, "price of a defect that is passed; 0: not stated", least=0.0)
    false_alarm: float = _value(0.0, "price of an ok part that is stopped; 0: not stated", least=0.0)
    label: float = _value(0.0, "price of one label; 0: not stated", least=0.0)
    gigabyte: float = _value(0.0, "price of 1e9 bytes, sent and kept; 0: not stated", least=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """Who gets into the console, and for how long. See docs/access.md."""

    idle_minutes: float = _value(120.0, "a session ends after so long without use", least=1.0, most=10_080.0)
    session_hours: float = _value(12.0, "and after so long in any case: a shift", least=0.1, most=720.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTunePolicy:
    """How `andon retrain --tier finetune` trains the trunk itself, and when that is worth it. See docs/finetune.md."""

    stages: int = _value(12, "last stages of the backbone that learn; 18 is all of the default one", least=1, most=64)
    epochs: int = _value(10, "how often each frame is seen, at most", least=1, most=200)
    rate: float = _value(0.0005, "learning rate of the last stage, at its peak", least=1e-7, most=1.0)
    flips: bool = _value(True, "a mirrored part is judged as the part is")
    quarter_turns: bool = _value(False, "so is one turned by a quarter")
    patience: int = _value(0, "epochs without gain on frames set aside after which training ends; 0: never", least=0)
    worthwhile: float = _value(
        0.01, "gain, by the inspection's measure, that a new trunk must surely exceed", least=0.0
    )
    memory_mb: int = _value(3072, "what the frames may take in memory", least=16)
    threads: int = _value(
        0, "threads that train; 0: one for each core of the machine that retrains. As many, the same weights", least=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelStudioPolicy:
    """A Label Studio server that is kept in step with what waits for labels. See docs/connect.md."""

    url: str = _value("", "its address; empty: none")
    token_file: str = _value("label-studio.token", "file with its access token; relative to the home directory")
    inspections: str = _value("", "which inspections, separated by commas; empty: all")
    most: int = _value(500, "tasks that wait there at a time", least=1)
    bucket_url: str = _value("", "the bucket's address as people's browsers reach it; empty: the cloud's own")
    link_hours: float = _value(48.0, "how long a link to an image holds", least=1.0, most=168.0)
    minutes: float = _value(10.0, "between two runs", least=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyPolicy:
    """Who is told, by webhook or mail, when something wants a person. See docs/connect.md."""

    events: str = _value("decision, drift, silence, rollout, flow", "what is told, separated by commas")
    webhook_url: str = _value("", "address that gets a signed JSON document; empty: none")
    webhook_secret_file: str = _value(
        "keys/webhook.secret", "file with the secret that signs it, relative to the home directory; made if missing"
    )
    mail_to: str = _value("", "addresses, separated by commas; empty: none")
    mail_from: str = _value("andon@localhost", "the sender's address")
    mail_host: str = _value("localhost", "mail server")
    mail_port: int = _value(587, "its port", least=1, most=65_535)
    mail_security: str = _value("starttls", "starttls, tls, or none, which never sends a password")
    mail_user: str = _value("", "user name there; empty: none")
    mail_password_file: str = _value("keys/mail.password", "file with the password, mode 600")
    mail_ca_file: str = _value("", "certificate authority of the mail server, as PEM; empty: the system's")

    def __post_init__(self) -> None:
        """Check what no bound can."""
        if self.mail_security not in ("starttls", "tls", "none"):
            raise ConfigError(f"[notify] mail_security = {self.mail_security!r}: expected 'starttls', 'tls' or 'none'")
        if self.webhook_url and not self.webhook_url.startswith(("https://", "http://")):
            raise ConfigError("[notify] webhook_url: expected https://… or http://…")


GatePolicyValues = Mapping[str, bool | int | float | str]
LearningPolicyValues = Mapping[str, bool | int | float | str]
InputPolicyValues = Mapping[str, bool | int | float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The whole of ``policy.toml``.

    Attributes:
        gate: The ``[gate]`` section as written; ``GatePolicy(**policy.gate)`` checks its keys.
        learning: The ``[learning]`` section as written; ``Goal.from_dict`` checks its keys.
        input: The ``[input]`` section as written; ``InputChoice.from_dict`` checks its keys.
    """

    retrain: RetrainPolicy = field(default_factory=RetrainPolicy)
    labelling: LabellingPolicy = field(default_factory=LabellingPolicy)
    draw: DrawPolicy = field(default_factory=DrawPolicy)
    split: SplitPolicy = field(default_factory=SplitPolicy)
    snapshot: SnapshotPolicy = field(default_factory=SnapshotPolicy)
    rollout: RolloutPolicy = field(default_factory=RolloutPolicy)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    fleet: FleetPolicy = field(default_factory=FleetPolicy)
    ingest: IngestPolicy = field(default_factory=IngestPolicy)
    quota: QuotaPolicy = field(default_factory=QuotaPolicy)
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    causes: CausesPolicy = field(default_factory=CausesPolicy)
    outcomes: OutcomePolicy = field(default_factory=OutcomePolicy)
    finetune: FineTunePolicy = field(default_factory=FineTunePolicy)
    value: ValuePolicy = field(default_factory=ValuePolicy)
    access: AccessPolicy = field(default_factory=AccessPolicy)
    label_studio: LabelStudioPolicy = field(default_factory=LabelStudioPolicy)
    notify: NotifyPolicy = field(default_factory=NotifyPolicy)
    gate: GatePolicyValues = field(default_factory=dict)
    learning: LearningPolicyValues = field(default_factory=dict)
    input: InputPolicyValues = field(default_factory=dict)

    @staticmethod
    def load(path: Path) -> Policy:
        """Read ``policy.toml``; a missing file gives the defaults.

        Raises:
            ConfigError: not TOML, an unknown section or key, or a value of the wrong type or out of range.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Policy()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}); restore it or delete it for defaults") from error
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: is not TOML ({error}); correct it or delete it for defaults") from error
        return Policy.from_mapping(document, str(path))

    @staticmethod
    def from_mapping(document: Mapping[str, Any], where: str = "policy") -> Policy:
        """Check and take over a parsed document; see :meth:`load`."""
        known = {*_SECTIONS, *_FREE_SECTIONS}
        for name, instead in _FORMER_SECTIONS.items():
            if document.get(name):  # an empty one is the heading that an earlier version wrote
                raise ConfigError(f"{where}: section [{name}] is gone: {instead}")
        unknown = sorted(set(document) - known - set(_FORMER_SECTIONS))
        if unknown:
            raise ConfigError(f"{where}: unknown section [{unknown[0]}]; known are {sorted(known)}")
        sections: dict[str, Any] = {
            name: _section(kind, _without_former(name, document[name], where), f"{where} [{name}]")
            for name, kind in _SECTIONS.items()
            if name in document
        }
        for name in _FREE_SECTIONS:
            if name in document:
                sections[name] = _flat(document[name], f"{where} [{name}]")
        return Policy(**sections)

    @staticmethod
    def default_toml() -> str:
        """The defaults as a file, each with its explanation, every value commented out."""
        lines = ["# Andon's policy. Take away the # before a value to change it.", ""]
        for name, kind in _SECTIONS.items():
            lines.append(f"[{name}]  # {(kind.__doc__ or '').strip().rstrip('.')}")
            lines += [f"# {spec.name} = {_toml(spec.default)}  # {spec.metadata['doc']}" for spec in fields(kind)]
            lines.append("")
        for name, doc in _FREE_SECTIONS.items():
            lines += [f"[{name}]  # {doc}; see docs for its keys", ""]
        return "\n".join(lines)


_FORMER_SECTIONS = {"release": "remove it; how a version reaches the devices is stated in [rollout]"}
#: Keys that an earlier version knew: passed over with a word in the log, so that its file is still taken.
_FORMER_KEYS = {("labelling", "coverage_share"): "what is drawn for labelling is stated in [draw]"}
_SECTIONS: dict[str, type[Any]] = {
    "retrain": RetrainPolicy,
    "labelling": LabellingPolicy,
    "draw": DrawPolicy,
    "split": SplitPolicy,
    "snapshot": SnapshotPolicy,
    "rollout": RolloutPolicy,
    "retention": RetentionPolicy,
    "fleet": FleetPolicy,
    "ingest": IngestPolicy,
    "quota": QuotaPolicy,
    "outcomes": OutcomePolicy,
    "causes": CausesPolicy,
    "drift": DriftPolicy,
    "finetune": FineTunePolicy,
    "value": ValuePolicy,
    "access": AccessPolicy,
    "label_studio": LabelStudioPolicy,
    "notify": NotifyPolicy,
}

#: Sections whose keys are checked where they are used, with what they are about.
_FREE_SECTIONS = {
    "gate": "Margins and levels of the gate",
    "learning": "What plans are compared by, and costs or the recall that set the thresholds",
    "input": "What models look at: backbone, side, region, tiles, overlap, views",
}

_T = TypeVar("_T")


def _without_former(section: str, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    for key in value:
        if (section, key) in _FORMER_KEYS:
            _log.warning("%s [%s] %s is passed over: %s", where, section, key, _FORMER_KEYS[section, key])
    return {key: item for key, item in value.items() if (section, key) not in _FORMER_KEYS}


def _section(kind: type[_T], value: Any, where: str) -> _T:
    given = _flat(value, where)
    specs = {spec.name: spec for spec in fields(kind)}  # type: ignore[arg-type]  # a type[_T] of dataclasses
    unknown = sorted(set(given) - set(specs))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {sorted(specs)}")
    return kind(**{name: _checked(specs[name], item, where) for name, item in given.items()})


def _checked(spec: Any, value: Any, where: str) -> Any:
    assert spec.default is not MISSING
    expected = type(spec.default)
    right = isinstance(value, expected) and (expected is bool or not isinstance(value, bool))
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        value, right = float(value), True
    if not right:
        raise ConfigError(f"{where} {spec.name} = {value!r}: expected a {expected.__name__}")
    least, most = spec.metadata["least"], spec.metadata["most"]
    too_low = least is not None and not value >= least  # `not >=` also refuses nan
    too_high = most is not None and not value <= most
    if too_low or too_high:
        bounds = f"at least {least}" if most is None else f"{least} to {most}"
        raise ConfigError(f"{where} {spec.name} = {value!r}: expected {bounds}")
    return value


def _flat(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected a section with keys, found {value!r}")
    for key, item in value.items():
        if not isinstance(item, bool | int | float | str):
            raise ConfigError(f"{where} {key} = {item!r}: expected a number, a text, true or false")
    return dict(value)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
