import json
from pathlib import Path

from infra.rehearsal.page import Picture, Pictures, write_page
from infra.rehearsal.results import Comparison, Figure, HoldoutScore, RateEstimate, Refusal, Report, Round
from infra.rehearsal.table import render_table


def score(value: float) -> HoldoutScore:
    figure = Figure(value=value, low=value - 0.05, high=value + 0.05, n=500)
    return HoldoutScore(average_precision=figure, balanced_accuracy=figure)


def played(number: int, value: float, low: float) -> Round:
    return Round(
        round=number,
        engine_version=str(number + 1),
        frames_seen=200 * number,
        bytes_uploaded_share=0.25,
        labels=20 * number,
        labels_share=0.1,
        score=score(value),
        defect_rate=RateEstimate(value=0.3, low=low, high=0.4, n=20, truth=0.29),
        decision="promote",
        reasons=("better",),
        challenger_version=str(number + 1),
        faults=("<b>the bucket</b> was away",),
    )


REPORT = Report(
    name="solar",
    inspection="solar",
    created_at="2026-01-02T03:04:05+00:00",
    seed=0,
    options={"devices": 3},
    classes=({"name": "ok", "kind": "ok"}, {"name": "cracked", "kind": "defect"}),
    archive={"factory": 800, "streamed": 400, "holdout": 500},
    setup_seconds=120,
    loop_seconds=300,
    before=score(0.5),
    before_version="1",
    rounds=(played(1, 0.7, 0.2), played(2, 0.8, 0.35)),
    random=Comparison(labels=40, score=score(0.72), draws=3),
    all_labels=Comparison(labels=400, score=score(0.85)),
    refused=(Refusal(version="9", sabotaged=True, reasons=("worse by far",), ran_on=()),),
    requests=1000,
    requests_lost=0,
    swaps=6,
    audit={
        "acknowledged": 100,
        "in_catalog": 90,
        "evicted": 9,
        "kept": 1,
        "waiting": 0,
        "quarantined": 0,
        "lost": 0,
        "double": 0,
    },
    faults=("round 1: the bucket was away",),
    addresses={"console": "http://127.0.0.1:1/loop"},
)
NONE = Pictures(mended=[], mended_n=0, worse=[], worse_n=0)


def test_every_measure_in_the_file_has_value_interval_and_n(tmp_path: Path) -> None:
    found = json.loads(REPORT.write(tmp_path).read_text())
    for place in (found["before"], *found["rounds"], found["random"], found["all_labels"]):
        assert set(place["average_precision"]) == {"value", "low", "high", "n"}
    assert set(found["rounds"][0]["defect_rate"]) == {"value", "low", "high", "n", "truth"}


def test_an_interval_that_misses_the_truth_is_counted_as_a_miss() -> None:
    assert REPORT.intervals_that_hold == (1, 2)


def test_the_table_tells_of_the_refused_challenger() -> None:
    table = render_table(REPORT)
    assert "challenger v9 (trained on sabotaged labels; worse by far); no device ever ran it" in table
    assert "0.800 [0.750, 0.850]" in table
    fates = "100: 90 in the catalog, 9 let go by the sampler for heavier ones, 1 still on a device, 0 lost, 0 double"
    assert f"samples that devices acknowledged: {fates}" in table


def test_the_page_escapes_what_it_shows(tmp_path: Path) -> None:
    bad = Picture(image=b"\x89PNG", media_type="image/png", label="<script>", before="ok 0.9", after="x")
    page = write_page(REPORT, Pictures(mended=[bad], mended_n=1, worse=[], worse_n=0), tmp_path).read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;the bucket" in page


def test_a_perfect_score_stays_inside_the_chart(tmp_path: Path) -> None:
    page = write_page(REPORT, NONE, tmp_path).read_text()
    heights = [
        float(text.split('"')[0]) for text in page.split('class="dot" cx="')[1:] for text in [text.split('cy="')[1]]
    ]
    assert all(16 <= height <= 296 for height in heights)
