"""Runs of flows as jobs of a Prefect work pool, on a cluster; else they are processes beside the serving process.

1. The pool is made if there is none, and its template brought up to what this version says.
2. Each flow keeps its name, schedule and limit of one run at a time: only where a run's process is started differs.
3. A run's container is made of the same image: the flow is a module in it, nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPool:
    """A pool of Prefect.

    Attributes:
        kind: Prefect's type: ``kubernetes``, or ``process`` for a worker on another machine.
        image: Of a run's container; "" where there is none.
        template: JSON file of its jobs; None for the type's own.
    """

    name: str
    kind: str
    image: str = ""
    template: Path | None = None

    def job_template(self) -> dict[str, Any] | None:
        """Read the template.

        Raises:
            ConfigError: It is missing or no template.
        """
        if self.template is None:
            return None
        try:
            found = json.loads(self.template.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.template}: cannot be read as JSON: {error}") from error
        if not isinstance(found, dict) or not {"job_configuration", "variables"} <= set(found):
            raise ConfigError(f"{self.template}: a work pool's template has job_configuration and variables")
        return found


def deploy(pool: WorkPool, deployments: Sequence[RunnerDeployment]) -> None:
    """Make the pool and give it the flows (rules 1 and 2)."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    template = pool.job_template()
    with get_client(sync_client=True) as client:
        try:
            known = client.read_work_pool(pool.name)
        except ObjectNotFound:
            wanted = WorkPoolCreate(name=pool.name, type=pool.kind, base_job_template=template or {})
            client.create_work_pool(wanted)
        else:
            if known.type != pool.kind:
                raise ConfigError(f"work pool {pool.name!r} has type {known.type!r}, expected {pool.kind!r}")
            if template is not None and known.base_job_template != template:
                client.update_work_pool(pool.name, WorkPoolUpdate(base_job_template=template))
    for deployment in deployments:
        deployment.apply(work_pool_name=pool.name, image=pool.image or None)
