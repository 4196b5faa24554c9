"""Who is asking, and what they may do.

1. Every route states the least role that it needs: ``person: Labeller`` (or ``Viewer``, ``Approver``, ``Admin``) as a
   parameter, else ``dependencies=[needs(Role.VIEWER)]``. The application does not start with a route that states none
   (`check_declared`), but for the few that are open to everybody (`OPEN`).
2. The person comes from the session, never from the request.
3. What changes something and needs an approver is written to the audit log by itself, done or refused; so is what says
   ``does="…"``. ``person.tell(about=…, why=…)`` adds what was asked for. Refused for want of a role is written, too.
4. The entry is written after the act and before its answer: what is confirmed is in the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from data.users import Role, record
from data.users.audit_log import DONE, REFUSED
from edge_client.contract.errors import AndonError

#: Paths that need no session: signing in, what its page is made of, and what machines ask for (console/metrics_guard).
OPEN = frozenset({
    "/login", "/login/provider", "/login/provider/answer", "/api/sign-in", "/healthz", "/metrics", "/static/texts.js",
})  # fmt: skip
OPEN_BELOW = "/static/"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who is signed in.

    Attributes:
        name: In whose name things are done.
        role: What they may do.
        session: Names the session.
        csrf: What its pages send with each change.
        address: Where the request came from.
        told: What the audit log says beside the act; see `tell`.
    """

    name: str
    role: Role
    language: str | None = None
    session: str = ""
    csrf: str = field(default="", repr=False)
    address: str = ""
    told: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def tell(self, **facts: Any) -> None:
        """Add to this act's line of the audit log: ``about`` is the object, ``detail`` words, all else facts."""
        self.told.update(facts)


def needs(role: Role, *, does: str | None = None, recorded: bool = True) -> Any:
    """The dependency that lets in people of this role and gives the `Person`.

    Args:
        role: The least that is needed.
        does: The act's name in the audit log; ``{…}`` are path parameters. Default: the path.
        recorded: Whether a change that needs an approver is written to the audit log.
    """

    async def person_of(request: Request) -> AsyncIterator[Person]:
        person = request.scope.get("state", {}).get("person")
        if not isinstance(person, Person):  # the guard before every route lets nobody come here
            raise HTTPException(401, "you are not signed in")
        changes = request.method not in SAFE
        if not person.role.may(role):
            if changes:
                await _write(request, person, does, REFUSED, f"needs {role.value}")
            raise HTTPException(403, f"this needs the role {role.value}, and {person.name} is {person.role.value}")
        if not (changes and recorded and (does is not None or role.may(Role.APPROVER))):
            yield person
            return
        try:
            yield person
        except (AndonError, HTTPException) as error:
            await _write(request, person, does, REFUSED, str(getattr(error, "detail", error)))
            raise
        await _write(request, person, does, DONE, "")

    person_of.least_role = role  # type: ignore[attr-defined]  # read by `least_role`
    return Depends(person_of, scope="function")  # its end comes before the answer goes out (rule 4)


Viewer = Annotated[Person, needs(Role.VIEWER)]
Labeller = Annotated[Person, needs(Role.LABELLER)]
Approver = Annotated[Person, needs(Role.APPROVER)]
Admin = Annotated[Person, needs(Role.ADMIN)]


def least_role(route: Any) -> Role | None:
    """The least role that a route states; None: it states none."""
    dependant = getattr(route, "dependant", None)
    if not isinstance(dependant, Dependant):
        return None
    stated = [found for call in _calls(dependant) if (found := getattr(call, "least_role", None)) is not None]
    return max(stated, key=list(Role).index) if stated else None


def check_declared(app: FastAPI) -> None:
    """Refuse to start with a route that states no role (rule 1).

    Raises:
        RuntimeError: It names the routes.
    """
    silent = [
        route.path or repr(route)
        for route in iter_route_contexts(app.routes)
        if least_role(route) is None and not is_open(route.path or "", below=isinstance(route.original_route, Mount))
    ]
    if silent:
        raise RuntimeError(f"routes without a least role: {', '.join(silent)}; see console/people.py")


def is_open(path: str, *, below: bool = False) -> bool:
    """Whether a path needs no session."""
    return path in OPEN or (f"{path}/" if below else path).startswith(OPEN_BELOW)


def _calls(dependant: Dependant) -> Iterable[Any]:
    yield dependant.call
    for below in dependant.dependencies:
        yield from _calls(below)


async def _write(request: Request, person: Person, does: str | None, outcome: str, detail: str) -> None:
    values = {key: str(value) for key, value in request.path_params.items()}
    template = getattr(request.scope.get("route"), "path", request.url.path)
    told = {**person.told}
    about = str(told.pop("about", "/".join(values.values())))
    given = str(told.pop("detail", ""))
    words = detail or given
    what = does.format(**values) if does is not None else template.removeprefix("/api").strip("/")
    await anyio.to_thread.run_sync(
        lambda: record(
            request.app.state.catalog,
            what,
            who=person.name,
            at=clock_of(request)(),
            about=about,
            role=person.role.value,
            address=person.address,
            outcome=outcome,
            detail=words,
            facts={**values, **told},
        )
    )


def clock_of(request: Request) -> Any:
    """The application's clock."""
    return getattr(request.app.state, "clock", lambda: datetime.now(UTC))
