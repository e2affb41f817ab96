"""Errors as answers: ``{"error": {"code", "message", "details"}}`` with the status that the class names.

Who speaks MLflow's words is answered in these.
"""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from runyard.errors import BY_CODE, BodyTooLargeError, LimitReachedError, RunyardError
from runyard.protocol.version import VERSION
from runyard_server.api.mlflow import failures as mlflow

log = logging.getLogger(__name__)

ADDRESSES = ("/api/", mlflow.PAGES)  # of routes that are no pages of ours

# The one shape of every error, for the API's document.
SCHEMA: dict[str, Any] = {
    "title": "Error",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string", "enum": sorted(BY_CODE)},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}


def install(app: FastAPI) -> None:
    """Makes every error of the application such an answer."""
    app.add_exception_handler(RunyardError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def answer(scope: Scope, fault: RunyardError) -> JSONResponse:
    """The answer for an error."""
    return _answer(scope, fault.http_status, fault.code, fault.message, fault)


def _answer(scope: Scope, status: int, code: str, message: str, fault: RunyardError | None = None) -> JSONResponse:
    body: dict[str, Any]
    if mlflow.is_of_mlflow(scope["path"]):
        body = mlflow.body(status, message, fault)
    else:
        body = {"error": {"code": code, "message": message, "details": fault.details if fault is not None else {}}}
    response = JSONResponse(body, status, {"X-Content-Type-Options": "nosniff"})
    if isinstance(fault, LimitReachedError):
        response.headers["Retry-After"] = str(fault.details.get("retry_after_s", 1))
    return response


async def _ours(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RunyardError)
    return answer(request.scope, fault)


async def _invalid(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RequestValidationError)
    if mlflow.is_of_mlflow(request.scope["path"]):
        return _answer(request.scope, 400, "user_error", mlflow.not_fitting(fault.errors()))
    places = "; ".join(
        f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in fault.errors()[:5]
    )
    return _answer(request.scope, 422, "user_error", f"The request does not fit its route: {places}")


async def _http(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, HTTPException)
    code = BodyTooLargeError.code if fault.status_code == BodyTooLargeError.http_status else "user_error"
    message = str(fault.detail)
    if fault.status_code == 404:  # our own say what they miss; this one is the router's
        message = (
            f"This server (runyard {VERSION}) has no {request.method} {request.url.path}. "
            "A client that is newer than its server may ask for what came later: `runyard status` tells the server's version."
        )
    response = _answer(request.scope, fault.status_code, code, message)
    response.headers.update(fault.headers or {})  # a 405 says what is allowed
    return response


async def _unexpected(request: Request, fault: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=fault)
    return _answer(
        request.scope,
        500,
        "service",
        f"The server failed on this request ({type(fault).__name__}); its log has the details.",
    )
