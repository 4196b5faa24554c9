"""Where frames come from: a folder, a video file, a camera, a stream on standard input.

    from edge_client import Client, sources

    with Client.from_config("andon.toml") as client, sources.open_source("camera:0") as frames:
        for frame in frames:
            client.predict(frame.image, part_id=frame.part_id, context=frame.context)

`open_source` reads ahead on a thread. A live source (a camera, or ``live=True``) drops the oldest waiting frame when
the application is slower, and counts it; any other makes the reader wait. Part id and station come from a pattern
(`part_pattern`) or from a function of the application's own (`part_of=`).
"""

from edge_client.sources.frame import PartOf, SourceFrame, Whose
from edge_client.sources.opening import open_source
from edge_client.sources.part_pattern import part_pattern
from edge_client.sources.reading import Frames

__all__ = ["Frames", "PartOf", "SourceFrame", "Whose", "open_source", "part_pattern"]
