"""Days without the bucket, shortened: `python -m benchmarks.offline` lives through the whole week."""

import logging
from pathlib import Path
from random import Random

import pytest

from benchmarks.offline import Week, largest_z, live


def test_after_days_offline_everything_uploads_and_the_estimates_hold(fast: Path, caplog: pytest.LogCaptureFixture):
    """Both bounds bind: a window's bytes, and the pool's over all days. The draw is fixed, so that 16 |z| < 4 do not
    fail by chance.
    """
    caplog.set_level(logging.ERROR, "edge_client")
    week = Week(days=3, work_seconds=100, spool_bytes=4_000_000, byte_budget=1_500_000, window_seconds=50.0)
    random = Random(1)
    told = live(week, fast, draw=lambda: 1.0 - random.random())
    assert (told.frames, told.windows) == (3000, 6)
    assert 0.9 * week.spool_bytes < told.most_bytes <= week.spool_bytes
    assert told.attempts >= week.days
    assert 0 < told.uploaded_bytes < 1.05 * week.spool_bytes
    assert largest_z(told) < 4
