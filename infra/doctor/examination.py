"""All checks, in the order in which one would put things right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from infra.doctor import bucket, machine, running
from infra.doctor.finding import Finding, Level
from infra.stack.layout import Home
from infra.stack.state import load_state


def examine(path: Path) -> list[Finding]:
    """Examine the installation in a home directory; what cannot be looked at is itself a finding."""
    home = Home(path)
    findings = [*machine.check_python(), *machine.check_packages()]
    if not home.stack_file.exists():
        text = f"{path}: there is no stack here"
        return [*findings, Finding(check="home", level=Level.WRONG, text=text, action="run `andon up`")]
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("disk", lambda: machine.check_disk(home)),
        ("secrets", lambda: machine.check_private_files(home)),
        ("keys", lambda: machine.check_keys(home)),
        ("processes", lambda: running.check_processes(home)),
        ("telemetry", lambda: _with_state(home, running.check_telemetry)),
        ("loopback", lambda: _with_state(home, running.check_loopback)),
        ("bucket", lambda: bucket.check_access(Workspace.open(path))),
        ("clock", lambda: bucket.check_clock(Workspace.open(path))),
        ("releases", lambda: bucket.check_releases(Workspace.open(path))),
    ]
    for name, check in checks:
        try:
            findings += check()
        except (AndonError, OSError) as error:
            action = "put that right, then run `andon doctor` again"
            findings.append(Finding(check=name, level=Level.WRONG, text=str(error), action=action))
    return findings


def _with_state(home: Home, check: Callable[..., Iterator[Finding]]) -> Iterator[Finding]:
    state = load_state(home)
    return check(state) if state is not None else iter(())
