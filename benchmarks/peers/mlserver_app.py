"""MLServer's runtime with the benchmark's engine; loaded by MLServer, from the folder that its settings lie in.

Over HTTP MLServer reads JSON alone: a frame comes as base64 in a BYTES tensor, which costs it less than a list of
numbers.
"""

import base64
from typing import Any

import mlserver
import numpy as np
import onnxruntime
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(mlserver.MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data: Any = payload.inputs[0].data[0]
        frame = np.frombuffer(base64.b64decode(data), np.uint8).reshape(1, 300, 300, 3)
        probabilities, anomaly = self.session.run(["probabilities", "anomaly"], {"image": frame})
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output("probabilities", probabilities),
                NumpyCodec.encode_output("anomaly", anomaly),
            ],
        )
