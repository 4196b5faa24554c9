"""One server process for the tests that only ask it things: two inspections, HTTP and gRPC."""

from collections.abc import Iterator

import pytest

from benchmarks.served import Line, Served
from tests.tiny_engine import tiny_engine


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("plant")
    lines = [Line(folder / f"of-{name}", tiny_engine(inspection=name)) for name in ("solar-cells", "solder-joints")]
    with Served([line.config for line in lines], "--grpc-port", "0") as served:
        yield served
