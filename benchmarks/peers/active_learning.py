"""scikit-activeml and cleanlab in an environment of their own, asked over a pipe."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded_set import Floats, Rows
from benchmarks.peers.start import HERE, environment
from benchmarks.strategies import Pool

STRATEGIES = ("typiclust", "probcover", "badge", "falcun", "clue")


class ActiveLearning:
    """A process that answers for scikit-activeml and cleanlab; a context that ends it.

    Args:
        cache: Folder of the peers' environments.
    """

    def __init__(self, cache: Path) -> None:
        python = environment("active_learning", cache) / "python"
        self._folder = tempfile.TemporaryDirectory(prefix="andon-peers-")
        self._process = subprocess.Popen(
            [str(python), str(HERE / "active_learning_app.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def choose(self, strategy: str, pool: Pool, n: int, random: np.random.Generator) -> Rows:
        """Rows of the pool that a strategy of scikit-activeml asks for."""
        m, known = len(pool.embeddings), len(pool.labelled)
        probabilities = np.concatenate([pool.probabilities, np.eye(pool.probabilities.shape[1])[pool.labels]])
        found = self._ask(
            {"do": "query", "strategy": strategy, "n": n, "seed": int(random.integers(2**31))},
            x=np.concatenate([pool.embeddings, pool.labelled]).astype(np.float64),
            y=np.concatenate([np.full(m, np.nan), pool.labels.astype(np.float64)]),
            p=probabilities if known else pool.probabilities,
        )
        return np.array(found, dtype=np.int64)

    def label_errors(self, labels: Rows, probabilities: Floats) -> Rows:
        """Rows that cleanlab's `find_label_issues` names, with its defaults."""
        return np.array(self._ask({"do": "label_errors"}, labels=labels, p=probabilities), dtype=np.int64)

    def _ask(self, wanted: dict[str, object], **arrays: NDArray[np.generic]) -> list[int]:
        file = Path(self._folder.name) / "ask.npz"
        np.savez(file, allow_pickle=False, **arrays)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**wanted, "file": str(file)}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peers' process ended while it was asked {wanted}; its error is above")
        found: list[int] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(30)
        self._folder.cleanup()

    def __enter__(self) -> ActiveLearning:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
