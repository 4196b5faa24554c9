"""A bundle that a device can use once: its files in one, and the short code that stands for it.

    andon.toml, root.json, factory.onnx, factory.selftest, credentials.toml (the invitation's), claim.key, ca.pem

1. A bundle is a tar of plain files with known names. Nothing else is unpacked: no folder, no link, no other name.
2. It holds no key of the device: the device makes its own (`edge_client.contract.claim`).
3. A code (for a QR code, or to be typed) names a bundle that lies in the bucket, sealed: where it is, the account to
   fetch it with, its digest, and the identity that opens it. Whoever has the code has the bundle.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_client.contract.errors import ConfigError
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.releases import MAX_ENGINE_BYTES, MAX_METADATA_BYTES

BUNDLES_PREFIX = "releases/bundles/"
MAX_BUNDLE_BYTES = MAX_ENGINE_BYTES + (96 << 20)  # engine, self-test and small files
_SMALL = 1 << 20
FILES: Mapping[str, int] = {
    "andon.toml": _SMALL,
    "root.json": MAX_METADATA_BYTES,
    "factory.onnx": MAX_ENGINE_BYTES,
    "factory.selftest": 64 << 20,
    "credentials.toml": _SMALL,
    "claim.key": _SMALL,
    "ca.pem": _SMALL,
}
SECRET = ("credentials.toml", "claim.key")
_NEEDED = ("andon.toml", "root.json", "factory.onnx", "credentials.toml", "claim.key")
_CODE = "andon1."
_MOST_CODE = 4096


def pack_bundle(files: Mapping[str, bytes]) -> bytes:
    """Pack a bundle's files; the same files give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(files[name]), 0o600
            archive.addfile(info, io.BytesIO(files[name]))
    return buffer.getvalue()


def unpack_bundle(data: bytes) -> dict[str, bytes]:
    """Read a bundle (rule 1).

    Raises:
        ConfigError: Not a bundle, or something in it that does not belong there.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise ConfigError(f"the bundle has {len(data)} bytes: at most {MAX_BUNDLE_BYTES} are read")
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                most = FILES.get(member.name)
                if most is None or not member.isreg() or member.name in found:
                    raise ConfigError(f"the bundle holds {member.name[:80]!r}, which is no file of a bundle, or twice")
                if member.size > most:
                    raise ConfigError(f"the bundle's {member.name} has {member.size} bytes: at most {most} are read")
                content = archive.extractfile(member)
                assert content is not None  # a plain file has one
                found[member.name] = content.read(most)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ConfigError(f"the bundle cannot be read ({error}): copy it again, or make a new one") from error
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise ConfigError(f"the bundle has no {', '.join(missing)}: make a new one with `andon enroll`")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCode:
    """What a QR code says (rule 3).

    Attributes:
        object_key: Where the sealed bundle lies.
        sha256: Of the sealed bundle.
        identity: age identity that opens it.
    """

    bucket: str
    endpoint_url: str | None
    region: str
    addressing: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    object_key: str
    sha256: str
    identity: str = field(repr=False)

    def to_text(self) -> str:
        """The code, one line of letters, digits, '-', '_' and '.'."""
        values = [
            self.bucket, self.endpoint_url or "", self.region, self.addressing, self.access_key_id,
            self.secret_access_key, self.object_key, self.sha256, self.identity,
        ]  # fmt: skip
        plain = json.dumps(values, separators=(",", ":")).encode()
        return _CODE + base64.urlsafe_b64encode(plain).decode().rstrip("=")

    @staticmethod
    def from_text(text: str) -> BundleCode:
        """Read a code.

        Raises:
            ConfigError: Not a code, or typed wrongly.
        """
        code = "".join(text.split())
        if not code.startswith(_CODE) or len(code) > _MOST_CODE:
            raise ConfigError(f"this is no code of a bundle: expected a text that begins with {_CODE!r}")
        body = code.removeprefix(_CODE)
        try:
            plain = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            values = read_json(plain, "the code", ConfigError)
            if not isinstance(values, list):
                raise TypeError("not a list")
            names = (
                "bucket", "endpoint_url", "region", "addressing", "access_key_id", "secret_access_key", "object_key",
                "sha256", "identity",
            )  # fmt: skip
            fields = Fields(dict(zip(names, values, strict=True)), "the code", ConfigError)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"the code is damaged ({error}): scan it again, or type it anew") from error
        key = fields.text("object_key")
        if not key.startswith(BUNDLES_PREFIX):
            raise ConfigError(f"the code names {key[:80]!r}, which is no place of a bundle")
        return BundleCode(
            bucket=fields.text("bucket"),
            endpoint_url=fields.text("endpoint_url") or None,
            region=fields.text("region"),
            addressing=fields.text("addressing"),
            access_key_id=fields.text("access_key_id"),
            secret_access_key=fields.text("secret_access_key"),
            object_key=key,
            sha256=fields.text("sha256", most=64),
            identity=fields.text("identity"),
        )
