"""Signs a new version of a document for devices, and records it. The one way in which settings and campaigns change.

1. A change is made to what is signed now, and is checked by the reader that devices have before it is signed.
2. Its version is one above all that were ever recorded or signed; a rollback is a new version with older content.
3. It is read, recorded and signed in one transaction: where signing fails nothing is recorded. A crash between the two
   leaves a signed version that is not recorded: the next change finds it, and records it as found.
4. Nothing is signed where nothing would change.
5. A signed version that devices refuse (a stolen key made it, or another tool) counts as its number alone: the content
   is that of the last recorded version that they accept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from sqlalchemy.exc import IntegrityError

from data.catalog import Catalog
from data.signed_documents import SignedVersion, last_version, record_version, versions_of
from edge_client.contract.errors import AndonError, BadRelease
from edge_client.contract.foreign_json import read_json


class Document(Protocol):
    """What can be signed."""

    @property
    def version(self) -> int:
        """Rises with every change."""

    def to_json(self) -> bytes:
        """Serialise for signing."""


class Repository(Protocol):
    """What of the release repository is needed here."""

    def publish_documents(self, documents: Mapping[str, bytes]) -> None:
        """Sign documents at once."""

    def read_document(self, path: str) -> bytes | None:
        """Return a document as it is signed now."""


class SettingsError(AndonError):
    """A change of what devices are told is not possible; the message says why and what to do."""


_MOST_VERSION = 1 << 30  # a database's whole number
_Document = TypeVar("_Document", bound=Document)
_Any = TypeVar("_Any")


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who changes something, and why."""

    who: str
    why: str = ""
    action: str = "set"


class Signer:
    """Signs and records.

    Args:
        catalog: Records.
        repository: Signs.
        clock: Aware time.
    """

    def __init__(
        self, catalog: Catalog, repository: Repository, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.catalog = catalog
        self.repository = repository
        self.clock = clock

    def now(self) -> datetime:
        """The time that documents carry: whole seconds."""
        return self.clock().astimezone(UTC).replace(microsecond=0)

    def signed(self, path: str, read: Callable[[bytes], _Any]) -> _Any | None:
        """Return a document as it is signed now; None before the first (rule 5)."""
        data = self.repository.read_document(path)
        if data is None:
            return None
        try:
            return read(data)
        except BadRelease:
            return self._last_readable(path, read)

    def refused(self, path: str, read: Callable[[bytes], _Any]) -> str:
        """Why devices refuse what is signed now, or ""."""
        data = self.repository.read_document(path)
        try:
            if data is not None:
                read(data)
        except BadRelease as error:
            return str(error)
        return ""

    def _last_readable(self, path: str, read: Callable[[bytes], _Any]) -> _Any | None:
        for version in versions_of(self.catalog, path):
            try:
                return read(version.content.encode())
            except BadRelease:
                continue
        return None

    def change(
        self,
        path: str,
        read: Callable[[bytes], _Document],
        make: Callable[[_Document | None, int, datetime], _Document],
        by: By,
        *,
        beside: Callable[[_Document], Mapping[str, bytes]] = lambda _: {},
    ) -> tuple[_Document, bool]:
        """Change a document (rules 1 to 4).

        Args:
            path: Its TUF target path.
            read: Its reader.
            make: Makes the new one of the signed one, the new version and the time.
            by: Who, why and what.
            beside: Documents to sign with it.

        Returns:
            The document that is signed now, and whether it is new.

        Raises:
            BadRelease: The new one would be refused by devices.
            SettingsError: Somebody else changed it at the same moment.
        """
        self.repository.read_document(path)  # a bucket that is away is found before the catalog waits for it
        at = self.now()
        try:
            with self.catalog.session() as session:
                last = last_version(session, path)  # before what is signed: whoever is ahead of us has both or neither
                found = self.repository.read_document(path)
                number = 0 if found is None else _number(found)
                refused = bool(self.refused(path, read))
                before = self.signed(path, read)
                if found is not None and number > last:  # rule 3
                    lost = By(who="", action="found signed")
                    record_version(session, _version(path, number, found, lost, at))
                    last = number
                document = make(before, last + 1, at)
                if before is not None and not refused and _substance(before) == _substance(document):  # rule 4
                    return before, False
                data = document.to_json()
                read(data)
                record_version(session, _version(path, document.version, data, by, at))
                self.repository.publish_documents({path: data, **beside(document)})
        except IntegrityError as error:
            raise SettingsError(
                f"{path} was changed by somebody else at this moment: look at it, and say it again"
            ) from error
        return document, True


def _number(data: bytes) -> int:
    """The version of a document, whatever else it holds; 0 if none can be told."""
    try:
        version = read_json(data, "document", BadRelease)["version"]
    except (BadRelease, KeyError, TypeError):
        return 0
    return version if isinstance(version, int) and 0 < version <= _MOST_VERSION else 0


def _substance(document: Document) -> str:
    """What a document says, but for version and time."""
    value = json.loads(document.to_json())
    return json.dumps({name: item for name, item in value.items() if name not in ("version", "issued_at")})


def _version(path: str, version: int, data: bytes, by: By, at: datetime) -> SignedVersion:
    return SignedVersion(
        path=path, version=version, content=data.decode(), action=by.action, who=by.who, at=at, why=by.why
    )
