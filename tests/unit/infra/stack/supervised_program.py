"""Runs a real supervisor over small real processes: ``supervised_program.py HOME SPECS.json``.

Its own process, since a supervisor ends every child that it does not know.
"""

import json
import os
import signal
import sys
from pathlib import Path

from infra.stack.layout import Home
from infra.stack.ports import PORT_NAMES
from infra.stack.processes import ProcessSpec
from infra.stack.readiness import NotReady
from infra.stack.single_instance import FileLock
from infra.stack.state import StackState
from infra.stack.supervisor import Supervisor, _adopt_orphans


def file_probe(path: Path):
    def probe() -> None:
        if not path.exists():
            raise NotReady(f"{path.name} is not there yet")

    return probe


def spec_of(home: Home, value: dict) -> ProcessSpec:
    ready = value.get("ready")
    return ProcessSpec(
        name=value["name"],
        command=tuple(value["command"]),
        environment=dict(os.environ),
        needs=tuple(value.get("needs", ())),
        probe=(lambda since: file_probe(home.path / ready)) if ready else None,
        stop_seconds=value.get("stop_seconds", 5.0),
        stop_last=value.get("stop_last", False),
    )


def main() -> int:
    home = Home(Path(sys.argv[1]))
    home.create()
    lock = FileLock(home.supervisor_lock)
    if not lock.acquire():
        return 1
    specs = [spec_of(home, value) for value in json.loads(Path(sys.argv[2]).read_text())]
    state = StackState(ports={name: 20_000 + n for n, name in enumerate(PORT_NAMES)})
    supervisor = Supervisor(home, state, specs)
    _adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
    supervisor.run()
    lock.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
