"""Engines on this device answer their self-tests: each is tried in a child process, as a new one would be."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_client.config import Config
from edge_client.contract.errors import AndonError
from edge_client.contract.onnx_check import check_onnx
from edge_client.doctor.finding import Finding, ok, problem, warning
from edge_client.updates.rules import Place
from edge_client.updates.slots import ENGINE_FILE, SELFTEST_FILE
from edge_client.updates.trial import TrialLimits, TrialOrder, TrialReport, try_engine

Tries = Callable[[TrialOrder], TrialReport]


def check_factory_engine(config: Config, tries: Tries = try_engine) -> Iterator[Finding]:
    """The engine that came with the application; `tries` runs a trial."""
    engine = config.inspection.factory_engine
    selftest = config.inspection.factory_selftest or engine.with_suffix(".selftest")
    yield _tried(
        config, tries, "engine", engine, selftest, "the factory engine", "install the application's package again"
    )


def check_slots(config: Config, tries: Tries = try_engine) -> Iterator[Finding]:
    """Engines that were installed by updates; `tries` runs a trial."""
    updates = config.device.state / "updates"
    for place in (Place.A, Place.B):
        folder = updates / f"slot-{place.value}"
        if not (folder / ENGINE_FILE).is_file():
            continue
        serves = " (in service)" if _in_service(config) == place.value else ""
        yield _tried(
            config,
            tries,
            f"slot {place.value}",
            folder / ENGINE_FILE,
            folder / SELFTEST_FILE,
            f"the engine in slot {place.value}{serves}",
            "start the client: it leaves an engine that fails and fetches the release again; check the disk",
        )


def _tried(config: Config, tries: Tries, check: str, path: Path, selftest: Path, what: str, remedy: str) -> Finding:
    try:
        data = path.read_bytes()
        metadata = check_onnx(data).metadata
    except (AndonError, OSError) as error:
        return problem(check, f"{what} cannot be used: {error}", remedy)
    if metadata.inspection != config.inspection.name:
        return problem(
            check,
            f"{what} is for {metadata.inspection!r}, inspection.name is {config.inspection.name!r}",
            "correct the one or the other",
        )
    name = f"{what}, {metadata.engine_id}: {[c.name for c in metadata.classes]}"
    if not selftest.is_file():
        return warning(
            check,
            f"{name}; not tried: it has no self-test {selftest}",
            "enrol with --selftest, so that its answers can be checked on this machine",
        )
    order = TrialOrder(
        engine=str(path),
        selftest=str(selftest),
        engine_sha256=hashlib.sha256(data).hexdigest(),
        selftest_sha256=hashlib.sha256(selftest.read_bytes()).hexdigest(),
        engine_bytes=len(data),
        inspection=metadata.inspection,
        engine_id=metadata.engine_id,
        threads=config.inspection.threads,
        limits=TrialLimits(seconds=config.update.trial_seconds),
    )
    report = tries(order)
    if not report.passed:
        return problem(check, f"{name}; self-test failed: {report.reason}", remedy)
    return ok(check, f"{name}; self-test passed, {report.latency_ms:.1f} ms a frame")


def _in_service(config: Config) -> str:
    try:
        return str(json.loads((config.device.state / "run.json").read_text())["slot"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
