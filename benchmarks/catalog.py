"""Every page and step on a large catalog: ``python -m benchmarks.catalog [--json] [--samples 10000 1000000]``.

Catalogs of synthetic rows (`benchmarks.many_samples` says what is in them) are filled once and kept in ``--folder``;
then the console's own application answers each page and the API call behind it, ``--repeats`` times, in turns, and the
steps of the loop are run beside it. SQLite by default; ``--database URL …`` names an empty PostgreSQL database for each
size.

Figures are asked for all time: the rows lie in the past, and a page of the last weeks would have none of them. The
first answer of a page whose figures are kept (loop, home, field, value, causes) waits for them to be computed: it is
told in a row of its own, "first", and not among the others, which come while the figures are kept or made anew behind
them.

`page_p95_ms` is the slowest page's 95 % quantile at the largest size; `growth` what all pages' quantiles together take
at the largest size over what they take at the smallest. Rows "cpu" count the processor's time of the process, which a
busy machine does not stretch.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import func, select
from starlette.testclient import TestClient

from benchmarks.many_samples import INSPECTION, fill
from benchmarks.result import Row, tell
from console.app import create_app
from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.draw_plan import Planner
from data.estimates import field_sample
from data.ingest import ingest_inbox
from data.inspections import list_inspections
from data.lake import Lake
from data.loop_status import new_labels_since_snapshot
from data.policy import DrawPolicy
from data.queue import queue_size
from data.snapshots import take_snapshot
from data.workspace import Workspace
from edge_client.contract.bucket import DirectoryBucket, S3Settings
from edge_client.contract.sealing import generate_identity, load_identity, recipient_of
from tests.console_person import cookies_of
from tests.unit.ingest.uploads import Uploader, put, set_up
from training.evaluate import Measure

_PAGES = {
    "home": "/",
    "loop": "/loop",
    "label": f"/label/{INSPECTION}",
    "causes": "/causes",
    "drift": "/drift",
    "fleet": "/fleet",
    "rollouts": "/rollouts",
    "review": "/review",
    "field": "/field",
    "value": "/value",
    "loop, its figures": "/api/loop",
    "label, the next samples": f"/api/{INSPECTION}/next",
    "label, a picture": "/api/image/{sample}",
    "causes, its figures": f"/api/{INSPECTION}/causes?days=0",
    "drift, its figures": f"/api/{INSPECTION}/drift",
    "fleet, its figures": "/api/fleet",
    "rollouts, their figures": f"/api/{INSPECTION}/rollouts",
    "review, its figures": f"/api/{INSPECTION}/review",
    "field, its figures": f"/api/{INSPECTION}/field?days=0",
    "value, its figures": f"/api/{INSPECTION}/value?days=0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Home(Workspace):
    """A home directory whose lake lies in a folder: the bucket is not what is measured."""

    def lake(self) -> Lake:
        """The lake."""
        return Lake(DirectoryBucket(self.home / "bucket"), self.cache / "lake")


def home_of(folder: Path, samples: int, url: str | None) -> _Home:
    """The home of a catalog of some size, filled if it was not yet."""
    home = folder / str(samples)
    home.mkdir(parents=True, exist_ok=True)
    settings = S3Settings(bucket="none", endpoint_url=None, access_key_id="none", secret_access_key="none")
    workspace = _Home(home=home, catalog_url=url or f"sqlite:///{home}/catalog.db", bucket_settings=settings)
    if not list_inspections(workspace.catalog()):
        began = time.monotonic()
        made = fill(workspace.catalog(), workspace.lake(), samples)
        print(f"{made.samples:,} samples, {made.labels:,} labels: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return workspace


def timed(do: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds that something took, on the wall and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    do()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def pages(workspace: Workspace, repeats: int) -> tuple[dict[str, float], dict[str, list[tuple[float, float]]]]:
    """First answers of each page, and all later ones."""
    with workspace.catalog().reading() as session:
        sample = session.scalars(select(SampleRow.sample_id).where(SampleRow.origin == "field").limit(1)).one()
    address = "http://127.0.0.1"
    client = TestClient(create_app(workspace), base_url=address, cookies=cookies_of(address, workspace))

    def get(path: str) -> None:
        answer = client.get(path.format(sample=sample))
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"

    first = {name: timed(lambda path=path: get(path))[0] for name, path in _PAGES.items()}  # type: ignore[misc]  # bound
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in _PAGES}
    for _ in range(repeats):
        for name, path in _PAGES.items():
            found[name].append(timed(lambda path=path: get(path)))  # type: ignore[misc]  # bound
    return first, found


def steps(workspace: Workspace, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Steps of the loop, each so often."""
    catalog, lake = workspace.catalog(), workspace.lake()
    found: dict[str, list[tuple[float, float]]] = {}

    def step(name: str, do: Callable[[], object], times: int = repeats) -> None:
        found[name] = [timed(do) for _ in range(times)]

    step("how much waits for people", lambda: queue_size(catalog, INSPECTION))
    step("labels that no snapshot has seen", lambda: new_labels_since_snapshot(catalog, INSPECTION))
    step("plan of a draw", lambda: Planner(catalog, lake).plan(INSPECTION, DrawPolicy()))
    step("a snapshot", lambda: take_snapshot(catalog, lake, INSPECTION))
    step("estimates of the whole line", lambda: field_sample(catalog, INSPECTION), times=min(3, repeats))
    with catalog.reading() as session:
        newest = session.scalar(select(func.max(SampleRow.captured_at)).where(SampleRow.inspection == INSPECTION))
    assert newest is not None
    since = newest - timedelta(hours=8)
    step("estimates of the last shift", lambda: field_sample(catalog, INSPECTION, since=since))

    def oldest() -> None:
        """The samples that a policy of retention would look at first."""
        with catalog.reading() as session:
            query = select(SampleRow.sample_id).where(SampleRow.inspection == INSPECTION, SampleRow.origin == "field")
            list(session.scalars(query.order_by(SampleRow.captured_at, SampleRow.sample_id).limit(1000)))

    step("the thousand oldest samples", oldest)
    step(*_one_window(workspace))
    return found


