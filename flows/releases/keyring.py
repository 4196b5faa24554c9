"""Finds who may sign for a role now: key files here and where the person keeps theirs, and signers by URI.

1. A signer counts only if its public half is one that the metadata in force names for the role. A key that was
   rotated out signs nothing any more, by accident or on purpose.
2. Looked for in this order: a URI given for the role, or written in ``signers.toml`` beside the online keys (a KMS, an
   HSM, anything `Signer.from_priv_key_uri` takes); the person's folder; the online folder. Files beside ``ROLE.pem``
   are looked at too (``ROLE-*.pem``): spare keys, and new ones of a rotation that was interrupted.
3. A passphrase is asked for only when an encrypted file is about to sign, once for each file. With nobody to ask, an
   encrypted key is away.
4. `KeyAway` is no fault: it says that a person has to come.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from securesystemslib.signer import Key, Signer

from edge_client.contract.errors import ConfigError
from flows.releases.keys import ROLES, is_encrypted, key_path, read_key, whose

SIGNERS_FILE = "signers.toml"
Passphrase = Callable[[str], bytes]


class KeyAway(ConfigError):
    """The key of a role is not at hand."""


class KeyRing:
    """The keys that can be used now.

    Args:
        folder: The online keys, and ``signers.toml``.
        person: Where the person's keys are, if elsewhere.
        uris: Role -> signer URI, for this use.
        passphrase: Asked for the passphrase of a file, by its path; None when nobody can be asked.
    """

    def __init__(
        self,
        folder: Path,
        *,
        person: Path | None = None,
        uris: Mapping[str, str] | None = None,
        passphrase: Passphrase | None = None,
    ) -> None:
        self.folder = folder
        self.person = person
        self._given = dict(uris or {})
        self._passphrase = passphrase
        self._opened: dict[bytes, Signer] = {}  # by content: a rotation gives a file's name to another key

    def signer(self, role: str, keys: Sequence[Key]) -> Signer:
        """Return a signer for one of the role's keys.

        Args:
            role: The role.
            keys: The public keys that are in force for it.

        Raises:
            KeyAway: None of them is at hand.
            ConfigError: A file or URI can't be used.
        """
        uri = self.uri(role)
        if uri is not None:
            return _from_uri(role, uri, keys, self._passphrase)
        wanted = {key.keyid for key in keys}
        unlike: list[str] = []
        closed: list[str] = []
        for path in self._files(role):
            if is_encrypted(path) and self._passphrase is None:
                closed.append(str(path))
                continue
            found = self._open(path)
            if found.public_key.keyid in wanted:
                return found
            unlike.append(str(path))
        raise KeyAway(_away(role, self.folder, unlike, closed))

    def has(self, role: str, keys: Sequence[Key]) -> bool:
        """Whether the role could sign now; asks for no passphrase and reaches no KMS."""
        if self.uri(role) is not None:
            return True
        wanted = {key.keyid for key in keys}
        for path in self._files(role):
            if is_encrypted(path):
                if self._passphrase is not None:
                    return True
            elif self._open(path).public_key.keyid in wanted:
                return True
        return False

    def uri(self, role: str) -> str | None:
        """The URI that stands for a role's key, if one does."""
        return self._given.get(role) or _written(self.folder / SIGNERS_FILE).get(role)

    def _files(self, role: str) -> Iterator[Path]:
        for folder in filter(None, (self.person, self.folder)):
            first = key_path(folder, role)
            if first.exists():
                yield first
            yield from sorted(folder.glob(f"{role}-*.pem"))

    def _open(self, path: Path) -> Signer:
        content = path.read_bytes()
        if content not in self._opened:
            secret = None
            if is_encrypted(path):
                assert self._passphrase is not None
                secret = self._passphrase(str(path))
            self._opened[content] = read_key(path, secret)
        return self._opened[content]


def _away(role: str, folder: Path, unlike: Sequence[str], closed: Sequence[str]) -> str:
    what = f"the key of the role {role!r} is not at hand (it is {whose(role)}; looked in {folder})"
    if closed:
        what += f"; {', '.join(closed)} is encrypted and nobody can be asked: name a file with its passphrase"
    if unlike:
        what += f"; {', '.join(unlike)} is not the key in force: it was rotated, or is another installation's"
    return what


def _from_uri(role: str, uri: str, keys: Sequence[Key], passphrase: Passphrase | None) -> Signer:
    def secret(name: str) -> str:
        if passphrase is None:
            raise KeyAway(f"the signer {uri!r} of the role {role!r} asks for {name!r}, and nobody can be asked")
        return passphrase(f"{uri} ({name})").decode()

    problems: list[str] = []
    for key in keys:
        try:
            return Signer.from_priv_key_uri(uri, key, secret)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 -- securesystemslib: signers raise what their libraries raise
            problems.append(f"{type(error).__name__}: {error}")
    raise KeyAway(
        f"the signer {uri!r} of the role {role!r} can't be used ({'; '.join(problems)}): is it the key in force, and "
        "is its library installed and reachable?"
    )


def _written(path: Path) -> Mapping[str, str]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f'{path} cannot be read ({error}): expected lines such as engines = "awskms:…"') from error
    for role, uri in document.items():
        if role not in ROLES or not isinstance(uri, str):
            raise ConfigError(f"{path}: {role!r} = {uri!r}: expected a role ({', '.join(ROLES)}) and its signer's URI")
    return document
