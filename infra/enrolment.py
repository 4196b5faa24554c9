"""Enrolment: a device's account, key and bundle; and their end.

A bundle is a folder that goes to the device as it is:

    andon.toml          configuration, read by `edge_client`
    credentials.toml    its account in the bucket (mode 600)
    device.key          its Ed25519 key (mode 600); the catalog keeps the public half
    root.json           the trust anchor of releases
    factory.onnx        the engine it starts with, and factory.selftest
    fleet.age           the keys of sealed engines, where they are sealed; sealed to the device's key

1. Everything is checked before anything is made.
2. The bundle is written beside its place and renamed into it last: a bundle that is there is whole.
3. A device that is enrolled is not enrolled again: its key would change under its feet. Revoke it first.
4. Interrupted before the device is in the catalog, an enrolment is simply run again; the account is made anew.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from data.device_accounts import forget_account, note_account
from data.devices import Device, get_device, list_devices, register_device, revoke_device
from data.inspections import get_inspection
from data.workspace import Workspace
from edge_client.contract.credentials import credentials_target
from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.contract.errors import AndonError, BadEngine, ConfigError
from edge_client.contract.names import check_name
from edge_client.contract.private_files import write_private
from edge_client.contract.sealing import recipient_of
from edge_client.contract.selftest import SelfTest
from edge_client.contract.signing import generate_private_key
from flows.engine_keys import after_revocation, keys_for_bundle, share_with
from flows.stack import registry_of, repository_of
from flows.wanted import CHAMPION

if TYPE_CHECKING:
    from data.device_rights import AccessKey

Value = str | int | float | bool
_MAX_ENGINE_BYTES = 512 << 20


class EnrolmentError(AndonError):
    """A device cannot be enrolled or revoked; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What was written for a device."""

    device: str
    site: str
    station: str
    inspection: str
    channel: str
    path: Path
    engine_id: str
    public_key_hex: str
    access_key_id: str

    @property
    def config(self) -> Path:
        """The file that `andon-edge --config` takes."""
        return self.path / "andon.toml"


@dataclass(frozen=True, slots=True)
class Factory:
    """The engine that a device starts with."""

    engine: bytes
    selftest: bytes | None
    engine_id: str


def enroll(
    workspace: Workspace,
    device: str,
    *,
    site: str,
    station: str,
    inspection: str,
    out_dir: Path | None = None,
    channel: str = "stable",
    engine: Path | None = None,
    selftest: Path | None = None,
    settings: Mapping[str, Mapping[str, Value]] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Bundle:
    """Enrol a device and write its bundle.

    Args:
        workspace: The installation.
        device: Its name; also its prefix in the bucket.
        site: Plant.
        station: Place on the line.
        inspection: What it inspects; must exist.
        out_dir: The bundle's folder; default ``devices/<device>`` in the home directory. Must not exist or be empty.
        channel: The channel it follows.
        engine: ONNX file to start with; default the champion of the registry.
        selftest: Its self-test; default the file beside `engine` with the suffix ``.selftest``, if there is one.
        settings: More keys for the tables of andon.toml, such as ``{"capture": {"byte_budget": 2_000_000}}``.
        clock: Aware time.

    Raises:
        InvalidName: A name is not allowed.
        InspectionError: No such inspection.
        EnrolmentError: It is enrolled already, the folder is taken, or there is no engine to start with.
        BadEngine: `engine` is no engine of this inspection.
        BucketError: The bucket is away or refuses.
    """
    for name, what in ((device, "device"), (site, "site"), (station, "station"), (channel, "channel")):
        check_name(name, what)
    check_name(inspection, "inspection")
    catalog = workspace.catalog()
    get_inspection(catalog, inspection)
    check_not_enrolled(workspace, device)
    place = (out_dir or workspace.home / "devices" / device).absolute()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise EnrolmentError(
            f"{place} is there already: a bundle is not overwritten; move it away, or choose another folder with --out"
        )
    factory = (
        factory_from_file(inspection, engine, selftest) if engine else factory_from_registry(workspace, inspection)
    )
    root = repository_of(workspace, clock).root_bytes()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{device}.draft-"))
    except OSError as error:
        raise EnrolmentError(f"{place} cannot be made ({error}): choose another folder with --out") from error
    try:
        public = generate_private_key(draft / "device.key")
        (draft / "root.json").write_bytes(root)
        if (sealed := keys_for_bundle(workspace, inspection, public)) is not None:
            write_private(draft / "fleet.age", sealed)
        (draft / "factory.onnx").write_bytes(factory.engine)
        if factory.selftest is not None:
            (draft / "factory.selftest").write_bytes(factory.selftest)
        tables = tables_of(workspace, device, site, station, inspection, channel, settings or {})
        if workspace.bucket_settings.ca_bundle:  # the device has no such path
            (draft / "ca.pem").write_bytes(Path(workspace.bucket_settings.ca_bundle).read_bytes())
            tables["bucket"]["ca_bundle"] = "ca.pem"
        (draft / "andon.toml").write_text(to_toml(tables), encoding="utf-8")
        account = workspace.device_accounts().create(device)
        write_private(draft / "credentials.toml", to_toml(credentials_of(account)).encode())
        register_device(catalog, device, site, station, [inspection], public, at=clock(), channel=channel)
        share_with(workspace, inspection, device, public)
        note_account(catalog, device, account.access_key_id, at=clock())
        if place.exists():
            place.rmdir()
        draft.rename(place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return Bundle(
        device=device,
        site=site,
        station=station,
        inspection=inspection,
        channel=channel,
        path=place,
        engine_id=factory.engine_id,
        public_key_hex=public,
        access_key_id=account.access_key_id,
    )


def revoke(
    workspace: Workspace,
    device: str,
    *,
    reason: str = "",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Device:
    """End a device's key, its account in the bucket and whatever was offered to it. Revoking it again is harmless and
    finishes what was interrupted.

    What it sent and ingest has not yet taken goes into quarantine; what it sends from now on the bucket refuses.

    Raises:
        DeviceError: No such device.
        BucketError: The key is ended, the account is not: the bucket is away. Run it again.
    """
    check_name(device, "device")
    catalog = workspace.catalog()
    revoked = revoke_device(catalog, device, at=clock(), reason=reason)
    accounts = workspace.device_accounts()
    accounts.remove(device)
    accounts.withdraw(device)
    repository_of(workspace, clock).remove_document(credentials_target(device))
    forget_account(catalog, device)
    after_revocation(workspace, device, revoked.inspection_names)
    return revoked


def check_not_enrolled(workspace: Workspace, device: str) -> None:
    """Refuse a name that is a device's already (rule 3).

    Raises:
        EnrolmentError: It is.
    """
    if not any(known.name == device for known in list_devices(workspace.catalog())):
        return
    known = get_device(workspace.catalog(), device)
    if not known.revoked:
        raise EnrolmentError(
            f"device {device!r} is enrolled already (site {known.site}, station {known.station}, since "
            f"{known.registered_at:%Y-%m-%d %H:%M}): use its bundle, choose another name, or end it with `andon "
            f"revoke {device}` "
            "and enrol it anew"
        )


def factory_from_registry(workspace: Workspace, inspection: str) -> Factory:
    """The champion.

    Raises:
        EnrolmentError: There is none yet.
    """
    registry = registry_of(workspace)
    champion = registry.api.by_alias(inspection, CHAMPION) if registry.api.model(inspection) else None
    if champion is None:
        raise EnrolmentError(
            f"inspection {inspection!r} has no champion yet, so there is no engine to start with: run `andon retrain "
            f"{inspection}` and set the alias {CHAMPION!r} in MLflow, or give an engine with --engine FILE"
        )
    engine = registry.engine_bytes(champion)
    return Factory(engine, registry.selftest_bytes(champion), _metadata(engine, f"version {champion.number}").engine_id)


def factory_from_file(inspection: str, engine: Path, selftest: Path | None) -> Factory:
    """An engine file.

    Raises:
        ConfigError: It can't be read.
        BadEngine: It is no engine of this inspection.
    """
    try:
        if engine.stat().st_size > _MAX_ENGINE_BYTES:
            raise BadEngine(f"{engine} has {engine.stat().st_size} bytes, at most {_MAX_ENGINE_BYTES} are taken")
        data = engine.read_bytes()
        beside = selftest or engine.with_suffix(".selftest")
        test = beside.read_bytes() if selftest or beside.exists() else None
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be read: {error.strerror}; give the path of an engine file"
        ) from error
    metadata = _metadata(data, str(engine))
    if metadata.inspection != inspection:
        raise BadEngine(
            f"{engine} is an engine for {metadata.inspection!r}, not for {inspection!r}: give the right file"
        )
    if test is not None:
        SelfTest.unpack(test)
    return Factory(data, test, metadata.engine_id)


def _metadata(engine: bytes, where: str) -> EngineMetadata:
    import onnx
    from google.protobuf.message import DecodeError  # onnx's parser raises it

    try:
        model = onnx.load_model_from_string(engine)
    except (DecodeError, ValueError) as error:
        raise BadEngine(f"{where} is not an ONNX file ({error}): give an engine that `andon retrain` made") from error
    text = {entry.key: entry.value for entry in model.metadata_props}.get("andon")
    if text is None:
        raise BadEngine(f"{where} is an ONNX file without Andon's metadata: give an engine that `andon retrain` made")
    return EngineMetadata.from_json(text)


def tables_of(
    workspace: Workspace,
    device: str,
    site: str,
    station: str,
    inspection: str,
    channel: str,
    settings: Mapping[str, Mapping[str, Value]],
) -> dict[str, dict[str, Value]]:
    """The tables of a device's andon.toml."""
    bucket = workspace.bucket_settings
    where: dict[str, Value] = {"name": bucket.bucket, "region": bucket.region, "credentials": "credentials.toml"}
    if bucket.endpoint_url:
        where["endpoint_url"] = bucket.endpoint_url
    if bucket.ca_bundle:
        where["ca_bundle"] = bucket.ca_bundle
    if bucket.addressing != "path":
        where["addressing"] = bucket.addressing
    fleet = workspace.policy().fleet
    tables: dict[str, dict[str, Value]] = {
        "device": {
            "name": device,
            "site": site,
            "station": station,
            "key": "device.key",
            "state": "state",
            "heartbeat_seconds": fleet.heartbeat_seconds,
        },
        "inspection": {"name": inspection, "factory_engine": "factory.onnx", "channel": channel},
        "bucket": where,
        "cloud": {"recipient": recipient_of(workspace.identity())},
        "releases": {"root": "root.json"},
        "capture": {"byte_budget": 2_000_000, "window_seconds": 300},
        "update": {"poll_seconds": fleet.poll_seconds},
        "mode": {"advisory": False},
    }
    for table, more in settings.items():
        tables[table] = {**tables.get(table, {}), **more}
    return tables


def credentials_of(account: AccessKey) -> dict[str, dict[str, Value] | Value]:
    """The keys of credentials.toml."""
    return {"access_key_id": account.access_key_id, "secret_access_key": account.secret_access_key}


def to_toml(document: Mapping[str, Mapping[str, Value] | Value]) -> str:
    """Write texts, numbers and truth values in at most one level of tables.

    >>> print(to_toml({"device": {"name": "line-1", "threads": 2}}), end="")
    [device]
    name = "line-1"
    threads = 2
    """
    lines: list[str] = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{key}]", *(f"{name} = {_literal(item)}" for name, item in value.items())]
        else:
            lines.append(f"{key} = {_literal(value)}")
    return "\n".join(lines).strip() + "\n"


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # else a JSON string is TOML's
    return repr(value)
