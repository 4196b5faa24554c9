"""The keys that sign releases, as files.

Each role has its own Ed25519 key. ``root``, ``targets`` and ``engines`` belong to a person: who holds ``engines``
approves what devices may run. ``rollouts``, ``snapshot`` and ``timestamp`` are online: whoever steals them can delay
or reorder approved releases, never install something unapproved. On one machine all lie in one folder (mode 700,
files 600); a careful plant keeps the person's keys elsewhere and mounts them only to approve.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from edge_client.contract.errors import ConfigError
from edge_client.contract.sealing import generate_identity
from edge_client.contract.signing import generate_private_key, load_private_key

PERSONAL_ROLES = ("root", "targets", "engines")
ONLINE_ROLES = ("rollouts", "snapshot", "timestamp")
ROLES = PERSONAL_ROLES + ONLINE_ROLES
RECIPIENT_FILE = "recipient.age"


def create_keys(keys_dir: Path) -> None:
    """Create every key that is missing, and the age identity that opens captured samples. Existing ones are kept."""
    keys_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys_dir.chmod(0o700)
    for role in ROLES:
        if not key_path(keys_dir, role).exists():
            generate_private_key(key_path(keys_dir, role))
    if not (keys_dir / RECIPIENT_FILE).exists():
        generate_identity(keys_dir / RECIPIENT_FILE)


def key_path(keys_dir: Path, role: str) -> Path:
    """Where the private key of a role lies."""
    return keys_dir / f"{role}.pem"


def signer_of(keys_dir: Path, role: str) -> CryptoSigner:
    """Load the signer of a role.

    Raises:
        ConfigError: The key is missing or unreadable.
    """
    path = key_path(keys_dir, role)
    if not path.exists():
        who = (
            "a person's: bring the key to approve" if role in PERSONAL_ROLES else "online: restore it from your backup"
        )
        raise ConfigError(f"key file {path} of the role {role!r} does not exist; the role is {who}")
    return CryptoSigner(load_private_key(path))


def public_key_of(keys_dir: Path, role: str) -> Key:
    """Return the public half of a role's key."""
    return SSlibKey.from_crypto(load_private_key(key_path(keys_dir, role)).public_key())


def loose_permissions(keys_dir: Path) -> Sequence[str]:
    """Name every key file, and the folder, that others than the owner can read."""
    paths = [keys_dir, *sorted(keys_dir.glob("*.pem")), *sorted(keys_dir.glob("*.age"))]
    return [f"{p} has mode {p.stat().st_mode & 0o777:o}" for p in paths if p.exists() and p.stat().st_mode & 0o077]
