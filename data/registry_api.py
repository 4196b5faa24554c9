"""MLflow's model registry over its REST API: aliases, tags and versions.

Polling every few seconds and a flow run every minute need these and nothing else. MLflow's own client costs 1.7 s of
processor time and 120 MB to import; this file is the standard library alone. The flows and the console share it: what
a person does on a page of the console is what they would do on MLflow's. What needs more than one artifact's text is
in `flows.registry`, which uses MLflow's client.

1. Every call has a deadline; nothing is retried here: a flow run or a poll that fails is simply repeated.
2. MLflow away or overloaded is `RegistryUnavailable`; an answer that says no is `RegistryError`.
"""

import base64
import http.client
import json
import os
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edge_client.contract.errors import AndonError

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_TAG_CHARACTERS = 4_900  # MLflow's own limit is 100,000; a page that people read wants less


class RegistryError(AndonError):
    """MLflow's registry refused a call; the message says which and why."""


class RegistryUnavailable(RegistryError):
    """MLflow cannot be reached now; try again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version of a registered model."""

    inspection: str
    number: str
    run_id: str
    description: str
    created_at: datetime
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A registered model: alias -> version number, and its tags."""

    inspection: str
    aliases: Mapping[str, str]
    tags: Mapping[str, str]


class RegistryApi:
    """The registry at an MLflow server."""

    def __init__(self, url: str, *, timeout_seconds: float = 10.0) -> None:
        """Connect to nothing yet.

        Args:
            url: The MLflow server, ``http://…`` or ``https://…``. User and password, or a token, are taken from
                the variables that MLflow's client reads (``MLFLOW_TRACKING_USERNAME``, …).
            timeout_seconds: Of one call.

        Raises:
            RegistryError: `url` is not one of a server.
        """
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise RegistryError(f"MLflow's address is {url!r}: expected http://… or https://… of an MLflow server")
        self.url = url.rstrip("/")
        self._timeout = timeout_seconds

    # Registered models

    def model(self, inspection: str) -> RegisteredModel | None:
        """Return the registered model of an inspection; None when there is none yet."""
        answer = self._get("registered-models/get", {"name": inspection}, missing_is_none=True)
        if answer is None:
            return None
        found = answer["registered_model"]
        return RegisteredModel(
            inspection=inspection,
            aliases={a["alias"]: str(a["version"]) for a in found.get("aliases", ())},
            tags=_pairs(found.get("tags", ())),
        )

    def ensure_model(self, inspection: str, description: str) -> None:
        """Create the registered model unless it is there."""
        if self.model(inspection) is None:
            body = {"name": inspection, "description": description}
            self._call("POST", "registered-models/create", body, accept=("RESOURCE_ALREADY_EXISTS",))

    def tag_model(self, inspection: str, tags: Mapping[str, str]) -> None:
        """Set tags on a registered model."""
        for key, value in tags.items():
            self._call("POST", "registered-models/set-tag", {"name": inspection, "key": key, "value": _short(value)})

    def untag_model(self, inspection: str, *keys: str) -> None:
        """Remove tags from a registered model; one that isn't there is no error."""
        for key in keys:
            body = {"name": inspection, "key": key}
            self._call("DELETE", "registered-models/delete-tag", body, accept=("RESOURCE_DOES_NOT_EXIST",))

    # Aliases

    def aliases(self, inspection: str) -> dict[str, str]:
        """Return alias -> version number; empty when there is no such model."""
        model = self.model(inspection)
        return dict(model.aliases) if model else {}

    def set_alias(self, inspection: str, alias: str, number: str) -> None:
        """Point an alias at a version."""
        self._call("POST", "registered-models/alias", {"name": inspection, "alias": alias, "version": number})

    def delete_alias(self, inspection: str, alias: str) -> None:
        """Remove an alias; one that isn't there is no error."""
        body = {"name": inspection, "alias": alias}
        self._call("DELETE", "registered-models/alias", body, accept=("RESOURCE_DOES_NOT_EXIST",))

    # Versions

    def version(self, inspection: str, number: str) -> ModelVersion:
        """Return one version.

        Raises:
            RegistryError: There is no such version.
        """
        query = {"name": inspection, "version": number}
        answer = self._get("model-versions/get", query, missing_is_none=True)
        if answer is None:
            raise RegistryError(f"inspection {inspection}: MLflow has no version {number}; see its Models page")
        return _version(answer["model_version"])

    def by_alias(self, inspection: str, alias: str) -> ModelVersion | None:
        """Return the version an alias points at; None when the alias is not set."""
        number = self.aliases(inspection).get(alias)
        return self.version(inspection, number) if number else None

    def versions(self, inspection: str, *, tag: tuple[str, str] | None = None) -> list[ModelVersion]:
        """Return the versions, newest first; with `tag` only those that carry it."""
        wanted = f"name = {_quoted(inspection)}"
        if tag is not None:
            wanted += f" AND tags.`{tag[0]}` = {_quoted(tag[1])}"
        query = {"filter": wanted, "max_results": "1000", "order_by": "version_number DESC"}
        found: list[ModelVersion] = []
        while True:
            answer = self._get("model-versions/search", query) or {}
            found += [_version(v) for v in answer.get("model_versions", ())]
            token = answer.get("next_page_token")
            if not token:
                return sorted(found, key=lambda v: int(v.number), reverse=True)
            query["page_token"] = token

    def tag_version(self, inspection: str, number: str, tags: Mapping[str, str]) -> None:
        """Set tags on a version."""
        for key, value in tags.items():
            body = {"name": inspection, "version": number, "key": key, "value": _short(value)}
            self._call("POST", "model-versions/set-tag", body)

    def untag_version(self, inspection: str, number: str, *keys: str) -> None:
        """Remove tags from a version; one that isn't there is no error."""
        for key in keys:
            body = {"name": inspection, "version": number, "key": key}
            self._call("DELETE", "model-versions/delete-tag", body, accept=("RESOURCE_DOES_NOT_EXIST",))

    # Runs

    def artifact_text(self, run_id: str, name: str) -> str:
        """Return a text that a run kept, such as its gate report; the server fetches it from wherever it is.

        Raises:
            RegistryError: The run or the file is not there.
        """
        query = urllib.parse.urlencode({"run_uuid": run_id, "path": name})
        request = urllib.request.Request(  # noqa: S310 -- the scheme is checked in __init__
            f"{self.url}/get-artifact?{query}", headers=_authorization()
        )
        return self._read(request).decode("utf-8", errors="replace")

    # The wire

    def _get(self, path: str, query: Mapping[str, str], *, missing_is_none: bool = False) -> dict[str, Any] | None:
        accept = ("RESOURCE_DOES_NOT_EXIST",) if missing_is_none else ()
        return self._call("GET", f"{path}?{urllib.parse.urlencode(query)}", None, accept=accept)

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, accept: tuple[str, ...] = ()
    ) -> dict[str, Any] | None:
        request = urllib.request.Request(  # noqa: S310 -- the scheme is checked in __init__
            f"{self.url}/api/2.0/mlflow/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **_authorization()},
        )
        try:
            answer: dict[str, Any] = json.loads(self._read(request) or b"{}")
        except _Refused as error:
            if error.code in accept:
                return None
            raise
        except ValueError as error:
            said = f"MLflow at {self.url} answered {method} {path} with no JSON ({error})"
            raise RegistryUnavailable(said) from error
        return answer

    def _read(self, request: urllib.request.Request) -> bytes:
        """Return the body of an answer."""
        asked = f"{request.get_method()} {urllib.parse.urlsplit(request.full_url).path}"
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:  # noqa: S310 -- see __init__
                body: bytes = response.read(MAX_ANSWER_BYTES)
                return body
        except urllib.error.HTTPError as error:
            code, message = _reason(error)
            said = f"MLflow at {self.url} answered {error.code} {code} to {asked}: {message}"
            if error.code >= 500 or error.code == 429:
                raise RegistryUnavailable(said) from error
            raise _Refused(said, code) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = "no answer in time" if isinstance(error, socket.timeout) else str(error)
            raise RegistryUnavailable(
                f"MLflow at {self.url} cannot be reached ({reason}); `andon status` shows whether it runs"
            ) from error


