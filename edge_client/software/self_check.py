"""The self-check of a client that is not in service yet: it starts itself on a copy of this device's state.

``python -m edge_client.software.self_check`` reads one JSON order on standard input and writes one JSON report on
standard output. It

1. finds everything that the installed wheels say they need, at a version that they accept;
2. takes the device's command line and reads its configurations;
3. opens copies of the state's databases, beside links to the engines, without bucket, telemetry and metrics;
4. answers the self-test frames of the engine in service at least `FRAMES` times, as it will be asked to (through the
   server, for `serve`), and compares each answer with the signed one;
5. changes nothing outside of its scratch folder.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_client.background import step_back
from edge_client.software.checking import MAX_REPORT_BYTES, CheckOrder, CheckReport
from edge_client.software.child import die_with_parent
from edge_client.software.state_format import READABLE_BY
from edge_client.version import VERSION

FRAMES = 64  # a fault that shows after some frames shows here, not on the line
_MOST_COPIED_BYTES = 512 * 1024 * 1024


class _Failed(Exception):
    """The release is at fault."""


def check(order: CheckOrder) -> CheckReport:
    """Do what the module's text says."""
    if order.version != VERSION:
        raise _Failed(f"it says that it is version {VERSION}: expected {order.version}")
    for wheel in order.wheels:
        _find_needs(wheel)
    args = _read_command_line(order.words)
    frames = 0
    from edge_client.client import Client
    from edge_client.config import Config

    with contextlib.ExitStack() as stack:
        clients = []
        for i, path in enumerate(_configs(args)):
            config = Config.load(path)
            state = Path(order.scratch) / str(i)
            copy_state(config.device.state, state)
            apart = replace(
                config,
                device=replace(config.device, state=state),
                bucket=None,
                metrics=replace(config.metrics, port=0),
                telemetry=replace(config.telemetry, enabled=False),
            )
            client = Client(apart)
            stack.callback(client.close, flush_seconds=0)
            clients.append((client, apart))
        if order.words[:1] == ("serve",):
            frames = _through_the_server(clients, args)
        else:
            for client, config in clients:
                for frame, expected, tolerance in _frames(config, client):
                    prediction = client.predict(frame)
                    _compare(list(prediction.probabilities.values()), expected, tolerance)
                    frames += 1
        for client, _ in clients:
            client.status()
            client.heartbeat()
            if client.counts().lost:
                raise _Failed(f"{client.counts().lost} of {frames} self-test frames were not answered")
    return CheckReport(passed=True, readable_by=READABLE_BY, frames=frames)


def copy_state(state: Path, to: Path) -> None:
    """Copy the databases of a state folder, and link the engines beside them."""
    for name in ("updates", "spool"):
        (to / name).mkdir(parents=True)
    (to / "spool" / "blobs").mkdir()
    for database in ("updates/updates.db", "spool/spool.db"):
        source = state / database
        if source.is_file() and source.stat().st_size <= _MOST_COPIED_BYTES:
            with (
                contextlib.closing(sqlite3.connect(source, timeout=30)) as reading,
                contextlib.closing(sqlite3.connect(to / database)) as writing,
            ):
                reading.backup(writing)
    for slot in ("slot-a", "slot-b"):
        (to / "updates" / slot).mkdir()
        for file in (state / "updates" / slot).glob("[!.]*"):
            if file.is_file() and not file.is_symlink():
                try:
                    os.link(file, to / "updates" / slot / file.name)
                except OSError:
                    shutil.copyfile(file, to / "updates" / slot / file.name)
    for file in state.glob("*.json"):
        if file.is_file() and file.name != "run.json":
            shutil.copyfile(file, to / file.name)


def _find_needs(wheel: str) -> None:
    """Rule 1."""
    from packaging.requirements import InvalidRequirement, Requirement  # ONNX Runtime brings it

    name = wheel.split("-", 1)[0]
    try:
        needs = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        raise _Failed(f"{name} is not installed, though its wheel was") from None
    for text in needs:
        try:
            need = Requirement(text)
        except InvalidRequirement as error:
            raise _Failed(f"{name} has a need that cannot be read: {error}") from None
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            raise _Failed(f"{name} needs {need}, which is not installed: publish its wheel with the release") from None
        if not need.specifier.contains(found, prereleases=True):
            raise _Failed(f"{name} needs {need}, installed is {found}: publish its wheel with the release")


