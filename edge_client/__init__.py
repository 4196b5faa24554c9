"""Andon on the device: inspect, keep the frames worth learning from, update safely.

>>> from edge_client import Client
>>> with Client.from_config("andon.toml") as client:  # doctest: +SKIP
...     prediction = client.predict(frame, part_id="A-1042")

Names are loaded when they are first used, so that the cloud side can import `edge_client.contract` without an
inference runtime.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_client.client import Client
    from edge_client.config import Config
    from edge_client.contract.errors import AndonError, BadEngine, BadImage, ConfigError
    from edge_client.engine import Engine
    from edge_client.prediction import Prediction
    from edge_client.remote import RemoteClient

__all__ = [
    "AndonError",
    "BadEngine",
    "BadImage",
    "Client",
    "Config",
    "ConfigError",
    "Engine",
    "Prediction",
    "RemoteClient",
]

_HOMES = {
    "Client": "client",
    "Config": "config",
    "Engine": "engine",
    "Prediction": "prediction",
    "RemoteClient": "remote",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edge_client' has no attribute {name!r}: it has {__all__}")
    return getattr(import_module(f"edge_client.{_HOMES.get(name, 'contract.errors')}"), name)
