"""From TOML to a table's value: types, bounds, paths, and errors that name the key."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from edge_client.contract.errors import ConfigError
from edge_client.contract.quoting import cut, quoted

# Least and most of every number; a constant with a unit in its name says the rest.
_BOUNDS: dict[str, tuple[float, float]] = {
    "device.heartbeat_seconds": (0.1, 86_400),
    "inspection.threads": (0, 256),
    "inspection.slots": (0, 256),
    "inspection.skip_unchanged": (0, 0.5),
    "bucket.connect_seconds": (0.1, 300),
    "bucket.read_seconds": (0.1, 3600),
    "bucket.least_bytes_per_second": (1, 1 << 30),
    "bucket.request_seconds": (1, 7 * 86_400),
    "capture.byte_budget": (0, 1 << 40),
    "capture.window_seconds": (0.05, 7 * 86_400),
    "capture.idle_close_seconds": (0.05, 7 * 86_400),
    "capture.spool_bytes": (0, 1 << 44),
    "capture.reserve_bytes": (0, 1 << 44),
    "capture.audit_share": (0.01, 0.99),
    "capture.duplicate_distance": (0, 2),
    "capture.shard_bytes": (10_000, 512_000_000),
    "capture.queue_frames": (1, 10_000),
    "capture.recent_frames": (0, 10_000),
    "capture.recent_bytes": (0, 1 << 34),
    "upload.bytes_per_second": (0, 1 << 34),
    "upload.bytes_per_day": (0, 1 << 44),
    "update.poll_seconds": (0.1, 86_400),
    "update.probation_frames": (0, 1_000_000),
    "update.trial_seconds": (1, 3600),
    "update.bytes_per_second": (0, 1 << 34),
    "share.port": (0, 65_535),
    "share.bytes_per_second": (0, 1 << 34),
    "metrics.port": (0, 65_535),
}


def read_toml(file: Path, what: str) -> dict[str, Any]:
    """Read a file of TOML; `what` is what messages call it.

    Raises:
        ConfigError: It is missing, cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{what} file {file} does not exist: give its path, or enrol this device first") from None
    except OSError as error:
        raise ConfigError(f"{what} file {file} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number too long, brackets nested too deep
        raise ConfigError(f"{what} file {file} is not TOML in UTF-8: {cut(str(error))}") from error


def read_table(file: Path, name: str, kind: type[Any], value: object) -> Any:
    """Make one table's value; paths in it become absolute.

    Args:
        file: Where it stands, for messages; relative paths are relative to its folder.
        name: Of the table.
        kind: Its dataclass.
        value: What the document has under that name; None for nothing.

    Raises:
        ConfigError: It is missing, no table, or has an unknown, missing or unusable key.
    """
    known = {f.name: f for f in fields(kind)}
    if value is None:
        raise ConfigError(f"{file}: table [{name}] is missing: expected the keys {sorted(known)}")
    if not isinstance(value, Mapping):
        raise ConfigError(f"{file}: {name} is {quoted(value)}: expected a table [{name}]")
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise ConfigError(f"{file}: unknown key {name}.{cut(unknown[0], most=80)}: known are {sorted(known)}")
    read: dict[str, Any] = {}
    for key, item in value.items():
        read[key] = _value(file, f"{name}.{key}", str(known[key].type), item)
    try:
        made = kind(**read)
    except TypeError:
        required = sorted(set(_required(kind)) - set(read))
        raise ConfigError(f"{file}: {name}.{required[0]} is missing; add it to the table [{name}]") from None
    for key in known:
        path = getattr(made, key)
        if isinstance(path, Path):
            object.__setattr__(made, key, _absolute(file, f"{name}.{key}", path))
    return made


def _absolute(file: Path, key: str, path: Path) -> Path:
    try:
        found = (file.parent / path.expanduser()).resolve()
        found.exists()  # a name that is too long is refused here, with its key, and not by whoever opens it
    except (OSError, RuntimeError, ValueError) as error:  # no such home, a circle of links, a NUL in it
        raise ConfigError(
            f"{file}: {key} is {quoted(str(path))}, which is no usable path ({cut(str(error), most=80)}); correct it"
        ) from error
    return found


def _required(kind: type[Any]) -> list[str]:
    return [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]


def _value(file: Path, key: str, kind: str, item: object) -> object:
    expected, read = _reader(kind)
    found = read(item)
    if found is None:
        raise ConfigError(f"{file}: {key} is {quoted(item)}: expected {expected}")
    if key in _BOUNDS and isinstance(found, int | float):
        least, most = _BOUNDS[key]
        if not least <= found <= most:
            raise ConfigError(f"{file}: {key} is {quoted(item)}: expected a number from {least:g} to {most:g}")
    return found


def _reader(kind: str) -> tuple[str, Callable[[object], object]]:
    """Return what a type is called in messages, and a function that gives the value or None."""
    if "tuple" in kind:
        return (
            "a list of texts",
            lambda v: tuple(v) if isinstance(v, list) and all(isinstance(i, str) for i in v) else None,
        )
    if "Path" in kind:
        return "a path", lambda v: Path(v) if isinstance(v, str) and v else None
    if "bool" in kind:
        return "true or false", lambda v: v if isinstance(v, bool) else None
    if "int" in kind:
        return "a whole number", lambda v: v if isinstance(v, int) and not isinstance(v, bool) else None
    if "float" in kind:
        return "a number", _float
    return "a text", lambda v: v if isinstance(v, str) and v else None


def _float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
