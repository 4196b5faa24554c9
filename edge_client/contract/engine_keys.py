"""Engines sealed to an inspection's keys, so that who reads the bucket can't take the model.

1. A sealed file is as long as the plain one and is opened at any place: AES-256 in counter mode, under a key of its own
   that is derived from the inspection's key and the plain file's digest. Ranges, resumed downloads and deltas stay as
   they are.
2. What is signed is the plain file: its digest decides, as for any engine. Beside it stands which key opens the object
   and the object's own digest, by which the bucket, mirrors and sticks name it.
3. The keys of an inspection (all that are in use) go to each device sealed to that device's own key (age, by its
   Ed25519 key): nobody else opens them, and a rotation needs no visit.
4. Pieces' digests in the list of chunks are of the plain file: they tell which pieces two engines share, no more.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyrage
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge_client.contract.errors import BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.names import check_name
from edge_client.contract.signing import canonical_json

KEYS_PREFIX = "releases/keys/"
MAX_KEYS_BYTES = 262_144
_KEY_BYTES = 32
_MOST_KEYS = 1000  # as many rotations
_BLOCK = 16
_CUSTOM = "sealed"  # in the facts signed beside a target's digest


def keys_object(inspection: str, device: str) -> str:
    """Key of the object that has an inspection's keys for one device."""
    return f"{KEYS_PREFIX}{check_name(inspection, 'inspection')}/{check_name(device, 'device')}.age"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """How the bucket holds a target.

    Attributes:
        key_id: Which of the inspection's keys opens it.
        sha256: Digest of the sealed bytes.
    """

    key_id: str
    sha256: str

    def to_custom(self) -> dict[str, Any]:
        """The facts to sign beside the plain digest."""
        return {_CUSTOM: {"key": self.key_id, "sha256": self.sha256}}

    @staticmethod
    def from_custom(custom: object) -> Sealing | None:
        """Read such facts; None for a file that lies in the plain.

        Raises:
            BadRelease: They make no sense.
        """
        if not isinstance(custom, Mapping) or _CUSTOM not in custom:
            return None
        fields = Fields(custom[_CUSTOM], "sealing of a target", BadRelease)
        digest = fields.text("sha256", most=64)
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise fields.wrong("sha256", digest, "64 hex digits")
        return Sealing(key_id=fields.name("key", "key"), sha256=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKeys:
    """The keys of one inspection.

    Attributes:
        current: The one that new engines are sealed to.
        keys: Id -> 32 bytes; those before it stay, for engines that are in force.
    """

    current: str
    keys: Mapping[str, bytes]

    @staticmethod
    def new(before: EngineKeys | None = None) -> EngineKeys:
        """Make a key, the first or the next.

        Raises:
            BadRelease: There are as many as a device reads.
        """
        known = {} if before is None else dict(before.keys)
        if len(known) >= _MOST_KEYS:
            raise BadRelease(f"there are {len(known)} engine keys, as many as devices read: begin a new inspection")
        key_id = f"k{len(known) + 1}-{secrets.token_hex(4)}"
        return EngineKeys(current=key_id, keys={**known, key_id: secrets.token_bytes(_KEY_BYTES)})

    def to_json(self) -> bytes:
        """Serialise; secret."""
        keys = {key_id: base64.b64encode(key).decode() for key_id, key in self.keys.items()}
        return canonical_json({"current": self.current, "keys": keys})

    @staticmethod
    def from_json(data: bytes) -> EngineKeys:
        """Read and check.

        Raises:
            BadRelease: Not keys of engines.
        """
        fields = Fields(read_json(data, "engine keys", BadRelease), "engine keys", BadRelease)
        keys = {}
        for key_id, text in fields.mapping("keys", most=_MOST_KEYS).items():
            try:
                keys[check_name(key_id, "key")] = base64.b64decode(text, validate=True)
            except (TypeError, ValueError, binascii.Error):
                raise fields.wrong("keys", "a value", "32 bytes in base64") from None
        current = fields.name("current", "key")
        if current not in keys or any(len(key) != _KEY_BYTES for key in keys.values()):
            raise fields.wrong("keys", sorted(keys), "keys of 32 bytes, the current one among them")
        return EngineKeys(current=current, keys=keys)

    def seal_for(self, public_key_hex: str) -> bytes:
        """Seal to a device's key (rule 3)."""
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key_hex))
        text = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return bytes(pyrage.encrypt(self.to_json(), [pyrage.ssh.Recipient.from_str(text.decode())]))

    @staticmethod
    def open_with(sealed: bytes, device_key: Ed25519PrivateKey) -> EngineKeys:
        """Open what `seal_for` sealed.

        Raises:
            BadRelease: It is sealed to another device, or damaged.
        """
        text = device_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        try:
            plain = bytes(pyrage.decrypt(sealed, [pyrage.ssh.Identity.from_buffer(text)]))
        except pyrage.DecryptError as error:
            raise BadRelease(f"engine keys are not sealed to this device, or damaged ({error})") from error
        return EngineKeys.from_json(plain)


def turned(data: bytes, *, key: bytes, sha256: str, offset: int = 0) -> bytes:
    """Seal bytes of a file, or open them: it is the same (rule 1).

    Args:
        data: A part of the file.
        key: The inspection's.
        sha256: Of the whole plain file.
        offset: Where the part begins.
    """
    own = HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=f"andon-engine {sha256}".encode())
    counter, skip = divmod(offset, _BLOCK)
    cipher = Cipher(algorithms.AES256(own.derive(key)), modes.CTR(counter.to_bytes(_BLOCK, "big"))).encryptor()
    return cipher.update(bytes(skip) + data)[skip:]
