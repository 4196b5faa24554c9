"""What the connector asks of a Label Studio server, over its REST API.

1. Every call has a deadline. A server that is away or overloaded is asked again, three times, later each time; only
   making tasks and projects is not repeated: the next run sees whether they were made.
2. A personal access token (a JWT) is exchanged for a short-lived one, anew when that has run out; a legacy token is
   sent as it is. Neither is ever part of a message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from edge_client.contract.errors import AndonError

_PAGE = 100
_TRIES = 4
_SECONDS = 30.0


class LabelStudioError(AndonError):
    """Label Studio refused a call; the message says which and why."""


class LabelStudioUnavailable(LabelStudioError):
    """Label Studio cannot be reached now; the next run goes on from there."""


class LabelStudioApi:
    """One Label Studio server."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect to nothing yet.

        Raises:
            LabelStudioError: `url` is not one of a server.
        """
        if not url.startswith(("http://", "https://")):
            raise LabelStudioError(f"Label Studio's address is {url!r}: expected http://… or https://…")
        self.url = url.rstrip("/")
        self._token, self._access = token.strip(), ""
        self._client = httpx.Client(base_url=self.url, timeout=_SECONDS, transport=transport, follow_redirects=False)
        self._sleep = sleep

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def projects(self) -> Iterator[Mapping[str, Any]]:
        """Every project that the token sees."""
        page = 1
        while True:
            answer = self._call("GET", "/api/projects/", params={"page": page, "page_size": _PAGE})
            yield from answer["results"]
            if not answer.get("next"):
                return
            page += 1

    def make_project(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make a project."""
        made: Mapping[str, Any] = self._call("POST", "/api/projects/", json=fields, again=False)
        return made

    def change_project(self, project: int, fields: Mapping[str, Any]) -> None:
        """Change fields of a project."""
        self._call("PATCH", f"/api/projects/{project}/", json=fields)

    def tasks(self, project: int) -> Iterator[Mapping[str, Any]]:
        """Every task of a project with its annotations and drafts, a page at a time."""
        page, seen = 1, 0
        while True:
            asked = {"project": project, "page": page, "page_size": _PAGE, "fields": "all", "resolve_uri": "false"}
            answer = self._call("GET", "/api/tasks/", params=asked)
            yield from answer["tasks"]
            seen += len(answer["tasks"])
            if seen >= answer["total"] or not answer["tasks"]:
                return
            page += 1

    def make_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Make tasks; all or, if the server dies in the middle, perhaps some."""
        self._call("POST", f"/api/projects/{project}/import", json=list(tasks), again=False)

    def change_task(self, task: int, data: Mapping[str, Any]) -> None:
        """Change a task's data."""
        self._call("PATCH", f"/api/tasks/{task}/", json={"data": dict(data)})

    def delete_task(self, task: int) -> None:
        """Delete a task; one that is gone is no error."""
        self._call("DELETE", f"/api/tasks/{task}/", missing_is_none=True)

    def people(self) -> dict[int, str]:
        """Id -> e-mail address (else name) of everybody who can annotate."""
        answer = self._call("GET", "/api/users/")
        users = answer["results"] if isinstance(answer, dict) else answer
        return {int(user["id"]): str(user.get("email") or user.get("username") or user["id"]) for user in users}

    def _call(self, method: str, path: str, *, again: bool = True, missing_is_none: bool = False, **more: Any) -> Any:
        """Rule 1."""
        for attempt in range(1, _TRIES + 1):
            try:
                answer = self._send(method, path, **more)
            except httpx.HTTPError as error:
                if not again or attempt == _TRIES:
                    raise LabelStudioUnavailable(
                        f"Label Studio at {self.url} does not answer ({type(error).__name__}); the next run goes on"
                    ) from error
            else:
                if answer.status_code == 404 and missing_is_none:
                    return None
                if answer.status_code < 400:
                    return self._content(method, path, answer)
                away = answer.status_code == 429 or answer.status_code >= 500
                if not away:
                    raise LabelStudioError(
                        f"Label Studio refuses {method} {path} ({answer.status_code}): {answer.text[:500]}"
                    )
                if not again or attempt == _TRIES:
                    raise LabelStudioUnavailable(
                        f"Label Studio at {self.url} fails at {method} {path} ({answer.status_code}); "
                        "the next run goes on"
                    )
            self._sleep(2.0 ** (attempt - 1))
        raise AssertionError("unreachable")

    def _content(self, method: str, path: str, answer: httpx.Response) -> Any:
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise LabelStudioError(
                f"{method} {path} at {self.url} gives no JSON; is it Label Studio's address?"
            ) from error

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer = self._client.request(method, path, headers=self._headers(), **more)
        if answer.status_code == 401 and self._is_personal() and self._access:
            self._access = ""  # run out: once more with a new one
            answer = self._client.request(method, path, headers=self._headers(), **more)
        return answer

    def _headers(self) -> dict[str, str]:
        """Rule 2."""
        if not self._is_personal():
            return {"Authorization": f"Token {self._token}"}
        if not self._access:
            answer = self._client.post("/api/token/refresh/", json={"refresh": self._token})
            if answer.status_code in (400, 401, 403):
                raise LabelStudioError(
                    f"Label Studio at {self.url} does not take the token ({answer.status_code}); make a personal "
                    "access token there (Account & Settings) and write it into the token file"
                )
            answer.raise_for_status()
            self._access = str(answer.json()["access"])
        return {"Authorization": f"Bearer {self._access}"}

    def _is_personal(self) -> bool:
        return self._token.count(".") == 2
