"""A real stack for tests: SeaweedFS, MLflow and Prefect as processes on loopback, on free ports, ended by pid."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config

from data.workspace import Workspace
from edge_client.contract.sealing import generate_identity

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
ACCESS_KEY, SECRET_KEY = "flows-tests", "flows-tests-secret"
PATIENCE_SECONDS = 300  # MLflow's server takes 10 s on an idle machine; a busy one must not fail a test


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Stack:
    """The servers of one home directory."""

    home: Path
    ports: dict[str, int] = field(default_factory=lambda: {n: free_port() for n in ("bucket", "mlflow", "prefect")})
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    every: int = 20  # seconds between two runs of ingest

    @property
    def workspace(self) -> Workspace:
        return Workspace.open(self.home, environ={})

    def prepare(self) -> None:
        (self.home / "logs").mkdir(parents=True)
        (self.home / "keys").mkdir(mode=0o700)
        (self.home / "bucket").mkdir()
        generate_identity(self.home / "keys" / "recipient.age")
        urls = {name: f"http://127.0.0.1:{port}" for name, port in self.ports.items()}
        (self.home / "stack.json").write_text(json.dumps({"urls": urls, "bucket": {"name": "andon"}}))
        secrets = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
        (self.home / "secrets.json").write_text(json.dumps(secrets))

    def environment(self) -> dict[str, str]:
        bucket, prefect = (f"http://127.0.0.1:{self.ports[name]}" for name in ("bucket", "prefect"))
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "ANDON_HOME": str(self.home),
            "DO_NOT_TRACK": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_S3_ENDPOINT_URL": bucket,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_API_URL": f"{prefect}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "OMP_NUM_THREADS": "1",
        }

    def command(self, name: str) -> list[str]:
        port, home = str(self.ports.get(name, 0)), self.home
        return {
            "bucket": [
                *f"{BIN}/weed -logtostderr=true server -dir={home}/bucket -ip=127.0.0.1 -ip.bind=127.0.0.1".split(),
                *f"-master.port={self._with_grpc()} -volume.port={self._with_grpc()}".split(),
                *f"-filer -filer.port={self._with_grpc()} -s3 -s3.port={port} -s3.port.grpc={free_port()}".split(),
                *["-s3.iam.readOnly=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64"],
                *["-volume.max=20", "-volume.preStopSeconds=0", "-disableHttp", "-master.electionTimeout=1s"],
                "-master.telemetry=false",
            ],
            "mlflow": [
                *f"{sys.executable} -m mlflow server --backend-store-uri sqlite:///{home}/mlflow.db".split(),
                *["--artifacts-destination", "s3://andon/mlflow", "--serve-artifacts", "--workers", "1"],
                *f"--host 127.0.0.1 --port {port}".split(),
            ],
            "prefect": f"{sys.executable} -m prefect server start --host 127.0.0.1 --port {port}".split(),
            "serving": f"{sys.executable} -m flows.serving --home {home} --every {self.every}".split(),
        }[name]

    def start(self, name: str, extra: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        log = (self.home / "logs" / f"{name}.log").open("ab")
        process = subprocess.Popen(
            self.command(name),
            env={**self.environment(), **(extra or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            start_new_session=True,  # so that its children can be ended with it
        )
        log.close()
        self.processes[name] = process
        return process

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            pass
        process.wait(timeout=60)

    def ready(self, name: str) -> bool:
        if self.processes[name].poll() is not None:
            raise AssertionError(f"{name} ended with {self.processes[name].returncode}:\n{self.log(name)[-3000:]}")
        if name == "bucket":
            return self._bucket_answers()
        path = {"mlflow": "/health", "prefect": "/api/health"}[name]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def log(self, name: str) -> str:
        return (self.home / "logs" / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def _bucket_answers(self) -> bool:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.ports['bucket']}",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1},
                          s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )  # fmt: skip
        try:
            client.create_bucket(Bucket="andon")
        except Exception as error:
            if "BucketAlready" not in repr(error):
                return False
        try:
            client.put_object(Bucket="andon", Key="ready", Body=b"yes")
            return bool(client.get_object(Bucket="andon", Key="ready")["Body"].read() == b"yes")
        except Exception:
            return False

    def _with_grpc(self) -> int:
        """A free port whose gRPC port, ten thousand above, is free too."""
        while True:
            port = free_port()
            if port > 55_000:
                port -= 25_000
            with socket.socket() as plain, socket.socket() as grpc:
                try:
                    plain.bind(("127.0.0.1", port))
                    grpc.bind(("127.0.0.1", port + 10_000))
                except OSError:
                    continue
                return port


def wait_until(holds: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Poll until something holds: servers in other processes tell nobody when they are ready."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)
