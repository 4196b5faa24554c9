"""A real OpenStack Swift on one node: proxy with s3api over TLS, account, container and object server, memcached.

It comes from Debian's packages (`make test-swift` names them) and runs as whoever runs the tests, on free ports and in
a folder of its own.
"""

from __future__ import annotations

import contextlib
import getpass
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.errors import AndonError
from tests.integration.capture.bad_line import self_signed
from tests.integration.capture.weed import free_port

_PYTHON = "/usr/bin/python3"  # the packages are for the system's

_STORE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}/nodes
mount_check = false
workers = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
cert_file = {certificate}
key_file = {key}
workers = 0
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth copy slo symlink versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# the one node there is must not be left out for a minute because it was asked before it was up
error_suppression_limit = 1000000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_plant_line = {secret} .admin
user_plant_devices = {devices_secret}
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:symlink]
use = egg:swift#symlink
[filter:versioned_writes]
use = egg:swift#versioned_writes
"""


@dataclass
class Swift:
    """The node; its proxy can be killed and started again.

    Attributes:
        folder: Of all its files.
        settings: The account that may do everything, and the bucket.
        devices: A member without rights of its own, for all devices.
    """

    folder: Path
    settings: S3Settings
    devices: S3Settings
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, what: str) -> None:
        log = (self.folder / f"{what}.log").open("ab")
        command = [_PYTHON, str(Path(__file__).with_name("serve.py")), str(self.folder), what]
        self.processes[what] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, what: str) -> None:
        self.processes[what].kill()
        self.processes.pop(what).wait(10)

    def wait_until_ready(self, *, seconds: float = 60) -> None:
        """Ready is a bucket, and a put and a get that worked."""
        client = S3Bucket.connect(self.settings, attempts=1, read_timeout=10)
        until = time.monotonic() + seconds
        while True:
            try:
                client.client.create_bucket(Bucket=client.name)
                client.put("ready", b"yes")
                if client.get("ready", max_bytes=10) == b"yes":
                    return
            except Exception as error:
                for what, process in self.processes.items():
                    if process.poll() is not None:
                        log = (self.folder / f"{what}.log").read_text()[-2000:]
                        raise AssertionError(f"{what} ended with {process.returncode}: {log}") from error
                if "BucketAlreadyOwnedByYou" in str(error):
                    with contextlib.suppress(AndonError):
                        client.put("ready", b"yes")
                        return
                if time.monotonic() > until:
                    raise
            time.sleep(0.2)


@contextlib.contextmanager
def running_swift(folder: Path) -> Iterator[Swift]:
    """Start a node with an empty bucket, and end it."""
    (folder / "nodes" / "d1").mkdir(parents=True)
    certificate, key = self_signed(folder)
    ports = {name: free_port() for name in ("proxy", "account", "container", "object", "memcached")}
    settings = S3Settings(
        bucket="andon",
        endpoint_url=f"https://127.0.0.1:{ports['proxy']}",
        access_key_id="plant:line",
        secret_access_key=secrets.token_hex(16),
        ca_bundle=str(certificate),
    )
    devices = replace(settings, access_key_id="plant:devices", secret_access_key=secrets.token_hex(16))
    (folder / "swift.conf").write_text(f"[swift-hash]\nswift_hash_path_suffix = {secrets.token_hex(8)}\n")
    told = {"user": getpass.getuser(), "folder": folder}
    for kind in ("account", "container", "object"):
        (folder / f"{kind}.conf").write_text(_STORE.format(kind=kind, port=ports[kind], **told))
    (folder / "proxy.conf").write_text(
        _PROXY.format(
            port=ports["proxy"],
            memcached=ports["memcached"],
            certificate=certificate,
            key=key,
            secret=settings.secret_access_key,
            devices_secret=devices.secret_access_key,
            **told,
        )
    )
    rings = [str(ports[kind]) for kind in ("account", "container", "object")]
    script = str(Path(__file__).with_name("serve.py"))
    subprocess.run([_PYTHON, script, str(folder), "rings", *rings], check=True, timeout=60)
    swift = Swift(folder, settings, devices)
    memcached = ["memcached", "-l", "127.0.0.1", "-p", str(ports["memcached"]), "-U", "0", "-m", "16"]
    swift.processes["memcached"] = subprocess.Popen([*memcached, "-u", getpass.getuser()])
    try:
        for what in ("account", "container", "object", "proxy"):
            swift.start(what)
        swift.wait_until_ready()
        yield swift
    finally:
        for what in list(swift.processes):
            swift.kill(what)
