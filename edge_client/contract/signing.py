"""Signed documents of the wire: canonical JSON under an Ed25519 signature.

Used for window records and heartbeats. A document is an envelope ``{"payload", "key_id", "signature"}``; the signature
is over the canonical JSON of the payload with the document's purpose in front, so that a heartbeat can't pass as a
record.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge_client.contract.errors import BadSignature, ConfigError
from edge_client.contract.foreign_json import read_json
from edge_client.contract.private_files import write_private

MAX_ENVELOPE_BYTES = 32 * 1024 * 1024  # a window of 100,000 samples is about 25 MB of manifest


def canonical_json(value: Any) -> bytes:
    """Serialise to the one JSON text that stands for a value: sorted keys, no white space, UTF-8, finite numbers.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    b'{"a":[1.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def generate_private_key(path: Path) -> str:
    """Make an Ed25519 key, write it as PEM with mode 600, and return its public half as 64 hex digits."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(path, pem)
    return public_hex(key)


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 key that `generate_private_key` wrote.

    Raises:
        ConfigError: The file is missing or holds something else.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"key file {path} cannot be read ({error}): expected an Ed25519 private key in PEM"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"key file {path} holds a {type(key).__name__}: expected an Ed25519 private key in PEM")
    return key


def public_hex(key: Ed25519PrivateKey) -> str:
    """Return the public half of a key as 64 hex digits."""
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


def sign_payload(payload: Mapping[str, Any], key: Ed25519PrivateKey, *, purpose: str) -> bytes:
    """Return the envelope of a payload, signed for one purpose (``"window"``, ``"heartbeat"``)."""
    signature = key.sign(_message(payload, purpose))
    return canonical_json({"payload": dict(payload), "key_id": public_hex(key)[:16], "signature": signature.hex()})


def verify_payload(envelope: bytes, public_key_hex: str, *, purpose: str) -> dict[str, Any]:
    """Return the payload of an envelope if `public_key_hex` signed it for this purpose.

    Raises:
        BadSignature: Too large, not an envelope, or not signed by that key.
    """
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise BadSignature(f"signed {purpose} has {len(envelope)} bytes: at most {MAX_ENVELOPE_BYTES} are read")
    document = read_json(envelope, f"not a signed {purpose}: it", BadSignature)
    try:
        payload = document["payload"]
        signature = bytes.fromhex(document["signature"])
        if not isinstance(payload, dict):
            raise TypeError("payload is not an object")
    except (ValueError, KeyError, TypeError) as error:
        raise BadSignature(f"not a signed {purpose}: {error}; expected an envelope of payload and signature") from error
    message = _message(payload, purpose)
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key_hex)).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise BadSignature(
            f"the {purpose} is not signed by the key {public_key_hex[:16]}… that is registered for its device: "
            "it was tampered with, or another device wrote it"
        ) from None
    return payload


def _message(payload: Mapping[str, Any], purpose: str) -> bytes:
    return b"andon/" + purpose.encode() + b"\0" + canonical_json(payload)
