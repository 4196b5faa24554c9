"""Settings of the fleet: what is signed, for whom, who has taken it over; change, preview and rollback.

1. `settings/default.layers` is for all devices, by cohort where a layer says so; `settings/DEVICE.layers` for one.
2. Devices whose client is older than layers read a flat document that says less: what holds for them always, of the
   keys that it knows. It is signed beside each change.
3. A scope for which only a flat document was ever signed begins with that as its first layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from data.catalog import Catalog
from data.devices import DeviceStatus, device_statuses, get_device, list_devices
from data.signed_documents import SignedVersion, recorded_paths, version_of, versions_of
from edge_client.contract.matching import Place
from edge_client.contract.releases import settings_target
from edge_client.contract.setting_layers import DEFAULT, LayeredSettings, layers_target, resolve
from edge_client.contract.settings import DeviceSettings
from flows.fleet_settings.layers import Change, Conditions, changed
from flows.fleet_settings.preview import Affected, preview
from flows.fleet_settings.signing import By, SettingsError, Signer

_SUFFIX = ".layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """How far a document has come.

    Attributes:
        version: That is signed.
        by: Devices that say they follow it.
        waiting: Devices that follow an older one.
        silent: Devices that do not tell: their client is older than layers, or they were never heard of.
    """

    version: int
    by: tuple[str, ...]
    waiting: tuple[str, ...]
    silent: tuple[str, ...]


class FleetSettings:
    """Reads and changes settings of devices.

    Args:
        signer: Signs and records.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    @property
    def catalog(self) -> Catalog:
        """Where devices and versions are recorded."""
        return self._signer.catalog

    def document(self, scope: str = DEFAULT) -> LayeredSettings | None:
        """Return what is signed for a device, or for all; None before the first (rule 3)."""
        found = self._signer.signed(layers_target(scope), LayeredSettings.from_json)
        if found is not None:
            return found
        flat = self._signer.repository.read_document(settings_target(scope))
        return None if flat is None else DeviceSettings.from_json(flat).as_layers()

    def refused(self, scope: str = DEFAULT) -> str:
        """Why devices refuse what is signed now for a scope, or ""."""
        return self._signer.refused(layers_target(scope), LayeredSettings.from_json)

    def change(self, scope: str, change: Change, by: By) -> tuple[LayeredSettings, bool]:
        """Change the settings of a device, or of all.

        Returns:
            What is signed now, and whether that is new.

        Raises:
            DeviceError: No such device.
            SettingsError: The change is not possible.
        """
        self._check_scope(scope)
        return self._sign(scope, lambda before, version, at: changed(before, change, version, at), by)

    def rollback(self, scope: str, to: int, by: By) -> tuple[LayeredSettings, bool]:
        """Sign the content of an earlier version anew.

        Raises:
            SettingsError: There is no such version.
        """
        layers = self.earlier(scope, to).layers
        return self._sign(
            scope, lambda _, version, at: LayeredSettings(version=version, issued_at=at, layers=layers), by
        )

    def earlier(self, scope: str, version: int) -> LayeredSettings:
        """Return an earlier version of a document.

        Raises:
            SettingsError: There is no such version.
        """
        known = version_of(self.catalog, layers_target(scope), version)
        if known is None:
            versions = [each.version for each in versions_of(self.catalog, layers_target(scope), limit=20)]
            raise SettingsError(f"settings {scope!r} have no version {version}: known are {versions or 'none'}")
        return LayeredSettings.from_json(known.content.encode())

    def history(self, scope: str = DEFAULT) -> list[SignedVersion]:
        """The versions of a device's settings, or of those of all, newest first."""
        return versions_of(self.catalog, layers_target(scope))

    def preview(self, changes: Mapping[str, LayeredSettings | None]) -> list[Affected]:
        """Who would be affected by other documents.

        Args:
            changes: Scope → the document that would be signed.
        """
        default = self.document()
        own = {scope: self.document(scope) for scope in self.scopes()}
        pairs = []
        for place in self.places():
            before = [default, own.get(place.device)]
            after = [changes.get(DEFAULT, default), changes.get(place.device, own.get(place.device))]
            pairs.append((place, [d for d in before if d is not None], [d for d in after if d is not None]))
        return preview(pairs, self._signer.now())

    def changed(self, scope: str, change: Change) -> LayeredSettings:
        """Return what `change` would sign."""
        self._check_scope(scope)
        before = self.document(scope)
        return changed(before, change, before.version if before is not None else 0, self._signer.now())

    def holding(self, device: str) -> dict[str, Any]:
        """What is signed for a device now, all layers together, as if its wall had this machine's local time.

        Raises:
            DeviceError: No such device.
        """
        self._check_scope(device)
        documents = [document for document in (self.document(), self.document(device)) if document is not None]
        found: dict[str, Any] = {}
        for place in self.places():
            if place.device == device:
                found |= resolve(documents, place, self._signer.now().astimezone())
        return found

    def places(self) -> list[Place]:
        """Every device that was not revoked, once for each inspection it runs, as far as the cloud knows it."""
        statuses = device_statuses(self.catalog)
        return [
            Place(
                device=device.name,
                site=device.site,
                station=device.station,
                hardware=hardware_of(statuses.get(device.name)),
                inspection=inspection,
            )
            for device in list_devices(self.catalog)
            if not device.revoked
            for inspection in device.inspection_names
        ]

    def taken(self, scope: str = DEFAULT) -> Taken | None:
        """Who has taken over what is signed; None where nothing is."""
        document = self.document(scope)
        if document is None:
            return None
        statuses = device_statuses(self.catalog)
        names = sorted({place.device for place in self.places() if scope in (DEFAULT, place.device)})
        told = {name: _told(statuses.get(name), scope) for name in names}
        return Taken(
            version=document.version,
            by=tuple(name for name, version in told.items() if version == document.version),
            waiting=tuple(name for name, version in told.items() if version not in (None, document.version)),
            silent=tuple(name for name, version in told.items() if version is None),
        )

    def scopes(self) -> list[str]:
        """Devices that have settings of their own."""
        found = recorded_paths(self.catalog, _SUFFIX)
        names = [path.removeprefix("settings/").removesuffix(_SUFFIX) for path in found]
        return [name for name in names if name != DEFAULT]

    def _sign(self, scope: str, make: Any, by: By) -> tuple[LayeredSettings, bool]:
        flat = self.document(scope)

        def begin(before: LayeredSettings | None, version: int, at: datetime) -> LayeredSettings:
            document: LayeredSettings = make(before if before is not None else flat, version, at)
            return document

        return self._signer.change(
            layers_target(scope),
            LayeredSettings.from_json,
            begin,
            by,
            beside=lambda document: self._flat(scope, document),
        )

    def _flat(self, scope: str, document: LayeredSettings) -> dict[str, bytes]:
        """Rule 2."""
        if scope != DEFAULT:
            default = self.document()
            return {settings_target(scope): flat_of([default, document])}
        own = {name: self.document(name) for name in self.scopes()}
        flat = {settings_target(name): flat_of([document, layers]) for name, layers in own.items()}
        return {**flat, settings_target(DEFAULT): flat_of([document])}

    def _check_scope(self, scope: str) -> None:
        if scope != DEFAULT:
            get_device(self.catalog, scope)


def flat_of(documents: Sequence[LayeredSettings | None]) -> bytes:
    """What holds always, as clients older than layers read it."""
    always = [
        replace(document, layers=tuple(layer for layer in document.layers if Conditions.of(layer).always))
        for document in documents
        if document is not None
    ]
    at = max((document.issued_at for document in always), default=datetime.now(UTC))
    return DeviceSettings.of(resolve(always, Place(device="-"), at)).to_json()


def hardware_of(status: DeviceStatus | None) -> str:
    """What kind of machine a device last said it is; "" where it did not."""
    return status.heartbeat.hardware if status is not None else ""


def _told(status: DeviceStatus | None, scope: str) -> int | None:
    if status is None or not status.heartbeat.settings_versions:
        return None
    return status.heartbeat.settings_versions.get(scope, 0)
