"""Files that only their owner may read."""

import os
from pathlib import Path

from edge_client.contract.errors import ConfigError


def write_private(path: Path, data: bytes) -> None:
    """Create `path` with mode 600 and write `data` durably; an existing file is never overwritten.

    Raises:
        ConfigError: The file exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"{path} exists already: a secret is never overwritten; move it away first if a new one is wanted"
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_private(path: Path, data: bytes) -> None:
    """Write a file with mode 600 that is there whole or not at all, after a power cut too; an old one is replaced."""
    beside = path.with_name(f".{path.name}.new")
    with open(
        os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600), "wb"
    ) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
