"""A real Label Studio server in a folder, from an environment of its own (`make test-label-studio` makes it)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.integration.flows.stack import free_port, wait_until

VARIABLE = "ANDON_LABEL_STUDIO"  # the environment's label-studio
MIGRATED = "ANDON_LABEL_STUDIO_MIGRATED"  # a data folder to begin with, since migrating a new one takes minutes
TOKEN = "0123456789abcdef0123456789abcdef01234567"
ADMIN = "admin@example.org"


@dataclass
class LabelStudio:
    home: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        if os.environ.get(MIGRATED) and not (self.home / "log").exists():
            shutil.copytree(os.environ[MIGRATED], self.home, dirs_exist_ok=True)
        program = os.environ.get(VARIABLE) or str(Path(".venv-label-studio/bin/label-studio").absolute())
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "start", "-b", "--data-dir", str(self.home), "-p", str(self.port), "--internal-host",
                 "127.0.0.1", "--username", ADMIN, "--password", "secret-secret", "--user-token", TOKEN,
                 "--enable-legacy-api-token"],
                env={**os.environ, "COLLECT_ANALYTICS": "false", "DO_NOT_TRACK": "1", "LATEST_VERSION_CHECK": "false"},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.home, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        wait_until(self.answers, "Label Studio", seconds=900)  # it migrates first

    def answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError((self.home / "log").read_text(errors="replace")[-3000:])
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=60)
            self.process = None

    def ask(self, method: str, path: str, token: str = TOKEN, **more: object) -> httpx.Response:
        headers = {"Authorization": f"Token {token}"}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=60, **more)  # type: ignore[arg-type]
