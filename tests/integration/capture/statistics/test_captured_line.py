"""The same totals through intake, queue, worker and spool: overload and restarts.

|z| below 7 for each of nine totals in two scenes; with so few draws the mean of an estimate has Student's tails: a
correct run lies beyond once in 10^5 (24 degrees of freedom: 4e-7 a total at seven).
"""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.captured_line import CapturedLine, scenes
from benchmarks.sampled_line import judged
from edge_client.spool import Spool

LARGEST_Z = 7.0
RUNS = 25


@pytest.mark.parametrize("name", ["overload", "restart"])
def test_totals_are_unbiased_through_the_whole_of_capture(name: str, fast: Path):
    played = CapturedLine(scenes()[name], fast)
    parts = played.parts()
    seen: list[tuple[int, float, int]] = []

    def look(spool: Spool) -> None:
        seen.append(
            spool.db.execute(
                "SELECT sum(json_extract(tally, '$.frames')), sum(json_extract(tally, '$.weight_total')), "
                "sum(json_extract(tally, '$.overload')) FROM windows"
            ).fetchone()
        )
        assert all(spool.sampler.window_bytes(w) <= played.scene.byte_budget for w in spool.thresholds())
        assert spool.sampler.total_bytes <= played.scene.limit_bytes

    random = np.random.default_rng(5)
    draws = [played.draw((1.0 - random.random(240)).tolist(), look) for _ in range(RUNS)]
    found = judged(draws, parts)
    assert {part: round(v.z, 1) for part, v in found.items() if abs(v.z) > LARGEST_Z} == {}
    # N and Σw of what was committed are counted, not estimated
    assert {frames for frames, _, _ in seen} == {int(parts["frames"].sum())}
    assert all(total == pytest.approx(parts["weight"].sum()) for _, total, _ in seen)
    assert (min(missed for _, _, missed in seen) > 10) is (name == "overload")
