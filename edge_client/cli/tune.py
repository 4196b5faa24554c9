"""``andon-edge tune``: measure on this device how its engine runs best, and remember it."""

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edge_client.cli.arguments import common
from edge_client.cli.frames import Folder
from edge_client.config import Config
from edge_client.contract.errors import BadEngine, ConfigError
from edge_client.contract.selftest import SelfTest
from edge_client.engine import Engine, available_providers
from edge_client.images import decode_image
from edge_client.runtime import FILE, Measured, Runtime, Tuning, processor_name, usable_cores
from edge_client.tuning import Machine, tune
from edge_client.updates.trial import TrialLimits, TrialOrder, try_engine

_FRAMES = 16
_COLUMNS = "{:<10}{:>8}{:>7}{:>7}{:>10}  {:<18}{:>9}{:>9}"


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "tune",
        help="measure how the engine runs best on this device",
        description="Times the engine on this device: each execution provider whose answers pass the engine's "
        "self-test, one thread and more, runs side by side, and frames gathered in batches. What is best for one "
        "frame at a time (`run`, an application) and for many requests at once (`serve`) is written to "
        "state/tuning.json and used from the next start on, where the configuration leaves provider, threads and slots "
        "open. Measure on a device that does what it usually does beside the inspection, and again after a new "
        "ONNX Runtime.",
        epilog="It takes about a minute on two cores. Frames: those of --frames, else the self-test's.",
    )
    common(parser)
    parser.add_argument("--engine", type=Path, metavar="FILE", help="measure this engine (default: the factory engine)")
    parser.add_argument(
        "--frames",
        type=Path,
        metavar="FOLDER",
        help="images of the line, of one size: they decide what preparing costs",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of each way (default: 5)")
    parser.add_argument(
        "--seconds", type=float, default=0.5, metavar="S", help="of one way in one round (default: 0.5)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, write, tell."""
    config = Config.load(args.config)
    if args.rounds < 1 or args.seconds <= 0:
        raise ConfigError(f"--rounds {args.rounds} --seconds {args.seconds}: expected at least one round and some time")
    path = args.engine or config.inspection.factory_engine
    data = _read(path)
    test = _selftest(path if args.engine else config.inspection.factory_selftest or path)
    frames = _frames(args.frames, test)
    machine = Machine(processor=processor_name(), cores=usable_cores(), onnxruntime=onnxruntime.__version__)

    def load(way: Runtime) -> Engine:
        return Engine.from_bytes(data, threads=way.threads, provider=way.provider)

    tuning = tune(
        load,
        frames,
        machine=machine,
        providers=available_providers(),
        accept=_trial(path, data, test or _own_selftest(load(Runtime()), frames), config),
        rounds=args.rounds,
        seconds=args.seconds,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    _store(config.device.state, tuning)
    print(tuning.to_json() if args.json else _table(tuning, frames, config))
    return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"engine {path} cannot be read: {error}; give an engine's file with --engine") from error


def _selftest(path: Path) -> SelfTest | None:
    """Read the self-test beside an engine (or the one that `path` is)."""
    beside = path.with_suffix(".selftest")
    return SelfTest.unpack(beside.read_bytes()) if beside.is_file() else None


def _own_selftest(engine: Engine, frames: NDArray[np.uint8]) -> SelfTest:
    """Without a signed one: other providers must answer as the processor does."""
    output = engine.run(frames[:4])
    return SelfTest(frames=frames[:4], probabilities=output.probabilities, anomaly=output.anomaly, tolerance=0.02)


def _frames(folder: Path | None, test: SelfTest | None) -> NDArray[np.uint8]:
    if folder is not None:
        files = Folder(folder).new_files()[:_FRAMES]
        images = [decode_image(file.read_bytes()) for file in files]
        if not images:
            raise ConfigError(f"{folder} holds no image: expected PNG, JPEG or WebP files")
        for file, image in zip(files, images, strict=True):
            if image.shape != images[0].shape:
                raise ConfigError(
                    f"{file} is {image.shape[1]} x {image.shape[0]} pixels, {files[0].name} is {images[0].shape[1]} x "
                    f"{images[0].shape[0]}: expected images of one size"
                )
        return np.stack(images)
    if test is not None:
        return test.frames
    raise ConfigError("this engine has no self-test beside it: give some images of the line with --frames FOLDER")


def _trial(path: Path, data: bytes, test: SelfTest, config: Config) -> Callable[[str], None]:
    """Try a provider in a child process, as a new engine is tried: one that crashes or hangs is refused, no more."""
    metadata = Engine.from_bytes(data).metadata
    packed = test.pack()

    def accept(provider: str) -> None:
        with tempfile.TemporaryDirectory(prefix="andon-tune-") as folder:
            selftest = Path(folder) / "selftest"
            selftest.write_bytes(packed)
            report = try_engine(
                TrialOrder(
                    engine=str(path.resolve()),
                    selftest=str(selftest),
                    engine_sha256=hashlib.sha256(data).hexdigest(),
                    selftest_sha256=hashlib.sha256(packed).hexdigest(),
                    engine_bytes=len(data),
                    inspection=metadata.inspection,
                    engine_id=metadata.engine_id,
                    threads=1,
                    provider=provider,
                    limits=TrialLimits(seconds=config.update.trial_seconds),
                )
            )
        if not report.passed:
            raise BadEngine(report.reason)

    return accept


def _store(state: Path, tuning: Tuning) -> None:
    state.mkdir(parents=True, exist_ok=True)
    beside = state / f".{FILE}.new"
    with open(beside, "w", encoding="utf-8") as file:
        file.write(tuning.to_json())
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, state / FILE)


def _table(tuning: Tuning, frames: NDArray[np.uint8], config: Config) -> str:
    lines = [
        f"{tuning.processor or 'processor'}, {tuning.cores} cores, ONNX Runtime {tuning.onnxruntime}, frames of "
        f"{frames.shape[2]} x {frames.shape[1]}",
        _COLUMNS.format("provider", "threads", "slots", "batch", "frames/s", "[least, most]", "ms a run", "p99"),
        *(_line(m) for m in tuning.measured),
        *(f"{provider}: not used: {why}" for provider, why in tuning.refused.items()),
        f"one frame at a time: {_said(tuning.single)}",
        f"many requests:       {_said(tuning.parallel)}",
        f"written to {config.device.state / FILE}; used from the next start on",
    ]
    return "\n".join(lines)


def _line(m: Measured) -> str:
    way = m.runtime
    numbers = (
        f"{m.frames_per_second:.1f}",
        f"[{m.low:.1f}, {m.high:.1f}]",
        f"{m.latency_ms:.2f}",
        f"{m.latency_ms_p99:.2f}",
    )
    return f"{_COLUMNS.format(way.provider, way.threads, way.slots, way.batch, *numbers)}  n = {m.n}"


def _said(way: Runtime) -> str:
    batch = f", up to {way.batch} frames gathered" if way.batch > 1 else ""
    return f"{way.provider}, {way.threads} thread{'s' if way.threads > 1 else ''} a run, {way.slots} at once{batch}"
