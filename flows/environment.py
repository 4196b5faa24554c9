"""The environment of MLflow's and Prefect's clients: where their servers are, no telemetry, quiet.

1. It is set before either is imported, so importing this module must stay cheap.
2. What is already set in the environment wins over what is merely a preference; the addresses always follow the home
   directory.
"""

import os
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data.workspace import Workspace

#: Kept from phoning home and from drawing progress bars and emoji into log files.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",  # never start a hidden server where none is configured
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "andon",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_RUNNER_POLL_FREQUENCY": "2",  # seconds between an event and its flow run, at most
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # the default of 7 with backoff holds a flow for minutes
    # Artifacts come through MLflow's server: its client would ask the bucket, whose certificate it does not know.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def quiet(environ: MutableMapping[str, str] = os.environ) -> None:
    """Turn telemetry and noise off, unless the environment says otherwise."""
    for name, value in QUIET.items():
        environ.setdefault(name, value)


def point_at(workspace: "Workspace", environ: MutableMapping[str, str] = os.environ) -> None:
    """Make this process and its children talk to the servers of `workspace`, quietly."""
    from data.workspace import HOME_VARIABLE

    quiet(environ)
    environ[HOME_VARIABLE] = str(workspace.home)
    environ["PREFECT_HOME"] = str(workspace.home / "prefect")
    if workspace.prefect_url:
        environ["PREFECT_API_URL"] = prefect_api_url(workspace.prefect_url)
    if workspace.mlflow_url:
        environ["MLFLOW_TRACKING_URI"] = workspace.mlflow_url


def prefect_api_url(url: str) -> str:
    """Return the API's address for a server's address, with or without its ``/api``."""
    bare = url.rstrip("/")
    return bare if bare.endswith("/api") else f"{bare}/api"
