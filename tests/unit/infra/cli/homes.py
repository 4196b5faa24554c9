"""Home directories for commands that need a catalog, and whose bucket is never asked."""

from __future__ import annotations

import json
from pathlib import Path


def home_at(folder: Path) -> str:
    """Write what `andon up` leaves there; returns the address of its catalog."""
    urls = {"bucket": "http://127.0.0.1:1", "mlflow": "http://127.0.0.1:1"}
    (folder / "stack.json").write_text(json.dumps({"urls": urls, "bucket": {"name": "andon"}}))
    (folder / "secrets.json").write_text(json.dumps({"access_key_id": "a", "secret_access_key": "b"}))
    return f"sqlite:///{folder / 'catalog.db'}"