class _Refused(RegistryError):
    """An answer that says no, with MLflow's code."""

    def __init__(self, said: str, code: str) -> None:
        super().__init__(said)
        self.code = code


def _authorization() -> dict[str, str]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if token:
        return {"Authorization": f"Bearer {token}"}
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{part}") for part in ("USERNAME", "PASSWORD"))
    if user and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    return {}


def _reason(error: urllib.error.HTTPError) -> tuple[str, str]:
    text = error.read(100_000).decode(errors="replace")
    try:
        answer = json.loads(text)
        return str(answer.get("error_code", "")), str(answer.get("message", ""))[:500]
    except (ValueError, AttributeError):
        return "", text[:200]


def _version(found: Mapping[str, Any]) -> ModelVersion:
    return ModelVersion(
        inspection=found["name"],
        number=str(found["version"]),
        run_id=found.get("run_id", ""),
        description=found.get("description", ""),
        created_at=datetime.fromtimestamp(int(found["creation_timestamp"]) / 1000, UTC),
        tags=_pairs(found.get("tags", ())),
    )


def _pairs(tags: Any) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in tags}


def _quoted(value: str) -> str:
    if "'" in value:
        raise RegistryError(f"{value!r} has a quote: MLflow cannot search for it; expected a plain name")
    return f"'{value}'"


def _short(value: str) -> str:
    return value if len(value) <= MAX_TAG_CHARACTERS else value[: MAX_TAG_CHARACTERS - 1] + "…"
