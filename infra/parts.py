"""One part of an installation in the foreground, as a container runs it: where `andon up` is not used.

    migrate   databases made and brought up to date, keys and release repository there (a task: it ends)
    mlflow    tracking server and registry
    prefect   Prefect's server and UI
    serving   the flows with their schedules; with a work pool, their deployments and the sentinel alone
    worker    takes runs from a work pool and starts each as a job of its own
    console   the web page
    releases  keeps the release repository fresh

1. A part needs `services.toml` (`data.services`); all but mlflow, prefect and worker need the home directory too.
2. It is this process: signals reach it as they are, and it ends when the part ends.
3. Looking whether a part is well tries what it is for, as `andon up` does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data.services import Services, load_services
from edge_client.contract.errors import ConfigError
from infra.stack.readiness import (
    NotReady,
    Probe,
    console_probe,
    mlflow_probe,
    prefect_probe,
    releases_probe,
    serving_probe,
)
from infra.stack.servers import PYTHON, QUIET, Server, mlflow_database, mlflow_server, prefect_database, prefect_server

MIGRATE = "migrate"
PORTS: Mapping[str, int] = {"mlflow": 5000, "prefect": 4200, "console": 8080}
PARTS = (MIGRATE, "mlflow", "prefect", "serving", "worker", "console", "releases")
_POLLED_SECONDS = 180.0  # a serving process asks for runs every few seconds; a busy one may be late
_SIGNED_SECONDS = 2 * 86_400.0  # once a day


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; None for the part's own.
        pool: Name of Prefect's work pool; "" for flows as processes beside the serving process.
        pool_kind: Its type.
        image: What a run's container is made of.
        job_template: JSON file of the pool's jobs.
    """

    part: str
    host: str = "0.0.0.0"  # noqa: S104 - inside a container; what reaches it is the network policy's matter
    port: int | None = None
    pool: str = ""
    pool_kind: str = "kubernetes"
    image: str = ""
    job_template: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    @property
    def listens_on(self) -> int:
        """The port."""
        return self.port or PORTS[self.part]


def server_of(home: Path, order: Order) -> Server:
    """The command of a part, and its environment.

    Raises:
        ConfigError: `services.toml` lacks what it needs.
    """
    services = load_services(home, order.environment)
    ours = ("--home", str(home))
    match order.part:
        case "mlflow":
            _needed(services, "database", order)
            _needed(services, "bucket", order)
            assert services.database is not None
            assert services.bucket is not None
            return mlflow_server(
                host=order.host,
                port=order.listens_on,
                database=mlflow_database(services.database),
                bucket=services.bucket,
                called=services.mlflow_url,
            )
        case "prefect":
            _needed(services, "database", order)
            assert services.database is not None
            server = prefect_server(
                host=order.host,
                port=order.listens_on,
                home=home / "prefect",
                url=services.prefect_url or f"http://127.0.0.1:{order.listens_on}",
                database=prefect_database(services.database),
            )
            # The page is served by the same server: whatever name people reach it by, the API is beside it.
            return Server(command=server.command, environment={**server.environment, "PREFECT_UI_API_URL": "/api"})
        case "serving":
            pool = ("--pool", order.pool, "--pool-kind", order.pool_kind) if order.pool else ()
            image = ("--image", order.image) if order.image else ()
            template = ("--job-template", str(order.job_template)) if order.job_template else ()
            return Server(command=(*PYTHON, "flows.serving", *ours, *pool, *image, *template), environment=QUIET)
        case "worker":
            if not order.pool:
                raise ConfigError("worker: which work pool? Name it with --pool, as for serving")
            url = _needed(services, "prefect_url", order)
            command = (*PYTHON, "prefect", "worker", "start", "--pool", order.pool, "--type", order.pool_kind)
            return Server(
                command=(*command, "--with-healthcheck"),
                environment={**QUIET, "PREFECT_API_URL": f"{url}/api", "PREFECT_HOME": str(home / "prefect")},
            )
        case "console":
            listen = ("--host", order.host, "--port", str(order.listens_on))
            return Server(command=(*PYTHON, "console", *ours, *listen), environment=QUIET)
        case "releases":
            return Server(command=(*PYTHON, "flows.releases.refresher", *ours), environment=QUIET)
        case _:
            raise ConfigError(f"{order.part!r} is no part that runs; there are {', '.join(PARTS)}")


def probe_of(home: Path, order: Order, now: Callable[[], float] = time.time) -> Probe:
    """How it is told that a part on this machine is well (rule 3).

    Raises:
        ConfigError: `services.toml` lacks what is asked, or the part can't be asked.
    """
    services = load_services(home, order.environment)
    match order.part:
        case "mlflow":
            return mlflow_probe(f"http://127.0.0.1:{order.listens_on}")
        case "prefect":
            return prefect_probe(f"http://127.0.0.1:{order.listens_on}")
        case "console":
            return console_probe(f"http://127.0.0.1:{order.listens_on}")
        case "serving":
            return serving_probe(_needed(services, "prefect_url", order), lambda: now() - _POLLED_SECONDS)
        case "releases":
            _needed(services, "bucket", order)
            assert services.bucket is not None
            return releases_probe(services.bucket, lambda: now() - _SIGNED_SECONDS)
        case _:
            raise ConfigError(f"{order.part} cannot be asked here: it ends by itself, or answers at a port of its own")


def migrate(home: Path, report: Callable[[str], None] = lambda _: None) -> None:
    """Bring everything that is stored up to this version; harmless to run twice, or on two machines at once.

    Raises:
        AndonError: A server does not answer or refuses.
    """
    from data.policy import Policy
    from flows.releases.keys import create_keys
    from infra.stack.databases import make_databases, upgrade_databases
    from infra.stack.foundation import lay
    from infra.stack.layout import Home
    from infra.stack.stated import check_services

    services = load_services(home)
    database = services.database
    if database is None:
        raise ConfigError(f"{services.path or home / 'services.toml'}: no [database]; `andon up` needs no migration")
    make_databases(database, report)
    upgrade_databases(database, report)
    check_services(Home(home))
    report("the bucket answers")
    create_keys(home / "keys")
    policy = home / "policy.toml"
    if not policy.exists():
        policy.write_text(Policy.default_toml(), encoding="utf-8")
    lay(home)
    report("the catalog is up to date, and the release repository is there")


def look(home: Path, order: Order) -> str:
    """Return what is the matter with the part; nothing ("") when it is well."""
    try:
        probe_of(home, order)()
    except NotReady as reason:
        return str(reason)
    return ""


def _needed(services: Services, what: str, order: Order) -> str:
    if getattr(services, what) is None:
        section = what.removesuffix("_url")
        raise ConfigError(
            f"{order.part} needs [{section}] in services.toml ($ANDON_SERVICES, or in the home directory); "
            "docs/production.md shows one"
        )
    return str(getattr(services, what))
