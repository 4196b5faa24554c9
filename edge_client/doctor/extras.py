"""Optional packages: which are there, and whether the configuration asks for one that is not."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from edge_client.config import Config
from edge_client.doctor.finding import Finding, ok, problem

#: Extra → modules that it brings, and what it is for.
EXTRAS = {
    "serve": (("httptools", "orjson"), "inference server over HTTP"),
    "grpc": (("grpc", "google.protobuf"), "inference server over gRPC"),
    "camera": (("cv2",), "videos and cameras"),
    "telemetry": (("opentelemetry.sdk",), "OpenTelemetry"),
}


def check_extras(config: Config) -> Iterator[Finding]:
    """Report extras; one that is missing is a problem only where the configuration turns it on."""
    there = [name for name, (modules, _) in EXTRAS.items() if all(_has(m) for m in modules)]
    missing = [f"{name} ({what})" for name, (_, what) in EXTRAS.items() if name not in there]
    if config.telemetry.enabled and "telemetry" not in there:
        yield problem(
            "extras",
            "telemetry.enabled is true, but opentelemetry-sdk is not installed: nothing is exported",
            "pip install 'andon-edge[telemetry]', or set telemetry.enabled = false",
        )
        return
    yield ok("extras", f"installed: {', '.join(there) or 'none'}; not installed: {', '.join(missing) or 'none'}")


def check_client(config: Config) -> Iterator[Finding]:
    """The client's own version, and the runtime's."""
    del config
    yield ok("client", f"andon-edge {_version('andon-edge')}, onnxruntime {_version('onnxruntime')}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from source"


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
