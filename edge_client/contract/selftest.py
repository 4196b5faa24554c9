"""Self-test of an engine: frames and the answers it must give, signed with it.

A device runs it on its own provider before an engine may serve. It is a numpy ``.npz`` file without pickles, of four
arrays; only what `SelfTest.pack` writes is read, so that neither numpy's parser of headers (which evaluates Python
literals) nor zip's rarer methods see foreign bytes.
"""

import io
import math
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import BadRelease
from edge_client.contract.parted_zip import pack_parts
from edge_client.contract.quoting import cut, quoted

MAX_BYTES = 64 * 1024 * 1024
_MAX_UNPACKED_BYTES = 8 * MAX_BYTES
_ARRAYS = {"frames": ("|u1", 4), "probabilities": ("<f4", 2), "anomaly": ("<f4", 1), "tolerance": ("<f8", 0)}
_LARGE_ROW_BYTES = 512
_NPY = b"\x93NUMPY\x01\x00"  # format 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
_HEADER = re.compile(
    rb"\{'descr': '([^']{2,4})', 'fortran_order': (True|False), 'shape': "
    rb"\(((?:\d{1,9}, ?){0,4}(?:\d{1,9})?)\), \} *\n\Z"
)


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
        """Serialise (npz, without pickle), frame by frame: self-tests that share frames share those bytes."""
        arrays: dict[str, NDArray[Any]] = {
            "frames": self.frames,
            "probabilities": self.probabilities.astype(np.float32),
            "anomaly": self.anomaly.astype(np.float32),
            "tolerance": np.asarray(self.tolerance, dtype=np.float64),
        }
        return pack_parts([(f"{name}.npy", _parts(array)) for name, array in arrays.items()])

    @staticmethod
    def unpack(data: bytes) -> "SelfTest":
        """Read and check.

        Raises:
            BadRelease: Not a self-test, or out of bounds.
        """
        arrays = {name: _array(name, packed) for name, packed in _members(data).items()}
        test = SelfTest(
            frames=arrays["frames"],
            probabilities=arrays["probabilities"],
            anomaly=arrays["anomaly"],
            tolerance=float(arrays["tolerance"]),
        )
        n = len(test.frames)
        if test.frames.shape[3] != 3 or test.frames.size == 0:
            raise BadRelease(
                f"self-test frames have the shape {test.frames.shape}: expected [n, H, W, 3], none of them 0"
            )
        if len(test.probabilities) != n or len(test.anomaly) != n:
            raise BadRelease(f"self-test answers do not match its {n} frames")
        finite = np.isfinite(test.probabilities).all() and np.isfinite(test.anomaly).all()
        if not finite or not math.isfinite(test.tolerance) or test.tolerance < 0:
            raise BadRelease("self-test answers and tolerance must be finite numbers, the tolerance not below 0")
        return test


def _parts(array: NDArray[Any]) -> list[bytes]:
    """An array as numpy's file, cut behind its header and each of its rows that are large."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array).reshape(array.shape), version=(1, 0))
    data = buffer.getvalue()
    header = len(data) - array.nbytes
    row = array.nbytes // len(array) if array.ndim and len(array) else 0
    step = row if row >= _LARGE_ROW_BYTES else max(1, array.nbytes)
    return [data[:header], *(data[at : at + step] for at in range(header, len(data), step))]


def _members(data: bytes) -> dict[str, bytes]:
    """The four members of the zip, unpacked in bounds."""
    if len(data) > MAX_BYTES:
        raise BadRelease(f"self-test has {len(data)} bytes: at most {MAX_BYTES} are read")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = archive.infolist()
            if sorted(info.filename for info in found) != sorted(f"{name}.npy" for name in _ARRAYS):
                names = quoted([info.filename for info in found], most=200)
                raise BadRelease(f"self-test holds {names}: expected {sorted(_ARRAYS)}, each once")
            if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in found):
                raise BadRelease("self-test is packed by another method than deflate; pack it again")
            unpacked = sum(info.file_size for info in found)
            if unpacked > _MAX_UNPACKED_BYTES:
                raise BadRelease(f"self-test has {unpacked} bytes unpacked: at most {_MAX_UNPACKED_BYTES}")
            return {info.filename.removesuffix(".npy"): archive.read(info) for info in found}
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error) as error:
        # RuntimeError: encrypted, or of a version of zip that is not supported
        raise BadRelease(f"self-test is not a readable npz file: {cut(str(error))}") from error


def _array(name: str, packed: bytes) -> NDArray[Any]:
    """One array of the type and rank that `pack` writes; its shape is held against the bytes that are there."""
    kind, rank = _ARRAYS[name]
    end = 10 + int.from_bytes(packed[8:10], "little")
    header = _HEADER.match(packed[10:end])
    if packed[:8] != _NPY or header is None or header[1] != kind.encode():
        raise BadRelease(
            f"self-test array {name} begins with {quoted(packed[:80], most=120)}: expected numpy's {kind!r}"
        )
    shape = tuple(int(side) for side in re.findall(rb"\d+", header[3]))
    dtype = np.dtype(kind)
    if len(shape) != rank or math.prod(shape) * dtype.itemsize != len(packed) - end:
        raise BadRelease(
            f"self-test array {name} has the shape {shape} in {len(packed) - end} bytes: they do not match"
        )
    values: NDArray[Any] = np.frombuffer(packed, dtype, offset=end)
    return values.reshape(shape[::-1]).T if header[2] == b"True" else values.reshape(shape)
