"""Bundles that are usable once: as one file, or as a code that a QR code shows.

1. Nothing of the device's own is in it: the device makes its keys and claims the bundle with a one-time key. The
   catalog keeps the public half of that; the account in the bundle may put that claim and get releases, nothing else.
2. The bundle file is written last, and durably; a code is given out only when its sealed bundle lies in the bucket.
3. A new invitation for a name makes the one before it void. An enrolled device stays as it is until the new bundle is
   claimed, and must be named with `replace`: its history goes on under the same name.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from data.device_accounts import note_invitation
from data.device_rights import AccessKey
from data.inspections import get_inspection
from data.workspace import Workspace
from edge_client.contract.bundle import BUNDLES_PREFIX, BundleCode, pack_bundle
from edge_client.contract.names import check_name
from edge_client.contract.private_files import replace_private
from edge_client.contract.sealing import generate_identity, load_identity, recipient_of, seal
from edge_client.contract.signing import generate_private_key
from flows.stack import repository_of
from infra.enrolment import (
    EnrolmentError,
    Value,
    check_not_enrolled,
    credentials_of,
    factory_from_file,
    factory_from_registry,
    tables_of,
    to_toml,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A bundle that waits for its device.

    Attributes:
        path: The bundle's file; None for a code.
        code: The code; "" for a file.
    """

    device: str
    inspection: str
    channel: str
    engine_id: str
    until: datetime
    path: Path | None = None
    code: str = field(default="", repr=False)


def invite(
    workspace: Workspace,
    device: str,
    *,
    site: str,
    station: str,
    inspection: str,
    as_code: bool = False,
    out: Path | None = None,
    days: float = 14.0,
    replace: bool = False,
    channel: str = "stable",
    engine: Path | None = None,
    settings: Mapping[str, Mapping[str, Value]] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Invitation:
    """Make a bundle that can be used once.

    Args:
        workspace: The installation.
        device: The name that the device will have.
        site: Plant.
        station: Place on the line.
        inspection: What it inspects; must exist.
        as_code: Put the bundle, sealed, into the bucket and return the code; else write a file.
        out: The file; default ``devices/<device>.andon`` in the home directory. Must not exist.
        days: After so many days an unused bundle is void.
        replace: The name is a device's already, which this one replaces.
        channel: The channel it follows.
        engine: ONNX file to start with; default the champion of the registry.
        settings: More keys for the tables of andon.toml.
        clock: Aware time.

    Raises:
        InvalidName: A name is not allowed.
        InspectionError: No such inspection.
        EnrolmentError: It is enrolled already, the file is there, or there is no engine to start with.
        BucketError: The bucket is away or refuses.
    """
    for name, what in ((device, "device"), (site, "site"), (station, "station"), (channel, "channel")):
        check_name(name, what)
    catalog = workspace.catalog()
    get_inspection(catalog, check_name(inspection, "inspection"))
    if not replace:
        check_not_enrolled(workspace, device)
    place = (out or workspace.home / "devices" / f"{device}.andon").absolute()
    if not as_code and place.exists():
        raise EnrolmentError(f"{place} is there already: a bundle is not overwritten; move it away, or use --out")
    authority = workspace.bucket_settings.ca_bundle
    if as_code and authority:
        raise EnrolmentError("the bucket's certificate is of your own authority, which a code cannot carry: use a file")
    factory = factory_from_file(inspection, engine, None) if engine else factory_from_registry(workspace, inspection)
    tables = tables_of(workspace, device, site, station, inspection, channel, settings or {})
    if authority:
        tables["bucket"]["ca_bundle"] = "ca.pem"
    account = workspace.device_accounts().invite(device)
    with TemporaryDirectory(prefix="andon-invite-") as folder:
        claim_file = Path(folder) / "claim.key"
        one_time = generate_private_key(claim_file)
        files = {
            "andon.toml": to_toml(tables).encode(),
            "root.json": repository_of(workspace, clock).root_bytes(),
            "factory.onnx": factory.engine,
            "credentials.toml": to_toml(credentials_of(account)).encode(),
            "claim.key": claim_file.read_bytes(),
            **({"factory.selftest": factory.selftest} if factory.selftest is not None else {}),
            **({"ca.pem": Path(authority).read_bytes()} if authority else {}),
        }
    now = clock()
    until = now + timedelta(days=days)
    facts = {
        "site": site, "station": station, "inspection": inspection, "channel": channel, "replace": replace,
    }  # fmt: skip
    bundle = pack_bundle(files)
    code, key = _seal_into(workspace, bundle, account) if as_code else ("", None)
    note_invitation(catalog, device, claim_key_hex=one_time, invitation={**facts, "bundle": key}, at=now, until=until)
    if not as_code:
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_private(place, bundle)
    return Invitation(
        device=device,
        inspection=inspection,
        channel=channel,
        engine_id=factory.engine_id,
        until=until,
        path=None if as_code else place,
        code=code,
    )


def _seal_into(workspace: Workspace, bundle: bytes, account: AccessKey) -> tuple[str, str]:
    """Put a sealed bundle into the bucket; return its code and its key."""
    with TemporaryDirectory(prefix="andon-invite-") as folder:
        generate_identity(Path(folder) / "identity.age")
        identity = load_identity(Path(folder) / "identity.age")
    sealed = seal(bundle, recipient_of(identity))
    key = f"{BUNDLES_PREFIX}{secrets.token_hex(16)}.age"
    workspace.bucket().put(key, sealed)
    settings = workspace.bucket_settings
    code = BundleCode(
        bucket=settings.bucket,
        endpoint_url=settings.endpoint_url,
        region=settings.region,
        addressing=settings.addressing,
        access_key_id=account.access_key_id,
        secret_access_key=account.secret_access_key,
        object_key=key,
        sha256=hashlib.sha256(sealed).hexdigest(),
        identity=identity,
    )
    return code.to_text(), key


def write_qr(code: str, path: Path) -> None:
    """Draw a code: SVG, PNG or PDF, by the file's suffix.

    Raises:
        EnrolmentError: Another suffix.
    """
    import segno

    if path.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise EnrolmentError(f"{path}: expected a file that ends with .svg, .png or .pdf")
    path.parent.mkdir(parents=True, exist_ok=True)
    segno.make_qr(code, error="m").save(str(path), scale=6, border=4)
    path.chmod(0o600)
