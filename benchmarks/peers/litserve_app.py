"""LitServe with the benchmark's engine; run by LitServe's own Python.

    python litserve_app.py ENGINE PORT WORKERS FAST

A frame comes as the raw bytes of the body (no base64, no form), the answer is a small JSON object.
"""

import sys
from typing import Annotated, Any

import litserve
import numpy as np
import onnxruntime
from fastapi import Body


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> Any:
        return np.frombuffer(request, np.uint8).reshape(1, 300, 300, 3)

    def predict(self, frame: Any) -> Any:
        return self.session.run(["probabilities", "anomaly"], {"image": frame})

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"probabilities": output[0].tolist(), "anomaly": output[1].tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(), workers_per_device=int(sys.argv[3]), fast_queue=sys.argv[4] == "fast", accelerator="cpu"
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", generate_client_file=False, access_log=False
    )
