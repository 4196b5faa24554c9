"""TLS with a wrong clock: the certificate's time is judged only by a clock that can be right."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.capture.bad_line import running, self_signed

_CHILD = """
import sys
from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.errors import AndonError
settings = S3Settings(bucket="andon", endpoint_url=sys.argv[1], access_key_id="AK", secret_access_key="SK",
                      ca_bundle=sys.argv[2])
try:
    S3Bucket.connect(settings, attempts=1).put("fleet/line-1/status.json", b"{}")
    print("put")
except AndonError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("clock") / "shim.so"
    source = Path(__file__).with_name("clock_shim.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl"], check=True)
    return built


def put_at(shim: Path, at: datetime, port: int, ca: Path) -> str:
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "CLOCK_OFFSET_SECONDS": str(int(at.timestamp() - time.time())),
    }
    child = [sys.executable, "-c", _CHILD, f"https://127.0.0.1:{port}", str(ca)]
    return subprocess.run(child, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_clock_before_the_client_was_built_does_not_judge_a_certificate(shim: Path, tmp_path: Path):
    certificate = self_signed(tmp_path)
    with running("answers", certificate) as server:
        assert put_at(shim, datetime(1970, 1, 2, tzinfo=UTC), server.port, certificate[0]) == "put\n"


def test_who_signed_the_certificate_is_judged_whatever_the_clock(shim: Path, tmp_path: Path):
    certificate = self_signed(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = self_signed(tmp_path / "other")
    with running("answers", certificate) as server:
        told = put_at(shim, datetime(1970, 1, 2, tzinfo=UTC), server.port, other)
    assert told.startswith("Untrusted")
    assert "bucket.ca_bundle" in told


def test_a_clock_far_ahead_finds_the_certificate_expired_and_says_what_the_clock_shows(shim: Path, tmp_path: Path):
    certificate = self_signed(tmp_path)
    with running("answers", certificate) as server:
        told = put_at(shim, datetime(2099, 6, 1, 12, tzinfo=UTC), server.port, certificate[0])
    assert told.startswith("Untrusted")
    assert "2099-06-01" in told
    assert "set the clock" in told
