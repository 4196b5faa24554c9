"""Engines, the slot they serve from, and what becomes of their answers."""

import threading

import numpy as np
import onnx
import pytest

from edge_client.contract.errors import BadEngine, BadImage, ConfigError
from edge_client.engine import Engine
from edge_client.engine_slot import EngineSlot
from edge_client.prediction import predictions_from
from tests.tiny_engine import tiny_engine

BRIGHT = np.full((20, 30, 3), 200, np.uint8)
DARK = np.full((20, 30, 3), 10, np.uint8)


def test_an_engine_answers_a_frame_and_a_batch_alike() -> None:
    engine = Engine.from_bytes(tiny_engine())
    one, batch = engine.run(BRIGHT), engine.run(np.stack([BRIGHT, DARK]))
    np.testing.assert_allclose(one.probabilities[0], batch.probabilities[0], atol=1e-6)
    assert batch.probabilities.shape == (2, 2)
    np.testing.assert_allclose(np.linalg.norm(batch.embedding, axis=1), 1, atol=1e-5)


def test_predictions_name_the_engine_and_follow_the_decision_rule() -> None:
    engine = Engine.from_bytes(tiny_engine())
    frames = np.stack([BRIGHT, DARK])
    good, bad = predictions_from(
        engine.run(frames), engine, sample_ids=["a" * 32, "b" * 32], latency_ms=1.5, part_ids=["p1", None]
    )
    assert (good.verdict, bad.verdict, bad.label) == ("ok", "defect", "defect")
    assert (good.part_id, good.engine_id, good.engine_sha256) == ("p1", "e1", engine.sha256)
    assert bad.defect_probability == pytest.approx(bad.probabilities["defect"])


def test_an_engine_that_learnt_ok_frames_alone_decides_by_anomaly() -> None:
    engine = Engine.from_bytes(tiny_engine(classes=(("ok", "ok"),)))
    grey = np.full((8, 8, 3), 128, np.uint8)
    verdicts = [
        p.verdict
        for p in predictions_from(engine.run(np.stack([grey, grey * 0])), engine, sample_ids=["", ""], latency_ms=1)
    ]
    assert verdicts == ["ok", "defect"]


@pytest.mark.parametrize(
    ("frame", "because"),
    [
        (BRIGHT.astype(np.float32), "dtype float32"),
        (BRIGHT[..., 0], r"shape \[20, 30\]"),
        (BRIGHT[..., :2], r"shape \[20, 30, 2\]"),
        (BRIGHT[:0], "at least one pixel"),
        (np.broadcast_to(np.uint8(0), (1, 40_000, 10, 3)), "a side"),
        ("a frame", "is a str"),
    ],
)
def test_a_frame_of_the_wrong_kind_is_refused(frame: np.ndarray, because: str) -> None:
    with pytest.raises(BadImage, match=because):
        Engine.from_bytes(tiny_engine()).run(frame)


def test_answers_that_are_no_numbers_are_the_engines_failure() -> None:
    with pytest.raises(BadEngine, match="not finite"):
        Engine.from_bytes(tiny_engine(nan=True)).run(DARK)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize("what", ["probabilities", "anomaly", "embedding"])
def test_each_kind_of_answer_is_looked_at_and_named(what: str, value: float) -> None:
    engine = Engine.from_bytes(tiny_engine())
    output = engine.run(DARK)
    engine._check_output(output, 1)
    getattr(output, what)[..., -1:] = value
    with pytest.raises(BadEngine, match=f"not finite, or beyond 1e\\+15: {what}$"):
        engine._check_output(output, 1)


def test_a_file_that_passes_the_look_but_cannot_be_loaded_is_a_bad_engine() -> None:
    model = onnx.load_from_string(tiny_engine())
    model.graph.node[3].input[1] = "no such tensor"
    with pytest.raises(BadEngine, match="cannot load"):
        Engine.from_bytes(model.SerializeToString())


def test_a_request_keeps_its_engine_through_a_swap_and_the_old_one_drains() -> None:
    old, new = Engine.from_bytes(tiny_engine(engine_id="old")), Engine.from_bytes(tiny_engine(engine_id="new"))
    slot = EngineSlot(old)
    with slot.lease() as first:
        with slot.lease() as second:
            drained = slot.swap(new)
            assert (first, second, slot.engine) == (old, old, new)
            assert not drained.is_set()
        assert not drained.is_set()
        with slot.lease() as third:
            assert third is new
    assert drained.is_set()
    assert slot.swap(old).is_set()
    assert slot.swaps == 2


def test_no_answer_comes_from_a_mixture_of_engines() -> None:
    engines = [Engine.from_bytes(tiny_engine(engine_id=f"e{n}", classes=_classes(n))) for n in (1, 2, 3)]
    slot = EngineSlot(engines[0])
    done, wrong, answered = threading.Event(), [], []

    def work() -> None:
        while not done.is_set():
            output, engine = slot.run(BRIGHT)
            answered.append(1)
            if output.probabilities.shape[1] != len(engine.metadata.classes):
                wrong.append(engine.metadata.engine_id)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for n in range(600):
        slot.swap(engines[n % 3])
    done.set()
    for worker in workers:
        worker.join(10)
    assert wrong == []
    assert answered


def _classes(n: int) -> tuple[tuple[str, str], ...]:
    return (("ok", "ok"), *((f"defect-{i}", "defect") for i in range(n)))


def test_a_provider_that_is_not_there_is_a_matter_of_configuration_not_of_the_engine() -> None:
    for provider in ("tensorrt", "abacus"):
        with pytest.raises(ConfigError, match=rf"inspection.provider is '{provider}': this ONNX Runtime has \['cpu'"):
            Engine.from_bytes(tiny_engine(), provider=provider)
