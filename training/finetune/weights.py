"""A backbone's weights as a file that holds numbers and nothing else: no code is run when it is read."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge_client.contract.errors import BadEngine


def pack_weights(module: nn.Module) -> bytes:
    """Return a module's parameters and buffers as an npz file; the same weights give the same bytes."""
    arrays: dict[str, NDArray[np.generic]] = {
        name: tensor.detach().cpu().contiguous().numpy() for name, tensor in module.state_dict().items()
    }
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub knows no mapping of generic arrays
    return file.getvalue()


def load_weights(module: nn.Module, packed: bytes, *, name: str = "weights") -> None:
    """Put packed weights into a module of the same architecture.

    Raises:
        BadEngine: The file is damaged, or is of another architecture.
    """
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            module.load_state_dict({key: torch.from_numpy(np.array(arrays[key])) for key in arrays.files})
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise BadEngine(
            f"{name}, {len(packed)} bytes, do not fit this backbone ({error}); fine-tune anew without them"
        ) from error
