"""Which path means what. No I/O.

    GET   /v2                                            server metadata
    GET   /v2/health/live, /v2/health/ready
    GET   /v2/models/NAME[/versions/VERSION]             model metadata
    GET   /v2/models/NAME[/versions/VERSION]/ready
    POST  /v2/models/NAME[/versions/VERSION]/infer
    POST  /v2/repository/index                           which models there are
    POST  /v2/models/NAME/flag                           the operator's cord
    POST  /v2/models/NAME/outcome                        what was found out later about a part
    GET   /v2/models/NAME/status                         as `andon-edge status` tells it
    GET   /metrics                                       Prometheus text

HEAD is answered as GET, without the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from edge_client.serving.problems import Kind, Refusal, bad


class Action(Enum):
    """What a request wants, and the methods by which it may."""

    SERVER = ("server", "GET")
    LIVE = ("live", "GET")
    READY = ("ready", "GET")
    INDEX = ("index", "POST")
    METRICS = ("metrics", "GET")
    MODEL = ("model", "GET")
    MODEL_READY = ("model-ready", "GET")
    INFER = ("infer", "POST")
    FLAG = ("flag", "POST")
    OUTCOME = ("outcome", "POST")
    STATUS = ("status", "GET")

    @property
    def methods(self) -> tuple[str, ...]:
        """Allowed methods, HEAD where there is GET."""
        own = self.value[1:]
        return (*own, "HEAD") if "GET" in own else own


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a request goes."""

    action: Action
    model: str = ""
    version: str | None = None


class MethodRefused(Refusal):
    """The path is there, the method is not."""

    def __init__(self, method: str, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(Kind.METHOD, f"{path:.100} does not take {method}: it takes {', '.join(allowed)}")
        self.allowed = allowed


_PLAIN: dict[tuple[str, ...], Action] = {
    ("v2",): Action.SERVER,
    ("v2", "health", "live"): Action.LIVE,
    ("v2", "health", "ready"): Action.READY,
    ("v2", "repository", "index"): Action.INDEX,
    ("metrics",): Action.METRICS,
}
_OF_A_MODEL: dict[tuple[str, ...], Action] = {
    (): Action.MODEL,
    ("ready",): Action.MODEL_READY,
    ("infer",): Action.INFER,
}
_OF_A_MODEL_ALONE: dict[tuple[str, ...], Action] = {
    ("flag",): Action.FLAG,
    ("outcome",): Action.OUTCOME,
    ("status",): Action.STATUS,
}


def route(method: str, path: str) -> Route:
    """Find a request's action.

    Args:
        method: In capitals.
        path: Percent-encoded; a slash at its end means nothing.

    Raises:
        Refusal: NOT_FOUND, or METHOD with the methods that are allowed.

    >>> route("POST", "/v2/models/solar-cells/infer").model
    'solar-cells'
    """
    found = _find(path)
    if method not in found.action.methods:
        raise MethodRefused(method, path, found.action.methods)
    return found


def _find(path: str) -> Route:
    try:
        parts = tuple(unquote(part, errors="strict") for part in path.strip("/").split("/"))
    except UnicodeDecodeError:
        raise bad(f"the path {path:.100} is no percent-encoded UTF-8") from None
    if parts in _PLAIN:
        return Route(action=_PLAIN[parts])
    if len(parts) >= 3 and parts[:2] == ("v2", "models") and parts[2]:
        model, rest = parts[2], parts[3:]
        if len(rest) >= 2 and rest[0] == "versions" and rest[1] and rest[2:] in _OF_A_MODEL:
            return Route(action=_OF_A_MODEL[rest[2:]], model=model, version=rest[1])
        action = _OF_A_MODEL.get(rest) or _OF_A_MODEL_ALONE.get(rest)
        if action is not None:
            return Route(action=action, model=model)
    raise Refusal(Kind.NOT_FOUND, f"there is nothing at {path:.100}: the protocol's paths begin with /v2")
