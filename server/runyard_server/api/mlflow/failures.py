"""Errors in MLflow's words: ``{"error_code", "message"}``, with the status that MLflow gives each code."""

import json
from collections.abc import Sequence
from typing import Any

from runyard.errors import UserErrorException

PAGES = "/ajax-api/"  # what MLflow's pages alone ask for
PREFIXES = ("/api/2.0/", "/api/3.0/", PAGES)

# The one shape of every error on this wire, for the API's document.
SCHEMA: dict[str, Any] = {
    "title": "MlflowError",
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
    "additionalProperties": False,
}

_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "ENDPOINT_NOT_FOUND",
    409: "RESOURCE_CONFLICT",
    413: "BAD_REQUEST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    507: "RESOURCE_EXHAUSTED",
}
_SEE = "See the API docs for more information about request parameters."


class MlflowRefusal(UserErrorException):
    """A request that MLflow's API refuses: its code, and a message that MLflow's clients show as it is."""

    def __init__(self, error_code: str, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.http_status = {"RESOURCE_DOES_NOT_EXIST": 404}.get(error_code, 400)


def invalid(message: str) -> MlflowRefusal:
    return MlflowRefusal("INVALID_PARAMETER_VALUE", message)


def missing(parameter: str) -> MlflowRefusal:
    return invalid(f"Missing value for required parameter '{parameter}'. {_SEE}")


def absent(message: str) -> MlflowRefusal:
    return MlflowRefusal("RESOURCE_DOES_NOT_EXIST", message)


def exists(message: str) -> MlflowRefusal:
    return MlflowRefusal("RESOURCE_ALREADY_EXISTS", message)


def is_of_mlflow(path: str) -> bool:
    """Whether who asks for a path speaks MLflow's words."""
    return path.startswith(PREFIXES)


def body(status: int, message: str, fault: Exception | None = None) -> dict[str, str]:
    """An error as it is answered."""
    code = fault.error_code if isinstance(fault, MlflowRefusal) else _CODES.get(status, "BAD_REQUEST")
    return {"error_code": code, "message": message}


def not_fitting(errors: Sequence[Any]) -> str:
    """What is said of a request that does not fit its route, from pydantic's errors."""
    # Of several faults that of the run's id, as MLflow says it.
    first = min(errors, key=lambda error: tuple(error["loc"][1:2]) != ("run_id",))
    place, given = _place(first["loc"]), first.get("input")
    if not place:
        return "A JSON object is expected as the request's body, with the Content-Type application/json."
    if first["type"] == "missing" or given is None:
        return f"Missing value for required parameter '{place}'. {_SEE}"
    try:
        shown = json.dumps(given)[:500]
    except (ValueError, TypeError, RecursionError):
        shown = f"of type {type(given).__name__}"
    return (
        f"Invalid value {shown} for parameter '{place}' supplied:  Hint: Value was of type "
        f"'{type(given).__name__}'. {_SEE}"
    )


def _place(location: Sequence[Any]) -> str:
    """``metrics[0].key`` from a location as pydantic names it; "" for the body itself."""
    place = ""
    for part in location[1:]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    return place
