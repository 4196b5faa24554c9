"""The engine: one signed ONNX file, loaded from bytes, that answers frames."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edge_client.contract.decision import Judge
from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.contract.errors import BadEngine, ConfigError
from edge_client.contract.onnx_check import check_onnx
from edge_client.images import check_frames

_OUTPUTS = ["probabilities", "anomaly", "anomaly_map", "embedding"]
#: ONNX Runtime's execution providers by the names that configurations use.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_MOST = 1e15  # of a number that an engine answers
_RANKS = {"probabilities": 2, "anomaly": 1, "anomaly_map": 3, "embedding": 2}


class EngineOutput(NamedTuple):
    """Answers for N frames.

    Attributes:
        probabilities: float32 [N, K], calibrated, rows sum to 1.
        anomaly: float32 [N]; 0 = like the training data, 1.0 = the alarm threshold.
        anomaly_map: float32 [N, h, w].
        embedding: float32 [N, D], rows of length 1.
    """

    probabilities: NDArray[np.float32]
    anomaly: NDArray[np.float32]
    anomaly_map: NDArray[np.float32]
    embedding: NDArray[np.float32]


class Engine:
    """A loaded engine. Safe to call from several threads.

    Two sessions with several threads each spin against one another, so an engine has one thread unless told otherwise,
    and with more it never spins while idle.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, metadata: EngineMetadata, sha256: str, size_bytes: int
    ) -> None:
        self._session = session
        self.metadata = metadata
        self.judge = Judge(metadata)
        self.sha256 = sha256
        self.size_bytes = size_bytes

    @classmethod
    def from_bytes(cls, data: bytes, *, threads: int = 1, provider: str = "cpu") -> Engine:
        """Check and load an engine.

        Args:
            data: The ONNX file.
            threads: Threads of one call. A one-thread engine answers as many calls at once as there are cores.
            provider: Where it runs: one of `PROVIDERS`. Whether its answers are acceptable, the self-test decides.

        Raises:
            BadEngine: The file is refused (see `onnx_check`) or the runtime can't load it.
            ConfigError: This ONNX Runtime does not have the provider.
        """
        name = _available(provider)
        summary = check_onnx(data)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, threads)
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4  # errors arrive as exceptions
        options.add_session_config_entry("session.load_model_format", "ONNX")  # never ONNX Runtime's own format
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # What a provider cannot run goes to the processor; a provider that cannot start at all is an error.
        providers = [name] if provider == "cpu" else [name, PROVIDERS["cpu"]]
        try:
            session = onnxruntime.InferenceSession(data, sess_options=options, providers=providers)
        except Exception as error:  # the binding raises a dozen unrelated classes
            raise BadEngine(
                f"ONNX Runtime {onnxruntime.__version__} cannot load the engine: {_first_line(error)}"
            ) from error
        if name not in session.get_providers():
            raise ConfigError(
                f"inspection.provider is {provider!r}, and ONNX Runtime fell back to {session.get_providers()[0]}: "
                "install the provider's driver and libraries, or choose 'cpu'"
            )
        engine = cls(session, summary.metadata, hashlib.sha256(data).hexdigest(), len(data))
        engine._check_ranks()
        return engine

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Answer a batch.

        Args:
            frames: uint8 [N, H, W, 3] (or one frame [H, W, 3]), RGB.

        Raises:
            BadImage: The frames are not of that kind.
            BadEngine: The engine failed or answered something that is no number.
        """
        return self.run_checked(check_frames(frames))

    def run_checked(self, batch: NDArray[np.uint8]) -> EngineOutput:
        """Answer a batch that `check_frames` has returned; otherwise like `run`."""
        try:
            answered = self._session.run(_OUTPUTS, {"image": batch})
        except Exception as error:  # as above
            raise BadEngine(
                f"engine {self.metadata.engine_id!r} failed on {len(batch)} frames of {batch.shape[2]} x "
                f"{batch.shape[1]}: "
                f"{_first_line(error)}"
            ) from error
        # ONNX Runtime hands out views of its arena, and a single one keeps all of the arena: the last predictions that
        # are remembered for the operator's cord would hold some ten megabytes of each engine that was exchanged.
        probabilities, anomaly, anomaly_map, embedding = answered
        output = EngineOutput(probabilities.copy(), anomaly.copy(), anomaly_map.copy(), embedding.copy())
        self._check_output(output, len(batch))
        return output

    def _check_output(self, output: EngineOutput, n: int) -> None:
        name, k = self.metadata.engine_id, len(self.metadata.classes)
        if output.probabilities.shape != (n, k) or output.anomaly.shape != (n,) or len(output.embedding) != n:
            raise BadEngine(
                f"engine {name!r} answered probabilities {list(output.probabilities.shape)}, anomaly "
                f"{list(output.anomaly.shape)}, embedding {list(output.embedding.shape)}: expected {n} frames "
                f"and {k} classes"
            )
        # The sum of squares is below a bound iff every number is a number, and none absurdly large.
        few = [*output.probabilities.reshape(-1).tolist(), *output.anomaly.tolist()]
        many = output.embedding.reshape(-1)
        if not sum([x * x for x in few]) + float(many.dot(many)) < _MOST**2:
            wrong = [
                what
                for what in ("probabilities", "anomaly", "embedding")
                if not (np.abs(getattr(output, what)) < _MOST).all()
            ]
            raise BadEngine(
                f"engine {name!r} answered numbers that are not finite, or beyond {_MOST:g}: {', '.join(wrong)}"
            )

    def _check_ranks(self) -> None:
        for output in self._session.get_outputs():
            rank = _RANKS.get(output.name)
            if rank is not None and output.shape is not None and len(output.shape) not in (0, rank):
                raise BadEngine(f"engine output {output.name} has shape {output.shape}: expected {rank} dimensions")


def available_providers() -> list[str]:
    """Return the providers that this ONNX Runtime has, by our names."""
    found = onnxruntime.get_available_providers()
    return [ours for ours, theirs in PROVIDERS.items() if theirs in found]


def _available(provider: str) -> str:
    """Return ONNX Runtime's name of a provider that this installation has."""
    have = available_providers()
    if provider not in have:
        raise ConfigError(
            f"inspection.provider is {provider!r}: this ONNX Runtime has {have}; choose one of them, or install the "
            "onnxruntime package that brings it"
        )
    return PROVIDERS[provider]


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:400]
