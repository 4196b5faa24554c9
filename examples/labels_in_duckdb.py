# %% [markdown]
# # Questions to labelled images, in SQL
#
# Written by `andon labels export DIR --format parquet`; named by `ANDON_EXPORT`, else `./labels`.

# %%
import os
from pathlib import Path

import duckdb

files = str(Path(os.environ.get("ANDON_EXPORT", "labels")) / "data" / "*.parquet")

# %% [markdown]
# The share of defects a station, with how many frames it rests on:

# %%
shares = duckdb.sql(f"""
    SELECT station, count(*) AS n, round(avg((label_name <> 'ok')::DOUBLE), 3) AS not_ok
    FROM '{files}' GROUP BY station ORDER BY not_ok DESC
""").fetchall()
for station, n, share in shares:
    print(f"{station}: {share} of {n}")

# %% [markdown]
# Who labelled how much:

# %%
people = duckdb.sql(f"SELECT labelled_by, count(*) FROM '{files}' GROUP BY 1 ORDER BY 2 DESC").fetchall()
print(people)
