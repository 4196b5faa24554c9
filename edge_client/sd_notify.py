"""Telling systemd how the service is (``Type=notify``): the protocol of sd_notify(3), without its library."""

import os
import socket
from collections.abc import Mapping


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send a state, such as ``READY=1``, ``STOPPING=1`` or ``WATCHDOG=1``.

    Returns:
        True when it was sent; False where no service manager asked for it, or cannot be reached.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
    except OSError:
        return False
    return True


def watchdog_seconds(environment: Mapping[str, str] = os.environ, *, pid: int | None = None) -> float | None:
    """Return within how many seconds each ``WATCHDOG=1`` is expected; None for no watchdog on this process."""
    told = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(pid or os.getpid())) != str(pid or os.getpid()):
        return None
    return int(told) / 1e6 if told.isdigit() and int(told) > 0 else None
