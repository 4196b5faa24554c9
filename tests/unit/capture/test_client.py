"""The client as an application sees it."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from edge_client import AndonError, BadEngine, BadImage, Client
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import Unavailable
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.sample import EventsBlob, SampleBlob
from edge_client.encode import encode_lossless
from tests.tiny_engine import tiny_engine
from tests.unit.capture.device import Bundle, TroubledBucket, noise

GREY = np.full((16, 16, 3), 200, dtype=np.uint8)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path / "device")


def test_four_lines_inspect_a_frame(bundle: Bundle):
    with Client.from_config(bundle.config) as client:
        prediction = client.predict(GREY, part_id="A-1042", context={"humidity": 0.41})
    assert prediction.verdict == "ok"
    assert prediction.part_id == "A-1042"
    assert prediction.engine_id == "e1"


def test_a_batch_encoded_bytes_and_the_asynchronous_ways_answer_the_same(bundle: Bundle):
    with Client.from_config(bundle.config) as client:
        one = client.predict(GREY)
        batch = client.predict(np.stack([GREY, 255 - GREY]), part_id=["a", "b"])
        encoded = client.predict(encode_lossless(GREY)[0])
        awaited = asyncio.run(client.apredict(GREY, part_id="c"))
        promised = client.submit(GREY, part_id="d").result(timeout=10)
        assert [p.part_id for p in (*batch, awaited, promised)] == ["a", "b", "c", "d"]
        for other in (batch[0], encoded, awaited, promised):
            assert other.probabilities == pytest.approx(one.probabilities, abs=1e-5)
        assert batch[1].verdict == "defect"
        assert client.status()["requests"]["frames"] == 6


def test_the_size_of_the_line_s_frames_is_known_at_the_next_start(bundle: Bundle):
    with Client.from_config(bundle.config) as client:
        client.predict(np.zeros((40, 24, 3), np.uint8))
    with Client.from_config(bundle.config) as client:
        assert client._slot.frame_size == (40, 24)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (GREY.astype(np.float32), "dtype float32"),
        (GREY[..., 0], "shape"),
        (b"\x89PNG\r\n\x1a\nrubbish", "truncated or damaged"),
        (b"BM bitmap", "expected PNG, JPEG or WebP"),
    ],
)
def test_a_frame_that_cannot_be_inspected_is_refused_and_not_lost(bundle: Bundle, frame, words: str):
    with Client.from_config(bundle.config) as client:
        with pytest.raises(BadImage, match=words):
            client.predict(frame)
        requests = client.status()["requests"]
        assert (requests["requests"], requests["refused"], requests["lost"]) == (1, 1, 0)


def test_what_was_captured_flagged_and_reported_arrives(bundle: Bundle):
    with Client.from_config(bundle.config) as client:
        told = [client.predict(noise(i), part_id=f"P{i}") for i in range(5)]
        client.predict(GREY, capture=False)
        assert client.flag(told[2], reason="scratch, model says ok", label="scratch")
        assert client.report_outcome("P3", "failed", stage="end-of-line")
        assert client.flush(seconds=20)
    records = bundle.records()
    assert sum(r.frames for r in records) == 5
    blobs = [b for r in records for b in bundle.blobs(r).values()]
    assert {b.part_id for b in blobs if isinstance(b, SampleBlob)} == {f"P{i}" for i in range(5)}
    events = {e.kind: e for b in blobs if isinstance(b, EventsBlob) for e in b.events}
    assert (events["flag"].sample_id, events["flag"].reason) == (told[2].sample_id, "scratch, model says ok")
    assert (events["outcome"].part_id, events["outcome"].value, events["outcome"].stage) == (
        "P3",
        "failed",
        "end-of-line",
    )


def test_what_could_not_be_sent_is_sent_by_the_next_client(bundle: Bundle):
    bucket = TroubledBucket(DirectoryBucket(bundle.folder / "bucket"))
    bucket.trouble = Unavailable("away")
    with Client.from_config(bundle.config, bucket=bucket) as client:
        for i in range(5):
            client.predict(noise(i))
        client.close(flush_seconds=0.1)
    assert bundle.records() == []
    with Client.from_config(bundle.config) as client:
        assert client.flush(seconds=20)
    (record,) = bundle.records()
    assert record.frames == len(bundle.blobs(record)) == 5


def test_a_heartbeat_says_how_the_device_is(bundle: Bundle):
    with Client.from_config(bundle.config) as client:
        for i in range(3):
            client.predict(noise(i))
    document = (bundle.folder / "bucket" / "fleet" / "line-1" / "status.json").read_bytes()
    first = Heartbeat.verify(document, bundle.public_key)
    assert (first.health, first.slot, first.engine_id, first.frames, first.requests_lost) == (
        "ok",
        "factory",
        "e1",
        3,
        0,
    )
    assert first.ended  # it was closed in order: nobody waits for the next one
    with Client.from_config(bundle.config):
        pass
    document = (bundle.folder / "bucket" / "fleet" / "line-1" / "status.json").read_bytes()
    assert Heartbeat.verify(document, bundle.public_key).sequence > first.sequence


def test_a_spool_that_cannot_be_opened_costs_capture_and_no_answer(bundle: Bundle):
    (bundle.folder / "state").mkdir()
    (bundle.folder / "state" / "spool").write_text("in the way")
    with Client.from_config(bundle.config) as client:
        assert client.predict(GREY).verdict == "ok"
        assert client.status()["health"] == "degraded"
        assert "capture is off" in client.status()["problems"][0]
        assert client.flag(client.predict(GREY)) is False
        json.dumps(client.status())


def test_a_state_folder_that_cannot_be_made_leaves_plain_inference(bundle: Bundle):
    (bundle.folder / "state").write_text("a file in the place of the folder")
    with Client.from_config(bundle.config) as client:
        assert client.predict(GREY).verdict == "ok"
        assert client.status()["health"] == "degraded"


def test_an_error_inside_capture_costs_no_answer(bundle: Bundle):
    class Broken:
        def offer(self, *_):
            raise MemoryError("no room for a copy")

    with Client.from_config(bundle.config) as client:
        loop = client._loop
        working, loop.capture = loop.capture, Broken()
        assert client.predict(GREY).verdict == "ok"
        loop.capture = working
        assert client.status()["requests"]["capture_errors"] == 1


def test_two_clients_on_one_state_folder_are_refused(bundle: Bundle):
    with Client.from_config(bundle.config), pytest.raises(AndonError, match="process"):
        Client.from_config(bundle.config)


@pytest.mark.parametrize("state_is_usable", [True, False])
def test_an_engine_for_another_inspection_is_refused(bundle: Bundle, state_is_usable: bool):
    (bundle.folder / "factory.onnx").write_bytes(tiny_engine(inspection="other"))
    if not state_is_usable:
        (bundle.folder / "state").write_text("in the way")
    with pytest.raises(BadEngine, match="other"):
        Client.from_config(bundle.config)


def test_a_file_that_is_no_engine_is_refused(bundle: Bundle):
    (bundle.folder / "factory.onnx").write_bytes(b"not an engine")
    with pytest.raises(BadEngine):
        Client.from_config(bundle.config)


def test_an_engine_that_fails_on_a_frame_loses_that_request_and_says_so(bundle: Bundle):
    (bundle.folder / "factory.onnx").write_bytes(tiny_engine(nan=True))
    with Client.from_config(bundle.config) as client:
        with pytest.raises(BadEngine, match="not finite"):
            client.predict(np.zeros((16, 16, 3), dtype=np.uint8))
        assert client.predict(GREY).verdict == "ok"
        assert client.status()["requests"]["lost"] == 1


def test_a_frame_that_did_not_change_is_answered_without_the_engine_and_stays_in_the_population(bundle: Bundle):
    text = bundle.config.read_text()
    bundle.config.write_text(
        text.replace("[bucket]", "skip_unchanged = 0.02\n[bucket]").replace("\n\n[bucket]", "\n[bucket]")
    )
    moved = GREY.copy()
    moved[:4, :4] = 0
    with Client.from_config(bundle.config) as client:
        first, second, third = (client.predict(GREY) for _ in range(3))
        other_part = client.predict(GREY, part_id="b")
        changed = client.predict(moved, part_id="b")
        batch = client.predict(np.stack([moved, moved]), part_id="b")
        requests = client.status()["requests"]
        assert client.flush(seconds=20)
    assert [p.repeated for p in (first, second, third, other_part, changed, *batch)] == [
        False,
        True,
        True,
        *[False] * 4,
    ]
    assert (second.verdict, second.probabilities, second.latency_ms) == (first.verdict, first.probabilities, 0.0)
    assert len({first.sample_id, second.sample_id, third.sample_id}) == 3
    assert (requests["frames"], requests["skipped"]) == (7, 2)
    (record,) = bundle.records()
    assert record.frames == 7
    assert sorted(n for _, n in record.runs) == [3, 4]


def test_nothing_is_skipped_unless_it_was_asked_for(bundle: Bundle):
    with Client.from_config(bundle.config) as client:
        assert not any(client.predict(GREY).repeated for _ in range(3))
        assert client.status()["requests"]["skipped"] == 0
