"""Wheels of this source tree's client under any version, broken as a benchmark or a test wants it."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def wheel_name(version: str) -> str:
    """Name of the client's wheel."""
    return f"andon_edge-{version}-py3-none-any.whl"


def client_wheel(version: str, *, replaced: Mapping[str, str] | None = None, needs: tuple[str, ...] = ()) -> bytes:
    """Make a wheel of this source tree's client.

    Args:
        version: What it says it is.
        replaced: Module's path in the wheel -> code put behind what is there.
        needs: More lines of Requires-Dist.
    """
    info = f"andon_edge-{version}.dist-info"
    files = {
        str(path.relative_to(ROOT)): path.read_bytes()
        for path in sorted((ROOT / "edge_client").rglob("*.py"))
        if "build" not in path.parts
    }
    for name, code in (replaced or {}).items():
        files[name] = files[name] + b"\n\n" + code.encode()
    told = ["Metadata-Version: 2.4", "Name: andon-edge", f"Version: {version}", "Requires-Dist: numpy", *needs]
    files[f"{info}/METADATA"] = "\n".join([*told, ""]).encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return packed(files, info)


def packed(files: Mapping[str, bytes], info: str) -> bytes:
    """Zip files with a RECORD of them, as a wheel is."""
    record = ""
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    record += f"{info}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()
