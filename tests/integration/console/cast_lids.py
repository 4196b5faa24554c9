"""Eighteen days of a line that inspects cast lids: three stations, one of them bad, and five versions under the gate.

What each engine says of a frame is drawn from how good it is; capture, draws, labels, estimates, the gate's decisions
and their comparisons are the real ones. Frames are pictures of pressed plates, a few of which stand for all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import numpy as np

from data.catalog.models import SampleRow, WindowRow
from data.decisions import GateDecision, ReleaseEntry, record_decision, record_release
from data.devices import record_heartbeat, register_device
from data.draws import draw
from data.estimates import field_sample
from data.imports import import_samples
from data.inspections import create_inspection
from data.labels import NewLabel, record_labels
from data.priority_sampling import priority_sample
from data.registry_tags import Tag
from data.sources.sample import SourceSample
from data.workspace import Workspace
from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.heartbeat import Rollout as Told
from edge_client.tally import Tally
from tests.integration.console.pressed_plates import plate
from training.comparison import comparison_of
from training.evidence import Evidence, PairedSet
from training.gate import GatePolicy, judge

INSPECTION = "cast-lids"
CLASSES = ("ok", "crack", "hole")
INFOS = (ClassInfo(name="ok", kind=Kind.OK), *(ClassInfo(name=n, kind=Kind.DEFECT) for n in CLASSES[1:]))
DEVICES = {"lid-1": ("east", 0.02), "lid-2": ("north", 0.02), "lid-3": ("west", 0.07)}
DAYS = 18
FRAMES, KEPT, LABELS = 400, 40, 25  # of a device and day
SERVED = {"1": 0, "2": 6, "3": 12}  # version -> the first day on which it serves
#: version -> (how far the engine tells a crack from ok, a hole, how much it shouts)
SKILL = {"1": (4.0, 1.2, 0.9), "2": (4.6, 3.2, 0.4), "3": (5.2, 4.6, 0.2), "4": (2.0, 5.0, 0.6), "5": (6.8, 6.8, -0.4)}
AGAINST = {"1": None, "2": "1", "3": "2", "4": "3", "5": "3"}
LAST = "5"


@dataclass
class Lids:
    """The line; remembers what each captured frame is and what each version says of it."""

    workspace: Workspace
    rng: np.random.Generator
    now: datetime
    truth: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    pictures: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    def day(self, number: int, *, labelled: bool = True) -> None:
        """One window of each device on a day, captured, drawn and labelled; or captured alone."""
        version = max((v for v, first in SERVED.items() if first <= number), key=int)
        at = (self.now - timedelta(days=DAYS - number)).replace(hour=6, minute=0, second=0, microsecond=0)
        with self.workspace.catalog().session() as session:
            for device, (station, rate) in DEVICES.items():
                kinds = self.rng.choice(3, FRAMES, p=[1 - rate, rate * 0.55, rate * 0.45])
                noise = self.rng.normal(0, 1.0, (FRAMES, 3))
                answers = {v: answer_of(v, kinds, noise, self.rng) for v in SKILL}
                self._window(session, device, station, number, at, kinds, answers, version)
        if not labelled:
            return
        catalog = self.workspace.catalog()
        drawn = draw(catalog, INSPECTION, LABELS * len(DEVICES), random=Random(number), at=at + timedelta(hours=9))
        labels = [NewLabel(sample_id=i, classes=[self.truth[i]], event_id=f"lids:{i}") for i in drawn.sample_ids]
        record_labels(catalog, labels, who=("ann", "bob")[number % 2], at=at + timedelta(hours=10), source="console")

    def _window(
        self, session: Any, device: str, station: str, number: int, at: datetime, kinds: Any, answers: Any, version: str
    ) -> None:
        rows = answers[version].astype(np.float32)
        bad = rows[:, 1] + rows[:, 2]
        verdicts = ["defect" if p >= 0.5 else "ok" for p in bad.tolist()]
        weights = (1.0 - np.abs(2 * bad - 1)) ** 2 + 0.4 * bad + 0.15
        kept = priority_sample(weights.tolist(), (1.0 - self.rng.random(FRAMES)).tolist(), KEPT)
        tally = Tally()
        for row, verdict in zip(rows.tolist(), verdicts, strict=True):
            tally.see(
                weight=1.0, label=CLASSES[int(np.argmax(row))], verdict=verdict, engine_id=f"lids-{version}",
                anomaly=0.1, margin=0.5, run=0, defect_probability=float(np.float32(row[1] + row[2])),
                likeliest_defect="crack" if row[1] >= row[2] else "hole",
            )  # fmt: skip
        chosen = np.flatnonzero(kept.drawn).tolist()
        session.add(
            WindowRow(
                device=device, epoch=1, window=number, inspection=INSPECTION, site="foundry", station=station,
                opened_at=at, closed_at=at + timedelta(hours=8), engine_ids=[f"lids-{version}"], frames=FRAMES,
                weight_total=float(weights.sum()), threshold=kept.threshold, byte_budget=1 << 20, excluded=0,
                overload=0, class_counts={}, verdict_counts=dict(tally.verdicts), histograms=tally.histograms(),
                runs=[], manifest_entries=len(chosen), manifest_counted=len(chosen),
                manifest_inverse_p=float(np.sum(1 / kept.p[chosen])), missing=0, uploaded_bytes=32_000 * len(chosen),
                record_sha256="0" * 64, ingested_at=at + timedelta(hours=8, minutes=5),
            )
        )  # fmt: skip
        session.flush()
        for sequence, i in enumerate(chosen):
            label = CLASSES[kinds[i]]
            sample_id = hashlib.sha256(f"{device}/{number}/{i}".encode()).hexdigest()[:32]
            self.truth[sample_id] = label
            self.said[sample_id] = {v: [float(p) for p in answers[v][i]] for v in SKILL}
            path, row = self.pictures[label][i % len(self.pictures[label])]
            session.add(
                SampleRow(
                    sample_id=sample_id, inspection=INSPECTION, origin="field", device=device, station=station,
                    epoch=1, window=number, sequence=number * 100_000 + sequence, image_sha256=sample_id * 2,
                    lake_path=path, lake_row=row, media_type="image/jpeg", image_bytes=30_000 + 40 * (i % 200),
                    width=640, height=480, weight=float(weights[i]), u=1.0, p1=float(kept.p[i]), counted=True,
                    extra=None, reasons={}, run=i, run_length=1, part_id=f"{device}-{number}-{i}",
                    group=f"part:{sample_id}", split="train", captured_at=at + timedelta(seconds=40 * i),
                    ingested_at=at + timedelta(hours=8, minutes=5), engine_id=f"lids-{version}", classes=list(CLASSES),
                    probabilities=[float(p) for p in rows[i]], anomaly=0.1, verdict=verdicts[i], context={},
                )
            )  # fmt: skip

    def evidence(self, version: str, champion: str | None, until: datetime) -> Evidence:
        """What the gate would look at, of what was labelled so far."""
        sample = field_sample(self.workspace.catalog(), INSPECTION, until=until)
        items = sample.samples
        table = {v: np.array([self.said[i.sample_id][v] for i in items], np.float32) for v in SKILL}
        rows = PairedSet(
            ids=np.array([i.sample_id for i in items]),
            labels=np.array([CLASSES.index(i.label[0]) for i in items], np.int64),
            champion=table[champion] if champion else None,
            challenger=table[version],
            weight=np.array([1 / i.p for i in items]),
            device=np.array([i.device for i in items]),
            station=np.array([DEVICES[i.device][0] for i in items]),
            group=np.array([i.sample_id for i in items]),
            captured_at=np.array([i.captured_at.replace(tzinfo=None) for i in items], "datetime64[us]"),
        )
        sizes = (4_550_000 if champion else None, 4_550_000)
        return Evidence(classes=INFOS, field=rows, size_bytes=sizes, latency_ms=(3.1 if champion else None, 3.2))


def answer_of(version: str, kinds: Any, noise: Any, rng: np.random.Generator) -> Any:
    """Probabilities [n, 3]: what makes a frame hard is common to all versions, the rest is each one's own."""
    crack, hole, loud = SKILL[version]
    skill = np.array([[0.0, loud, loud], [-1.0, crack, loud], [-1.0, loud, hole]])
    own = rng.normal(0, 0.6, noise.shape)
    odds = np.exp(np.array([4.2, 0.0, 0.0]) + skill[kinds] + 0.9 * noise + own)
    return odds / odds.sum(axis=1, keepdims=True)


