"""A catalog of any size with synthetic rows: what a line would have left there, without the line.

1. A window saw `FRAMES` frames that an engine judged; `KEPT` of them were kept by priority sampling, so weights, u, τ
   and p₁ are what a device would have sent, and its histograms count all frames.
2. Windows are offered to draws in the order of time, `WINDOWS_A_DRAW` at a time; u, p₂ and τ₂ are those of the draw.
   People labelled every draw but the last, which is half labelled; the newest windows are not offered yet.
3. More samples are more windows, as more months would make them: what grows with time grows, what does not stays.
4. Images lie in a few lake files that all samples share: the lake is not what is measured, but all reads are real.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import Connection, insert, text

from data.catalog import Catalog
from data.catalog.models import (
    DrawItemRow,
    DrawRow,
    DriftPointRow,
    DriftWatchRow,
    EventRow,
    LabelEventRow,
    OutcomeRow,
    SampleRow,
    WindowRow,
)
from data.devices import register_device
from data.inspections import create_inspection
from data.lake import Lake, LakeLocation, LakeRow
from data.policy import SplitPolicy
from data.priority_sampling import priority_sample
from data.split import side_of
from edge_client.contract.record import score_histogram
from edge_client.tally import ANOMALY_EDGES, PROBABILITY_EDGES

INSPECTION = "castings"
CLASSES = ("ok", "crack", "void")
DEVICES = 100
FRAMES = 250
KEPT = 25
WINDOWS_A_DRAW = 64
LABELS_A_DRAW = 50
NOT_OFFERED = 32  # newest windows
BEGAN = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
_BETWEEN = timedelta(hours=4)  # two windows of a device
_FACTORY = 1_000
_DEFECTS = 0.02
_IMAGES = 2_048
_WIDTH = 1_280  # of an embedding
_WRITTEN = 4_000  # rows of one statement
_VERDICTS = ("ok", "unsure", "defect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What is in the catalog now."""

    samples: int
    windows: int
    labels: int
    draws: int
    newest: datetime


