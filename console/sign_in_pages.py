"""The pages for signing in and for one's own account."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from console.pages import MakePage
from console.people import Viewer
from console.provider_sign_in import REASONS, onward_of
from data.catalog import Catalog
from data.identity_provider import IdentityProvider
from data.users.accounts import get_user


def make_sign_in_pages(catalog: Catalog, page: MakePage, provider: IdentityProvider | None) -> APIRouter:
    """Make the router."""
    api = APIRouter(include_in_schema=False)

    @api.get("/login", response_class=HTMLResponse)
    def login(request: Request) -> HTMLResponse:
        said = request.query_params.get("problem", "")
        return page(
            request, "login.html", here="login", provider=provider,
            onward=quote(onward_of(request.query_params.get("next", "/")), safe=""),
            reason=said if provider is not None and said in REASONS else "",
        )  # fmt: skip

    @api.get("/account", response_class=HTMLResponse)
    def account(request: Request, person: Viewer) -> HTMLResponse:
        return page(request, "account.html", here="account", user=get_user(catalog, person.name))

    return api
