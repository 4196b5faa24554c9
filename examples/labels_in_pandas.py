# %% [markdown]
# # Labelled images in pandas and scikit-learn
#
# Written by `andon labels export DIR --format parquet`. Open this file in Jupyter (as a notebook), VS Code or PyCharm:
# each `# %%` is a cell. The folder is named by `ANDON_EXPORT`, else it is `./labels`.

# %%
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

folder = Path(os.environ.get("ANDON_EXPORT", "labels"))
rows = pd.read_parquet(folder / "data")
rows[["sample_id", "label_name", "station", "captured_at", "labelled_by"]].head()

# %% [markdown]
# How many of each class, by station:

# %%
counts = rows.pivot_table(index="station", columns="label_name", values="sample_id", aggfunc="count", fill_value=0)
print(counts)

# %% [markdown]
# An image is the bytes of its file:

# %%
first = Image.open(io.BytesIO(rows.iloc[0]["image"]["bytes"]))
print(first.size, rows.iloc[0]["label_name"])

# %% [markdown]
# The simplest model there is, on the sides that Andon keeps apart: a group (part, lot) is never on both.


# %%
def features(cell: dict[str, bytes]) -> np.ndarray:
    """Mean and spread of each colour."""
    pixels = np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB"), dtype=np.float32)
    return np.concatenate([pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))])


from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

x = np.stack([features(cell) for cell in rows["image"]])
parts = {side: rows["sample_id"].isin(pd.read_parquet(file)["sample_id"]).to_numpy()
         for side in ("train", "golden") for file in sorted((folder / "data").glob(f"{side}-*.parquet"))}  # fmt: skip
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
    x[parts["train"]], rows["label"][parts["train"]]
)
accuracy = float(model.score(x[parts["golden"]], rows["label"][parts["golden"]]))
print(f"accuracy on {int(parts['golden'].sum())} samples that were held out: {accuracy:.2f}")
