"""Reading ahead: what is dropped, what waits, and how it ends."""

import os
import threading
import time
from collections.abc import Iterator

import pytest

from edge_client.contract.errors import ConfigError
from edge_client.sources import Frames, SourceFrame, Whose, part_pattern
from edge_client.sources.part_pattern import nobody, stem


def numbered(n: int) -> Iterator[SourceFrame]:
    for i in range(1, n + 1):
        yield SourceFrame(name=f"f#{i}", image=b"")


def until(found, *, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_live_source_drops_the_oldest_and_counts_it():
    frames = Frames("camera", numbered(100), part_of=nobody, live=True, queue_frames=3)
    first = frames.next_frame(10)  # starts the reader
    until(lambda: frames._ended)
    rest = [f.name for f in frames]
    assert len(rest) in (2, 3)
    assert rest == ["f#98", "f#99", "f#100"][-len(rest) :]
    assert first is not None
    told = frames.status()
    assert told["read"] == 100
    assert told["dropped"] == 100 - 1 - len(rest)
    assert told["queued"] == 0


def test_any_other_source_waits_and_loses_nothing():
    frames = Frames("video", numbered(50), part_of=nobody, live=False, queue_frames=2)
    assert frames.next_frame(10) is not None
    until(lambda: frames.status()["queued"] == 2)
    time.sleep(0.05)
    assert frames.read == 3  # it waits
    assert [f.name for f in frames] == [f"f#{i}" for i in range(2, 51)]
    assert frames.dropped == 0
    assert frames.ended


def test_the_account_is_right_at_every_moment():
    frames = Frames("camera", numbered(3000), part_of=nobody, live=True, queue_frames=2)
    delivered = 0
    while not frames.ended:
        if frames.next_frame(5) is not None:
            delivered += 1
        with frames._changed:
            assert frames.read == delivered + frames.dropped + len(frames._queue)
    assert frames.read == 3000


def test_an_error_of_the_source_comes_after_its_frames():
    def breaks() -> Iterator[SourceFrame]:
        yield from numbered(2)
        raise OSError("the cable")

    frames = Frames("video", breaks(), part_of=nobody, live=False)
    assert [frames.next_frame(10).name, frames.next_frame(10).name] == ["f#1", "f#2"]  # type: ignore[union-attr]
    with pytest.raises(OSError, match="the cable"):
        frames.next_frame(10)
    assert frames.next_frame(0) is None
    assert frames.ended


def test_closing_ends_a_reader_that_waits_and_lets_the_source_go():
    let_go = threading.Event()

    def endless() -> Iterator[SourceFrame]:
        try:
            while True:
                yield SourceFrame(name="x", image=b"")
        finally:
            let_go.set()

    with Frames("video", endless(), part_of=nobody, live=False) as frames:
        assert frames.next_frame(10) is not None
    assert let_go.wait(10)
    assert not frames._thread.is_alive()


def test_nothing_is_read_before_anyone_asks():
    frames = Frames("video", numbered(5), part_of=nobody, live=False)
    assert frames.read == 0
    frames.close()
    assert frames.next_frame(0) is None


# --- whose a frame is


def frame(name: str, **more: object) -> SourceFrame:
    return SourceFrame(name=name, image=b"", **more)  # type: ignore[arg-type]


def test_part_and_station_come_from_the_name():
    whose = part_pattern(r"^(?P<station>[a-z]+\d)-(?P<part>[A-Z0-9]+)_")
    assert whose(frame("aoi3-A1042_left.png")) == Whose(part_id="A1042", station="aoi3")
    assert whose(frame("IMG_0001.png")) == Whose()
    assert part_pattern(r"(?P<part>\d+)")(frame("belt.mp4#000012")).part_id == "4"
    named = frame("aoi3-A1042_left.png").of(whose(frame("aoi3-A1042_left.png")))
    assert (named.part_id, named.context) == ("A1042", {"station": "aoi3"})


def test_what_a_frame_knows_already_stays():
    told = frame("x.png", part_id="A", context={"station": "s1"}).of(Whose(part_id="B", station="s2"))
    assert (told.part_id, told.context["station"]) == ("A", "s1")


def test_a_folder_takes_the_stem_and_an_overlong_one_is_cut():
    assert stem(frame("A-17.left.png")).part_id == "A-17.left"
    assert len(stem(frame("a" * 300 + ".png")).part_id or "") == 256


@pytest.mark.parametrize("pattern", ["(", "abc", "(?P<part>a)(?P<lot>b)", "(a)"])
def test_a_pattern_that_names_nothing_is_refused(pattern: str):
    with pytest.raises(ConfigError, match="part pattern"):
        part_pattern(pattern)


def test_a_name_that_is_no_utf_8_gives_a_part_id_that_can_be_stored():
    odd = os.fsdecode(b"A-\xff17.png")
    assert stem(frame(odd)).part_id == "A-?17"
    assert part_pattern(r"(?P<part>.+)\.png")(frame(odd)).part_id == "A-?17"
