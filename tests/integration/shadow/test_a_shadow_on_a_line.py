"""A whole client with a challenger in the shadow: the signed document, the trial, the process, the captured frames."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks.served import Line
from edge_client import Client
from edge_client.contract.releases import Cohort, NamedEngine, engine_target, selftest_target
from edge_client.contract.selftest import SelfTest
from edge_client.contract.shadow import Shadow, ShadowReport, shadow_target
from edge_client.engine import Engine
from flows.shadow import stop
from tests.tiny_engine import tiny_engine

NOISE = np.random.default_rng(0)


def frame(level: int) -> np.ndarray:
    """A frame of that brightness, and no frame twice."""
    return np.clip(NOISE.normal(level, 6, (32, 32, 3)), 0, 255).astype(np.uint8)


def start_shadow(line: Line, challenger: bytes) -> None:
    frames = np.stack([frame(level) for level in (20, 140, 230)])
    output = Engine.from_bytes(challenger).run(frames)
    test = SelfTest(frames=frames, probabilities=output.probabilities, anomaly=output.anomaly, tolerance=1e-3)
    line.repository.publish_engine(line.inspection, "e9", challenger, test.pack(), {})
    document = Shadow(
        inspection=line.inspection,
        channel="stable",
        version="9",
        engine=NamedEngine(
            engine_path=engine_target(line.inspection, "e9"),
            engine_sha256=hashlib.sha256(challenger).hexdigest(),
            engine_bytes=len(challenger),
            engine_id="e9",
            selftest_path=selftest_target(line.inspection, "e9"),
        ),
        share=1.0,
        cpu_share=0.5,
        cohort=Cohort(),
        salt="s1",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        issued_at=datetime.now(UTC),
    )
    line.repository.put_document(shadow_target(line.inspection, "stable"), document.to_json())


def report_of(client: Client, true: Callable[[ShadowReport], bool]) -> ShadowReport:
    """Wait until what the heartbeat would tell is so."""
    end = time.monotonic() + 60
    while (report := client.heartbeat().shadow) is None or not true(report):
        assert time.monotonic() < end, (report, client.status()["problems"])
        time.sleep(0.05)
    return report


def test_the_challenger_rests_while_a_frame_of_the_line_is_inspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(tmp_path / "line-1", tiny_engine(engine_id="e1"), capture="byte_budget = 10000000")
    start_shadow(line, tiny_engine(engine_id="e9", bias=6.0))
    with Client.from_config(line.config) as client:
        report_of(client, lambda r: r.state == "runs")
        assert client._shadow is not None
        worker = client._shadow._worker
        assert worker is not None
        monkeypatch.setattr(worker, "_share", 0.0)  # nothing that it does by itself is among what is asked
        asked: list[str] = []
        monkeypatch.setattr(worker.turns, "_hold", lambda: asked.append("hold"))
        monkeypatch.setattr(worker.turns, "_let_go", lambda: asked.append("let go"))
        monkeypatch.setattr(client, "_run", lambda batch, _run=client._run: (asked.append("run"), _run(batch))[1])
        monkeypatch.setattr(worker.turns, "_began_at", time.monotonic())  # it computes, and has not come to its end
        client.predict(frame(220))
        assert asked == ["hold", "run", "let go"]


def test_disagreements_are_counted_and_captured_with_their_reason(tmp_path: Path) -> None:
    line = Line(tmp_path / "line-1", tiny_engine(engine_id="e1"), capture="byte_budget = 10000000")
    start_shadow(line, tiny_engine(engine_id="e9", bias=6.0))  # sees a defect where the other sees none
    with Client.from_config(line.config) as client:
        report_of(client, lambda r: r.state == "runs")
        for i in range(120):  # one in ten is where the two differ
            prediction = client.predict(frame(145 if i % 10 == 0 else 220))
            assert prediction.verdict == "ok"
            assert prediction.engine_id == "e1"  # nobody hears of the challenger
            time.sleep(0.02)
        report = report_of(client, lambda r: r.seen + r.skipped >= 118)
        client._loop.capture.pump()  # type: ignore[union-attr]
        rows = client._loop.spool.db.execute("SELECT reasons FROM entries").fetchall()  # type: ignore[union-attr]
        doubted = [r for (r,) in rows if json.loads(r).get("disagree", 0) > 0.5]  # else the two were close
        assert report.seen > 0
        assert report.pairs.keys() == {"ok > defect"}
        assert report.pairs["ok > defect"] == report.verdicts == report.disagreed
        assert 0 < len(doubted) <= report.disagreed
        stop(line.repository, line.inspection, "stable", datetime.now(UTC))
        report_of(client, lambda r: r.state == "waits")
        assert client._shadow is not None
        assert client._shadow._worker is None
