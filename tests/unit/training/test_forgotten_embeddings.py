from __future__ import annotations

import json
from pathlib import Path

from training.embeddings import EmbeddingCache


def chunk(folder: Path, name: str, content: str) -> Path:
    made = folder / "trunk" / f"chunk-{name}"
    made.mkdir(parents=True)
    (made / "images.json").write_text(content)
    return made


def test_chunks_that_hold_an_erased_image_go_and_others_stay(tmp_path: Path) -> None:
    held = chunk(tmp_path, "1", json.dumps(["a", "b"]))
    other = chunk(tmp_path, "2", json.dumps(["c"]))
    broken = chunk(tmp_path, "3", "{")
    assert EmbeddingCache(tmp_path).forget({"b", "z"}) == 2
    assert (held.exists(), other.exists(), broken.exists()) == (False, True, False)
    assert EmbeddingCache(tmp_path / "nowhere").forget({"b"}) == 0
