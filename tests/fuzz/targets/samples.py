"""What a device uploads: the tar of sealed blobs, the blob that is inside, and the whole way that ingest goes."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from random import Random

from data.decode import ImageSize
from data.decode_child import check_image
from data.ingest.open_shard import BadMember, GoodEvents, GoodSample, open_shard
from edge_client.contract.errors import BadImage, BadSample, BadShard
from edge_client.contract.record import ManifestEntry, ShardEntry
from edge_client.contract.sample import unpack_blob
from edge_client.contract.sealing import generate_identity, load_identity, seal
from edge_client.contract.shard import read_shard, write_shard
from tests.fuzz import seeds
from tests.fuzz.mutations.plain import mutate_bytes
from tests.fuzz.mutations.sample import mutate_sample
from tests.fuzz.mutations.tar import mutate_tar
from tests.fuzz.target import Target


def read_tar(data: bytes) -> None:
    """Read a shard; what is accepted is no larger than its file, and the same members are read from their own tar."""
    members = read_shard(data)
    assert sum(map(len, members.values())) <= len(data)
    assert read_shard(write_shard(list(members.items()))) == members


def read_sample(data: bytes) -> None:
    """Read a plain blob; what is accepted survives being written."""
    blob = unpack_blob(data)
    packed = blob.pack()
    assert unpack_blob(packed).pack() == packed


class _CheckedHere:
    """Checks images in this process: the harness watches memory and time itself."""

    def check_many(self, images: Iterable[tuple[bytes, str]]) -> Iterator[ImageSize | BadImage]:
        for image, media_type in images:
            answer = check_image(media_type, image)
            if "error" in answer:
                yield BadImage(str(answer["error"]))
                continue
            width, height = int(str(answer["width"])), int(str(answer["height"]))
            yield ImageSize(width=width, height=height, mode=str(answer["mode"]))


@cache
def _identity() -> tuple[str, str]:
    with tempfile.TemporaryDirectory(prefix="andon-fuzz-") as folder:
        path = Path(folder) / "identity"
        return generate_identity(path), load_identity(path)


def read_upload(data: bytes) -> None:
    """Go the way of ingest: a tar of plain blobs, each sealed here, under a record that names it as it is.

    A bad member is a verdict in its place, with a reason that ingest has a name for, and each member has one.
    """
    recipient, identity = _identity()
    sealed = [(name, seal(plain, recipient)) for name, plain in read_shard(data, max_members=8).items()]
    manifest = tuple(
        ManifestEntry(
            sample_id=f"{n:032x}",
            sequence=n,
            shard=0,
            name=name,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            weight=1.0,
            u=0.5,
            extra="events" if name.startswith("e") else None,
        )
        for n, (name, content) in enumerate(sealed)
    )
    shard = write_shard(sealed)
    entry = ShardEntry(n=0, sha256=hashlib.sha256(shard).hexdigest(), bytes=len(shard))
    verdicts = list(open_shard(shard, entry, seeds.record(manifest, entry), identity, _CheckedHere()))  # type: ignore[arg-type]
    assert [verdict.entry for verdict in verdicts] == list(manifest or seeds.record().manifest)
    for verdict in verdicts:
        assert isinstance(verdict, GoodSample | GoodEvents | BadMember)
        assert not (isinstance(verdict, BadMember) and verdict.reason.startswith("cannot be read")), verdict.reason


def _shards() -> tuple[bytes, ...]:
    return (write_shard([("a.age", b"1"), ("b.age", b"22" * 300)]), write_shard([]), write_shard([("x" * 99, b"")]))


def _uploads() -> tuple[bytes, ...]:
    png, jpeg, webp, events = seeds.blobs()
    return (write_shard([("a.age", png), ("e.age", events)]), write_shard([("a.age", jpeg), ("b.age", webp)]))


def _mutate_upload(data: bytes, random: Random) -> bytes:
    """Change one blob, or rarely the tar."""
    try:
        members = list(read_shard(data).items())
    except BadShard:
        return mutate_tar(data, random)
    if not members or random.random() < 0.05:
        return mutate_tar(data, random)
    at = random.randrange(len(members))
    name, plain = members[at]
    members[at] = (name, mutate_sample(plain, random) if random.random() < 0.95 else mutate_bytes(plain, random))
    return write_shard(members)


SHARD = Target(name="shard", read=read_tar, refusals=(BadShard,), seeds=_shards, mutate=mutate_tar)
SAMPLE = Target(name="sample", read=read_sample, refusals=(BadSample,), seeds=seeds.blobs, mutate=mutate_sample)
UPLOAD = Target(name="upload", read=read_upload, refusals=(BadShard,), seeds=_uploads, mutate=_mutate_upload)
