"""Labelled frames that look alike, known without reading anything twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from data.catalog import Catalog
from data.labels import record_label, undo_label
from data.similar_labelled import SimilarLabelled, VectorSet
from edge_client.contract.errors import NotFound
from tests.unit.data.captured_line import T0, Line


class Embeddings:
    """One vector for each row: its number is its angle in degrees."""

    def __init__(self) -> None:
        self.read = Counter[int]()

    def embedding(self, path: str, row: int) -> NDArray[np.float16] | None:
        self.read[row] += 1
        angle = np.deg2rad(row)
        return np.array([np.cos(angle), np.sin(angle)], dtype=np.float16)

    def space_of(self, inspection: str, engine_id: str | None) -> str:
        return "one"


@pytest.fixture
def samples(line: Line) -> list[str]:
    """Forty frames whose embeddings turn by a degree each."""
    return line.stream(["ok"] * 40, np.ones(40), keep=40)


def label(catalog: Catalog, sample: str, name: str, event_id: str) -> None:
    record_label(catalog, sample_id=sample, classes=[name], who="ann", event_id=event_id, at=T0)


def test_the_nearest_labelled_frames_come_first_and_never_the_frame_itself(
    catalog: Catalog, samples: list[str]
) -> None:
    similar = SimilarLabelled(catalog, Embeddings())
    assert similar.nearest(samples[20]).frames == ()
    for i, name in ((19, "crack"), (20, "ok"), (22, "ok"), (35, "void")):
        label(catalog, samples[i], name, str(i))
    found = similar.nearest(samples[20], 2)
    assert [(one.sample_id, one.classes) for one in found.frames] == [(samples[19], ("crack",)), (samples[22], ("ok",))]
    assert found.frames[0].similarity == pytest.approx(np.cos(np.deg2rad(1)), abs=2e-3)  # half floats
    assert (found.compared, found.unread) == (4, 0)
    with pytest.raises(NotFound):
        similar.nearest("nothing")


def test_labels_that_change_or_are_taken_back_are_followed_and_nothing_is_read_twice(
    catalog: Catalog, samples: list[str]
) -> None:
    lake = Embeddings()
    similar = SimilarLabelled(catalog, lake)
    label(catalog, samples[1], "ok", "1")
    label(catalog, samples[2], "ok", "2")
    similar.nearest(samples[0])
    label(catalog, samples[1], "crack", "3")
    assert [one.classes for one in similar.nearest(samples[0]).frames] == [("crack",), ("ok",)]
    for event in ("3", "1"):
        undo_label(catalog, event_id=f"u{event}", who="ann", at=T0, target=event)
    assert [one.sample_id for one in similar.nearest(samples[0]).frames] == [samples[2]]
    assert lake.read[1] == lake.read[2] == 1
    label(catalog, samples[1], "void", "4")
    assert [one.classes for one in similar.nearest(samples[0]).frames] == [("void",), ("ok",)]


def test_a_request_reads_for_a_bounded_time_and_says_what_is_left(catalog: Catalog, samples: list[str]) -> None:
    def ticks() -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += 0.03

    clock = ticks()
    similar = SimilarLabelled(catalog, Embeddings(), monotonic=lambda: next(clock))
    for i in range(1, 21):
        label(catalog, samples[i], "ok", str(i))
    first = similar.nearest(samples[0])
    assert 0 < first.compared < 20
    assert first.compared + first.unread == 20
    while similar.nearest(samples[0]).unread:
        pass
    assert similar.nearest(samples[0]).compared == 20


def test_a_set_keeps_the_newest_vectors_and_no_more() -> None:
    known = VectorSet.of(2, 3)
    for i in range(5):
        known.put(str(i), np.array([1.0, i], dtype=np.float32))
    assert sorted(known.slots) == ["2", "3", "4"]
    known.drop("3")
    known.drop("3")
    assert [name for name, _ in known.nearest(np.array([0.0, 1.0], dtype=np.float32), 9, but="2")] == ["4"]
