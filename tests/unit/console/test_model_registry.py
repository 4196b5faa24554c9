"""What a page gets of MLflow's registry: at once, with its age, and again after whatever went wrong."""

from __future__ import annotations

import threading

import pytest

from console.model_registry import FRESH_SECONDS, RegistryView
from data.registry_api import ModelVersion, RegisteredModel, RegistryApi, RegistryUnavailable

CELLS = RegisteredModel(inspection="cells", aliases={"champion": "3"}, tags={})


class Mlflow(RegistryApi):
    """Answers what it is told to."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.error: Exception | None = None
        self.free = threading.Event()
        self.free.set()

    def model(self, inspection: str) -> RegisteredModel | None:
        self.free.wait(30)
        if self.error is not None:
            raise self.error
        return CELLS

    def versions(self, inspection: str, *, tag: tuple[str, str] | None = None) -> list[ModelVersion]:
        return []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RegistryUnavailable("MLflow cannot be reached"), "MLflow cannot be reached"),
        (KeyError("version"), "MLflow's answer cannot be read: KeyError('version')"),
    ],
)
def test_what_was_known_stays_with_the_reason_and_it_is_asked_again(error: Exception, told: str) -> None:
    now = [0.0]
    mlflow = Mlflow()
    view = RegistryView(mlflow, monotonic=lambda: now[0], patience=30)
    assert view.now("cells").aliases == {"champion": "3"}
    now[0], mlflow.error = FRESH_SECONDS, error
    reading = view.now("cells")
    assert (reading.aliases, reading.problem, reading.age) == ({"champion": "3"}, told, FRESH_SECONDS)
    now[0], mlflow.error = 2 * FRESH_SECONDS, None
    assert (view.now("cells").problem, view.now("cells").age) == ("", 0.0)


def test_a_page_waits_no_longer_than_its_patience() -> None:
    mlflow = Mlflow()
    mlflow.free.clear()
    view = RegistryView(mlflow, patience=0.01)
    reading = view.now("cells")
    mlflow.free.set()
    assert (reading.known, reading.problem) == (None, "MLflow has not answered yet")
