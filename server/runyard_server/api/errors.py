"""Errors as answers: ``{"error": {"code", "message", "details"}}`` with the status that the class names."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from runyard.errors import LimitReachedError, RunyardError

log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Makes every error of the application such an answer."""
    app.add_exception_handler(RunyardError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def answer(status: int, code: str, message: str, details: dict[str, Any] | None = None) -> JSONResponse:
    """The answer for an error."""
    return JSONResponse({"error": {"code": code, "message": message, "details": details or {}}}, status)


async def _ours(_: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RunyardError)
    response = answer(fault.http_status, fault.code, fault.message, fault.details)
    if isinstance(fault, LimitReachedError):
        response.headers["Retry-After"] = str(fault.details.get("retry_after_s", 1))
    return response


async def _invalid(_: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RequestValidationError)
    places = "; ".join(
        f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in fault.errors()[:5]
    )
    return answer(422, "user_error", f"The request does not fit its route: {places}")


async def _http(_: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, HTTPException)
    return answer(fault.status_code, "user_error", str(fault.detail))


async def _unexpected(request: Request, fault: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=fault)
    return answer(
        500, "service", f"The server failed on this request ({type(fault).__name__}); its log has the details."
    )
