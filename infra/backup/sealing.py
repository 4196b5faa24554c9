"""Files of the home directory, sealed: cut into parts, each compressed and encrypted with age.

1. Taking a backup needs the recipient alone, which the store tells: a timer needs no passphrase.
2. With a passphrase the first backup makes an identity, seals it with the passphrase and stores it beside the backups.
   Whoever has the store and the passphrase can restore; the store alone opens nothing.
3. With a recipient of the person's own, no identity is stored.
4. A part's name is the digest of what is stored; the file's own digest is in the manifest.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrage

from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import NotFound
from infra.backup.store import FORMAT_KEY, IDENTITY_KEY, BackupError, sealed_key

FORMAT = 1
PART_BYTES = 32 << 20
_MOST_PART_BYTES = 2 * PART_BYTES
_SMALL_BYTES = 1 << 16
_LEVEL = 1  # a catalog shrinks to a quarter; a higher level takes thrice the time for a tenth less


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """A file in the store.

    Attributes:
        name: What it is of, such as ``catalog.sqlite``.
        sha256: Of the file itself.
        parts: (digest, bytes) of each part as stored, in order.
    """

    name: str
    bytes: int
    sha256: str
    parts: tuple[tuple[str, int], ...]

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"name": self.name, "bytes": self.bytes, "sha256": self.sha256, "parts": [list(p) for p in self.parts]}

    @staticmethod
    def from_json(value: Any) -> SealedFile:
        """Read back.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        return SealedFile(
            name=str(value["name"]),
            bytes=int(value["bytes"]),
            sha256=str(value["sha256"]),
            parts=tuple((str(digest), int(size)) for digest, size in value["parts"]),
        )


def recipient_for(store: Bucket, *, passphrase: str | None, recipient: str | None) -> str:
    """The recipient to which a store is sealed; a new store is prepared for it (rules 2 and 3).

    Raises:
        BackupError: A new store, and nothing given to seal to; or another recipient than the store's.
    """
    known = _format(store)
    if known is not None:
        if recipient is not None and recipient != known:
            raise BackupError(
                f"these backups are sealed to {known}, not to {recipient}: leave --recipient away, or choose another "
                "place for backups that are sealed to it"
            )
        return known
    if recipient is None and not passphrase:
        raise BackupError(
            "there is no backup there yet: give --passphrase-file FILE or --recipient age1…, to which keys and secrets "
            "are sealed; later backups need neither"
        )
    if recipient is None:
        identity = pyrage.x25519.Identity.generate()
        assert passphrase is not None
        store.put(IDENTITY_KEY, pyrage.passphrase.encrypt(str(identity).encode(), passphrase))
        recipient = str(identity.to_public())
    _parsed(recipient)
    store.put(FORMAT_KEY, json.dumps({"format": FORMAT, "recipient": recipient}).encode())
    return recipient


def open_identity(store: Bucket, *, passphrase: str | None, identity: Path | None) -> pyrage.x25519.Identity:
    """The identity that opens a store.

    Raises:
        BackupError: Nothing given, the wrong passphrase, or another identity than the store's.
    """
    known = _format(store)
    if known is None:
        raise BackupError(
            "there is no backup: andon-backup.json is missing; name the place that `andon backup` wrote to"
        )
    if identity is not None:
        try:
            text = identity.read_text(encoding="utf-8")
            lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
            opened = pyrage.x25519.Identity.from_str(lines[0].strip())
        except (OSError, IndexError, UnicodeDecodeError, pyrage.IdentityError) as error:
            raise BackupError(f"{identity} cannot be read as an age identity ({error})") from error
    elif passphrase:
        try:
            wrapped = store.get(IDENTITY_KEY, max_bytes=_SMALL_BYTES)
        except NotFound:
            raise BackupError(
                f"these backups are sealed to the recipient {known}, not with a passphrase: give its --identity-file"
            ) from None
        try:
            opened = pyrage.x25519.Identity.from_str(pyrage.passphrase.decrypt(wrapped, passphrase).decode())
        except (pyrage.DecryptError, pyrage.IdentityError, UnicodeDecodeError) as error:
            raise BackupError(f"{IDENTITY_KEY} does not open with this passphrase ({error})") from error
    else:
        raise BackupError("keys and databases are sealed: give --passphrase-file FILE or --identity-file FILE")
    if str(opened.to_public()) != known:
        raise BackupError(f"this identity opens what is sealed to {opened.to_public()}; these backups are for {known}")
    return opened


