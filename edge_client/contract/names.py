"""Names, and the keys in the bucket that are made of them.

Names become path segments of object keys, folders and TUF target paths, so one strict rule holds for all of them.
"""

import re

from edge_client.contract.errors import InvalidName
from edge_client.contract.quoting import quoted

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_CLASS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}\Z")
_RECORD_KEY = re.compile(r"inbox/([^/]+)/([0-9]{6,10})-([0-9]{8,12})/window\.json\Z")


def check_name(value: str, what: str) -> str:
    """Return `value` if it may name a device, site, station, inspection or channel.

    Args:
        value: The name to check.
        what: What it names, for the error message, such as ``"device"``.

    Raises:
        InvalidName: Not 1 to 63 characters of ``a-z 0-9 . _ -`` that begin with a letter or digit, or ``..`` inside.
    """
    if not isinstance(value, str) or not _NAME.match(value) or ".." in value:
        raise InvalidName(
            f"{what} name {quoted(value)} is not allowed: expected 1 to 63 characters a-z, 0-9, '.', '_' or '-', "
            f"beginning with a letter or digit and without '..'; choose another {what} name"
        )
    return value


def check_class_name(value: str) -> str:
    """Return `value` if it may name a class; letters of both cases and spaces are allowed.

    Raises:
        InvalidName: The name is not allowed.
    """
    if not isinstance(value, str) or not _CLASS_NAME.match(value) or ".." in value or value != value.rstrip():
        raise InvalidName(
            f"class name {quoted(value)} is not allowed: expected 1 to 63 letters, digits, spaces, '.', '_' or '-', "
            "beginning with a letter or digit, without '..'; rename the class or its folder"
        )
    return value


def window_prefix(device: str, epoch: int, window: int) -> str:
    """Prefix in the bucket of everything that one capture window uploads."""
    return f"inbox/{check_name(device, 'device')}/{epoch:06d}-{window:08d}/"


def shard_key(device: str, epoch: int, window: int, n: int) -> str:
    """Key of shard `n` of a window."""
    return f"{window_prefix(device, epoch, window)}{n}.tar"


def record_key(device: str, epoch: int, window: int) -> str:
    """Key of a window's signed record, which is uploaded last and makes the window count."""
    return f"{window_prefix(device, epoch, window)}window.json"


def parse_record_key(key: str) -> tuple[str, int, int] | None:
    """Return (device, epoch, window) of a record's key, or None for any other key.

    >>> parse_record_key("inbox/line-1/000001-00000007/window.json")
    ('line-1', 1, 7)
    """
    found = _RECORD_KEY.match(key)
    if found is None:
        return None
    try:
        device = check_name(found[1], "device")
    except InvalidName:
        return None
    return device, int(found[2]), int(found[3])


def status_key(device: str) -> str:
    """Key of a device's signed heartbeat."""
    return f"fleet/{check_name(device, 'device')}/status.json"
