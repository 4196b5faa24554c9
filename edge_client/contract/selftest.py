"""Self-test of an engine: frames and the answers it must give, signed with it.

A device runs it on its own provider before an engine may serve.
"""

import io
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import BadRelease

MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """Frames with expected answers.

    Attributes:
        frames: uint8 [n, H, W, 3], RGB.
        probabilities: float32 [n, K] expected.
        anomaly: float32 [n] expected.
        tolerance: Largest accepted absolute difference of a probability; of an anomaly score ten times as much.
    """

    frames: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    anomaly: NDArray[np.float32]
    tolerance: float

    def pack(self) -> bytes:
        """Serialise (npz, without pickle)."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            frames=self.frames,
            probabilities=self.probabilities.astype(np.float32),
            anomaly=self.anomaly.astype(np.float32),
            tolerance=np.float64(self.tolerance),
        )
        return buffer.getvalue()

    @staticmethod
    def unpack(data: bytes) -> "SelfTest":
        """Read and check.

        Raises:
            BadRelease: Not a self-test, or out of bounds.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                unpacked = sum(info.file_size for info in archive.infolist())
            if len(data) > MAX_BYTES or unpacked > 8 * MAX_BYTES:
                raise BadRelease(f"self-test has {len(data)} bytes, {unpacked} unpacked: too large")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                test = SelfTest(
                    frames=arrays["frames"],
                    probabilities=arrays["probabilities"],
                    anomaly=arrays["anomaly"],
                    tolerance=float(arrays["tolerance"]),
                )
        except BadRelease:
            raise
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError) as error:
            raise BadRelease(f"self-test cannot be read: {error!r}") from error
        frames, n = test.frames, len(test.frames)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or n == 0:
            raise BadRelease(f"self-test frames are {frames.dtype} {frames.shape}: expected uint8 [n, H, W, 3], n > 0")
        if test.probabilities.ndim != 2 or len(test.probabilities) != n or test.anomaly.shape != (n,):
            raise BadRelease(f"self-test answers do not match its {n} frames")
        return test
