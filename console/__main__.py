"""``python -m console``: serve the console of one home directory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from console.app import create_app
from console.security import LOOPBACK
from data.workspace import Workspace
from edge_client.contract.errors import AndonError


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m console", description="Serve the console.")
    parser.add_argument("--home", type=Path, default=None, help="home directory (default: $ANDON_HOME, else .andon)")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback alone)")
    given = parser.parse_args(arguments)
    try:
        workspace = Workspace.open(given.home)
        called = urlsplit(workspace.console_url or "").hostname  # behind a proxy: the name by which people reach it
        app = create_app(workspace, hosts=LOOPBACK | {given.host} | ({called} if called else set()))
    except AndonError as error:
        print(f"andon console: {error}", file=sys.stderr)  # noqa: T201, the log of a process
        return 1
    server = uvicorn.Server(
        uvicorn.Config(app, host=given.host, port=given.port, log_level="warning", timeout_graceful_shutdown=5)
    )
    app.state.live.stopping = lambda: server.should_exit  # open live views end when the process is asked to stop
    app.state.live.warm()
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
