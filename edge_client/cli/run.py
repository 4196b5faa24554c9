"""``andon-edge run``: inspect a folder, a video, a camera or a stream as a real process, with capture, upload and
updates.
"""

import argparse
import json
import signal
from pathlib import Path
from typing import Any

from edge_client.cli.arguments import common
from edge_client.cli.folder_line import FolderLine
from edge_client.cli.run_file import RunFile
from edge_client.cli.stream_line import StreamLine
from edge_client.client import Client
from edge_client.config import Config
from edge_client.contract.errors import ConfigError
from edge_client.memory import map_large_blocks
from edge_client.restart import Ending
from edge_client.sd_notify import notify
from edge_client.software.standby import on_hand_over, stand_by
from edge_client.sources.folder import Folder, reference_frames
from edge_client.sources.opening import open_source, read_name
from edge_client.sources.part_pattern import nobody, part_pattern, stem
from edge_client.sources.raw_stream import frame_size

_OF_A_FOLDER = ("follow", "consume", "reference")


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "run",
        help="inspect a folder, a video, a camera or a stream; capture, upload, update",
        description="Inspects every frame of SOURCE. Frames worth learning from are kept and uploaded, new engines are "
        "taken as they are released. In a folder every image is inspected in name order, once; with --loop again and "
        "again; with --follow it waits for new files; a side file "
        '<image>.json ({"part_id": …, "context": {…}}) names the part; else the file name does. A camera never waits: '
        "when the engine is slower the oldest waiting frame is dropped, and counted. SIGTERM ends it in order: what "
        "was captured is on disk and, if the bucket is there, uploaded.",
        epilog="state/run.json tells every second: requests, answered, refused, lost, frames, waiting, engines, swaps, "
        "and what the source dropped. A stream from ffmpeg: ffmpeg -i rtsp://… -f image2pipe -c:v mjpeg - | "
        "andon-edge run --source - --live",
    )
    common(parser)
    parser.add_argument(
        "--source",
        required=True,
        metavar="SOURCE",
        help="a folder of PNG, JPEG or WebP images, a video file (video:FILE), camera:NUMBER (or its device file or "
        "URL), or - for image files one after the other on standard input",
    )
    parser.add_argument(
        "--part-pattern",
        metavar="REGEX",
        help="reads part id and station from a frame's name by the named groups (?P<part>…) and (?P<station>…)",
    )
    parser.add_argument(
        "--frame-size", metavar="WxH", help="standard input brings raw RGB frames of this size, 3 bytes a pixel"
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="a video or standard input never waits either: drop the oldest waiting frame when the engine is slower",
    )
    parser.add_argument(
        "--queue-frames", type=int, default=2, metavar="N", help="frames read ahead of the engine (default: 2)"
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
    map_large_blocks()
    ending = Ending()
    stop = ending.stop
    handing_over = on_hand_over(stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ending.end)
    name = read_name(args.source)
    _check(args, name.kind)
    size = frame_size(args.frame_size) if args.frame_size else None
    part_of = part_pattern(args.part_pattern) if args.part_pattern else stem if name.kind == "folder" else nobody
    reference = reference_frames(args.reference) if args.reference else None
    folder = Folder(Path(name.where), consume=args.consume) if name.kind == "folder" else None
    config = Config.load(args.config)
    if config.telemetry.enabled:
        from edge_client.telemetry import export_by_environment

        export_by_environment()
    stand_by([args.config], stop)
    client = Client(config)
    told = RunFile(client)
    if name.kind != "stdin":  # what is read ahead of a stream would be lost
        client.on_restart(ending.begin_anew)
    notify("READY=1")
    try:
        if folder is not None:
            FolderLine(
                client,
                told,
                folder,
                part_of=part_of,
                stop=ending.stop,
                reference=reference,
                fps=args.fps,
                reference_fps=args.reference_fps,
            ).work(follow=args.follow, loop=args.loop)
        else:
            StreamLine(
                client,
                told,
                lambda: open_source(
                    args.source,
                    part_of=part_of,
                    live=args.live or None,
                    queue_frames=args.queue_frames,
                    frame_size=size,
                ),
                stop=ending.stop,
                fps=args.fps,
            ).work(loop=args.loop)
    finally:
        if not ending.anew:
            notify("STOPPING=1")
        told.tell(done=True)
        client.close(flush_seconds=0 if handing_over.is_set() else args.flush_seconds)
        told.tell(done=True)
    ending.follow()
    summary = told.summary(done=True)
    if args.json:
        print(json.dumps(summary))
    else:
        dropped = f", {summary['source']['dropped']} dropped by the source" if summary["source"] else ""
        print(
            f"{summary['requests']} requests, {summary['answered']} answered, {summary['refused']} refused, "
            f"{summary['lost']} lost{dropped}"
        )
    return 0


def _check(args: argparse.Namespace, kind: str) -> None:
    """Refuse arguments that mean nothing for this kind of source.

    Raises:
        ConfigError: There is one.
    """
    of_a_folder = [option for option in _OF_A_FOLDER if getattr(args, option)] if kind != "folder" else []
    if of_a_folder:
        raise ConfigError(f"--{of_a_folder[0]} is for a folder, the source {args.source!r} is a {kind}: leave it out")
    if args.live and kind == "folder":
        raise ConfigError("--live is for videos and streams: files of a folder wait by themselves; leave it out")
    if args.loop and kind not in ("folder", "video"):
        raise ConfigError(f"--loop is for folders and videos, the source {args.source!r} is a {kind}: leave it out")
    if args.frame_size and kind != "stdin":
        raise ConfigError(f"--frame-size is for raw frames on standard input, not for a {kind}: leave it out")
