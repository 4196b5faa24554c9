"""The pages for signing in and for one's own account."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from console.pages import MakePage
from console.people import Viewer
from data.catalog import Catalog
from data.users.accounts import get_user


def make_sign_in_pages(catalog: Catalog, page: MakePage) -> APIRouter:
    """Make the router."""
    api = APIRouter(include_in_schema=False)

    @api.get("/login", response_class=HTMLResponse)
    def login(request: Request) -> HTMLResponse:
        return page(request, "login.html", here="login")

    @api.get("/account", response_class=HTMLResponse)
    def account(request: Request, person: Viewer) -> HTMLResponse:
        return page(request, "account.html", here="account", user=get_user(catalog, person.name))

    return api
