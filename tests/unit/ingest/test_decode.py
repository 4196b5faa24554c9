from __future__ import annotations

import os
import signal
import threading
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.decode import DecoderUnavailable, ImageChecker, ImageSize
from edge_client.contract.errors import BadImage
from edge_client.images import decode_image
from tests.unit.ingest.uploads import png, png_header


def encoded(image_format: str, mode: str = "RGB", size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    buffer = BytesIO()
    Image.new(mode, size).save(buffer, image_format, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_the_three_formats_are_taken(checker: ImageChecker, kind: str) -> None:
    assert checker.check(encoded(kind.upper()), f"image/{kind}") == ImageSize(width=40, height=30, mode="RGB")


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "1"), ("PNG", "P"), ("PNG", "LA"), ("JPEG", "L"), ("JPEG", "CMYK")])
def test_what_the_edge_decodes_is_taken(checker: ImageChecker, kind: str, mode: str) -> None:
    image = encoded(kind, mode)
    assert decode_image(image).shape == (30, 40, 3)
    assert checker.check(image, f"image/{kind.lower()}") == ImageSize(width=40, height=30, mode=mode)


REFUSED = {
    "another format than it is named": (encoded("PNG"), "image/jpeg", "the content is PNG"),
    "a format that is not taken": (encoded("GIF"), "image/png", "neither PNG"),
    "an unknown media type": (encoded("PNG"), "image/tiff", "media type"),
    "a truncated image": (png(1, 64)[:-200], "image/png", "truncated"),
    "a truncated JPEG": (encoded("JPEG", size=(400, 400))[:-500], "image/jpeg", "truncated"),
    "an animation": (
        encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (40, 30), "red")]), "image/webp", "animation",
    ),
    "16 bits a channel": (encoded("PNG", "I;16"), "image/png", "8 bits"),
    "1.6 gigapixels": (png_header(40_000, 40_000), "image/png", "DecompressionBombError"),
    "81 megapixels": (png_header(9_000, 9_000), "image/png", "DecompressionBombWarning"),
    "nothing": (b"", "image/png", "begins with nothing"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_images_are_refused_with_the_reason(checker: ImageChecker, name: str) -> None:
    image, media_type, words = REFUSED[name]
    with pytest.raises(BadImage, match=words):
        checker.check(image, media_type)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_images_never_cost_more_than_themselves(checker: ImageChecker, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP"]))
    image = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 8))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    try:
        checker.check(bytes(image), f"image/{kind.lower()}")
    except BadImage:
        pass
    assert checker.check(png(1), "image/png").width == 24


def test_an_image_that_needs_too_much_memory_is_refused_and_the_next_is_taken() -> None:
    with ImageChecker(memory_bytes=150 << 20) as checker:
        with pytest.raises(BadImage, match="memory"):
            checker.check(encoded("PNG", size=(7_900, 7_900)), "image/png")
        assert checker.check(png(1), "image/png").height == 24


def test_a_child_that_dies_between_images_or_for_once_in_one_costs_no_image() -> None:
    with ImageChecker() as checker:
        checker.check(png(1), "image/png")
        assert checker.child_pid is not None
        os.kill(checker.child_pid, signal.SIGKILL)
        assert checker.check(png(2), "image/png").width == 24


def test_an_image_that_ends_its_decoder_twice_is_bad_and_the_next_is_taken() -> None:
    checker = ImageChecker()
    try:
        checker.check(png(1), "image/png")
        stop = threading.Event()

        def killer() -> None:
            while not stop.is_set():
                pid = checker.child_pid
                if pid is not None:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue

        thread = threading.Thread(target=killer)
        thread.start()
        try:
            with pytest.raises((BadImage, DecoderUnavailable), match=r"signal 9|closed"):
                checker.check(encoded("WEBP", size=(3_000, 3_000)), "image/webp")
        finally:
            stop.set()
            thread.join()
        assert checker.check(png(2), "image/png").width == 24
    finally:
        checker.close()


def test_of_many_each_has_its_verdict_in_its_place(checker: ImageChecker) -> None:
    good, bad = encoded("JPEG", size=(60, 40)), (b"nothing", "image/png")
    stream = [bad if i % 7 == 3 else (good, "image/jpeg") for i in range(40)]
    found = list(checker.check_many(iter(stream)))
    assert [isinstance(verdict, BadImage) for verdict in found] == [item is bad for item in stream]
    assert found[0] == ImageSize(width=60, height=40, mode="RGB")
    assert list(checker.check_many([])) == []


def _grows(pid: int, most_bytes: int) -> bool:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 > most_bytes
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("times", [1, 1000])
def test_of_many_only_the_one_that_ends_its_decoder_twice_is_bad(times: int) -> None:
    small, large = encoded("PNG"), encoded("PNG", size=(3_500, 3_500))  # 37 MB of pixels: by that it is known
    killed, stop = 0, threading.Event()
    with ImageChecker() as checker:

        def killer() -> None:
            nonlocal killed
            last = None
            while not stop.is_set() and killed < times:
                pid = checker.child_pid
                if pid is not None and pid != last and _grows(pid, 45 << 20):
                    os.kill(pid, signal.SIGKILL)
                    last, killed = pid, killed + 1

        thread = threading.Thread(target=killer)
        thread.start()
        try:
            stream = [large if i == 5 else small for i in range(20)]
            found = list(checker.check_many((image, "image/png") for image in stream))
        finally:
            stop.set()
            thread.join()
    assert killed == min(times, 2)
    assert [i for i, verdict in enumerate(found) if isinstance(verdict, BadImage)] == ([5] if times > 1 else [])


def test_an_image_that_takes_too_long_is_bad_by_the_clock_that_was_given() -> None:
    ticks = iter(range(0, 10_000, 30))  # each look at the clock is 30 s later: start-up allows 60
    checker = ImageChecker(seconds=20, clock=lambda: next(ticks))
    with checker, pytest.raises(BadImage, match="longer than 20 s"):
        checker.check(encoded("PNG"), "image/png")


def test_the_child_has_no_files_and_ends_with_its_checker() -> None:
    with ImageChecker() as checker:
        checker.check(png(1), "image/png")
        pid = checker.child_pid
        assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert [line.split()[3] for line in limits.splitlines() if "open files" in line] == ["3"]
    assert not Path(f"/proc/{pid}").exists()
