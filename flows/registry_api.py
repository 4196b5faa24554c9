"""MLflow's registry, as the flows reach it: :mod:`data.registry_api`, which the console shares."""

from data.registry_api import (
    MAX_ANSWER_BYTES,
    MAX_TAG_CHARACTERS,
    ModelVersion,
    RegisteredModel,
    RegistryApi,
    RegistryError,
    RegistryUnavailable,
)

__all__ = [
    "MAX_ANSWER_BYTES",
    "MAX_TAG_CHARACTERS",
    "ModelVersion",
    "RegisteredModel",
    "RegistryApi",
    "RegistryError",
    "RegistryUnavailable",
]
