"""What the server does, whichever way it was asked: the actions behind HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_client.metrics import metrics_text
from edge_client.prediction import Prediction
from edge_client.serving.counts import ServerCounts
from edge_client.serving.inference import InferCall, check_text
from edge_client.serving.models import Models
from edge_client.serving.problems import Kind, Refusal, bad
from edge_client.serving.slots import Slots
from edge_client.version import VERSION

EXTENSIONS = ("binary_tensor_data", "model_repository")  # of the protocol, beyond its core
NAME = "andon-edge"


class Service:
    """The actions.

    Args:
        models: What is served.
        slots: How many requests run at once.
        counts: Counted here by both transports.
    """

    def __init__(self, models: Models, slots: Slots, counts: ServerCounts) -> None:
        self.models = models
        self.slots = slots
        self.counts = counts
        self.ending = False

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome: a load balancer should look elsewhere while the server ends."""
        return not self.ending

    def server(self) -> dict[str, Any]:
        """Describe the server."""
        return {"name": NAME, "version": VERSION, "extensions": list(EXTENSIONS)}

    def index(self) -> list[dict[str, str]]:
        """Say which models there are."""
        state = "READY" if self.ready else "UNAVAILABLE"
        return [{"name": m.name, "version": m.version, "state": state, "reason": ""} for m in self.models]

    def infer(
        self, model: str, version: str | None, read: Callable[[], InferCall]
    ) -> tuple[InferCall, list[Prediction]]:
        """Inspect, when a slot is free.

        Args:
            model: Which.
            version: The engine that must answer, or None.
            read: Reads the request; called in the slot, since it may cost as much as the engine.

        Raises:
            Refusal: It was not answered.
        """
        found = self.models.named(model)
        found.check_version(version)  # before it waits
        with self.slots.slot():
            call = read()
            return call, found.infer(call, version)

    def flag(self, model: str, told: Mapping[str, Any]) -> dict[str, Any]:
        """Pull the cord: ``sample_id``, and perhaps ``reason`` and ``label``.

        Raises:
            Refusal: The sample is not known, or something is no text.
        """
        found = self.models.named(model)
        _check_keys(told, ("sample_id", "reason", "label"))
        stored = found.flag(
            check_text(told.get("sample_id"), "sample_id", 64),
            reason=check_text(told.get("reason", ""), "reason", 1024),
            label=check_text(told.get("label", ""), "label", 256),
        )
        return _stored(stored, f"/v2/models/{model}/status")

    def outcome(self, model: str, told: Mapping[str, Any]) -> dict[str, Any]:
        """Report an outcome: ``part_id``, ``outcome``, and perhaps ``stage``.

        Raises:
            Refusal: Something is missing or no text.
        """
        found = self.models.named(model)
        _check_keys(told, ("part_id", "outcome", "stage"))
        part, outcome = check_text(told.get("part_id"), "part_id", 256), check_text(told.get("outcome"), "outcome", 256)
        if not part or not outcome:
            raise bad("part_id and outcome must not be empty")
        stored = found.client.report_outcome(part, outcome, stage=check_text(told.get("stage", ""), "stage", 256))
        return _stored(stored, f"/v2/models/{model}/status")

    def metrics(self) -> str:
        """Return Prometheus text: the clients', and the server's own."""
        clients = metrics_text([model.client.status() for model in self.models])
        return clients + self.counts.prometheus(running=self.slots.running, waiting=self.slots.waiting)


def _stored(stored: bool, where: str) -> dict[str, Any]:
    if not stored:  # nothing is acknowledged that is not on disk
        raise Refusal(
            Kind.OVERLOADED,
            f"it could not be stored now: send it again; {where} says what is wrong",
            reason="not_stored",
        )
    return {"stored": True}


def _check_keys(told: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(told) - set(known))
    if unknown:
        raise bad(f"{unknown[0]!r:.60} is not known: expected {', '.join(known)}")
