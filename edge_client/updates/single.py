"""One process on a state folder at a time, by a file lock that ends with the process however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from edge_client.contract.errors import ConfigError
from edge_client.updates.slots import DamagedSlot, open_plain_folder


class SingleUse:
    """A held lock."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, folder: Path) -> SingleUse:
        """Lock a folder for this process.

        Raises:
            ConfigError: Another process holds it, or the folder is a link.
            OSError: The folder can't be used.
        """
        lock = cls.try_take(folder)
        if lock is None:
            raise ConfigError(
                f"state folder {folder} is in use by another process: one client a device; stop the other "
                "one, or give this "
                "one its own [device] state"
            )
        return lock

    @classmethod
    def try_take(cls, folder: Path) -> SingleUse | None:
        """Lock a folder, or return None when another process holds it.

        Raises:
            ConfigError: The folder is a link.
            OSError: The folder can't be used.
        """
        try:
            opened = open_plain_folder(folder)
            try:
                descriptor = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=opened)
            finally:
                os.close(opened)
        except DamagedSlot as error:
            raise ConfigError(f"state folder {folder} cannot be used: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
