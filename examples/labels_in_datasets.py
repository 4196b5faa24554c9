# %% [markdown]
# # Labelled images as a Hugging Face dataset
#
# Written by `andon labels export DIR --format parquet`; named by `ANDON_EXPORT`, else `./labels`.

# %%
import os

from datasets import load_dataset

dataset = load_dataset(os.environ.get("ANDON_EXPORT", "labels"))
print({side: len(dataset[side]) for side in dataset})

# %% [markdown]
# Images come decoded, labels with their names: what `Trainer` and `DataLoader` take.

# %%
row = dataset["train"][0]
names = dataset["train"].features["label"].names
print(row["image"].size, names[row["label"]])
