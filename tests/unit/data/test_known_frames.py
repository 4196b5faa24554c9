from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from data.known_frames import Cell, KnownFrames, likeliest_defect, summed
from edge_client.contract.decision import Judge
from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds
from edge_client.contract.record import read_score_histogram, score_histogram
from edge_client.tally import PROBABILITY_EDGES, Tally

DEFECTS = frozenset({"crack", "void"})
CLASSES = ["ok", "crack", "void"]
METADATA = EngineMetadata(
    engine_id="e", inspection="solder", training_prior=(0.8, 0.1, 0.1), embedding_id="e",
    classes=tuple(ClassInfo(name=name, kind=Kind.DEFECT if name in DEFECTS else Kind.OK) for name in CLASSES),
    thresholds=Thresholds(defect=0.5, unsure_low=0.3, unsure_high=0.5),
)  # fmt: skip


def see(tally: Tally, row: list[float]) -> str:
    """Count a frame as the intake does; returns its verdict."""
    verdict, best, defect = Judge(METADATA).one(row, 0.2)
    tally.see(
        weight=1.0, label=CLASSES[best], verdict=verdict.value, engine_id="e", anomaly=0.2, margin=0.5, run=0,
        defect_probability=defect, likeliest_defect=likeliest_defect(CLASSES, row, DEFECTS),
    )  # fmt: skip
    return verdict.value


def known(tally: Tally, **changes: Any) -> KnownFrames:
    told: dict[str, Any] = {
        "frames": tally.frames, "excluded": 0, "verdict_counts": tally.verdicts, "histograms": tally.histograms(),
    }  # fmt: skip
    return KnownFrames(**{**told, **changes})


def a_window(frames: int, seed: int = 3) -> tuple[Tally, list[tuple[str, list[float]]]]:
    tally = Tally()
    rows = np.random.default_rng(seed).dirichlet([2.0, 0.3, 0.3], frames).astype(np.float32)
    rows[:3] = [[0.9, 0.1, 0.0], [0.7, 0.2, 0.1], [0.5, 0.2, 0.3]]  # on the bins' edges
    # on either side of an edge, in double and in single precision
    rows[3:5] = [[0.8, 0.18255111575126648, 0.01744888350367546], [0.3, 0.6545506715774536, 0.045449331402778625]]
    return tally, [(see(tally, row), row) for row in rows.tolist()]


def test_every_frame_falls_into_the_cell_that_its_device_counted_it_in() -> None:
    tally, seen = a_window(500)
    window = known(Tally.from_json(tally.to_json()))  # as it comes back from the spool
    cells = [window.cell_of(verdict, CLASSES, row, DEFECTS) for verdict, row in seen]
    assert all(cell is not None for cell in cells)
    assert {cell: cells.count(cell) for cell in set(cells)} == dict(window.counts)


def test_a_cells_score_is_near_the_probability_that_it_stands_for() -> None:
    tally, seen = a_window(200)
    window = known(tally)
    for verdict, row in seen:
        cell = window.cell_of(verdict, CLASSES, row, DEFECTS)
        assert cell is not None
        assert abs(cell.score - (row[1] + row[2])) <= 0.05 + 1e-6  # half of the widest bin


def test_windows_together_are_the_sum_of_each_whatever_their_records_tell() -> None:
    windows = [known(a_window(50 + 30 * seed, seed)[0]) for seed in range(4)]
    windows.append(known(a_window(80)[0], histograms={}))  # an older device
    windows.append(known(a_window(80)[0], excluded=2))  # tells nothing
    expected: Counter[Cell] = Counter()
    for window in windows:
        expected.update(window.counts)
    assert summed(windows) == expected
    assert expected.total() == 50 + 80 + 110 + 140 + 80
    assert [window.tells for window in windows] == [True] * 5 + [False]


def test_a_record_of_an_older_device_tells_verdicts() -> None:
    tally, seen = a_window(100)
    old = known(tally, histograms={"anomaly": {"edges": [0, 1], "counts": [100]}})
    assert {cell.score for cell in old.counts} <= {0.0, 0.5, 1.0}
    assert old.counts.total() == 100
    assert old.cell_of(*seen[0][:1], CLASSES, seen[0][1], DEFECTS) == Cell(verdict="ok", likeliest="", score=0.0)


def test_counts_that_do_not_add_up_or_hold_excluded_frames_tell_nothing() -> None:
    tally, seen = a_window(50)
    for window in (
        known(tally, frames=51),
        known(tally, excluded=1),
        known(tally, histograms={}, verdict_counts={"ok": 60, "defect": -10}),
    ):
        assert not window.counts
        assert window.cell_of(seen[0][0], CLASSES, seen[0][1], DEFECTS) is None


def test_a_spool_of_before_the_histograms_is_read() -> None:
    tally, _ = a_window(5)
    text = tally.to_json().replace('"scores"', '"nothing"')
    assert Tally.from_json(text).scores == {}
    assert not [name for name in Tally.from_json(text).histograms() if read_score_histogram(name)]


def test_a_frame_counted_without_a_probability_has_no_histogram() -> None:
    tally = Tally()
    tally.see(weight=1.0, label="ok", verdict="ok", engine_id="e", anomaly=0.2, margin=0.5, run=0)
    assert set(tally.histograms()) == {"anomaly", "margin"}


def test_histograms_are_named_by_verdict_and_class_and_read_back() -> None:
    assert read_score_histogram(score_histogram("unsure", "crack/deep")) == ("unsure", "crack/deep")
    assert read_score_histogram("anomaly") is None
    assert PROBABILITY_EDGES[0] == 0.0
    assert PROBABILITY_EDGES[-1] == 1.0
