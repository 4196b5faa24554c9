"""A real SeaweedFS server on loopback, with a device's own credentials."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.errors import AndonError


def free_port() -> int:
    """A port that is free, and whose gRPC neighbour (+10000) is too."""
    while True:
        with socket.socket() as probe, socket.socket() as neighbour:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            if port >= 50_000:
                continue
            try:
                neighbour.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return int(port)


@dataclass
class Weed:
    """A server that can be killed and started again on the same folder and ports."""

    folder: Path
    settings: S3Settings
    ports: dict[str, int]
    process: subprocess.Popen[bytes] | None = None
    volumes: int = 10  # of 64 MB

    def start(self) -> None:
        log = (self.folder / "weed.log").open("ab")
        options = [f"-{name}.port={port}" for name, port in self.ports.items()]
        self.process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("weed")),
                "-logtostderr=true",
                "server",
                f"-dir={self.folder / 'data'}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-filer",
                "-s3",
                "-s3.iam.readOnly=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-master.volumeSizeLimitMB=64",
                f"-volume.max={self.volumes}",
                "-volume.preStopSeconds=0",
                "-disableHttp",
                "-master.electionTimeout=1s",
                "-master.telemetry=false",
                *options,
            ],
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "AWS_ACCESS_KEY_ID": self.settings.access_key_id,
                "AWS_SECRET_ACCESS_KEY": self.settings.secret_access_key,
                "GOMEMLIMIT": "200MiB",
            },
        )

    def wait_until_ready(self, *, seconds: float = 60) -> None:
        """Ready is a put and a get that worked."""
        bucket = S3Bucket.connect(self.settings, attempts=1)
        until = time.monotonic() + seconds
        while True:
            try:
                bucket.put("ready", b"yes")
                if bucket.get("ready", max_bytes=10) == b"yes":
                    return
            except AndonError:
                if time.monotonic() > until:
                    raise
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "weed.log").read_text()[-2000:]
            time.sleep(0.1)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(timeout=10)
            self.process = None

    def make_bucket(self) -> None:
        client: Any = S3Bucket.connect(self.settings).client
        until = time.monotonic() + 60
        while True:
            try:
                client.create_bucket(Bucket=self.settings.bucket)
            except client.exceptions.BucketAlreadyOwnedByYou:
                return
            except Exception:  # not yet up
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return

    def enrol(self, device: str) -> S3Settings:
        """Make a user that may put into its own prefixes and get releases, nothing else."""
        import boto3

        iam: Any = boto3.client(
            "iam",
            endpoint_url=self.settings.endpoint_url,
            aws_access_key_id=self.settings.access_key_id,
            aws_secret_access_key=self.settings.secret_access_key,
            region_name="us-east-1",
        )
        iam.create_user(UserName=device)
        root = f"arn:aws:s3:::{self.settings.bucket}"
        iam.put_user_policy(
            UserName=device,
            PolicyName="device",
            PolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": ["s3:PutObject"],
                            "Resource": [f"{root}/inbox/{device}/*", f"{root}/fleet/{device}/*"],
                        },
                        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{root}/releases/*"]},
                    ],
                }
            ),
        )
        key = iam.create_access_key(UserName=device)["AccessKey"]
        return replace(self.settings, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])

    def revoke(self, device: str, access_key_id: str) -> None:
        import boto3

        iam: Any = boto3.client(
            "iam",
            endpoint_url=self.settings.endpoint_url,
            aws_access_key_id=self.settings.access_key_id,
            aws_secret_access_key=self.settings.secret_access_key,
            region_name="us-east-1",
        )
        iam.delete_access_key(UserName=device, AccessKeyId=access_key_id)


@contextmanager
def running_weed(folder: Path, *, volumes: int = 10) -> Iterator[Weed]:
    """Start a server with an empty bucket for so many times 64 MB, and end it."""
    (folder / "data").mkdir(parents=True)
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    weed = Weed(
        folder=folder,
        settings=S3Settings(
            bucket="andon",
            endpoint_url=f"http://127.0.0.1:{ports['s3']}",
            access_key_id="root",
            secret_access_key=secrets.token_hex(16),
        ),
        ports=ports,
        volumes=volumes,
    )
    weed.start()
    try:
        weed.make_bucket()
        weed.wait_until_ready()
        yield weed
    finally:
        weed.kill()
