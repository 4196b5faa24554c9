import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.contract.onnx_check import check_onnx
from training.anomaly import Scored
from training.export import build_engine
from training.fit import Challenger, FitRequest, Learnt, learn, score_examples
from training.trunk import Trunk


@pytest.fixture(scope="module")
def learnt(request_of_two_classes: FitRequest) -> tuple[Scored, Learnt]:
    scored = score_examples(request_of_two_classes)
    return scored, learn(request_of_two_classes, scored.scores)


def test_the_outputs_are_those_of_the_engine_contract(challenger: Challenger) -> None:
    session = onnxruntime.InferenceSession(challenger.engine, providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [("image", "tensor(uint8)", ["N", "H", "W", 3])]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [
        ("probabilities", "tensor(float)", ["N", 2]),
        ("anomaly", "tensor(float)", ["N"]),
        ("anomaly_map", "tensor(float)", ["N", 8, 8]),
        ("embedding", "tensor(float)", ["N", 8]),
    ]
    for shape in ((1, 5, 900, 3), (5, 64, 64, 3)):
        frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        probabilities, anomaly, where, embedding = session.run(None, {"image": frames})
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(where.reshape(len(where), -1).max(axis=1), anomaly, rtol=1e-4)


def test_the_client_accepts_the_engine(challenger: Challenger) -> None:
    check_onnx(challenger.engine)


def test_head_and_bank_in_the_file_answer_as_they_do_in_numpy(
    challenger: Challenger, learnt: tuple[Scored, Learnt], trunk: Trunk
) -> None:
    scored, parts = learnt
    session = onnxruntime.InferenceSession(challenger.engine, providers=["CPUExecutionProvider"])
    frames = np.random.default_rng(1).integers(0, 256, (6, 50, 50, 3), dtype=np.uint8)
    embedded = trunk.run(list(frames))
    anomaly = scored.bank.score(embedded.patches)
    got_probabilities, got_anomaly = session.run(["probabilities", "anomaly"], {"image": frames})
    np.testing.assert_allclose(got_anomaly, anomaly, rtol=5e-3)  # patches were kept in half precision
    np.testing.assert_allclose(got_probabilities, parts.head.probabilities(embedded.features, got_anomaly), atol=1e-4)


def test_the_file_says_what_it_is(challenger: Challenger) -> None:
    model = onnx.load_model_from_string(challenger.engine)
    properties = {p.key: p.value for p in model.metadata_props}
    assert list(properties) == ["andon"]
    assert EngineMetadata.from_json(properties["andon"]) == challenger.metadata
    assert json.loads(properties["andon"])["embedding_id"] == challenger.metadata.embedding_id


def test_it_is_one_file_that_onnxruntime_alone_can_run(challenger: Challenger, tmp_path: Path) -> None:
    (tmp_path / "engine.onnx").write_bytes(challenger.engine)
    script = (
        "import sys, onnxruntime, numpy\n"
        "s = onnxruntime.InferenceSession('engine.onnx', providers=['CPUExecutionProvider'])\n"
        "print(s.run(['probabilities'], {'image': numpy.zeros((1, 9, 9, 3), numpy.uint8)})[0].shape)\n"
        "assert not {'torch', 'onnx', 'sklearn'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 2)"
    assert [path.name for path in tmp_path.iterdir()] == ["engine.onnx"]


def test_a_head_of_another_width_is_refused_by_name(
    challenger: Challenger, learnt: tuple[Scored, Learnt], trunk: Trunk
) -> None:
    scored, parts = learnt
    narrow = replace(parts.head, raw=replace(parts.head.raw, weights=parts.head.raw.weights[:5]))
    with pytest.raises(ValueError, match=r"head is \[5, 2\]; expected \[16, 2\]"):
        build_engine(trunk, narrow, scored.bank, challenger.metadata)


def test_importing_the_fit_does_not_import_torch() -> None:
    # The exporter is needed once an inspection, Lightning for one loss: a retrain should not wait for them.
    script = "import sys, training.fit; assert not {'torch', 'pytorch_lightning'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
