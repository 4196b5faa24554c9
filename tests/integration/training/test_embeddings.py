import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_client.contract.errors import BadEngine, BadImage
from training.embeddings import EmbeddingCache
from training.frames import decode
from training.trunk import Trunk


def png(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def images(make_picture: Callable[..., np.ndarray]) -> list[bytes]:
    return [png(make_picture(i, i % 2)) for i in range(6)]


def digests(images: list[bytes]) -> list[str]:
    return [hashlib.sha256(image).hexdigest() for image in images]


def test_only_new_images_are_embedded_and_the_answers_are_equal_to_the_bit(
    tmp_path: Path, trunk: Trunk, images: list[bytes]
) -> None:
    fresh = trunk.run(images)
    first = EmbeddingCache(tmp_path)
    first.embed(trunk, digests(images[:4]), lambda i: images[i])
    assert first.computed == 4
    second = EmbeddingCache(tmp_path)
    asked: list[int] = []

    def image_of(index: int) -> bytes:
        asked.append(index)
        return images[index]

    both = second.embed(trunk, digests(images), image_of)
    assert asked == [4, 5]
    assert second.computed == 2
    assert both.features.tobytes() == fresh.features.tobytes()
    assert both.patches.tobytes() == fresh.patches.tobytes()


def test_bringing_in_new_images_tells_how_many_there_were(tmp_path: Path, trunk: Trunk, images: list[bytes]) -> None:
    cache = EmbeddingCache(tmp_path)
    assert cache.add(trunk, digests(images[:4]), lambda i: images[i]) == 4
    assert cache.add(trunk, digests(images), lambda i: images[i]) == 2
    order = [5, 0, 3]  # of two chunks, neither in the order of either
    found = cache.embed(trunk, [digests(images)[i] for i in order], lambda i: images[order[i]])
    fresh = trunk.run([images[i] for i in order])
    assert found.features.tobytes() == fresh.features.tobytes()
    assert found.patches.tobytes() == fresh.patches.tobytes()
    assert cache.computed == 6


def test_the_same_image_twice_is_embedded_once(tmp_path: Path, trunk: Trunk, images: list[bytes]) -> None:
    cache = EmbeddingCache(tmp_path)
    twice = [images[0], images[1], images[0]]
    embedded = cache.embed(trunk, digests(twice), lambda i: twice[i])
    assert cache.computed == 2
    assert (embedded.features[0] == embedded.features[2]).all()


def test_patches_come_only_for_the_images_asked_for(tmp_path: Path, trunk: Trunk, images: list[bytes]) -> None:
    cache = EmbeddingCache(tmp_path)
    everything = cache.embed(trunk, digests(images), lambda i: images[i])
    some = cache.embed(trunk, digests(images), lambda i: images[i], patches_of=np.arange(6) >= 4)
    assert (some.patches == everything.patches[4:]).all()
    assert cache.embed(trunk, digests(images), lambda i: images[i], patches_of=np.zeros(6, bool)).patches.shape[0] == 0


def test_a_damaged_chunk_is_set_aside_and_computed_again(tmp_path: Path, trunk: Trunk, images: list[bytes]) -> None:
    before = EmbeddingCache(tmp_path).embed(trunk, digests(images), lambda i: images[i])
    (chunk,) = (tmp_path / trunk.id).glob("chunk-*")
    (chunk / "features.npy").write_bytes(b"\x93NUMPY torn")
    cache = EmbeddingCache(tmp_path)
    after = cache.embed(trunk, digests(images), lambda i: images[i])
    assert cache.computed == 6
    assert after.features.tobytes() == before.features.tobytes()
    assert len(list((tmp_path / trunk.id).glob("broken-*"))) == 1


def test_bytes_that_are_not_those_of_the_digest_are_never_stored(
    tmp_path: Path, trunk: Trunk, images: list[bytes]
) -> None:
    with pytest.raises(ValueError, match="has the bytes of"):
        EmbeddingCache(tmp_path).embed(trunk, digests(images[:1]), lambda _: images[1])
    assert not list(tmp_path.glob("*/chunk-*"))


def test_no_images_are_no_embeddings(tmp_path: Path, trunk: Trunk) -> None:
    assert EmbeddingCache(tmp_path).embed(trunk, [], lambda _: b"").features.shape == (0, 16)


def test_a_frame_is_embedded_the_same_on_any_number_of_threads(trunk: Trunk, images: list[bytes]) -> None:
    assert trunk.run(images, threads=1).features.tobytes() == trunk.run(images, threads=3).features.tobytes()


def test_what_is_no_trunk_is_refused_with_the_next_step() -> None:
    with pytest.raises(BadEngine, match="delete the cached file"):
        Trunk.load(b"not onnx")


def test_a_truncated_image_and_a_strange_array_are_refused(images: list[bytes]) -> None:
    with pytest.raises(BadImage, match="cannot be decoded"):
        decode(images[0][: len(images[0]) // 2])
    with pytest.raises(BadImage, match="cannot be decoded"):
        decode(b"GIF89a")
    with pytest.raises(BadImage, match=r"float32 \[4, 4, 3\]; expected uint8"):
        decode(np.zeros((4, 4, 3), dtype=np.float32))  # type: ignore[arg-type]
