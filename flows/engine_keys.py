"""Sealing the engines of an inspection: begun, shared, rotated; for the command, enrolment and revocation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data.devices import list_devices
from data.workspace import Workspace
from edge_client.contract.engine_keys import EngineKeys, keys_object
from flows.releases.engine_keys import load_engine_keys, next_engine_key, share_engine_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKeysState:
    """How an inspection's engines are sealed.

    Attributes:
        current: Id of the key that new engines are sealed to; "" when they lie in the plain.
        keys: Ids of all keys in use.
        devices: Names of the devices that have them.
    """

    inspection: str
    current: str
    keys: tuple[str, ...]
    devices: tuple[str, ...]


def engine_keys_state(workspace: Workspace, inspection: str) -> EngineKeysState:
    """Tell how an inspection's engines are sealed."""
    keys = load_engine_keys(workspace.keys, inspection)
    return _state(workspace, inspection, keys)


def rotate_engine_keys(workspace: Workspace, inspection: str) -> EngineKeysState:
    """Seal engines from now on, to the first key or the next, and give it to the devices that are not revoked."""
    keys = next_engine_key(workspace.keys, inspection)
    return share(workspace, inspection, keys)


def share(workspace: Workspace, inspection: str, keys: EngineKeys | None = None) -> EngineKeysState:
    """Give the keys of an inspection to its devices, and take their objects from those that were revoked.

    Nothing happens for an inspection whose engines lie in the plain. Safe to repeat.
    """
    keys = keys or load_engine_keys(workspace.keys, inspection)
    if keys is not None:
        known = [d for d in list_devices(workspace.catalog()) if inspection in d.inspection_names]
        share_engine_keys(
            workspace.bucket(),
            keys,
            inspection,
            {d.name: d.public_key_hex for d in known if not d.revoked},
            ended=tuple(d.name for d in known if d.revoked),
        )
    return _state(workspace, inspection, keys)


def keys_for_bundle(workspace: Workspace, inspection: str, public_key_hex: str) -> bytes | None:
    """The keys for a device that is being enrolled, sealed to it; None when engines lie in the plain."""
    keys = load_engine_keys(workspace.keys, inspection)
    return None if keys is None else keys.seal_for(public_key_hex)


def share_with(workspace: Workspace, inspection: str, device: str, public_key_hex: str) -> None:
    """Give the keys to one device: it was enrolled, or has another key of its own. Nothing where engines are plain."""
    keys = load_engine_keys(workspace.keys, inspection)
    if keys is not None:
        share_engine_keys(workspace.bucket(), keys, inspection, {device: public_key_hex})


def after_revocation(workspace: Workspace, device: str, inspections: Sequence[str]) -> None:
    """Rotate the keys of the inspections that a revoked device ran, where their engines are sealed. Safe to repeat: a
    rotation that is done is not done again.
    """
    for inspection in inspections:
        keys = load_engine_keys(workspace.keys, inspection)
        if keys is not None and workspace.bucket().head(keys_object(inspection, device)) is not None:
            rotate_engine_keys(workspace, inspection)


def _state(workspace: Workspace, inspection: str, keys: EngineKeys | None) -> EngineKeysState:
    devices = [d for d in list_devices(workspace.catalog()) if inspection in d.inspection_names and not d.revoked]
    return EngineKeysState(
        inspection=inspection,
        current="" if keys is None else keys.current,
        keys=() if keys is None else tuple(keys.keys),
        devices=() if keys is None else tuple(d.name for d in devices),
    )