def seal_file(store: Bucket, path: Path, name: str, recipient: str) -> SealedFile:
    """Put a file into the store, part by part."""
    to = [_parsed(recipient)]
    whole, size, parts = hashlib.sha256(), 0, []
    with path.open("rb") as file:
        while piece := file.read(PART_BYTES):
            whole.update(piece)
            size += len(piece)
            sealed = pyrage.encrypt(zlib.compress(piece, _LEVEL), to)
            digest = hashlib.sha256(sealed).hexdigest()
            store.put(sealed_key(digest), sealed)
            parts.append((digest, len(sealed)))
    return SealedFile(name=name, bytes=size, sha256=whole.hexdigest(), parts=tuple(parts))


def stored_parts(store: Bucket, file: SealedFile) -> Iterator[bytes]:
    """The parts as they are stored, each checked.

    Raises:
        BackupError: A part is missing or was changed; the message names it.
    """
    for number, (digest, size) in enumerate(file.parts, 1):
        key = sealed_key(digest)
        try:
            data = store.get(key, max_bytes=_MOST_PART_BYTES)
        except NotFound:
            raise BackupError(f"{file.name}, part {number}: {key} is missing") from None
        if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
            raise BackupError(f"{file.name}, part {number}: {key} was changed: its digest is another one")
        yield data


def open_file(store: Bucket, file: SealedFile, identity: pyrage.x25519.Identity, path: Path) -> None:
    """Write a sealed file to `path`, mode 600, and check it.

    Raises:
        BackupError: It is damaged; the message names it.
    """
    whole = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    with path.open("wb") as target:
        for data in stored_parts(store, file):
            piece = _opened(data, identity, file.name)
            whole.update(piece)
            target.write(piece)
    if whole.hexdigest() != file.sha256:
        raise BackupError(f"{file.name}: what its parts hold is not what was backed up: its digest is another one")


def check_file(store: Bucket, file: SealedFile, identity: pyrage.x25519.Identity | None) -> None:
    """Read all parts, and open them where the identity is at hand.

    Raises:
        BackupError: It is damaged; the message names it.
    """
    whole = hashlib.sha256()
    for data in stored_parts(store, file):
        if identity is not None:
            whole.update(_opened(data, identity, file.name))
    if identity is not None and whole.hexdigest() != file.sha256:
        raise BackupError(f"{file.name}: what its parts hold is not what was backed up: its digest is another one")


def _opened(data: bytes, identity: pyrage.x25519.Identity, name: str) -> bytes:
    try:
        inflater = zlib.decompressobj()
        piece = inflater.decompress(pyrage.decrypt(data, [identity]), PART_BYTES)
    except (pyrage.DecryptError, zlib.error) as error:
        raise BackupError(f"{name}: a part of it does not open ({error})") from error
    if inflater.unconsumed_tail:
        raise BackupError(f"{name}: a part of it is larger than {PART_BYTES} bytes: it is not one that Andon made")
    return piece


def _format(store: Bucket) -> str | None:
    try:
        document = json.loads(store.get(FORMAT_KEY, max_bytes=_SMALL_BYTES))
        if document["format"] != FORMAT:
            raise BackupError(
                f"{FORMAT_KEY} has format {document['format']!r}, this version reads {FORMAT}: use the version of "
                "Andon that wrote it"
            )
        return str(document["recipient"])
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{FORMAT_KEY} is damaged ({error!r}): restore it, or choose another place") from error


def _parsed(recipient: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(recipient)
    except pyrage.RecipientError as error:
        raise BackupError(f"{recipient!r} is no age recipient ({error}): expected age1…") from error