def _read_command_line(words: Sequence[str]) -> argparse.Namespace:
    """Rule 2: what the device is started with must still mean something."""
    from edge_client.cli.main import build_parser

    if not words:
        return argparse.Namespace(config=None)
    try:
        return build_parser(words[:1]).parse_args(list(words))
    except SystemExit:
        raise _Failed(f"it does not take this device's command line {' '.join(words)!r}") from None


def _configs(args: argparse.Namespace) -> list[Path]:
    named = args.config if args.config is not None else [Path("andon.toml")]
    return list(named) if isinstance(named, list) else [named]


def _through_the_server(clients: Sequence[tuple[Any, Any]], args: argparse.Namespace) -> int:
    """Rule 4 for `serve`: over HTTP, on a free port of this machine."""
    from edge_client.encode import encode_lossless
    from edge_client.serving.server import Server, ServeSettings

    if args.grpc_port is not None:
        import edge_client.serving.grpc_server  # noqa: F401 -- its packages must be there
    server = Server([client for client, _ in clients], ServeSettings(port=0, slots=1))
    server.start()
    frames = 0
    connection = http.client.HTTPConnection(server.http.host, server.http.port, timeout=60)
    try:
        for client, config in clients:
            for frame, expected, tolerance in _frames(config, client):
                image, media_type = encode_lossless(frame)
                path = f"/v2/models/{config.inspection.name}/infer"
                connection.request("POST", path, image, {"Content-Type": media_type})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    raise _Failed(f"its server answers {answer.status} to a self-test frame: {body[:200]!r}")
                _compare(_probabilities(json.loads(body)), expected, tolerance)
                frames += 1
    finally:
        connection.close()
        server.stop(seconds=5)
    return frames


def _probabilities(answer: dict[str, Any]) -> list[float]:
    found = next((o for o in answer["outputs"] if o["name"] == "probabilities"), None)
    if found is None:
        raise _Failed("its server answers without probabilities")
    return [float(p) for p in found["data"]]


def _frames(config: Any, client: Any) -> Iterator[tuple[Any, Any, float]]:
    """Yield frames with their expected probabilities (None without a self-test), again and again up to `FRAMES`."""
    import numpy as np

    from edge_client.contract.selftest import SelfTest

    place = client.status()["engine"]["place"]
    selftest = config.device.state / "updates" / f"slot-{place}" / "selftest.npz"
    if place == "factory":
        engine = config.inspection.factory_engine
        selftest = config.inspection.factory_selftest or engine.with_suffix(".selftest")
    if not selftest.is_file():
        grey = np.full((64, 64, 3), 128, dtype=np.uint8)
        yield from ((grey, None, 0.0) for _ in range(FRAMES))
        return
    test = SelfTest.unpack(selftest.read_bytes())
    for i in range(max(FRAMES, len(test.frames))):
        n = i % len(test.frames)
        yield test.frames[n], test.probabilities[n], test.tolerance


def _compare(found: Sequence[float], expected: Any, tolerance: float) -> None:
    if expected is None:
        return
    off = max(abs(float(a) - float(b)) for a, b in zip(found, expected, strict=True))
    if not off <= tolerance:
        raise _Failed(f"a self-test answer differs by {off:.4g} from the signed one: allowed are {tolerance:.4g}")


def main() -> int:
    """Entry point of the child process."""
    value = json.loads(sys.stdin.buffer.read(MAX_REPORT_BYTES))
    order = CheckOrder(
        version=value["version"], words=tuple(value["words"]), scratch=value["scratch"], wheels=tuple(value["wheels"])
    )
    report_to = os.dup(1)  # the report alone goes to the real standard output, whatever a library prints
    os.dup2(2, 1)
    die_with_parent()
    step_back()  # the line's own frames come first
    try:
        report = check(order)
    except (MemoryError, OSError) as error:
        report = CheckReport(passed=False, certain=isinstance(error, ImportError), reason=f"disk or machine: {error!r}")
    except Exception as error:  # noqa: BLE001 -- whatever it is, it would have happened in service
        told = str(error) if isinstance(error, _Failed) else repr(error)
        report = CheckReport(passed=False, reason=told[:500])
    os.write(report_to, json.dumps(asdict(report)).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
