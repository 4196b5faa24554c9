"""The signed documents of settings that concern this device: read from the release repository, kept over restarts.

1. Each of them is believed or refused by itself and as a whole; one that is refused is told, and the one accepted
   before it stays.
2. Where no layers are signed for a scope, the flat document of an older cloud counts as one layer.
3. One that is not in the repository any more stays in force: a repository only ever adds, so it was lost, not taken
   back.
4. What this client does not know of an accepted document is told and otherwise left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from edge_client.contract import campaigns as campaigns_document
from edge_client.contract.campaigns import Campaigns
from edge_client.contract.errors import AndonError, BadRelease, BucketError
from edge_client.contract.help import HelpRequest, HelpRequests, help_target
from edge_client.contract.releases import settings_target
from edge_client.contract.setting_layers import DEFAULT, LayeredSettings, layers_target
from edge_client.contract.settings import DeviceSettings
from edge_client.settings_in_force import SignedDocuments
from edge_client.updates.store import UpdateStore

log = logging.getLogger("edge_client.settings")

_Document = TypeVar("_Document")
#: Returns a target as it was signed; None when there is none.
Fetch = Callable[[str], bytes | None]
#: Whether a target is signed at all.
Signed = Callable[[str], bool]


class _Readable(Protocol):
    def to_json(self) -> bytes: ...


def fetch_documents(
    signed: Signed, fetch: Fetch, device: str, known: SignedDocuments, problems: list[str]
) -> SignedDocuments:
    """Read what is signed now.

    Args:
        signed: Whether a target is signed at all.
        fetch: Reads a target.
        device: This device.
        known: What was accepted before.
        problems: What was refused or not known is added to it.

    Raises:
        BucketError: As the bucket says.
    """
    default = _layers(signed, fetch, DEFAULT, problems) or known.default
    own = _layers(signed, fetch, device, problems) if device != DEFAULT else None
    campaigns = _believed(fetch, campaigns_document.TARGET, Campaigns.from_json, "campaigns", problems)
    found = replace(known, default=default, own=own or known.own, campaigns=campaigns or known.campaigns)
    documents = (*found.layers, found.campaigns)
    unknown = [name for document in documents if document is not None for name in document.unknown]
    if unknown:
        problems.append(f"this client does not know {', '.join(unknown)}: update it, or take them out of the settings")
    return found


def fetch_help(fetch: Fetch, device: str, problems: list[str]) -> tuple[HelpRequest, ...]:
    """Read the requests for help that are signed now, answered ones too."""
    found = _believed(fetch, help_target(device), HelpRequests.from_json, "help requests", problems)
    return () if found is None else found.requests


def stored_documents(store: UpdateStore) -> SignedDocuments:
    """Return what was accepted before this start."""
    flat = store.settings()  # of a client before layers
    return SignedDocuments(
        default=_stored(store, "default", LayeredSettings.from_json) or (None if flat is None else flat.as_layers()),
        own=_stored(store, "own", LayeredSettings.from_json),
        campaigns=_stored(store, "campaigns", Campaigns.from_json),
    )


def store_documents(store: UpdateStore, documents: SignedDocuments) -> None:
    """Keep what was accepted, so that it holds after a start without network."""
    for name in ("default", "own", "campaigns"):
        document: _Readable | None = getattr(documents, name)
        if document is not None:
            store.save_fact(_fact(name), document.to_json().decode())


def _layers(signed: Signed, fetch: Fetch, scope: str, problems: list[str]) -> LayeredSettings | None:
    path, read = layers_target(scope), LayeredSettings.from_json
    if not signed(path):  # rule 2
        path, read = settings_target(scope), _read_flat
    return _believed(fetch, path, read, f"settings {scope!r}", problems)


def _read_flat(data: bytes) -> LayeredSettings:
    return DeviceSettings.from_json(data).as_layers()


def _believed(
    fetch: Fetch, path: str, read: Callable[[bytes], _Document], what: str, problems: list[str]
) -> _Document | None:
    try:
        data = fetch(path)
        return None if data is None else read(data)
    except BucketError:
        raise
    except AndonError as error:  # rule 1
        problems.append(f"{what} are not taken over: {error}")
        return None


def _stored(store: UpdateStore, name: str, read: Callable[[bytes], _Document]) -> _Document | None:
    text = store.fact(_fact(name))
    try:
        return None if text is None else read(str(text).encode())
    except BadRelease as error:  # another version of the client wrote it
        log.warning("stored settings %r cannot be used any more: %s", name, error)
        return None


def _fact(name: str) -> str:
    return f"signed.{name}"
