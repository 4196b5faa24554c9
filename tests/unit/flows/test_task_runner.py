from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from flows.task_runner import Here, Promise, Shared, embedder_of
from training.embeddings import embed_frames
from training.trunk import Embedded


class Sending:
    """Pickles what it is given, as a cluster does, and is ready in the opposite order."""

    pieces, chunk, sends = 3, 2, True

    def __init__(self) -> None:
        self.under_way = 0
        self.most = 0
        self.names: list[str] = []

    def share(self, value: Any) -> Shared[Any]:
        return Shared(pickle.loads(pickle.dumps(value)))

    def start(self, name: str, work: Callable[..., Any], *arguments: Any, cores: int = 1) -> Promise[Any]:
        plain = [one.value() if isinstance(one, Shared) else one for one in arguments]
        sent = pickle.dumps((work, plain))
        self.names.append(name)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        runner = self

        class Waiting:
            def result(self) -> Any:
                runner.under_way -= 1
                function, given = pickle.loads(sent)
                return function(*given)

        return Waiting()


class Counting:
    """A trunk that can be pickled: the feature of an image is its length."""

    id = "counting"
    seen_threads: ClassVar[list[int | None]] = []

    def run(self, images: Sequence[bytes], *, threads: int | None = None) -> Embedded:
        Counting.seen_threads.append(threads)
        features = np.array([[len(image)] for image in images], dtype=np.float32)
        return Embedded(features=features, patches=np.zeros((len(images), 1, 1, 1), np.float16))


def parts() -> Iterator[list[bytes]]:
    for start in range(0, 14, 2):
        yield [b"x" * start, b"x" * (start + 1)]


@pytest.mark.parametrize(("runner", "threads"), [(Here(), 4), (Sending(), 1)])
def test_frames_come_back_in_order_with_a_bounded_number_of_pieces_under_way(runner: Any, threads: int) -> None:
    Counting.seen_threads.clear()
    found = list(embedder_of(runner)(Counting(), parts(), 4))  # type: ignore[arg-type]
    assert np.concatenate([one.features for one in found]).ravel().tolist() == list(range(14))
    assert set(Counting.seen_threads) == {threads}
    if isinstance(runner, Sending):
        assert runner.most == 3
        assert runner.names == ["embed 2 frames"] * 7


def test_a_piece_is_computed_here_without_prefect() -> None:
    assert Here().start("add", sum, Here().share([1, 2])).result() == 3
    with pytest.raises(ZeroDivisionError):
        Here().start("divide", divmod, 1, 0)


def test_a_worker_keeps_a_trunk_ready_that_it_gets_again() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Made:
        name: str

        def run(self, images: Sequence[bytes], *, threads: int | None = None) -> Any:
            return self

    first = embed_frames(Made("a"), [], 1)  # type: ignore[arg-type]
    assert embed_frames(Made("a"), [], 1) is first  # type: ignore[arg-type, comparison-overlap]
    assert embed_frames(Made("b"), [], 1) is not first  # type: ignore[arg-type, comparison-overlap]
