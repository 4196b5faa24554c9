"""``andon-edge run``: inspect the images of a folder as a real process, with capture, upload and updates."""

import argparse
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_client.cli.arguments import common
from edge_client.cli.frames import Folder, FolderFrame, read_frame, reference_frames
from edge_client.client import Client
from edge_client.contract.errors import BadEngine, BadImage

log = logging.getLogger("edge_client.run")

_LOOK_SECONDS = 0.1  # between looks into a followed folder


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "run",
        help="inspect the images of a folder, capture, upload, update",
        description="Inspects every image of FOLDER in name order, once; with --loop again and again; with --follow "
        "it waits for new "
        "files. Frames worth learning from are kept and uploaded, new engines are taken as they are released. A side "
        "file "
        '<image>.json ({"part_id": …, "context": {…}}) names the part; else the file name does. SIGTERM ends it in '
        "order: "
        "what was captured is on disk and, if the bucket is there, uploaded.",
        epilog="state/run.json tells every second: requests, answered, refused, lost, frames, waiting, engines, swaps.",
    )
    common(parser)
    parser.add_argument(
        "--source", type=Path, required=True, metavar="FOLDER", help="folder of PNG, JPEG or WebP images"
    )
    parser.add_argument("--follow", action="store_true", help="wait for new files; end on SIGTERM")
    parser.add_argument(
        "--consume",
        action="store_true",
        help="remove each file once it was inspected, so that a restart does not inspect it again; one that is no "
        "image is renamed .refused-NAME",
    )
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    parser.add_argument(
        "--fps", type=float, default=0.0, metavar="N", help="at most N frames a second (default: as fast as it goes)"
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="DIR",
        help="while no new file waits, go on inspecting the images of DIR without capturing them",
    )
    parser.add_argument(
        "--reference-fps", type=float, default=5.0, metavar="N", help="reference parts a second (default: 5)"
    )
    parser.add_argument(
        "--flush-seconds", type=float, default=20.0, metavar="S", help="time for uploading at the end (default: 20)"
    )


def run(args: argparse.Namespace) -> int:
    """Inspect until the source ends or a signal comes."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    source = Folder(args.source, consume=args.consume)
    reference = reference_frames(args.reference) if args.reference else None
    with_client = Client.from_config(args.config)
    line = _Line(with_client, source, reference, stop, fps=args.fps, reference_fps=args.reference_fps)
    try:
        line.work(follow=args.follow, loop=args.loop)
    finally:
        line.tell(done=True)
        with_client.close(flush_seconds=args.flush_seconds)
        line.tell(done=True)
    if args.json:
        print(json.dumps(line.summary(done=True)))
    else:
        told = line.summary(done=True)
        print(
            f"{told['requests']} requests, {told['answered']} answered, {told['refused']} refused, {told['lost']} lost"
        )
    return 0


class _Line:
    """The loop over frames, and the file that tells of it."""

    def __init__(
        self,
        client: Client,
        source: Folder,
        reference: Iterator[FolderFrame] | None,
        stop: threading.Event,
        *,
        fps: float,
        reference_fps: float,
    ) -> None:
        self._client = client
        self._source = source
        self._reference = reference
        self._stop = stop
        self._fps = fps
        self._reference_fps = reference_fps
        self._next_at = time.monotonic()
        self._told_at = 0.0
        self._waiting = 0
        self._passes = 0
        self._unreadable = 0
        self._last: dict[str, Any] = {}
        self._path = client.config.device.state / "run.json"

    def work(self, *, follow: bool, loop: bool) -> None:
        while not self._stop.is_set():
            files = self._source.new_files()
            self._waiting = len(files)
            if not files:
                if follow:
                    self._idle()
                    continue
                if not loop or self._passes == 0:
                    return
                self._source.again()
                self._passes = 0
                continue
            for path in files:
                if self._stop.is_set():
                    return
                self._one(path, follow=follow)
            self._passes += 1

    def _one(self, path: Path, *, follow: bool) -> None:
        try:
            frame = read_frame(path)
            self._pace(self._fps)
            self._client.predict(frame.image, part_id=frame.part_id, context=frame.context)
        except (BadImage, OSError) as error:
            if not follow or not self._source.try_later(path):
                self._source.done(path, refused=True)
                self._unreadable += 1
                log.warning("%s: %s", path, error)
            else:
                self._stop.wait(_LOOK_SECONDS)
            return
        except BadEngine as error:  # counted as lost; the line goes on with the next part
            log.warning("%s: %s", path, error)
        self._source.done(path)
        self._waiting -= 1
        self._tell_each_second()

    def _idle(self) -> None:
        self._tell_each_second()
        if self._reference is None:
            self._stop.wait(_LOOK_SECONDS)
            return
        frame = next(self._reference)
        self._pace(self._reference_fps)
        try:
            self._client.predict(frame.image, part_id=frame.part_id, capture=False)
        except (BadImage, BadEngine) as error:
            log.warning("%s: %s", frame.path, error)

    def _pace(self, fps: float) -> None:
        now = time.monotonic()
        if fps <= 0:
            self._next_at = now
            return
        if self._next_at > now:
            self._stop.wait(self._next_at - now)
        self._next_at = max(self._next_at + 1.0 / fps, now)

    def _tell_each_second(self) -> None:
        if time.monotonic() - self._told_at >= 1.0:
            self.tell()

    def tell(self, *, done: bool = False) -> None:
        """Replace ``state/run.json``."""
        self._told_at = time.monotonic()
        beside = self._path.with_name(".run.json.new")
        try:
            beside.write_text(json.dumps(self.summary(done=done)))
            os.replace(beside, self._path)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)

    def summary(self, *, done: bool) -> dict[str, Any]:
        """Return what ``run.json`` tells."""
        if not (done and self._last.get("done")):
            self._last = self._describe(done=done)
        return self._last

    def _describe(self, *, done: bool) -> dict[str, Any]:
        status = self._client.status()
        requests = status["requests"]
        engine = status["engine"]
        return {
            "pid": os.getpid(),
            "updated_at": datetime.now(UTC).isoformat(),
            "done": done,
            **{k: requests[k] for k in ("requests", "answered", "refused", "lost", "frames", "capture_errors")},
            "engines": requests["engines"],
            "verdicts": requests["verdicts"],
            "latency_ms_p50": requests["latency_ms_p50"],
            "latency_ms_p99": requests["latency_ms_p99"],
            "waiting": max(0, self._waiting),
            "unreadable": self._unreadable,
            "engine_id": engine["engine_id"],
            "engine_sha256": engine["engine_sha256"],
            "slot": engine["place"],
            "swaps": engine["swaps"],
            "rollout": engine["rollout"],
            "health": status["health"],
            "problems": status["problems"],
            "capture": status["capture"],
        }
