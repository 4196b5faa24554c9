"""How MLflow's and Prefect's servers are run: the same on one machine, in a container and on a cluster.

1. No secret is on a command line: databases and accounts come by the environment.
2. On PostgreSQL each has a database of its own beside the catalog's; all three speak TLS as the URL asks for.
3. Nothing phones home.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from data.services import Database
from edge_client.contract.bucket import S3Settings
from infra.stack.ports import LOOPBACK

PYTHON = (sys.executable, "-P", "-m")  # -P: nothing is imported from the working directory
QUIET = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
#: libpq's parameters that asyncpg, Prefect's driver, takes from the environment alone.
_BY_ENVIRONMENT = {
    "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
}  # fmt: skip
_OF_ASYNCPG = frozenset({"host", "port"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A command, and what its environment needs beside the caller's own."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)


def mlflow_server(*, host: str, port: int, database: str, bucket: S3Settings, called: str | None = None) -> Server:
    """MLflow's tracking server and registry, its artifacts in the bucket under ``mlflow/``.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        database: SQLAlchemy URL.
        bucket: Where artifacts go.
        called: Address by which others call it, where that is another than loopback.
    """
    environment = {
        **QUIET,
        **bucket_environment(bucket),
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runner takes 300 MB and has nothing to do here
    }
    if called:  # it refuses names that it was not told, so that no page can be tricked into calling it
        named = urlsplit(called)
        names = {named.netloc, named.hostname or "", "localhost", f"localhost:{port}", LOOPBACK, f"{LOOPBACK}:{port}"}
        environment["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(sorted(name for name in names if name))
    listen = ("--host", host, "--port", str(port), "--workers", "1")
    store = ("--artifacts-destination", f"s3://{bucket.bucket}/mlflow", "--serve-artifacts")
    return Server(
        command=(*PYTHON, "mlflow", "server", "--app-name", "andon", *listen, *store),  # see infra.stack.mlflow_app
        environment=environment,
    )


def prefect_server(*, host: str, port: int, home: Path, url: str, database: Mapping[str, str]) -> Server:
    """Prefect's server and UI.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        home: Its folder.
        url: Address by which people and flows call it.
        database: From `prefect_database` or `prefect_sqlite`.
    """
    return Server(
        command=(*PYTHON, "prefect", "server", "start", "--host", host, "--port", str(port)),
        environment={
            **QUIET,
            **database,
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": f"{url}/api",
            "PREFECT_UI_API_URL": f"{url}/api",
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            "PREFECT_CLI_COLORS": "false",
            "PREFECT_LOGGING_COLORS": "false",
        },
    )


def bucket_environment(bucket: S3Settings) -> dict[str, str]:
    """How MLflow's boto3 reaches a bucket."""
    found = {
        "AWS_DEFAULT_REGION": bucket.region,
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",  # chunked uploads break Swift and others over TLS
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": bucket.addressing,
    }
    if bucket.endpoint_url:
        found |= {"MLFLOW_S3_ENDPOINT_URL": bucket.endpoint_url}
    if bucket.access_key_id:  # else a role: asked for at the machine's metadata service, or told by the environment
        found |= {
            "AWS_ACCESS_KEY_ID": bucket.access_key_id,
            "AWS_SECRET_ACCESS_KEY": bucket.secret_access_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    if bucket.ca_bundle:
        found |= {"AWS_CA_BUNDLE": bucket.ca_bundle}
    return found


def mlflow_database(database: Database) -> str:
    """MLflow's URL of its database on PostgreSQL."""
    return database.url_of(database.mlflow, driver="postgresql+psycopg")


def prefect_database(database: Database) -> dict[str, str]:
    """Environment with Prefect's database on PostgreSQL (rule 2)."""
    given = dict(parse_qsl(urlsplit(database.url).query))
    environment = {_BY_ENVIRONMENT[key]: value for key, value in given.items() if key in _BY_ENVIRONMENT}
    rest = urlencode({key: value for key, value in given.items() if key in _OF_ASYNCPG})
    url = database.url_of(database.prefect, driver="postgresql+asyncpg", query=False)
    return {**environment, "PREFECT_API_DATABASE_CONNECTION_URL": f"{url}{'?' if rest else ''}{rest}"}


def prefect_sqlite(path: Path) -> dict[str, str]:
    """Environment with Prefect's database in a file."""
    return {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{path}"}
