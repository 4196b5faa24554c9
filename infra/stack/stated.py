"""What is used elsewhere, stated and tried before anything is started.

1. Where a home directory keeps its catalog is said once: another place would be an empty catalog beside a full bucket.
2. The database is made if need be, and the bucket is tried by a put and a get.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from data.services import Database, load_services, parse_database
from infra.stack.databases import make_databases
from infra.stack.layout import Home, StackError
from infra.stack.readiness import NotReady, bucket_probe

_TEXT = """\
# What this installation uses and does not run itself: see `data/services.py` and docs/production.md.
[database]
url = {url}
"""


def state_database(path: Path, url: str) -> Database:
    """Note in a new home directory that its databases are on a PostgreSQL server (rule 1).

    Raises:
        ConfigError: It is not the URL of one.
        StackError: The home directory keeps its catalog elsewhere already.
    """
    home = Home(path)
    database = parse_database(url, "--database")
    known = load_services(home.path).database
    if known is not None:
        if known != database:
            raise StackError(
                f"{home.services_file} names another database already: edit it there, or choose a new home directory"
            )
        return database
    if home.stack_file.exists() or home.services_file.exists():
        what = home.services_file if home.services_file.exists() else home.stack_file
        raise StackError(
            f"{what} is there, without a database: this home directory keeps its catalog in a file. Choose a new home "
            "directory with --home, or edit services.toml after you have moved the data"
        )
    home.create()
    descriptor = os.open(home.services_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_TEXT.format(url=json.dumps(url)))  # a JSON string is a TOML string
    return database


def check_services(
    home: Home, report: Callable[[str], None] = lambda _: None, environ: Mapping[str, str] = os.environ
) -> None:
    """Try what is used elsewhere (rule 2).

    Raises:
        ConfigError: `services.toml` is wrong.
        StackError: A service does not do what it is for.
    """
    services = load_services(home.path, environ)
    if services.database is not None:
        make_databases(services.database, report)
    if services.bucket is not None:
        try:
            bucket_probe(services.bucket)()
        except NotReady as reason:
            raise StackError(f"the bucket that {services.path} names: {reason}") from reason
