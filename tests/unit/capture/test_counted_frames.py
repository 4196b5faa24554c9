"""What a window's record counts of all frames is what the cloud finds in those it is sent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from data.known_frames import KnownFrames
from edge_client.contract.engine_metadata import Kind
from edge_client.tally import Tally
from tests.unit.capture.device import noise
from tests.unit.capture.test_capture import ENGINE, Rig


def test_each_frame_is_counted_in_the_cell_that_it_is_found_in(tmp_path: Path):
    rig = Rig(tmp_path)
    predictions = [rig.offer(noise(i)) for i in range(40)]
    rig.capture.pump()
    ((text,),) = rig.spool.db.execute("SELECT tally FROM windows").fetchall()
    tally = Tally.from_json(text)
    window = KnownFrames(frames=tally.frames, excluded=0, verdict_counts=tally.verdicts, histograms=tally.histograms())
    defects = frozenset(c.name for c in ENGINE.metadata.classes if c.kind is Kind.DEFECT)
    cells = [
        window.cell_of(
            p.verdict, list(p.probabilities), [float(np.float32(v)) for v in p.probabilities.values()], defects
        )
        for p in predictions
    ]
    assert window.counts.total() == 40
    assert Counter(cells) == window.counts
    assert all(cell is not None and cell.likeliest in defects for cell in cells)
    assert len(window.counts) > 3
