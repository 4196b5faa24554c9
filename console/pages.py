"""Making a page: its template, with what every page needs, in the reader's language."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.templating import Jinja2Templates

from console.language import language_of, script, translator
from console.last_inspection import last_inspection
from console.people import Person
from console.session_guard import Cookies
from data.inspections import list_inspections
from data.languages import LANGUAGES
from data.users import Role
from data.workspace import Workspace

MakePage = Callable[..., HTMLResponse]


def reader_of(request: Request) -> tuple[Person | None, str]:
    """Who reads, and in which language."""
    found = request.scope.get("state", {}).get("person")
    person = found if isinstance(found, Person) else None
    choice = person.language if person is not None and person.language else request.query_params.get("lang")
    return person, language_of(choice, request.headers.get("accept-language", ""))


class Pages:
    """Makes pages of one installation.

    Args:
        workspace: The installation.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._catalog = workspace, workspace.catalog()
        self._templates = Jinja2Templates(Path(__file__).parent / "templates")

    def page(self, request: Request, name: str, **values: Any) -> HTMLResponse:
        """Make a page of a template.

        Args:
            request: Who asks for it.
            name: The template's file.
            values: For the template; ``here`` is the page's own name.
        """
        person, language = reader_of(request)
        inspections = [i.name for i in list_inspections(self._catalog)] if person is not None else []
        shared = {
            "t": translator(language),
            "language": language,
            "languages": LANGUAGES,
            "person": person,
            "may": lambda role: person is not None and person.role.may(Role(role)),
            "inspections": inspections,
            "inspection_looked_at": last_inspection(request, inspections),
            "mlflow_url": self._workspace.mlflow_url,
            "prefect_url": self._workspace.prefect_url,
        }
        answer = self._templates.TemplateResponse(
            request, name, {**shared, **values}, headers={"Cache-Control": "no-store"}
        )
        cookies = Cookies.under(request.scope)
        if person is None:  # what signing in carries; a session brings its own
            answer.set_cookie(cookies.csrf, secrets.token_urlsafe(32), samesite="strict", secure=cookies.secure)
        elif request.cookies.get(cookies.csrf) != person.csrf:
            answer.set_cookie(cookies.csrf, person.csrf, samesite="strict", secure=cookies.secure)
        return answer


def make_texts_script() -> APIRouter:
    """Make the router of the texts for scripts: one address in every language, so it is asked for anew each time."""
    api = APIRouter()

    @api.get("/static/texts.js", include_in_schema=False)
    def texts(request: Request) -> Response:
        text = script(reader_of(request)[1])
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        headers = {"Cache-Control": "no-cache", "ETag": tag, "Vary": "Cookie, Accept-Language"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(text, media_type="text/javascript", headers=headers)

    return api
