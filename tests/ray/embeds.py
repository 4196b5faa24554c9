"""A program that embeds frames on a cluster, or here without an address, and prints a digest of the result."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

from flows.task_runner import embedder_of, runner_of
from tests.integration.flows.line import part
from training.trunk import Trunk, float_trunk, prepared_trunks

PIECES, FRAMES = 10, 24


def parts() -> Iterator[list[bytes]]:
    for piece in range(PIECES):
        yield [part(piece * FRAMES + i, cracked=i % 2 == 0, field=False) for i in range(FRAMES)]


def main(address: str) -> None:
    trunk: Trunk = float_trunk(prepared_trunks())
    content, began = hashlib.sha256(), time.monotonic()
    with runner_of(cast("Any", SimpleNamespace(ray_address=address))) as runner:
        for number, embedded in enumerate(embedder_of(runner)(trunk, parts(), None)):
            content.update(embedded.features.tobytes() + embedded.patches.tobytes())
            print("piece", number, flush=True)
    print(f"{time.monotonic() - began:.1f} s", content.hexdigest(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