def create_lids(catalog: Any, at: datetime) -> None:
    """The inspection, before anything is known of it."""
    create_inspection(catalog, INSPECTION, [(i.name, i.kind.value) for i in INFOS], at=at)


def build(workspace: Workspace, registry: Any = None, *, now: datetime | None = None, told: bool = True) -> Lids:
    """Put the line into a home; with a registry the versions are there, too, and version 3 is the champion.

    With ``told=False`` its devices are there already and tell of themselves.
    """
    now = now or datetime.now(UTC)
    catalog = workspace.catalog()
    begun = now - timedelta(days=DAYS + 1)
    if told:
        create_lids(catalog, begun)
    for name, (station, _) in DEVICES.items() if told else ():
        register_device(catalog, name, "foundry", station, [INSPECTION], "ab" * 32, at=begun)
        record_heartbeat(catalog, beat(name, station, now), received_at=now)
    lids = Lids(workspace=workspace, rng=np.random.default_rng(5), now=now)
    shown = {"ok": (0, 1, 3), "crack": (2, 7, 12), "hole": (4, 9, 14)}
    factory = [
        SourceSample(image=plate(n, label), media_type="image/jpeg", label=label, path=f"{label}/{n}.jpg")
        for label, numbers in shown.items()
        for n in numbers
    ]
    import_samples(catalog, workspace.lake(), INSPECTION, factory)
    with catalog.reading() as session:
        for row in session.query(SampleRow).filter_by(inspection=INSPECTION):
            lids.pictures.setdefault((row.source_path or "").split("/")[0], []).append((row.lake_path, row.lake_row))
    judged_on = {0: ("1",), 6: ("2",), 12: ("3",), 16: ("4",), 17: ("5",)}
    for number in range(DAYS):
        for version in judged_on.get(number, ()):
            _judge(lids, registry, version, now - timedelta(days=DAYS - number))
        lids.day(number)
    if registry is not None:
        registry.api.set_alias(INSPECTION, "champion", "3")
        registry.api.set_alias(INSPECTION, "challenger", LAST)
    return lids


