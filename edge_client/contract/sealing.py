"""Encryption of captured samples to the cloud's public key (age, X25519 recipients).

A device can seal but not open: a stolen device cannot read what it captured.
"""

from pathlib import Path

import pyrage

from edge_client.contract.errors import BadSample, ConfigError
from edge_client.contract.private_files import write_private


def generate_identity(path: Path) -> str:
    """Make an age identity, write it with mode 600, and return its recipient (``age1…``)."""
    identity = pyrage.x25519.Identity.generate()
    write_private(path, (str(identity) + "\n").encode())
    return str(identity.to_public())


def load_identity(path: Path) -> str:
    """Read an identity that `generate_identity` wrote.

    Raises:
        ConfigError: The file is missing or holds something else.
    """
    try:
        text = path.read_text().strip()
        pyrage.x25519.Identity.from_str(text)
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        raise ConfigError(f"{path} cannot be read as an age identity ({error}); restore it from your backup") from error
    return text


def recipient_of(identity: str) -> str:
    """Return the public recipient of an identity."""
    return str(pyrage.x25519.Identity.from_str(identity).to_public())


def seal(plain: bytes, recipient: str) -> bytes:
    """Encrypt to a recipient. Each call gives another ciphertext.

    Raises:
        ConfigError: The recipient is not an age recipient.
    """
    try:
        return bytes(pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(recipient)]))
    except pyrage.RecipientError as error:
        raise ConfigError(f"{recipient!r} is not an age recipient ({error}); expected 'age1…'") from error


def unseal(sealed: bytes, identity: str) -> bytes:
    """Decrypt with an identity.

    Raises:
        BadSample: Not sealed to this identity, or damaged.
    """
    try:
        return bytes(pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(identity)]))
    except pyrage.DecryptError as error:
        raise BadSample(
            f"a sealed sample of {len(sealed)} bytes does not open ({error}): it is damaged or sealed to another key"
        ) from error
