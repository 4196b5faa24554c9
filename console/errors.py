"""Errors as JSON: what is wrong and what to do next."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from data.inspections import InspectionError
from edge_client.contract.errors import AndonError, BucketError, ConfigError, NotFound, Unavailable

_log = logging.getLogger("andon.console")


def explain_errors(app: FastAPI) -> None:
    """Register the handlers."""

    @app.exception_handler(AndonError)
    def of_andon(request: Request, error: AndonError) -> JSONResponse:
        return problem(_status(error), str(error))

    @app.exception_handler(RequestValidationError)
    def of_form(request: Request, error: RequestValidationError) -> JSONResponse:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        return problem(422, f"the request is not as expected ({where}); reload the page and try again")

    @app.exception_handler(HTTPException)
    def of_http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return problem(404, f"there is nothing at {request.url.path}: begin at /")
        return problem(error.status_code, f"{error.detail}: begin at /")

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(500, f"{type(error).__name__}: see the console's log, then try again")


def problem(status: int, text: str) -> JSONResponse:
    """Return an error answer."""
    return JSONResponse({"error": text}, status_code=status)


def _status(error: AndonError) -> int:
    if isinstance(error, NotFound | InspectionError):
        return 404
    if isinstance(error, Unavailable):
        return 503
    if isinstance(error, BucketError):
        return 502
    return 500 if isinstance(error, ConfigError) else 422