def fill(catalog: Catalog, lake: Lake, samples: int, *, seed: int = 0) -> Made:
    """Fill an empty catalog.

    Args:
        catalog: The catalog.
        lake: Takes some images.
        samples: How many captured samples, about.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    create_inspection(catalog, INSPECTION, [(c, "ok" if c == "ok" else "defect") for c in CLASSES], at=BEGAN)
    names = [f"line-{i:03d}" for i in range(DEVICES)]
    for i, name in enumerate(names):
        key = hashlib.sha256(name.encode()).hexdigest()
        register_device(catalog, name, f"site-{i % 5}", f"station-{i % 20:02d}", [INSPECTION], key, at=BEGAN)
    places = _images(lake, rng)
    with catalog.engine.connect() as connection:
        if connection.dialect.name == "sqlite":  # else every row reads and writes pages of the indexes anew
            connection.exec_driver_sql("PRAGMA cache_size = -1500000")
        made = _Filling(connection, rng, names, places).run(max(1, samples // KEPT))
        connection.commit()
        connection.invalidate()  # what is measured has a cache of the usual size
    return made


def _images(lake: Lake, rng: np.random.Generator) -> list[tuple[LakeLocation, str]]:
    """Locations of some images, with their SHA-256."""
    centres = rng.normal(size=(16, _WIDTH))
    rows = []
    for i in range(_IMAGES):
        buffer = BytesIO()
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(buffer, "PNG")
        vector = centres[i % len(centres)] + 0.7 * rng.normal(size=_WIDTH)
        rows.append(
            LakeRow(
                sample_id=f"{i:032x}",
                image=buffer.getvalue(),
                media_type="image/png",
                embedding=(vector / np.linalg.norm(vector)).astype(np.float16),
                anomaly_map=rng.random((14, 14)).astype(np.float16),
            )
        )
    lake.note_space(INSPECTION, "engine-1", "space-1")
    found = lake.append(INSPECTION, BEGAN.date(), rows)
    return [(place, hashlib.sha256(row.image).hexdigest()) for place, row in zip(found, rows, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """Samples of windows that wait for a draw."""

    ids: list[str]
    scores: list[float]
    truths: list[str]
    windows: list[tuple[str, int, int]]
    until: datetime


class _Filling:
    def __init__(
        self,
        connection: Connection,
        rng: np.random.Generator,
        devices: list[str],
        places: list[tuple[LakeLocation, str]],
    ) -> None:
        self._connection, self._rng, self._devices, self._places = connection, rng, devices, places
        self._rows: dict[Any, list[dict[str, Any]]] = {}
        self._labels = self._draws = 0
        self._split = SplitPolicy()

    def run(self, windows: int) -> Made:
        self._factory()
        waiting = _Waiting(ids=[], scores=[], truths=[], windows=[], until=BEGAN)
        at = BEGAN
        for number in range(windows):
            at = BEGAN + _BETWEEN * (number / len(self._devices))
            ids, scores, truths, name = self._window(number, at)
            if number >= windows - min(NOT_OFFERED, windows // 4):
                continue
            waiting.ids.extend(ids)
            waiting.scores.extend(scores)
            waiting.truths.extend(truths)
            waiting.windows.append(name)
            last = number == windows - min(NOT_OFFERED, windows // 4) - 1
            if len(waiting.windows) == WINDOWS_A_DRAW or last:
                self._write()
                self._draw(waiting, at, answered=0.5 if last else 1.0)
                waiting = _Waiting(ids=[], scores=[], truths=[], windows=[], until=at)
        self._write()
        self._drift(windows)
        self._write()
        return Made(samples=windows * KEPT, windows=windows, labels=self._labels, draws=self._draws, newest=at)

    def _window(self, number: int, at: datetime) -> tuple[list[str], list[float], list[str], tuple[str, int, int]]:
        rng, device = self._rng, self._devices[number % len(self._devices)]
        window = number // len(self._devices)
        kinds = rng.choice(len(CLASSES), FRAMES, p=[1 - _DEFECTS, _DEFECTS * 0.6, _DEFECTS * 0.4])
        logits = rng.normal(0, 1.0, (FRAMES, 3)) + [2.5, 0.0, 0.0] + 4.0 * np.eye(3)[kinds] * [0, 1, 1]
        odds = np.exp(logits)
        rows = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        bad = rows[:, 1] + rows[:, 2]
        verdicts = np.where(bad >= 0.5, 2, np.where(bad >= 0.3, 1, 0))
        anomaly = np.minimum(3.0, rng.gamma(4.0, 0.1, FRAMES) + bad)
        weights = (1.0 - np.abs(2 * bad - 1)) ** 2 + 0.5 * bad + 0.2
        u = 1.0 - rng.random(FRAMES)
        drawn = priority_sample(weights.tolist(), u.tolist(), KEPT)
        chosen = np.flatnonzero(drawn.drawn)
        station = f"station-{number % len(self._devices) % 20:02d}"
        self._add(
            WindowRow,
            {
                "device": device, "epoch": 1, "window": window, "inspection": INSPECTION,
                "site": f"site-{number % len(self._devices) % 5}", "station": station, "opened_at": at,
                "closed_at": at + timedelta(minutes=5), "engine_ids": ["engine-1"], "frames": FRAMES,
                "weight_total": float(weights.sum()), "threshold": drawn.threshold, "byte_budget": 2_000_000,
                "excluded": 0, "overload": 0,
                "class_counts": _counts(CLASSES, np.argmax(rows, axis=1)),
                "verdict_counts": _counts(_VERDICTS, verdicts), "histograms": _histograms(rows, bad, verdicts, anomaly),
                "runs": [[int(i), 1] for i in chosen], "manifest_entries": KEPT, "manifest_counted": KEPT,
                "manifest_inverse_p": float(np.sum(1 / drawn.p[chosen])), "missing": 0,
                "uploaded_bytes": KEPT * 60_000, "record_sha256": f"{number:064x}",
                "ingested_at": at + timedelta(minutes=6), "draw_id": None,
            },
        )  # fmt: skip
        ids, truths = [], []
        for sequence, i in enumerate(chosen.tolist()):
            ids.append(hashlib.sha256(f"{device}/{window}/{i}".encode()).hexdigest()[:32])
            truths.append(CLASSES[kinds[i]])
            self._sample(ids[-1], device, station, window, sequence, at, rows[i], weights[i], u[i], drawn.p[i],
                         verdicts[i], anomaly[i])  # fmt: skip
        scores = np.maximum(weights[chosen] / drawn.p[chosen], 1e-9)
        return ids, scores.tolist(), truths, (device, 1, window)

    def _sample(
        self, sample_id: str, device: str, station: str, window: int, sequence: int, at: datetime,
        row: NDArray[np.float32], weight: float, u: float, p1: float, verdict: int, anomaly: float,
    ) -> None:  # fmt: skip
        number = window * KEPT + sequence
        place, digest = self._places[number * 7919 % len(self._places)]
        part = f"P-{device}-{number}"
        taken = at + timedelta(seconds=10 * sequence)
        self._add(
            SampleRow,
            {
                "sample_id": sample_id, "inspection": INSPECTION, "origin": "field", "device": device,
                "station": station, "epoch": 1, "window": window, "sequence": number, "image_sha256": digest,
                "lake_path": place.path, "lake_row": place.row, "media_type": "image/png", "image_bytes": 60_000,
                "width": 640, "height": 480, "weight": float(weight), "u": float(u), "p1": float(p1), "counted": True,
                "extra": None, "reasons": {"uncertain": round(float(weight), 4)}, "run": number, "run_length": 1,
                "part_id": part, "group": f"part:{part}",
                "split": side_of(f"part:{part}", inspection=INSPECTION, origin="field", policy=self._split),
                "stage": None, "source_path": None, "captured_at": taken, "ingested_at": at + timedelta(minutes=6),
                "engine_id": "engine-1", "classes": list(CLASSES), "probabilities": [float(p) for p in row],
                "anomaly": float(anomaly), "verdict": _VERDICTS[verdict],
                "context": {"humidity": round(float(self._rng.normal(0.4, 0.05)), 3), "recipe": f"r{number % 4}"},
                "erased_at": None,
            },
        )  # fmt: skip
        if number % 10 == 0:
            self._add(
                OutcomeRow,
                {
                    "event_id": f"o-{sample_id}", "device": device, "inspection": INSPECTION, "part_id": part,
                    "value": "defect" if verdict == 2 else "ok", "stage": "end-of-line",
                    "at": taken + timedelta(hours=2), "ingested_at": taken + timedelta(hours=3),
                },
            )  # fmt: skip
        if number % 1000 == 7:
            self._add(
                EventRow,
                {
                    "event_id": f"e-{sample_id}", "device": device, "inspection": INSPECTION, "kind": "flag",
                    "at": taken, "sample_id": sample_id, "part_id": part, "value": None, "reason": "looks odd",
                    "ingested_at": at + timedelta(minutes=6),
                },
            )  # fmt: skip
            self._say(sample_id, CLASSES[int(np.argmax(row))], "eve", taken + timedelta(hours=1))

    def _draw(self, waiting: _Waiting, at: datetime, *, answered: float) -> None:
        """One draw as `data.draws.draw` records it, and people's answers to it."""
        u = 1.0 - self._rng.random(len(waiting.ids))
        sample = priority_sample(waiting.scores, u.tolist(), LABELS_A_DRAW)
        self._draws += 1
        draw_id = f"{INSPECTION}-{self._draws:06d}"
        self._add(
            DrawRow,
            {
                "id": draw_id, "inspection": INSPECTION, "at": at, "extra": False, "requested": LABELS_A_DRAW,
                "offered": len(waiting.ids), "drawn": int(sample.drawn.sum()), "threshold": sample.threshold,
                "frames": FRAMES * len(waiting.windows), "windows": len(waiting.windows),
            },
        )  # fmt: skip
        self._write()
        for rank, i in enumerate(sample.order.tolist()):
            signals = {"captured": round(float(u[i]), 4), "uncertain": 0.3125, "rare": 0.1203, "novel": 0.4471}
            self._add(
                DrawItemRow,
                {
                    "draw_id": draw_id, "sample_id": waiting.ids[i], "extra": False, "score": waiting.scores[i],
                    "u": float(u[i]), "p2": float(sample.p[i]), "drawn": bool(sample.drawn[i]), "rank": rank,
                    "cluster": None, "why": {"signals": signals, "parts": {"audit": 0.3, "uncertain": 0.7}},
                },
            )  # fmt: skip
            if rank < LABELS_A_DRAW * answered:
                self._answer(waiting.ids[i], waiting.truths[i], at + timedelta(minutes=rank), rank)
        self._write()
        self._connection.execute(
            text(
                'UPDATE windows SET draw_id = :draw WHERE device = :device AND epoch = :epoch AND "window" = :window'
            ),
            [{"draw": draw_id, "device": d, "epoch": e, "window": w} for d, e, w in waiting.windows],
        )  # fmt: skip

    def _answer(self, sample_id: str, truth: str, at: datetime, rank: int) -> None:
        if rank % 40 == 39:
            return self._say(sample_id, "", "ann", at, kind="cannot_tell")
        self._say(sample_id, truth, ("ann", "ben", "cleo")[rank % 3], at)
        if rank % 25 == 0:
            self._say(sample_id, truth if rank else "ok", "dora", at + timedelta(hours=1))
        return None

    def _say(self, sample_id: str, said: str, who: str, at: datetime, *, kind: str = "label") -> None:
        self._labels += kind == "label"
        self._add(
            LabelEventRow,
            {
                "event_id": f"{who}-{sample_id}", "sample_id": sample_id, "inspection": INSPECTION, "kind": kind,
                "classes": [said] if said else [], "who": who, "at": at, "source": "console", "undoes": None,
                "because": None,
            },
        )  # fmt: skip

    def _factory(self) -> None:
        """What the first model was trained on."""
        for i in range(_FACTORY):
            place, digest = self._places[i % len(self._places)]
            group, said = f"factory:{i // 4}", CLASSES[0 if i % 10 else 1 + i // 10 % 2]
            sample_id = hashlib.sha256(f"factory {i}".encode()).hexdigest()[:32]
            row = dict.fromkeys(SampleRow.__table__.columns.keys())
            row |= {
                "sample_id": sample_id, "inspection": INSPECTION, "origin": "factory", "image_sha256": digest,
                "lake_path": place.path, "lake_row": place.row, "media_type": "image/png", "image_bytes": 60_000,
                "counted": False, "reasons": {}, "group": group, "classes": [], "probabilities": [], "context": {},
                "split": side_of(group, inspection=INSPECTION, origin="factory", policy=self._split),
                "source_path": f"archive/{i}.png", "captured_at": BEGAN, "ingested_at": BEGAN,
            }  # fmt: skip
            self._add(SampleRow, row)
            self._say(sample_id, said, "import", BEGAN)

    def _drift(self, windows: int) -> None:
        """A course of drift for each device, as the watch keeps it."""
        for number in range(windows):
            device, window = self._devices[number % len(self._devices)], number // len(self._devices)
            at = BEGAN + _BETWEEN * (number / len(self._devices)) + timedelta(minutes=5)
            for kind in ("pictures", "rates"):
                self._add(
                    DriftPointRow,
                    {
                        "inspection": INSPECTION, "device": device, "kind": kind, "epoch": 1, "window": window,
                        "at": at, "level": float(self._rng.random() * 0.5), "leading": "brightness",
                    },
                )  # fmt: skip
        newest = (windows - 1) // len(self._devices)
        for device in self._devices[:windows]:
            for kind in ("pictures", "rates"):
                self._add(
                    DriftWatchRow,
                    {
                        "inspection": INSPECTION, "device": device, "kind": kind, "since_epoch": 1, "since_window": 0,
                        "seen_epoch": 1, "seen_window": newest, "seen_at": BEGAN + _BETWEEN * newest,
                        "engine_id": "engine-1", "reference": "its first 20 windows", "state": None,
                    },
                )  # fmt: skip

    def _add(self, table: Any, row: dict[str, Any]) -> None:
        self._rows.setdefault(table, []).append(row)
        if len(self._rows[table]) >= _WRITTEN:
            self._write()

    def _write(self) -> None:
        """In the order of the foreign keys."""
        for table in (WindowRow, SampleRow, DrawRow, DrawItemRow, LabelEventRow, OutcomeRow, EventRow, DriftWatchRow,
                      DriftPointRow):  # fmt: skip
            rows = self._rows.pop(table, None)
            if rows:
                self._connection.execute(insert(table), rows)


def _counts(names: tuple[str, ...], at: NDArray[np.int64]) -> dict[str, int]:
    return {name: int(n) for name, n in zip(names, np.bincount(at, minlength=len(names)), strict=True) if n}


def _histograms(
    rows: NDArray[np.float32], bad: NDArray[np.float32], verdicts: NDArray[np.int64], anomaly: NDArray[np.float64]
) -> Mapping[str, Any]:
    """As `edge_client.tally.Tally` counts them."""
    found = {"anomaly": _histogram(ANOMALY_EDGES, anomaly)}
    likeliest = np.where(rows[:, 1] >= rows[:, 2], 1, 2)
    for verdict, kind in _pairs(verdicts, likeliest):
        here = bad[(verdicts == verdict) & (likeliest == kind)]
        found[score_histogram(_VERDICTS[verdict], CLASSES[kind])] = _histogram(PROBABILITY_EDGES, here)
    return found


def _pairs(verdicts: NDArray[np.int64], likeliest: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    for verdict, kind in sorted(set(zip(verdicts.tolist(), likeliest.tolist(), strict=True))):
        yield int(verdict), int(kind)


def _histogram(edges: tuple[float, ...], values: NDArray[Any]) -> dict[str, Any]:
    where = np.searchsorted(np.asarray(edges[1:-1]), values, side="right")
    return {"edges": list(edges), "counts": [int(n) for n in np.bincount(where, minlength=len(edges) - 1)]}