def _judge(lids: Lids, registry: Any, version: str, at: datetime) -> None:
    champion, catalog = AGAINST[version], lids.workspace.catalog()
    if champion is None:
        told: dict[str, Any] = {
            "answer": "promote",
            "reasons": ["the first model of the inspection"],
            "checks": [],
            "label_more": {},
        }
        comparison = None
    else:
        evidence = lids.evidence(version, champion, at)
        told = judge(evidence, GatePolicy(resamples=200)).to_dict()
        comparison = comparison_of(evidence)
    run_id = f"run-{INSPECTION}-{version}"
    labels = "crack 40, hole 30, ok 900"
    if registry is not None:
        from tests.integration.flows.challengers import register

        made = register(
            registry, INSPECTION, f"lids-{version}", decision=told["answer"],
            gate_report=f"<!doctype html><title>Gate</title><h1>Version {version}</h1><script>alert(1)</script>",
            tags={Tag.DECISION: told["answer"], Tag.REASONS: "\n".join(told["reasons"]), Tag.LABELS: labels},
        )  # fmt: skip
        assert made.number == version
        run_id = made.run_id
    record_decision(
        catalog,
        GateDecision(
            inspection=INSPECTION, version=version, champion_version=champion, run_id=run_id, snapshot_id=None,
            engine_id=f"lids-{version}", at=at, answer=told["answer"], reasons=told["reasons"], checks=told["checks"],
            label_more=told["label_more"], comparison=comparison,
        ),
    )  # fmt: skip
    if version in SERVED:
        record_release(
            catalog,
            ReleaseEntry(
                inspection=INSPECTION, channel="stable", action="release", who="a person", version=version,
                at=at + timedelta(hours=5), engine_id=f"lids-{version}",
            ),
        )  # fmt: skip


def beat(device: str, station: str, at: datetime) -> Heartbeat:
    """A device's heartbeat."""
    return Heartbeat(
        device=device, site="foundry", station=station, sequence=1, sent_at=at, client_version="0.1.0",
        inspection=INSPECTION, channel="stable", engine_id="lids-3", engine_sha256="7" * 64, slot="a", health="ok",
        frames=2_000, latency_ms_p50=3.1, latency_ms_p99=8.9, spool_bytes=120_000, spool_limit=1 << 30,
        rollout=Told(engine_id="lids-3", outcome="confirmed", reason=""),
    )  # fmt: skip
