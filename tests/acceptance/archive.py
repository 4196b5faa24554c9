"""A small archive of made-up parts: plates, some with a scratch.

The factory's plates are bright and brushed crosswise, a scratch is brighter. The stream's are of another steel: dark,
brushed lengthwise with bright lines that look like the factory's scratches, and a scratch is darker. A model of the
first must fail on the second.
"""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 96


def plate(rng: np.random.Generator, *, scratched: bool, other_steel: bool) -> Image.Image:
    """Draw one plate."""
    if other_steel:
        frame = 110 + rng.normal(0, 22, (1, SIDE)) + rng.normal(0, 6, (SIDE, SIDE))
        for x in rng.integers(5, SIDE - 5, 4):
            frame[rng.integers(0, 30) : rng.integers(60, SIDE), x : x + 2] += 60
    else:
        frame = 150 + rng.normal(0, 6, (SIDE, 1)) + rng.normal(0, 4, (SIDE, SIDE))
    if scratched:
        x, y = rng.integers(10, SIDE - 40, 2)
        for step in range(30):
            frame[y + step, x + step // 2 : x + step // 2 + 3] += -90 if other_steel else 70
    return Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8)).convert("RGB")


def write_archive(folder: Path, *, factory: int, stream: int, holdout: int, seed: int = 0) -> Path:
    """Write images and their index; every fourth plate is scratched, and of the stream's every third.

    The gate wants five labelled defects. Of the 24 labels that a stream of 120 with a quarter of them brings, one run
    in five has fewer; 180 with a third bring twelve, and fewer than five in one run of some hundred.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "stage"])
        for stage, n in (("factory", factory), ("stream", stream), ("holdout", holdout)):
            for i in range(n):
                scratched = i % (3 if stage == "stream" else 4) == 0
                name = f"{stage}-{i:04d}.png"
                plate(rng, scratched=scratched, other_steel=stage != "factory").save(folder / name)
                writer.writerow([name, "scratched" if scratched else "ok", stage])
    return folder / "index.csv"
