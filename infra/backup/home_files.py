"""What of a home directory is kept: one tar of small files, keys and secrets among them. It is sealed, never in clear.

Kept: policy, keys, secrets, the stack's settings, bundles that `enroll` wrote (they hold devices' keys). Not kept:
what a device keeps for itself (`state`): put back, it would give sequence numbers out twice and forget what it sent.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from infra.backup.store import BackupError
from infra.stack.layout import Home

STACK_FILE, SECRETS_FILE = "stack.json", "secrets.json"
ACCOUNTS_FILE = "accounts.json"
_SINGLE = (STACK_FILE, SECRETS_FILE, "policy.toml")
_FOLDERS = ("keys", "devices", "releases")
_NOT_BELOW_DEVICES = "state"
_MOST_BYTES = 4 << 30


def pack_home(home: Home, path: Path, more: Mapping[str, bytes]) -> int:
    """Write the tar to `path`; how many files are in it.

    Args:
        home: The home directory.
        path: A new file.
        more: Name -> content of what comes from elsewhere.
    """
    number = 0
    path.touch(mode=0o600)
    with tarfile.open(path, "w") as tar:
        for file in _files(home.path):
            try:
                data, mode = file.read_bytes(), file.stat().st_mode & 0o777
            except FileNotFoundError:
                continue  # a draft that was renamed meanwhile
            _add(tar, file.relative_to(home.path).as_posix(), data, mode)
            number += 1
        for name, data in more.items():
            _add(tar, name, data, 0o600)
            number += 1
    return number


def unpack_home(path: Path, folder: Path) -> list[str]:
    """Write the files of the tar below `folder`, with their modes; their names.

    Raises:
        BackupError: It holds something that has no place there.
    """
    names = []
    with tarfile.open(path, "r") as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if not member.isreg() or name.is_absolute() or ".." in name.parts or member.size > _MOST_BYTES:
                raise BackupError(f"the backup's home files hold {member.name!r}, which is no plain file of a home")
            stream = tar.extractfile(member)
            assert stream is not None
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = target.with_name(f".{target.name}.restored")
            beside.touch(mode=0o600)
            beside.write_bytes(stream.read())
            beside.chmod(member.mode & 0o700)
            beside.replace(target)
            names.append(name.as_posix())
    return names


def _files(home: Path) -> Iterator[Path]:
    for name in _SINGLE:
        if (home / name).is_file():
            yield home / name
    for folder in _FOLDERS:
        for path in sorted((home / folder).rglob("*")):
            below = path.relative_to(home).parts
            if not path.is_file() or path.is_symlink() or path.name == ".lock":
                continue
            if below[0] == "devices" and _NOT_BELOW_DEVICES in below[1:-1]:
                continue
            yield path


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))
