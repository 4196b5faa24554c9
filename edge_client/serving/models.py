"""The models of a server: each is an inspection behind its own client, its version the engine that runs now."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edge_client.client import Client
from edge_client.contract.errors import BadEngine, BadImage, ConfigError
from edge_client.images import check_encoded_size, check_pixels
from edge_client.prediction import Prediction
from edge_client.serving.inference import OUTPUTS, InferCall
from edge_client.serving.problems import Kind, Refusal, bad

# An engine takes some hundred bytes a pixel while it runs: a 64-megapixel frame costs gigabytes.
MAX_PIXELS = 12_000_000
REMEMBERED = 1024  # predictions that can be flagged by their sample id
PLATFORM = "onnxruntime_onnx"

Predict = Callable[..., Any]  # as Client.predict


class Model:
    """One inspection.

    Args:
        client: What inspects.
        predict: `client.predict`, or what gathers calls into batches before it.
        remembered: How many predictions are kept for `flag`.
        max_pixels: Largest width x height of a frame that is inspected.
    """

    def __init__(
        self,
        client: Client,
        *,
        predict: Predict | None = None,
        remembered: int = REMEMBERED,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._max_pixels = max_pixels
        self.client = client
        self.name: str = client.config.inspection.name
        self._predict = predict or client.predict
        self._remembered = remembered
        self._recent: OrderedDict[str, Prediction] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        """The engine that the next request gets."""
        return self.client.engine_metadata.engine_id

    def check_version(self, version: str | None) -> None:
        """Check that a version is the one that runs.

        Raises:
            Refusal: NOT_FOUND, another engine runs.
        """
        if version is not None and version != self.version:
            raise _another_version(self.name, version, self.version)

    def metadata(self) -> dict[str, Any]:
        """Describe the model as the protocol does; -1 is a size that varies."""
        engine = self.client.engine_metadata
        shapes: Mapping[str, list[int]] = {
            "probabilities": [-1, len(engine.classes)],
            "anomaly_map": [-1, -1, -1],
            "embedding": [-1, -1],
            "classes": [len(engine.classes)],
        }
        return {
            "name": self.name,
            "versions": [engine.engine_id],
            "platform": PLATFORM,
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
            "outputs": [
                {"name": name, "datatype": datatype, "shape": shapes.get(name, [-1])}
                for name, datatype in OUTPUTS.items()
            ],
            "properties": {
                "classes": ",".join(c.name for c in engine.classes),
                "kinds": ",".join(c.kind.value for c in engine.classes),
                "variant": engine.variant,
                "embedding_id": engine.embedding_id,
            },
        }

    def infer(self, call: InferCall, version: str | None = None) -> list[Prediction]:
        """Inspect.

        Args:
            call: What.
            version: The engine that must answer; None for the one that runs.

        Returns:
            N predictions, of one engine.

        Raises:
            Refusal: The frames cannot be used, no engine answered, or another engine than asked for.
        """
        self.check_version(version)
        try:
            self._check_pixels(call)
        except BadImage as error:
            raise Refusal(Kind.TOO_LARGE, str(error), reason="pixels") from error
        try:
            predictions = self._inspect(call)
        except BadImage as error:
            raise bad(str(error)) from error
        except BadEngine as error:
            raise Refusal(Kind.ENGINE, str(error)) from error
        if version is not None and predictions[0].engine_id != version:  # exchanged in between
            raise _another_version(self.name, version, predictions[0].engine_id)
        with self._lock:
            for prediction in predictions:
                self._recent[prediction.sample_id] = prediction
            while len(self._recent) > self._remembered:
                self._recent.popitem(last=False)
        return predictions

    def flag(self, sample_id: str, *, reason: str, label: str) -> bool:
        """Pull the cord for a sample that was answered here; True once that is stored.

        Raises:
            Refusal: NOT_FOUND, it is not among the last ones.
        """
        with self._lock:
            prediction = self._recent.get(sample_id)
        if prediction is None:
            raise Refusal(
                Kind.NOT_FOUND,
                f"sample {sample_id!r:.60} is not among the last {self._remembered} that {self.name!r} answered here: "
                "flag it at the server that answered, sooner",
            )
        return self.client.flag(prediction, reason=reason, label=label)

    def _check_pixels(self, call: InferCall) -> None:
        if isinstance(call.frames, np.ndarray):
            check_pixels(call.frames.shape[2], call.frames.shape[1], max_pixels=self._max_pixels)
            return
        for data in call.frames:
            check_encoded_size(data, max_pixels=self._max_pixels)

    def _inspect(self, call: InferCall) -> list[Prediction]:
        given: dict[str, Any] = {"context": call.context or None, "capture": call.capture}
        if isinstance(call.frames, np.ndarray):
            if len(call.frames) > 1:
                found: list[Prediction] = self._predict(call.frames, part_id=call.parts, **given)
                return found
            part = call.parts[0] if isinstance(call.parts, list) else call.parts
            return [self._predict(call.frames[0], part_id=part, **given)]
        parts = call.parts if isinstance(call.parts, list) else [call.parts] * len(call.frames)
        answers = [self._predict(frame, part_id=part, **given) for frame, part in zip(call.frames, parts, strict=True)]
        while len({answer.engine_id for answer in answers}) > 1:
            # Images may differ in size, so each was a call, and the engine was exchanged between two of them. An answer
            # is by one engine: ask it about the earlier ones too. They keep their ids, under which they were captured.
            given["capture"] = False
            for i, (frame, part) in enumerate(zip(call.frames, parts, strict=True)):
                if answers[i].engine_id != answers[-1].engine_id:
                    answers[i] = replace(self._predict(frame, part_id=part, **given), sample_id=answers[i].sample_id)
        return answers


class Models:
    """All inspections of a server, by name.

    Args:
        models: One or more.

    Raises:
        ConfigError: Two of one name.
    """

    def __init__(self, models: Iterable[Model]) -> None:
        self._models: dict[str, Model] = {}
        for model in models:
            if model.name in self._models:
                raise ConfigError(f"two configurations are for the inspection {model.name!r}: a server has each once")
            self._models[model.name] = model

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def named(self, name: str) -> Model:
        """Return a model.

        Raises:
            Refusal: NOT_FOUND.
        """
        model = self._models.get(name)
        if model is None:
            raise Refusal(Kind.NOT_FOUND, f"there is no model {name!r:.100}: this server has {', '.join(self._models)}")
        return model


def _another_version(name: str, asked: str, runs: str) -> Refusal:
    return Refusal(
        Kind.NOT_FOUND,
        f"model {name!r} has no version {asked!r:.100}: it runs {runs!r}; ask for that, or for none",
        reason="version",
    )
