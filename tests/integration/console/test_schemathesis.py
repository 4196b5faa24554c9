"""schemathesis on the console's own API: whatever is asked, by its description or against it, is no server error.

A person of each role asks, with a session as they have it in a browser. The description is made for the test: the
console itself gives none away. A longer run, which also tells how many cases there were:

    ANDON_SCHEMATHESIS_EXAMPLES=200 pytest tests/integration/console/test_schemathesis.py -s
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from console.app import create_app
from data.users import Role
from tests.console_person import cookies_of
from tests.integration.console.conftest import Console
from tests.integration.console.pressed_plates import INSPECTION, sample_id

LONG = os.environ.get("ANDON_SCHEMATHESIS_EXAMPLES")
#: What a role may not do is refused before it is looked at: fewer of it say the same.
EXAMPLES = {role: LONG or ("3" if role is Role.ADMIN else "1") for role in Role}
#: `coverage` walks through each limit of each parameter: thousands of cases.
PHASES = "examples,coverage,fuzzing" if LONG else "examples,fuzzing"
#: Things that are there: what is made up alone ends at the first "there is no such inspection".
THERE = {
    "inspection": [INSPECTION],
    "sample_id": [sample_id(number) for number in (0, 2, 4, 31)],
    "version": ["6", "7", "8"],
    "name": ["line-1", "ann"],
    "channel": ["stable"],
}
#: One never ends, three end the session with which everything is asked. Two ask MLflow, which is not there: their 503
#: says so; the tests of the flows ask them beside a real one.
LEFT_OUT = (
    *("/api/loop/live", "/api/sign-out", "/api/me/password", "/api/sign-in"),
    *("/models/{inspection}/{version}/report", "/api/{inspection}/models/{version}/{what}"),
)


def say_what_is_there(document: dict[str, Any]) -> None:
    """Let half of what is asked be about things that exist."""
    said = 0
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] in THERE:
                    parameter["schema"] = {"anyOf": [{"enum": THERE[parameter["name"]]}, parameter["schema"]]}
                    said += 1
    for schema in document["components"]["schemas"].values():
        for name, value in schema.get("properties", {}).items():
            if name in THERE:
                schema["properties"][name] = {"anyOf": [{"enum": THERE[name]}, value]}
    assert said > 30


@pytest.mark.parametrize("role", Role)
def test_nothing_that_is_asked_of_the_api_is_a_server_error(console: Console, tmp_path: Path, role: Role) -> None:
    document = create_app(console.workspace).openapi()
    document["paths"] = {path: item for path, item in document["paths"].items() if path not in LEFT_OUT}
    assert len(document["paths"]) > 40
    say_what_is_there(document)
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    cookies = cookies_of(console.url, console.workspace, "asking", role)
    csrf = next(value for name, value in cookies.items() if "csrf" in name)
    jar = "; ".join(f"{name}={value}" for name, value in cookies.items())
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", str(tmp_path / "openapi.json"),
        "--url", console.url, "-n", EXAMPLES[role], "--seed", "1", "--generation-deterministic",
        "--phases", PHASES, "--checks", "not_a_server_error", "--request-timeout", "60",
        "-H", f"Cookie: {jar}", "-H", f"X-CSRF-Token: {csrf}", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=3_000)
    if "-s" in sys.argv:
        print(f"\n{role}:\n{done.stdout}")
    assert done.returncode == 0, done.stdout + done.stderr
    cases = re.search(r"([\d,]+) generated", done.stdout)
    assert cases is not None, done.stdout
    assert int(cases[1].replace(",", "")) >= len(document["paths"])
    still = console.client_of("asking", role).get("/api/me").json()
    assert still["role"] == role, "the person who asked is somebody else by now"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc"])
def test_the_description_is_not_given_away(console: Console, path: str) -> None:
    assert console.client_of("root", Role.ADMIN).get(path).status_code == 404
