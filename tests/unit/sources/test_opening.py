"""Folders, real videos and streams through the one door. A camera is opened by the same function as a video; there is
none here, so a video file stands for it: what it can't show is a real driver.
"""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_client.contract.errors import ConfigError
from edge_client.encode import encode_lossless
from edge_client.sources import SourceFrame, Whose, open_source, part_pattern
from tests.unit.capture.device import noise

ROOT = Path(__file__).parents[3]


def write_video(path: Path, frames: int) -> Path:
    """A real video; frame i has the brightness 20 + 20 i in red."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for i in range(frames):
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[..., 2] = 20 + 20 * i  # OpenCV's order is BGR
        writer.write(picture)
    writer.release()
    return path


def reds(frames: list[SourceFrame]) -> list[int]:
    return [round(float(np.asarray(f.image)[..., 0].mean())) for f in frames]


def test_a_video_gives_its_frames_in_rgb_and_in_order(tmp_path: Path):
    video = write_video(tmp_path / "belt.avi", 8)
    with open_source(str(video)) as source:
        frames = list(source)
    assert [f.name for f in frames] == [f"belt.avi#{i:06d}" for i in range(1, 9)]
    assert reds(frames) == pytest.approx([20 + 20 * i for i in range(8)], abs=4)
    image = frames[3].image
    assert isinstance(image, np.ndarray)
    assert (image.shape, image.dtype) == ((48, 64, 3), np.uint8)
    assert image[..., 1:].mean() < 10
    assert frames[0].part_id is None
    assert source.status() == {"kind": "video", "live": False, "read": 8, "dropped": 0, "queued": 0}


def test_the_callback_sees_the_frame(tmp_path: Path):
    video = write_video(tmp_path / "belt.avi", 4)

    def by_brightness(frame: SourceFrame) -> Whose:
        return Whose(part_id=f"P{round(float(np.asarray(frame.image)[..., 0].mean()) / 20)}", station="s")

    with open_source(f"video:{video}", part_of=by_brightness) as source:
        assert [(f.part_id, f.context["station"]) for f in source] == [(f"P{i}", "s") for i in (1, 2, 3, 4)]


def test_a_camera_that_is_lost_is_opened_again_and_its_numbers_go_on(tmp_path: Path):
    video = write_video(tmp_path / "camera.avi", 3)
    with open_source(f"camera:{video}") as source:
        assert source.live
        seen: list[int] = []
        while not seen or seen[-1] < 8:
            frame = source.next_frame(20)
            assert frame is not None
            seen.append(int(frame.name.rpartition("#")[2]))
        told = source.status()
    assert seen == sorted(set(seen))
    assert told["reopened"] >= 2
    assert told["read"] >= len(seen) + told["dropped"]


def test_a_camera_that_does_not_come_back_is_told_and_the_reader_ends_when_asked(tmp_path: Path):
    video = write_video(tmp_path / "camera.avi", 3)
    with open_source(f"camera:{video}") as source:
        assert source.next_frame(20) is not None
        video.unlink()
        while not source.status()["problem"]:
            source.next_frame(0.1)
        assert "check its cable" in source.status()["problem"]
    assert not source._thread.is_alive()


def test_a_folder_is_read_once_with_side_files_before_the_pattern(tmp_path: Path):
    for name in ("s1_A.png", "s2_B.png"):
        (tmp_path / name).write_bytes(encode_lossless(noise(1))[0])
    (tmp_path / "s2_B.json").write_text('{"part_id": "told", "context": {"humidity": 0.4}}')
    with open_source(str(tmp_path), part_of=part_pattern(r"(?P<station>\w+?)_(?P<part>\w+)")) as source:
        frames = list(source)
    assert [(f.part_id, dict(f.context)) for f in frames] == [
        ("A", {"station": "s1"}),
        ("told", {"humidity": 0.4, "station": "s2"}),
    ]
    with open_source(str(tmp_path)) as source:
        assert [f.part_id for f in source] == ["s1_A", "told"]


def test_image_files_come_through_a_real_pipe_as_they_arrive():
    images = [encode_lossless(noise(i))[0] for i in range(3)]
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end, "rb") as reader,
        os.fdopen(write_end, "wb", buffering=0) as writer,
        open_source("-", stdin=reader) as source,
    ):
        writer.write(images[0])
        first = source.next_frame(10)  # while the pipe stays open
        assert first is not None
        assert first.image == images[0]
        writer.write(images[1] + images[2])
        writer.close()
        assert [f.image for f in source] == images[1:]
        assert source.status()["damaged"] == 0


def test_raw_frames_on_standard_input():
    frames = [noise(i, 8) for i in range(3)]
    data = io.BytesIO(b"".join(f.tobytes() for f in frames))
    with open_source("-", stdin=data, frame_size=(8, 8)) as source:
        assert all(np.array_equal(f.image, frames[i]) for i, f in enumerate(source))
    assert source.read == 3


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("nowhere", "is not a folder, nor a file"),
        ("camera:", "names no camera"),
        ("video:none.mp4", "is not a file"),
        ("camera:/dev/video99", "cannot open"),
        ("{}/text.mp4", "cannot open"),
        ("{}/one.png", "give the folder"),
    ],
)
def test_what_cannot_be_opened_is_an_error_that_says_what_to_do(tmp_path: Path, words: str, error: str):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "one.png").write_bytes(encode_lossless(noise(1))[0])
    with pytest.raises(ConfigError, match=error):
        open_source(words.format(tmp_path))


def test_a_frame_size_belongs_to_standard_input(tmp_path: Path):
    with pytest.raises(ConfigError, match="brings its own"):
        open_source(str(tmp_path), frame_size=(8, 8))


def test_without_opencv_the_error_names_the_extra_and_nothing_else_needs_it(tmp_path: Path):
    video = write_video(tmp_path / "belt.avi", 1)
    script = f"""
import sys
sys.modules["cv2"] = None  # what an import finds where the package is missing
from edge_client.sources import open_source
try:
    open_source({str(video)!r})
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "ConfigError" in done.stdout
    assert "andon-edge[camera]" in done.stdout


def test_opencv_is_not_imported_for_a_folder(tmp_path: Path):
    script = f"""
import sys
import edge_client.cli.run
from edge_client.sources import open_source
list(open_source({str(tmp_path)!r}))
assert "cv2" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_a_live_stream_keeps_the_newest(tmp_path: Path):
    done = threading.Event()

    class Slow(io.RawIOBase):
        data = io.BytesIO(b"".join(noise(i, 8).tobytes() for i in range(20)))

        def read1(self, n: int) -> bytes:
            part = self.data.read(n)
            if not part:
                done.set()
            return part

    with open_source("-", stdin=Slow(), frame_size=(8, 8), live=True, queue_frames=2) as source:  # type: ignore[arg-type]
        assert source.next_frame(10) is not None
        assert done.wait(10)
        rest = list(source)
    assert rest[-1].name == "stdin#000020"
    assert source.status()["dropped"] == 19 - len(rest)
