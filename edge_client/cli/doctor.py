"""``andon-edge doctor``: tries everything the device needs and says what to do about what fails."""

import argparse
import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_client.cli.arguments import common
from edge_client.config import Config
from edge_client.contract.errors import AndonError, NotFound
from edge_client.contract.releases import METADATA_PREFIX
from edge_client.contract.sealing import seal
from edge_client.contract.signing import load_private_key, public_hex
from edge_client.engine import Engine
from edge_client.figures import read_figures

_MAX_ROOT_BYTES = 512_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: ``ok``, ``warning`` or ``problem``, and what was found."""

    check: str
    result: str
    found: str


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "doctor",
        help="try everything this device needs, and say what to do about what fails",
        description="Tries configuration, key, engine, state folder, spool, bucket and releases, one after the "
        "other. Exit code 1 "
        "if anything is a problem. Changes nothing.",
    )
    common(parser)


def run(args: argparse.Namespace) -> int:
    """Run all checks."""
    config = Config.load(args.config)
    checks: list[tuple[str, Callable[[Config], Finding]]] = [
        ("key", _key),
        ("engine", _engine),
        ("recipient", _recipient),
        ("state", _state),
        ("spool", _spool),
        ("bucket", _bucket),
    ]
    findings = [Finding(check="configuration", result="ok", found=str(config.path))]
    for name, check in checks:
        try:
            findings.append(check(config))
        except (AndonError, OSError) as error:
            findings.append(Finding(check=name, result="problem", found=str(error)))
    bad = any(f.result == "problem" for f in findings)
    if args.json:
        print(json.dumps({"device": config.device.name, "ok": not bad, "checks": [asdict(f) for f in findings]}))
    else:
        for f in findings:
            print(f"{f.result:<8} {f.check:<14} {f.found}")
    return 1 if bad else 0


def _key(config: Config) -> Finding:
    key = load_private_key(config.device.key)
    open_files = [p for p in (config.device.key, _credentials(config)) if p is not None and _others_may_read(p)]
    if open_files:
        return Finding(
            check="key", result="warning", found=f"others may read {open_files[0]}: chmod 600 {open_files[0]}"
        )
    return Finding(check="key", result="ok", found=f"signs as {public_hex(key)[:16]}…")


def _engine(config: Config) -> Finding:
    engine = Engine.from_bytes(config.inspection.factory_engine.read_bytes())
    metadata = engine.metadata
    if metadata.inspection != config.inspection.name:
        return Finding(
            check="engine",
            result="problem",
            found=f"the factory engine is for {metadata.inspection!r}, inspection.name is {config.inspection.name!r}",
        )
    return Finding(
        check="engine", result="ok", found=f"factory engine {metadata.engine_id}: {[c.name for c in metadata.classes]}"
    )


def _recipient(config: Config) -> Finding:
    if config.cloud is None:
        return Finding(check="recipient", result="warning", found="no [cloud] table: capture is off")
    seal(b"", config.cloud.recipient)
    return Finding(check="recipient", result="ok", found=config.cloud.recipient)


def _state(config: Config) -> Finding:
    folder = config.device.state
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".doctor"
    with open(probe, "wb") as file:
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())
    probe.unlink()
    free = shutil.disk_usage(folder).free
    if free < config.capture.reserve_bytes:
        return Finding(
            check="state",
            result="problem",
            found=f"{free} bytes free in {folder}, capture.reserve_bytes is {config.capture.reserve_bytes}: nothing "
            f"is captured; "
            "free some space",
        )
    return Finding(check="state", result="ok", found=f"{folder}, {free // 1_000_000} MB free")


def _spool(config: Config) -> Finding:
    figures = read_figures(config.device.state / "spool")
    if figures is None:
        return Finding(check="spool", result="ok", found="empty")
    found = f"{figures.kept} samples, {figures.bytes} bytes, {figures.waiting_windows} windows wait for upload"
    if figures.set_aside or figures.damaged:
        return Finding(
            check="spool",
            result="warning",
            found=f"{found}; an earlier spool was damaged and set aside: check the disk",
        )
    return Finding(check="spool", result="ok", found=found)


def _bucket(config: Config) -> Finding:
    bucket = config.open_bucket()
    if bucket is None:
        return Finding(
            check="bucket", result="warning", found="no [bucket] table: samples stay here until `andon-edge export`"
        )
    if config.releases is None:
        return Finding(check="bucket", result="warning", found="configured; no [releases] table, so no updates")
    try:
        first = bucket.get(f"{METADATA_PREFIX}1.root.json", max_bytes=_MAX_ROOT_BYTES)
        bucket.get(f"{METADATA_PREFIX}timestamp.json", max_bytes=_MAX_ROOT_BYTES)
    except NotFound as error:
        return Finding(check="bucket", result="problem", found=f"reached, but it has no releases: {error}")
    mine = config.releases.root.read_bytes()
    is_first = b'"version": 1' in mine or b'"version":1' in mine
    if is_first and first != mine:
        return Finding(
            check="bucket",
            result="problem",
            found=f"the bucket's first root differs from {config.releases.root}: this device was enrolled in another "
            "stack; enrol it again",
        )
    return Finding(check="bucket", result="ok", found="reached; releases are readable")


def _credentials(config: Config) -> Path | None:
    return config.bucket.credentials if config.bucket is not None else None


def _others_may_read(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
