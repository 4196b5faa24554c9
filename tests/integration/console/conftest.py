from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from console.app import create_app
from data.users import Role
from data.workspace import Workspace
from edge_client.contract.bucket import S3Settings
from tests.console_person import sign_in_browser, signed_in
from tests.integration.console import pressed_plates
from tests.integration.ingest.seaweed import seaweed

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass
class Console:
    """A console on a home directory, served on a port."""

    workspace: Workspace
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def client(self) -> httpx.Client:
        """On behalf of ann, who may decide."""
        return self.client_of("ann")

    def client_of(self, name: str, role: Role = Role.APPROVER) -> httpx.Client:
        return signed_in(self.url, self.workspace, name, role)


@dataclass
class ConsoleProcess(Console):
    """A console in a process of its own, which can be killed and started again on the same port."""

    log: Path = Path("console.log")
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        command = [sys.executable, "-m", "console", "--home", str(self.workspace.home), "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "the console did not start"
            time.sleep(0.1)  # between two tries; the deadline above ends them

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Settings]:
    with seaweed(tmp_path_factory.mktemp("weed"), "andon") as settings:
        yield settings


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, bucket_server: S3Settings) -> Workspace:
    return pressed_plates.build(tmp_path_factory.mktemp("console") / "home", bucket_server)


@pytest.fixture
def workspace(tmp_path: Path, prepared: Workspace) -> Iterator[Workspace]:
    """A fresh copy of the prepared home directory."""
    prepared.catalog().close()
    shutil.copytree(prepared.home, tmp_path / "home")
    opened = Workspace.open(tmp_path / "home", environ={})
    yield opened
    opened.catalog().close()


@contextmanager
def served(workspace: Workspace) -> Iterator[Console]:
    """Served by a thread of this process: uvicorn as in production, without the seconds that imports take."""
    app = create_app(workspace)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
    app.state.live.stopping = lambda: server.should_exit
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)  # what comes before the server runs waits
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Console(workspace, listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listening.close()


@pytest.fixture
def console(workspace: Workspace) -> Iterator[Console]:
    with served(workspace) as one:
        yield one


@pytest.fixture
def process(tmp_path: Path, workspace: Workspace) -> Iterator[ConsoleProcess]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = ConsoleProcess(workspace, port, log=tmp_path / "console.log")
    running.start()
    yield running
    running.kill()


def launched(playwright: Playwright) -> Browser:
    """Debian's Chromium."""
    return playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = launched(playwright)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab in which ann is signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme="light")
    for served in {"console", "process"} & set(request.fixturenames):
        one = request.getfixturevalue(served)
        sign_in_browser(context, one.url, one.workspace)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("dialog", lambda dialog: problems.append(f"a dialog opened: {dialog.message}"))
    yield opened
    context.close()
    assert not problems, problems
