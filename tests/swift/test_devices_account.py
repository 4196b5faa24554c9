"""One account for all devices, with the rights that docs/iam.md gives it: by the page's own command."""

from __future__ import annotations

import os
import subprocess

import pytest

from edge_client.contract.bucket import S3Bucket
from edge_client.contract.errors import Refused
from tests.docs.blocks import blocks
from tests.swift.node import Swift


def command(*, begins: str) -> str:
    (line,) = [line for block in blocks() if block.page == "docs/iam.md" for line in block.lines]
    assert line.startswith(begins)
    return line


def test_a_member_may_put_and_get_once_the_container_says_so(swift: Swift) -> None:
    cloud, device = (S3Bucket.connect(settings, attempts=1) for settings in (swift.settings, swift.devices))
    cloud.put("releases/metadata/timestamp.json", b"{}")
    with pytest.raises(Refused):
        device.put("inbox/line-1/window", b"before")
    with pytest.raises(Refused):
        device.get("releases/metadata/timestamp.json", max_bytes=10)

    words = command(begins="swift post").replace("BUCKET", swift.settings.bucket).replace("PROJECT", "plant")
    account = {
        "ST_AUTH": f"{swift.settings.endpoint_url}/auth/v1.0",
        "ST_USER": swift.settings.access_key_id,
        "ST_KEY": swift.settings.secret_access_key,
        "OS_CACERT": swift.settings.ca_bundle,
    }
    subprocess.run(["bash", "-c", words], env={**os.environ, **account}, check=True, timeout=60)

    device.put("inbox/line-1/window", b"after")
    assert cloud.get("inbox/line-1/window", max_bytes=10) == b"after"
    assert device.get("releases/metadata/timestamp.json", max_bytes=10) == b"{}"
    device.delete("inbox/line-1/window")  # what the page says that such an account may do as well
    assert cloud.head("inbox/line-1/window") is None
