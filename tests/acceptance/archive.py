"""A small archive of made-up parts: plates, some with a scratch; the stream's plates are of another, darker steel."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 96


def plate(rng: np.random.Generator, *, scratched: bool, dark: bool) -> Image.Image:
    """Draw one plate: brushed metal, with a bright scratch if it is a defect."""
    level = 90 if dark else 150
    grain = rng.normal(0, 14 if dark else 6, (SIDE, 1)) + rng.normal(0, 4, (SIDE, SIDE))
    frame = level + grain
    if scratched:
        x, y = rng.integers(10, SIDE - 40, 2)
        for step in range(30):
            frame[y + step, x + step // 2 : x + step // 2 + 3] += 70
    return Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8)).convert("RGB")


def write_archive(folder: Path, *, factory: int, stream: int, holdout: int, seed: int = 0) -> Path:
    """Write images and their index; every fourth plate is scratched."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "stage"])
        for stage, n in (("factory", factory), ("stream", stream), ("holdout", holdout)):
            for i in range(n):
                scratched = i % 4 == 0
                name = f"{stage}-{i:04d}.png"
                plate(rng, scratched=scratched, dark=stage != "factory").save(folder / name)
                writer.writerow([name, "scratched" if scratched else "ok", stage])
    return folder / "index.csv"
