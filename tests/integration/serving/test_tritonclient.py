"""An independent client of the Open Inference Protocol, unmodified, over HTTP and over gRPC."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from benchmarks.served import Served, wait_until
from edge_client.encode import encode_lossless

BRIGHT, DARK = np.full((16, 16, 3), 200, np.uint8), np.full((16, 16, 3), 5, np.uint8)


@pytest.fixture(params=["http", "grpc"])
def triton(request: pytest.FixtureRequest, served: Served) -> Iterator[tuple[Any, Any]]:
    """The module and a client of it."""
    if request.param == "http":
        module, address = tritonclient.http, served.url.removeprefix("http://")
    else:
        module, address = tritonclient.grpc, served.ready["grpc"]
    with module.InferenceServerClient(address) as client:
        yield module, client


def frames(module: Any, *values: np.ndarray, binary: bool = True) -> Any:
    batch = np.stack(values)
    given = module.InferInput("image", list(batch.shape), "UINT8")
    if module is tritonclient.http:
        given.set_data_from_numpy(batch, binary_data=binary)
    else:
        given.set_data_from_numpy(batch)
    return given


def test_health_and_metadata(triton):
    module, client = triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("solar-cells")
    assert client.is_model_ready("solar-cells", "e1")
    assert not client.is_model_ready("solar-cells", "e0")
    as_json = {} if module is tritonclient.http else {"as_json": True}
    assert "binary_tensor_data" in client.get_server_metadata(**as_json)["extensions"]
    model = client.get_model_metadata("solder-joints", **as_json)
    assert (model["name"], model["versions"]) == ("solder-joints", ["e1"])
    assert [i["name"] for i in model["inputs"]] == ["image"]
    index = client.get_model_repository_index(**as_json)
    found = index if isinstance(index, list) else index["models"]
    assert [(m["name"], m["version"], m["state"]) for m in found] == [
        ("solar-cells", "e1", "READY"),
        ("solder-joints", "e1", "READY"),
    ]


def test_a_batch_of_frames_with_all_outputs(triton):
    module, client = triton
    result = client.infer(
        "solar-cells", [frames(module, BRIGHT, DARK)], request_id="r1", parameters={"part_id": "A", "humidity": 0.4}
    )
    assert result.as_numpy("verdict").tolist() == [b"ok", b"defect"]
    assert result.as_numpy("label").tolist() == [b"ok", b"defect"]
    assert result.as_numpy("classes").tolist() == [b"ok", b"defect"]
    probabilities = result.as_numpy("probabilities")
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (2, 2))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(result.as_numpy("defect_probability"), probabilities[:, 1], atol=1e-6)
    assert result.as_numpy("anomaly").shape == (2,)
    assert result.as_numpy("anomaly_map").shape == (2, 2, 2)
    np.testing.assert_allclose(np.linalg.norm(result.as_numpy("embedding"), axis=1), 1.0, atol=1e-4)
    told = result.get_response() if module is tritonclient.http else result.get_response(as_json=True)
    assert (told["id"], told["model_version"]) == ("r1", "e1")
    assert told["parameters"]["sample_ids"]


def test_only_what_is_asked_for_is_answered(triton):
    module, client = triton
    wanted = [module.InferRequestedOutput("verdict"), module.InferRequestedOutput("anomaly")]
    result = client.infer("solder-joints", [frames(module, DARK)], outputs=wanted, model_version="e1")
    assert result.as_numpy("verdict").tolist() == [b"defect"]
    assert result.as_numpy("anomaly").shape == (1,)
    assert result.as_numpy("embedding") is None


def test_encoded_images_and_part_ids_as_bytes(triton):
    module, client = triton
    images = np.array([encode_lossless(f)[0] for f in (DARK, BRIGHT)], dtype=object)
    image = module.InferInput("image", [2], "BYTES")
    image.set_data_from_numpy(images)
    parts = module.InferInput("part_id", [2], "BYTES")
    parts.set_data_from_numpy(np.array([b"P1", b"P2"], dtype=object))
    result = client.infer("solar-cells", [image, parts])
    assert result.as_numpy("verdict").tolist() == [b"defect", b"ok"]


def test_json_tensors_and_compressed_requests(served: Served):
    module = tritonclient.http
    with module.InferenceServerClient(served.url.removeprefix("http://")) as client:
        plain = [module.InferRequestedOutput("probabilities", binary_data=False)]
        result = client.infer("solar-cells", [frames(module, DARK, binary=False)], outputs=plain)
        assert result.as_numpy("probabilities")[0, 1] > 0.9
        for algorithm in ("gzip", "deflate"):
            result = client.infer("solar-cells", [frames(module, DARK)], request_compression_algorithm=algorithm)
            assert result.as_numpy("verdict").tolist() == [b"defect"]


def test_what_cannot_be_answered_is_said(triton):
    module, client = triton
    image = frames(module, BRIGHT)
    flat = module.InferInput("image", [1, 16, 48], "UINT8")
    flat.set_data_from_numpy(BRIGHT.reshape(1, 16, 48))
    real = module.InferInput("image", [1, 16, 16, 3], "FP32")
    real.set_data_from_numpy(BRIGHT[None].astype(np.float32))
    rubbish = module.InferInput("image", [1], "BYTES")
    rubbish.set_data_from_numpy(np.array([b"no image"], dtype=object))
    for inputs, more, words in (
        ([image], {"model_name": "other"}, "there is no model 'other'"),
        ([image], {"model_version": "e0"}, "it runs 'e1'"),
        ([flat], {}, "expected [N, H, W, 3]"),
        ([real], {}, "expected BYTES or UINT8"),
        ([rubbish], {}, "expected PNG, JPEG or WebP"),
        ([image], {"outputs": [module.InferRequestedOutput("score")]}, "'score' is not known"),
        ([image], {"parameters": {"part_id": "x" * 300}}, "at most 256"),
    ):
        with pytest.raises(InferenceServerException) as refused:
            client.infer(**{"model_name": "solar-cells", "inputs": inputs} | more)
        assert words in str(refused.value)


def test_many_at_once_over_grpc(served: Served):
    module = tritonclient.grpc
    with module.InferenceServerClient(served.ready["grpc"]) as client:
        results: list[Any] = []
        for i in range(40):
            client.async_infer(
                "solar-cells",
                [frames(module, DARK if i % 2 else BRIGHT)],
                callback=lambda result, error, i=i: results.append((i, error, result)),
            )
        wait_until(lambda: len(results) == 40, seconds=60, what="forty answers")
    for i, error, result in results:
        assert error is None
        assert result.as_numpy("verdict").tolist() == [b"defect" if i % 2 else b"ok"]
