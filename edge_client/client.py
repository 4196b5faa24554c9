"""The client: one object in the application on the line.

`predict` never waits for capture, disk, network or an update. What goes wrong beside inference is recorded and shown
in `status()` and in the heartbeat; the application gets its prediction. Only a frame that can't be inspected, or an
engine that can't answer, raises.

    with Client.from_config("andon.toml") as client:
        prediction = client.predict(frame, part_id="A-1042")
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from edge_client.account import Account
from edge_client.clock import Clock, SystemClock
from edge_client.clock_problem import bucket_clock_offset, clock_problem
from edge_client.cloud_control import CloudControl
from edge_client.config import Config
from edge_client.consumption import ConsumptionMeter
from edge_client.contract.bucket import Bucket
from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.contract.errors import AndonError, BadEngine, BadImage, ConfigError
from edge_client.contract.heartbeat import Heartbeat, Rollout
from edge_client.contract.sample import Event
from edge_client.counters import Counters, Counts
from edge_client.engine import Engine, EngineOutput
from edge_client.engine_slot import EngineSlot
from edge_client.events import flag_event, outcome_event
from edge_client.heartbeat_writer import HeartbeatWriter
from edge_client.images import check_frames, decode_image
from edge_client.inputs import Context, check_context, check_parts
from edge_client.loop import CaptureLoop
from edge_client.metrics import metrics_text
from edge_client.metrics_endpoint import MetricsEndpoint
from edge_client.prediction import Prediction, predictions_from
from edge_client.runtime import read_tuning, resolve, usable_cores
from edge_client.settings_in_force import SettingsInForce
from edge_client.shadow.keeper import ShadowKeeper
from edge_client.software.protocol import launched
from edge_client.software.upgrade import Upgrader
from edge_client.unchanged import Unchanged
from edge_client.updates.outcome import UpdateStatus
from edge_client.updates.signed import SoftwareOffer
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig
from edge_client.version import VERSION
from edge_client.vital_signs import describe

log = logging.getLogger("edge_client")


class Client:
    """Inspects frames, keeps the ones worth learning from, and keeps its engine current.

    Args:
        config: The device's configuration.
        bucket: Instead of the one that the configuration names.
        clock: The device's clock.

    Attributes:
        config: The configuration.
        runtime: How engines run on this device.

    Raises:
        BadEngine: Not even the factory engine can be loaded.
        ConfigError: The configuration cannot be used, or another process runs on the same state folder.
    """

    def __init__(self, config: Config, *, bucket: Bucket | None = None, clock: Clock | None = None) -> None:
        self.config = config
        self._clock = clock or SystemClock()
        self._counters = Counters()
        self._problems: dict[str, str] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False
        self._heartbeat: HeartbeatWriter | None = None
        self._loop: CaptureLoop | None = None
        self._updater: Updater | None = None
        self._upgrader: Upgrader | None = None
        self._shadow: ShadowKeeper | None = None
        self.runtime = resolve(
            provider=config.inspection.provider,
            threads=config.inspection.threads,
            slots=config.inspection.slots,
            goal=config.inspection.goal,
            cores=usable_cores(),
            tuning=read_tuning(config.device.state),
        )
        self._bucket = bucket if bucket is not None else config.open_bucket(self._clock)
        self._endpoint: MetricsEndpoint | None = None
        self._stop_telemetry: Callable[[], None] = lambda: None
        self._sections: dict[str, Callable[[], Any]] = {}
        limit = config.inspection.skip_unchanged
        self._unchanged: Unchanged[tuple[Prediction, Engine]] | None = Unchanged(limit) if limit > 0 else None
        self._account = Account(config, self._bucket)
        self._slot = self._open_engine()
        self._control = CloudControl(config, self._updater)
        self._consumption = ConsumptionMeter(clock=self._clock)
        try:
            self._start()
        except BaseException:
            self.close(flush_seconds=0)
            raise

    @classmethod
    def from_config(cls, path: Path | str, *, bucket: Bucket | None = None, clock: Clock | None = None) -> "Client":
        """Read ``andon.toml`` and start.

        Raises:
            ConfigError: The file, or one that it names, is missing or cannot be used.
        """
        return cls(Config.load(path), bucket=bucket, clock=clock)

    # -- inspecting

    @overload
    def predict(
        self, frame: bytes, *, part_id: str | None = None, context: Context | None = None, capture: bool = True
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        frame: NDArray[np.uint8],
        *,
        part_id: str | Sequence[str | None] | None = None,
        context: Context | None = None,
        capture: bool = True,
    ) -> Any: ...

    def predict(
        self,
        frame: NDArray[np.uint8] | bytes,
        *,
        part_id: str | Sequence[str | None] | None = None,
        context: Context | None = None,
        capture: bool = True,
    ) -> Any:
        """Inspect one frame or a batch.

        Args:
            frame: uint8 [H, W, 3] RGB, a batch [N, H, W, 3], or one image file's bytes (PNG, JPEG, WebP).
            part_id: The part; for a batch one for each frame, or one for all.
            context: Process values (humidity, recipe…), numbers or short texts.
            capture: False for frames that must never be kept, such as reference parts.

        Returns:
            A `Prediction`; for a batch a list of N.

        Raises:
            BadImage: The frame cannot be inspected.
            BadEngine: No engine on this device answered.
        """
        with self._shadow.inspecting() if self._shadow is not None else nullcontext():
            return self._predict(frame, part_id=part_id, context=context, capture=capture)

    def _predict(
        self,
        frame: NDArray[np.uint8] | bytes,
        *,
        part_id: str | Sequence[str | None] | None,
        context: Context | None,
        capture: bool,
    ) -> Any:
        self._counters.asked()
        try:
            pixels = decode_image(frame) if isinstance(frame, bytes) else frame
            batch = check_frames(pixels)
            parts = check_parts(part_id, len(batch))
            told = check_context(context)
        except BadImage:
            self._counters.refuse()
            raise
        mask = self._control.mask
        predictions, engine = self._answer(mask.applied(batch) if mask.engine else batch, parts)
        self._counters.answer(predictions, inspected=capture, skipped=predictions[0].repeated)
        if capture and self._loop is not None:
            self._capture(self._loop, frame, batch, predictions, engine, told)
        return predictions if pixels.ndim == 4 else predictions[0]

    async def apredict(self, frame: NDArray[np.uint8] | bytes, **arguments: Any) -> Any:
        """`predict`, awaited; the event loop is not held up."""
        return await asyncio.get_running_loop().run_in_executor(
            self._executor(), partial(self.predict, frame, **arguments)
        )

    def submit(self, frame: NDArray[np.uint8] | bytes, **arguments: Any) -> "Future[Any]":
        """`predict`, on one of the client's own threads. The frame must not change until the future is done."""
        return self._executor().submit(partial(self.predict, frame, **arguments))

    @property
    def advisory(self) -> bool:
        """Whether the application is told not to act."""
        return self._control.advisory

    @property
    def engine_metadata(self) -> EngineMetadata:
        """What the engine that gets the next request says about itself."""
        return self._slot.engine.metadata

    # -- telling

    def flag(self, prediction: Prediction, *, reason: str = "", label: str = "", timeout: float = 5.0) -> bool:
        """Pull the cord: this prediction looks wrong. The frame is sent along if it is among the last few.

        Args:
            prediction: What `predict` answered.
            reason: The operator's words.
            label: The class the operator thinks right, if they said.
            timeout: Most seconds to wait for the disk.

        Returns:
            True once it is stored durably; False when it could not be (the reason is in `status`).
        """
        return self._tell(flag_event(prediction, at=self._clock.now(), reason=reason, label=label), timeout)

    def report_outcome(self, part_id: str, outcome: str, *, stage: str = "", timeout: float = 5.0) -> bool:
        """Report what was found out later about a part, such as ``"failed"`` at ``stage="end-of-line"``.

        Returns:
            True once it is stored durably.
        """
        return self._tell(outcome_event(part_id, outcome, at=self._clock.now(), stage=stage), timeout)

    # -- life

    def status(self) -> dict[str, Any]:
        """Return how the device is doing, as plain JSON values."""
        counts = self._counters.copy()
        return {
            "device": self.config.device.name,
            "inspection": self.config.inspection.name,
            "client_version": VERSION,
            "advisory": self.advisory,
            "health": "degraded" if self._all_problems() else "ok",
            "problems": self._all_problems(),
            "requests": asdict(counts),
            "engine": self._update_status().to_json(),
            "capture": self._loop.status() if self._loop is not None else None,
            "settings": self._control.status(self._slot.engine),
            "shadow": self._shadow.status() if self._shadow is not None else None,
            "clock_behind_bucket_seconds": bucket_clock_offset(self._bucket),
            "process": self._consumption.read(sum(counts.latency_counts) + counts.skipped).to_json(),
            **{name: read() for name, read in self._sections.items()},
        }

    def counts(self) -> Counts:
        """Return what was asked and answered since the start."""
        return self._counters.copy()

    def set_metered(self, metered: bool) -> None:
        """Say that the link in use now is metered: windows stay in the spool until it no longer is."""
        if self._loop is not None:
            self._loop.uplink.set_metered(metered)

    def on_restart(self, restart: Callable[[], None]) -> None:
        """Offer that a signed request for help may restart this application.

        Args:
            restart: Asks the application to finish its work, close this client and begin anew. Called on a thread of
                the client's, at most once in ten minutes; it returns at once, and leaves frames under way alone.
        """
        self._control.on_restart(restart)

    def add_section(self, name: str, read: Callable[[], Any]) -> None:
        """Let `status` tell of something of the application's own, such as its source of frames.

        Args:
            name: The section's key.
            read: Returns plain JSON values; called for each `status`.
        """
        self._sections[name] = read

    def flush(self, *, seconds: float = 30.0) -> bool:
        """Close the capture window and send all that waits; True when nothing waits any more, False at once outside of
        the hours and limits of [upload].
        """
        return self._loop.flush(seconds=seconds) if self._loop is not None else True

    def close(self, *, flush_seconds: float = 5.0) -> None:
        """Commit what was captured, try for `flush_seconds` to send it, and end. What could not be sent stays in the
        spool.
        """
        if self._closed:
            return
        self._closed = True
        if self._endpoint is not None:
            self._endpoint.stop()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self._control.stop()
        if self._loop is not None:
            self._loop.stop(flush_seconds=flush_seconds)
        if self._heartbeat is not None:
            self._heartbeat.stop(timeout=max(0.1, flush_seconds))
            if flush_seconds > 0 and not self._heartbeat.problem:
                try:
                    self._heartbeat.send(ended=True)
                except (AndonError, OSError) as error:
                    log.info("the last heartbeat was not sent: %s", error)
        self._stop_telemetry()  # after the last upload, before the spool that its last metrics read
        if self._loop is not None:
            self._loop.close()
        if self._upgrader is not None:
            self._upgrader.stop()
        if self._shadow is not None:
            self._shadow.stop()
        if self._updater is not None:
            self._updater.stop()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside

    def _open_engine(self) -> EngineSlot:
        config = self.config
        try:
            updates = UpdaterConfig.from_config(config, self.runtime)
            self._shadow = ShadowKeeper(updates, self._clock)
            self._updater = Updater.open(
                updates,
                self._bucket,
                clock=self._clock,
                settings=partial(SettingsInForce.of_device, config),
                on_software=self._open_upgrader(),
                on_shadow=self._shadow.take,
                on_offer=self._account.take,
            )
            return self._updater.slot
        except (OSError, sqlite3.Error) as error:
            # the state folder is out of order: inspect with the factory engine rather than not at all
            self._problems["updates"] = f"updates are off: {config.device.state} cannot be used: {error}"
            log.warning("%s", self._problems["updates"])
        try:
            data = config.inspection.factory_engine.read_bytes()
        except OSError as error:
            raise ConfigError(f"inspection.factory_engine {config.inspection.factory_engine}: {error}") from error
        engine = Engine.from_bytes(data, threads=self.runtime.threads, provider=self.runtime.provider)
        if engine.metadata.inspection != config.inspection.name:
            raise BadEngine(
                f"{config.inspection.factory_engine} is for the inspection {engine.metadata.inspection!r}, the "
                f"configuration says {config.inspection.name!r}: correct the one or the other"
            )
        return EngineSlot(engine)

    def _open_upgrader(self) -> Callable[[SoftwareOffer | None, Bucket], None] | None:
        """Under a launcher that works on this client's state folder, software is upgraded too."""
        found = launched()
        if found is None or found.folder != self.config.device.state / "software":
            return None
        self._upgrader = Upgrader(found, self._clock)
        self.add_section("software", self._upgrader.status)
        return self._upgrader.offer

    def _start(self) -> None:
        config = self.config
        if config.capture.enabled:
            try:
                self._loop = CaptureLoop(
                    config,
                    self._bucket,
                    settings=self._control.settings,
                    clock=self._clock,
                )
                self._loop.start()
            except (AndonError, OSError, sqlite3.Error) as error:
                if isinstance(error, ConfigError):
                    raise
                self._problems["capture"] = f"capture is off: {error}"
                log.warning("%s", self._problems["capture"])
        if self._upgrader is not None:
            self._upgrader.start()
        if self._shadow is not None:
            self._shadow.start()
        self._control.start(self._loop, self._bucket, self._clock, self.status)
        if self._updater is not None:
            self._updater.start()
        if self._bucket is not None:
            try:
                self._heartbeat = HeartbeatWriter(
                    self._bucket,
                    self.heartbeat,
                    CaptureLoop.load_key(config),
                    config.device.state / "heartbeat.json",
                    interval_seconds=config.device.heartbeat_seconds,
                    clock=self._clock,
                )
                self._heartbeat.start()
            except OSError as error:
                self._problems["heartbeat"] = f"heartbeats are off: {error}"
        self._start_reporting()

    def _start_reporting(self) -> None:
        """Start what tells others: the metrics endpoint and telemetry. Neither is a reason not to inspect."""
        config = self.config
        if config.metrics.port:
            try:
                self._endpoint = MetricsEndpoint(
                    lambda: metrics_text([self.status()]), host=config.metrics.host, port=config.metrics.port
                )
                self._endpoint.start()
            except ConfigError as error:
                self._problems["metrics"] = f"metrics are off: {error}"
        if config.telemetry.enabled:
            from edge_client.telemetry import Telemetry

            try:
                self._stop_telemetry = Telemetry(
                    self,
                    uploader=self._loop.uploader if self._loop is not None else None,
                    updater=self._updater,
                    status=self.status,
                    place={"andon.device": config.device.name, "andon.inspection": config.inspection.name},
                ).stop
            except ConfigError as error:
                self._problems["telemetry"] = f"telemetry is off: {error}"

    def _answer(self, batch: NDArray[np.uint8], parts: Sequence[str | None]) -> tuple[list[Prediction], Engine]:
        """Answer a batch; one frame that did not change as the frame before it, if the configuration says so."""
        if self._unchanged is None or len(batch) > 1:
            return self._inspect(batch, parts)
        rule = self._control.rule  # under another one the same frame may be judged otherwise
        look = self._unchanged.look(batch[0], part_id=parts[0], engine_sha256=self._slot.engine.sha256 + rule)
        if look.answer is not None:
            before, engine = look.answer
            told = replace(before, sample_id=_new_id(), latency_ms=0.0, repeated=True, advisory=self.advisory)
            return [told], engine
        predictions, engine = self._inspect(batch, parts)
        self._unchanged.remember(look, (predictions[0], engine), engine_sha256=engine.sha256 + rule)
        return predictions, engine

    def _inspect(self, batch: NDArray[np.uint8], parts: Sequence[str | None]) -> tuple[list[Prediction], Engine]:
        output, engine, latency_ms = self._run(batch)
        predictions = predictions_from(
            output,
            engine,
            sample_ids=[_new_id() for _ in range(len(batch))],
            latency_ms=latency_ms,
            part_ids=parts,
            advisory=self.advisory,
            judge=self._control.judge_of(engine),
        )
        return predictions, engine

    def _run(self, batch: NDArray[np.uint8]) -> tuple[EngineOutput, Engine, float]:
        """Run the current engine; if it fails, and was replaced for that, the one that replaced it."""
        while True:
            with self._slot.lease() as engine:
                start = time.perf_counter()
                try:
                    output = engine.run_checked(batch)
                except BadEngine:
                    self._observe(engine, ok=False, latency_ms=(time.perf_counter() - start) * 1e3)
                    if self._slot.engine is engine:  # nothing better took its place
                        self._counters.lose()
                        raise
                    continue
                latency_ms = (time.perf_counter() - start) * 1e3
            self._observe(engine, ok=True, latency_ms=latency_ms)
            self._slot.frame_size = batch.shape[1:3]
            return output, engine, latency_ms

    def _observe(self, engine: Engine, *, ok: bool, latency_ms: float) -> None:
        if self._updater is not None:
            try:
                self._updater.observe(ok, latency_ms, engine.sha256)
            except Exception as error:  # noqa: BLE001 -- watching must never cost an answer
                self._problems["updates"] = f"updates: {error!r}"

    def _capture(
        self,
        loop: CaptureLoop,
        frame: NDArray[np.uint8] | bytes,
        batch: NDArray[np.uint8],
        predictions: Sequence[Prediction],
        engine: Engine,
        context: Context,
    ) -> None:
        try:
            for i, prediction in enumerate(predictions):
                doubt = self._shadow.offer(batch[i], prediction) if self._shadow is not None else None
                loop.capture.offer(
                    frame if isinstance(frame, bytes) else batch[i], prediction, engine.metadata, context, doubt
                )
        except Exception as error:  # capture must never cost an answer
            self._counters.capture_failed()
            self._problems["capture"] = f"capture: {error!r}"
            log.exception("a frame could not be offered to capture")

    def _tell(self, event: Event, timeout: float) -> bool:
        if self._loop is None or self._closed:
            return False
        try:
            return self._loop.capture.tell(event, timeout=timeout)
        except Exception as error:  # noqa: BLE001 -- telling must not raise either
            self._problems["capture"] = f"capture: {error!r}"
            return False

    def _update_status(self) -> UpdateStatus:
        if self._updater is not None:
            return self._updater.status()
        engine = self._slot.engine
        return UpdateStatus(
            place="factory",
            phase="steady",
            engine_id=engine.metadata.engine_id,
            engine_sha256=engine.sha256,
            rollout=Rollout(),
        )

    def _all_problems(self) -> list[str]:
        found = [*self._problems.values(), *self._update_status().problems, *self._control.problems()]
        if self._loop is not None:
            found += self._loop.problems()
        if self._heartbeat is not None and self._heartbeat.problem:
            found.append(self._heartbeat.problem)
        if self._account.problem:
            found.append(self._account.problem)
        if told := clock_problem(self._clock.now(), bucket_clock_offset(self._bucket)):
            found.append(told)
        return found

    def heartbeat(self) -> Heartbeat:
        """Return what the next heartbeat says, without a sequence number."""
        self._consumption.keep_up()
        told = describe(
            self.config,
            at=self._clock.now(),
            counts=self._counters.copy(),
            update=self._update_status(),
            figures=self._loop.figures() if self._loop is not None else None,
            problems=self._all_problems(),
            settings=self._control.settings,
            campaigns=self._control.campaigns(self._slot.engine),
        )
        account = self._account
        return replace(
            told,
            software=self._upgrader.note() if self._upgrader is not None else "",
            shadow=self._shadow.report() if self._shadow is not None else None,
            account=account.access_key_id,
            signs_as=account.signs_as,
            recipient=account.recipient,
        )

    def _executor(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=self.runtime.slots, thread_name_prefix="andon-predict")
        return self._pool


def _new_id() -> str:
    return os.urandom(16).hex()
