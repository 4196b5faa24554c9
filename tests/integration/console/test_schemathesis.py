"""schemathesis on the console's own API: whatever is asked, by its description or against it, nothing is a server error.

The description is made for the test: the console itself gives none away. A longer run:

    ANDON_SCHEMATHESIS_EXAMPLES=200 pytest tests/integration/console/test_schemathesis.py -s
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from console.app import create_app
from data.users import Role
from tests.console_person import cookies_of
from tests.integration.console.conftest import Console

EXAMPLES = os.environ.get("ANDON_SCHEMATHESIS_EXAMPLES", "5")
#: One never ends, the others end the session with which everything is asked.
LEFT_OUT = ("/api/loop/live", "/api/sign-out", "/api/me/password", "/api/sign-in")


def test_nothing_that_is_asked_of_the_api_is_a_server_error(console: Console, tmp_path: Path) -> None:
    document = create_app(console.workspace).openapi()
    document["paths"] = {path: item for path, item in document["paths"].items() if path not in LEFT_OUT}
    assert len(document["paths"]) > 15
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    cookies = cookies_of(console.url, console.workspace, "root", Role.ADMIN)
    csrf = next(value for name, value in cookies.items() if "csrf" in name)
    jar = "; ".join(f"{name}={value}" for name, value in cookies.items())
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", str(tmp_path / "openapi.json"),
        "--url", console.url, "-n", EXAMPLES, "--seed", "1", "--generation-deterministic",
        "--phases", "examples,coverage,fuzzing", "--checks", "not_a_server_error", "--request-timeout", "60",
        "-H", f"Cookie: {jar}", "-H", f"X-CSRF-Token: {csrf}", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    if "-s" in sys.argv:
        print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc"])
def test_the_description_is_not_given_away(console: Console, path: str) -> None:
    assert console.client_of("root", Role.ADMIN).get(path).status_code == 404
