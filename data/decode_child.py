"""The child process that decodes untrusted images. Run by file name, with `python -I`; it imports Pillow alone.

Protocol, on stdin and stdout, one image at a time: uint32 length of the media type, uint32 length of the image, then
both; the answer is a uint32 length and a JSON object, `{"width", "height", "mode"}` or `{"error"}`.
The parent watches the time; the limits on memory, files and processes are set here, before the first image.
"""

import json
import resource
import struct
import sys
import warnings
from io import BytesIO
from typing import BinaryIO

_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
# 8 bits a channel, and what the edge decodes: a frame that was inspected and captured there is not refused here.
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")


def main() -> None:
    """Answer until stdin ends, which it does when the parent goes, however it goes."""
    memory_bytes, most_pixels = int(sys.argv[1]), int(sys.argv[2])
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = most_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.preinit()
    Image.init()  # plugins are loaded before files can no longer be opened
    _limit(memory_bytes)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    stdout.write(b"\x01")  # ready
    stdout.flush()
    while (request := _read_request(stdin)) is not None:
        answer = json.dumps(check_image(*request)).encode()
        stdout.write(struct.pack(">I", len(answer)) + answer)
        stdout.flush()


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # no file, no socket; a decoder needs neither


def _read_request(stdin: BinaryIO) -> tuple[str, bytes] | None:
    header = stdin.read(8)
    if len(header) < 8:
        return None
    type_bytes, image_bytes = struct.unpack(">II", header)
    media_type, image = stdin.read(type_bytes), stdin.read(image_bytes)
    return (media_type.decode(), image) if len(image) == image_bytes else None


def check_image(media_type: str, data: bytes) -> dict[str, object]:
    """Decode one image completely: its size and mode, or what is wrong with it."""
    from PIL import Image, UnidentifiedImageError

    expected = _FORMATS.get(media_type)
    if expected is None:
        return {"error": f"media type {media_type!r}, expected one of {', '.join(_FORMATS)}"}
    try:
        with Image.open(BytesIO(data), formats=tuple(_FORMATS.values())) as image:
            if image.format != expected:
                return {"error": f"the content is {image.format}, but it is named {media_type}"}
            if image.mode not in _MODES:
                return {"error": f"pixels of mode {image.mode!r}, expected 8 bits a channel ({', '.join(_MODES)})"}
            if getattr(image, "n_frames", 1) != 1:
                return {"error": "an animation, expected one picture"}
            image.load()
            return {"width": image.width, "height": image.height, "mode": image.mode}
    except UnidentifiedImageError:
        return {"error": f"neither PNG, JPEG nor WebP (it begins with {data[:8].hex(' ') or 'nothing'})"}
    except MemoryError:
        return {"error": "needs more memory to decode than is allowed"}
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises on foreign bytes is a verdict on the image
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}


if __name__ == "__main__":
    main()
