"""Shards: deterministic tar files of sealed blobs.

The same members give the same bytes, so that a repeated put is the same object. Reading trusts nothing: only plain
files with plain names, in bounds.
"""

import io
import tarfile
from collections.abc import Sequence

from edge_client.contract.errors import BadShard


def write_shard(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a tar of (name, sealed blob) in the given order, with no time, owner or mode of this machine in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(_check_member(name))
            info.size = len(data)
            info.mode = 0o600
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read_shard(data: bytes, *, max_members: int = 4096, max_bytes: int = 1 << 30) -> dict[str, bytes]:
    """Return name → sealed blob.

    Raises:
        BadShard: Not a tar, or with links, folders, doubled or unsafe names, or out of bounds.
    """
    if len(data) > max_bytes:
        raise BadShard(f"shard has {len(data)} bytes: at most {max_bytes} are read")
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            while (info := tar.next()) is not None:
                if len(members) >= max_members:
                    raise BadShard(f"shard has more than {max_members} members")
                if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    raise BadShard(f"shard member {info.name!r} is not a plain file: links and folders are refused")
                name = _check_member(info.name)
                if name in members:
                    raise BadShard(f"shard member {name!r} occurs twice")
                file = tar.extractfile(info)
                content = file.read() if file is not None else b""
                if len(content) != info.size:
                    raise BadShard(f"shard member {name!r} ends after {len(content)} of {info.size} bytes")
                members[name] = content
    except (tarfile.TarError, EOFError, ValueError, OverflowError, UnicodeError, OSError) as error:
        raise BadShard(f"shard of {len(data)} bytes is not a readable tar file: {error}") from error
    return members


def _check_member(name: str) -> str:
    plain = set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    if not 0 < len(name) <= 99 or not set(name) <= plain or name.startswith("."):
        raise BadShard(f"shard member name {name!r} is not allowed: expected up to 99 of a-z 0-9 . _ -")
    return name
