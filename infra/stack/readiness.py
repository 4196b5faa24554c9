"""Ready means tried: each process is asked to do what it is for.

A probe returns nothing when its process is ready and raises `NotReady` with the reason otherwise. Probes have short
time-outs; the supervisor repeats them.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from typing import Any

from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.errors import BucketError, NotFound
from edge_client.contract.releases import METADATA_PREFIX

TIMEOUT_SECONDS = 5.0
PROBE_KEY = "probe/ready"
FLOW_NAMES = frozenset({"ingest", "retrain", "release", "watch"})

Probe = Callable[[], None]
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never loopback through somebody's proxy


class NotReady(Exception):
    """A process cannot yet do what it is for; the text says what was tried and what came."""


def bucket_probe(settings: S3Settings) -> Probe:
    """Create the bucket if need be; put, get and delete an object."""
    bucket: S3Bucket | None = None

    def probe() -> None:
        nonlocal bucket
        if bucket is None:  # made on first use: boto3 takes a while to import
            bucket = S3Bucket.connect(settings, connect_timeout=1, read_timeout=TIMEOUT_SECONDS, attempts=1)
        sent = b"ready?"
        try:
            try:
                bucket.put(PROBE_KEY, sent)
            except NotFound:
                _create(bucket)
                bucket.put(PROBE_KEY, sent)
            got = bucket.get(PROBE_KEY, max_bytes=64)
            bucket.delete(PROBE_KEY)
        except BucketError as error:
            raise NotReady(f"a put and a get: {error}") from error
        if got != sent:
            raise NotReady(f"a put and a get: sent {sent!r}, got {got!r}")

    return probe


def _create(bucket: S3Bucket) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        bucket.client.create_bucket(Bucket=bucket.name)
    except (BotoCoreError, ClientError) as error:
        raise NotReady(f"creating the bucket: {error}") from error


def mlflow_probe(url: str) -> Probe:
    """Search the experiments: needs MLflow's database."""

    def probe() -> None:
        answer = call("POST", f"{url}/api/2.0/mlflow/experiments/search", {"max_results": 1})
        if not isinstance(answer, dict) or not answer.get("experiments"):
            raise NotReady(f"searching experiments: expected the default experiment, got {str(answer)[:200]}")

    return probe


def prefect_probe(url: str) -> Probe:
    """Ask for the server's health, and filter flow runs: needs Prefect's database."""

    def probe() -> None:
        if call("GET", f"{url}/api/health") is not True:
            raise NotReady("its health call does not answer true")
        if not isinstance(call("POST", f"{url}/api/flow_runs/filter", {"limit": 1}), list):
            raise NotReady("filtering flow runs does not give a list")

    return probe


def serving_probe(prefect_url: str, since: Callable[[], float | None]) -> Probe:
    """All deployments are there, and the process started at `since` (seconds since the epoch) asks for their runs."""

    def probe() -> None:
        query = {"deployments": {"tags": {"all_": ["andon"]}}}
        answer = call("POST", f"{prefect_url}/api/deployments/filter", query)
        started = since()
        if not isinstance(answer, list) or started is None:
            raise NotReady("filtering deployments does not give a list")
        polled = {_flow_of(item): _time(item.get("last_polled")) for item in answer}
        missing = sorted(FLOW_NAMES - {name for name, at in polled.items() if at is not None and at >= started - 1})
        if missing:
            raise NotReady(f"no process asks for the runs of {', '.join(missing)} yet")

    return probe


def console_probe(url: str) -> Probe:
    """Ask for /healthz."""

    def probe() -> None:
        call("GET", f"{url}/healthz")

    return probe


def releases_probe(settings: S3Settings, since: Callable[[], float | None]) -> Probe:
    """The process started at `since` (seconds since the epoch) has signed a timestamp."""
    bucket: S3Bucket | None = None

    def probe() -> None:
        nonlocal bucket
        if bucket is None:
            bucket = S3Bucket.connect(settings, connect_timeout=1, read_timeout=TIMEOUT_SECONDS, attempts=1)
        try:
            document = json.loads(bucket.get(f"{METADATA_PREFIX}timestamp.json", max_bytes=1 << 20))
            issued = _time(document["signed"]["x-andon-issued-at"])
        except (BucketError, ValueError, KeyError, TypeError) as error:
            raise NotReady(f"reading the timestamp: {error!r}") from error
        started = since()
        if issued is None or started is None or issued < int(started):
            raise NotReady("no timestamp was signed since it started")

    return probe


def call(method: str, url: str, body: Any = None) -> Any:
    """Call a JSON API.

    Returns:
        The parsed answer, or its text where it is not JSON.

    Raises:
        NotReady: No answer, or not 2xx.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310 - the scheme is ours
    request.add_header("Content-Type", "application/json")
    try:
        with _opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            raw = answer.read(4 << 20)
    except urllib.error.HTTPError as error:
        raise NotReady(f"{method} {url}: {error.code} {error.read(200)!r}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise NotReady(f"{method} {url}: {reason}") from error
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _flow_of(deployment: Any) -> str:
    entrypoint = str(deployment.get("entrypoint") or "")
    return entrypoint.rsplit(".", 1)[-1].rsplit(":", 1)[-1]


def _time(value: Any) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError:
        return None