def _one_window(workspace: Workspace) -> tuple[str, Callable[[], object]]:
    catalog, lake, bucket = workspace.catalog(), workspace.lake(), DirectoryBucket(workspace.home / "bucket")
    name = f"new-{random.SystemRandom().randrange(10**9):09d}"
    key = workspace.home / f"{name}.age"
    generate_identity(key)
    identity = load_identity(key)
    device = Uploader(name, recipient_of(identity))
    if len(list_inspections(catalog)) == 1:
        set_up(catalog, device)
    else:
        _enrol(catalog, device)
    windows = iter(range(1, 10_000))

    def take() -> None:
        put(bucket, device.window(next(windows), samples=25, shards=1))
        assert ingest_inbox(catalog, bucket, lake, identity).samples == 25

    return "making, sending and taking over a window of 25 samples", take


def _enrol(catalog: Catalog, device: Uploader) -> None:
    from data.devices import register_device
    from edge_client.contract.signing import public_hex
    from tests.unit.ingest.uploads import INSPECTION as TILES
    from tests.unit.ingest.uploads import NOW

    register_device(catalog, device.name, "site-1", "station-1", [TILES], public_hex(device.key), at=NOW)


def measure(
    folder: Path, sizes: Sequence[int], urls: Sequence[str], repeats: int
) -> tuple[list[Row], dict[str, Measure]]:
    """All sizes."""
    rows: list[Row] = []
    p95: dict[int, dict[str, float]] = {}
    for i, samples in enumerate(sizes):
        workspace = home_of(folder, samples, urls[i] if urls else None)
        first, answers = pages(workspace, repeats)
        told: Mapping[str, list[tuple[float, float]]] = {
            **{f"page {name}": each for name, each in answers.items()},
            **{f"step {name}": each for name, each in steps(workspace, max(2, repeats // 4)).items()},
        }
        for name, each in told.items():
            rows.append(Row.of(f"{samples:,}: {name}", "ms", [wall for wall, _ in each]))
            rows.append(Row.of(f"{samples:,}: {name}, cpu", "ms", [cpu for _, cpu in each]))
        rows += [Row.of(f"{samples:,}: first answer of {name}", "ms", [ms]) for name, ms in first.items()]
        p95[samples] = {name: float(np.quantile([w for w, _ in each], 0.95)) for name, each in answers.items()}
    small, large = p95[min(sizes)], p95[max(sizes)]
    worst = max(large.values())
    growth = sum(large.values()) / sum(small.values())
    ratios = [large[name] / small[name] for name in large]
    return rows, {
        "page_p95_ms": Measure(value=worst, low=min(large.values()), high=worst, n=repeats),
        "growth": Measure(value=growth, low=min(ratios), high=max(ratios), n=repeats),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--samples", type=int, nargs="+", default=[10_000, 1_000_000], help="sizes of the catalogs")
    parser.add_argument("--repeats", type=int, default=20, help="answers of each page")
    parser.add_argument("--folder", type=Path, help="where the catalogs are kept for the next run; default: nowhere")
    parser.add_argument("--database", nargs="+", default=[], metavar="URL", help="a PostgreSQL database for each size")
    args = parser.parse_args()
    if args.database and len(args.database) != len(args.samples):
        parser.error(f"{len(args.database)} databases for {len(args.samples)} sizes: give one for each")
    with tempfile.TemporaryDirectory(prefix="andon-catalog-") as own:
        rows, figures = measure(args.folder or Path(own), args.samples, args.database, args.repeats)
    tell("catalog", rows, figures, as_json=args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
