"""The keys that sign releases: which roles there are, and their key files.

Each role has its own Ed25519 key. ``root``, ``targets`` and ``engines`` belong to a person: who holds ``engines``
approves what devices may run. ``rollouts``, ``snapshot`` and ``timestamp`` are online: whoever steals them can delay
or reorder approved releases, never install something unapproved.

1. On one machine all lie in one folder (mode 700, files 600); a careful plant keeps the person's keys in another one
   (a stick, a safe), or in a KMS (`flows.releases.keyring`).
2. A key file may be encrypted with a passphrase (PKCS #8). An existing one is never overwritten.
3. Keys are made once: as soon as there is a root, a key that is missing is somewhere else or lost, and a new one in
   its place would sign what nobody accepts. It is brought, or replaced by a rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from edge_client.contract.errors import ConfigError
from edge_client.contract.private_files import write_private
from edge_client.contract.sealing import generate_identity
from edge_client.contract.signing import load_private_key

PERSONAL_ROLES = ("root", "targets", "engines")
ONLINE_ROLES = ("rollouts", "snapshot", "timestamp")
ROLES = PERSONAL_ROLES + ONLINE_ROLES
RECIPIENT_FILE = "recipient.age"
ANCHOR_FILE = "root.json"  # the first root: as soon as it is there, keys are no longer made (rule 3)
_ENCRYPTED = b"ENCRYPTED PRIVATE KEY"
_MOST_BYTES = 1 << 16


class BadPassphrase(ConfigError):
    """A key file does not open with this passphrase."""


def create_keys(keys_dir: Path) -> None:
    """Create every key that is missing, and the age identity that opens captured samples. Existing ones are kept."""
    keys_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys_dir.chmod(0o700)
    if not (keys_dir / ANCHOR_FILE).exists():
        for role in ROLES:
            if not key_path(keys_dir, role).exists():
                write_key(key_path(keys_dir, role), Ed25519PrivateKey.generate())
    if not (keys_dir / RECIPIENT_FILE).exists():
        generate_identity(keys_dir / RECIPIENT_FILE)


def key_path(keys_dir: Path, role: str) -> Path:
    """Where the private key of a role lies."""
    return keys_dir / f"{role}.pem"


def write_key(path: Path, key: Ed25519PrivateKey, passphrase: bytes | None = None) -> None:
    """Write a private key as PEM with mode 600, encrypted if there is a passphrase.

    Raises:
        ConfigError: The file exists.
    """
    how: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    write_private(path, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))


def is_encrypted(path: Path) -> bool:
    """Whether a key file asks for a passphrase."""
    with path.open("rb") as file:
        return _ENCRYPTED in file.read(_MOST_BYTES)


def read_key(path: Path, passphrase: bytes | None = None) -> CryptoSigner:
    """Read a private key file: Ed25519, ECDSA or RSA in PEM.

    Raises:
        BadPassphrase: It is encrypted, and not with this passphrase.
        ConfigError: It can't be read, or holds something else.
    """
    try:
        data = path.read_bytes()
        encrypted = _ENCRYPTED in data
        if encrypted and not passphrase:
            raise BadPassphrase(f"key file {path} is encrypted: give its passphrase")
        key = serialization.load_pem_private_key(data, passphrase if encrypted else None)
        return CryptoSigner(key)
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, ValueError) and passphrase:
            raise BadPassphrase(f"key file {path} does not open with this passphrase") from error
        raise ConfigError(f"key file {path} cannot be read ({error}): expected a private key in PEM") from error


def signer_of(keys_dir: Path, role: str) -> CryptoSigner:
    """Load the signer of a role from its file, whatever the metadata in force says of that key.

    Raises:
        ConfigError: The key is missing or unreadable.
    """
    path = key_path(keys_dir, role)
    if not path.exists():
        raise ConfigError(f"key file {path} of the role {role!r} does not exist; the role is {whose(role)}")
    return CryptoSigner(load_private_key(path))


def public_key_of(keys_dir: Path, role: str) -> Key:
    """Return the public half of a role's key."""
    return SSlibKey.from_crypto(load_private_key(key_path(keys_dir, role)).public_key())


def whose(role: str) -> str:
    """Say whose a role is, and what to do when its key is missing."""
    return "a person's: bring the key to approve" if role in PERSONAL_ROLES else "online: restore it from your backup"


def loose_permissions(keys_dir: Path) -> Sequence[str]:
    """Name every key file, and the folder, that others than the owner can read."""
    paths = [keys_dir, *sorted(keys_dir.glob("*.pem")), *sorted(keys_dir.glob("*.age"))]
    return [f"{p} has mode {p.stat().st_mode & 0o777:o}" for p in paths if p.exists() and p.stat().st_mode & 0o077]
