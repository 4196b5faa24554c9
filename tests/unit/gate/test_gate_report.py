from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.errors import NotFound
from tests.unit.gate.two_models import TWO, drawn
from training.gate import Evidence, GatePolicy, judge
from training.gate_report import render

POLICY = GatePolicy(resamples=200)
EVIL = '<script>alert("x")</script>'


def png(sample_id: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (640, 480), (40, 90, 60)).save(out, "PNG")
    return out.getvalue()


def page_of(evidence: Evidence, image_of=png, title: str = "solar-cells version 7") -> str:  # type: ignore[no-untyped-def]
    page = render(judge(evidence, POLICY), evidence, image_of, title=title)
    HTMLParser().feed(page)
    return page


def evidence(classes=TWO) -> Evidence:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    return Evidence(
        classes=classes, field=drawn(rng, 80, 0.5, 1.6, devices=3), golden=drawn(rng, 120, 3.0, 3.0),
        size_bytes=(5_000_000, 5_200_000), latency_ms=(3.1, 3.3),
    )  # fmt: skip


def test_the_page_says_the_decision_and_shows_what_it_rests_on() -> None:
    page = page_of(evidence())
    assert "Promote: the challenger is better" in page
    for part in (
        "average precision of defects",
        "Confusion",
        "Calibration",
        "device line-1",
        "Wrong before, right now",
    ):
        assert part in page
    assert page.count("<svg") == 4
    assert "data:image/jpeg;base64," in page
    assert "5.20 MB" in page


def test_the_page_says_what_the_anomaly_threshold_promises() -> None:
    told = "1.0 is passed by 1 % of ok frames [0.3, 2.4], n = 412"
    assert f"Anomaly score: {told}." in page_of(replace(evidence(), alarms=told))
    assert "Anomaly score" not in page_of(evidence())


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing() -> None:
    page = page_of(evidence())
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(?!data:)(https?:|//)""", page)
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_names_from_outside_are_escaped() -> None:
    evil = (ClassInfo(name=EVIL, kind=Kind.OK), ClassInfo(name='"><img src=x>', kind=Kind.DEFECT))
    page = page_of(evidence(evil), title=EVIL)
    assert EVIL not in page
    assert '"><img src=x>' not in page
    assert "&lt;script&gt;" in page


def test_an_image_that_is_gone_or_damaged_leaves_a_note_in_its_place() -> None:
    def gone(sample_id: str) -> bytes:
        raise NotFound(f"{sample_id} was erased")

    assert "was erased" in page_of(evidence(), gone)
    assert "cannot be shown" in page_of(evidence(), lambda _: b"not an image")


def test_a_first_model_has_a_page_without_a_champion() -> None:
    golden = drawn(np.random.default_rng(1), 120, None, 2.0)
    page = page_of(Evidence(classes=TWO, golden=golden))
    assert "first model of this inspection" in page
    assert "Wrong before" not in page


def test_a_decision_without_any_sample_has_a_page() -> None:
    assert "label 5 more of each of ok, crack" in page_of(Evidence(classes=TWO))
