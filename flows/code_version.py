"""A name for the code that trains: the same name, the same engine from the same snapshot and seed."""

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from edge_client.contract.errors import AndonError


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return twelve hex digits over every source file of `training`, without importing it."""
    spec = find_spec("training")
    if spec is None or not spec.submodule_search_locations:
        raise AndonError("the package `training` is not installed; install the cloud environment (`make setup`)")
    root = Path(spec.submodule_search_locations[0])
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
