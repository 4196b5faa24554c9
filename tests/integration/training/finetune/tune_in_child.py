"""Fine-tunes the small backbone and prints the digest of its weights: a process that a test may kill.

python -m tests.integration.training.finetune.tune_in_child FOLDER
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import torch

from tests.unit.training.finetune.conftest import tuning
from tests.unit.training.finetune.staged_backbone import ThreeStages
from training.finetune.module import FineTuning
from training.finetune.plan import FineTunePlan
from training.finetune.run import fine_tune

PLAN = FineTunePlan(stages=2, epochs=5, rate=2e-3, head_rate=1e-2, batch=8, patience=9, average=0.9)
_SLOW = 0.03  # seconds a step, so that a test can hit the middle of an epoch


def main() -> None:
    """Fine-tune, telling each step."""
    step = FineTuning.training_step

    def slow(self: FineTuning, batch: object, index: int) -> torch.Tensor:
        print(f"step {self.current_epoch} {index}", flush=True)
        time.sleep(_SLOW)
        return step(self, batch, index)

    FineTuning.training_step = slow  # type: ignore[method-assign]
    data, start = tuning(64, stopping=8)
    tuned = fine_tune(ThreeStages(), data, start, PLAN, folder=Path(sys.argv[1]), threads=1)
    print(f"done {tuned.resumed} {hashlib.sha256(tuned.weights).hexdigest()}", flush=True)


if __name__ == "__main__":
    main()
