"""The servers and the release repository of a workspace, as the flows use them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from data.server_lock import publisher_lock
from data.workspace import Workspace
from edge_client.contract.errors import ConfigError
from flows import environment
from flows.registry import Registry
from flows.releases.keyring import KeyRing
from flows.releases.repository import ReleaseRepository


@dataclass(frozen=True, slots=True)
class _Clock:
    now: Callable[[], datetime]


def registry_of(workspace: Workspace) -> Registry:
    """Return the registry of a workspace.

    Raises:
        ConfigError: Its stack has no MLflow server.
    """
    environment.point_at(workspace)
    if not workspace.mlflow_url:
        raise ConfigError(f"{workspace.home}: its stack has no MLflow server; run `andon up`")
    return Registry(workspace.mlflow_url)


def repository_of(
    workspace: Workspace, clock: Callable[[], datetime], ring: KeyRing | None = None
) -> ReleaseRepository:
    """Return the signed release repository of a workspace; `ring` brings keys that a person keeps elsewhere."""
    lock = publisher_lock(workspace.catalog_url)
    return ReleaseRepository(workspace.bucket(), workspace.keys, _Clock(clock), ring=ring, lock=lock)
