"""The page of what the loop brought, in the plant's own prices; made to be printed.

1. The account is :mod:`data.value.account`'s; it is kept for a minute, and made anew when prices change.
2. Prices are an admin's to state; who changed them is in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from console.field import Kept
from console.pages import MakePage
from console.people import Person, needs
from data.inspections import get_inspection
from data.users import Role
from data.value import account_of, prices_of, state_prices
from data.workspace import Workspace

Days = Literal["0", "30", "90", "365"]
Price = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Treasurer = Annotated[Person, needs(Role.ADMIN, does="value.prices")]


class Stated(BaseModel):
    """Prices; null leaves one to the policy."""

    currency: Annotated[str, Field(min_length=1, max_length=8)]
    escape: Price | None = None
    false_alarm: Price | None = None
    label: Price | None = None
    gigabyte: Price | None = None


def make_value_api(workspace: Workspace, page: MakePage, *, clock: Callable[[], datetime]) -> APIRouter:
    """Make the router."""
    api = APIRouter()
    catalog, kept = workspace.catalog(), Kept()
    viewer = [needs(Role.VIEWER)]

    @api.get("/value", response_class=HTMLResponse, dependencies=viewer)
    def value(request: Request) -> HTMLResponse:
        return page(request, "value.html", here="value")

    @api.get("/api/{inspection}/value", dependencies=viewer)
    def shown(inspection: str, days: Days = "0") -> dict[str, Any]:
        name = get_inspection(catalog, inspection).name

        def make() -> dict[str, Any]:
            now = clock()
            since = now - timedelta(days=int(days)) if days != "0" else None
            return {**account_of(catalog, name, workspace.policy(), since=since).to_dict(), "at": now.isoformat()}

        return kept.get((name, days), make)

    @api.post("/api/{inspection}/value/prices")
    def state(inspection: str, stated: Stated, person: Treasurer) -> dict[str, Any]:
        name = get_inspection(catalog, inspection).name
        person.tell(about=name, **stated.model_dump())
        changed = state_prices(catalog, name, stated.model_dump())
        kept.forget()
        return prices_of(changed, workspace.policy().value).to_dict()

    return api
