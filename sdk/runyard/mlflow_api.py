"""What of MLflow's REST API an import speaks: to any server that has it, ours too."""

import base64
import http.client
import json as json_
import os
import tempfile
import time
import urllib.error
import urllib.request
from typing import Any, BinaryIO, Dict, Iterator, Optional
from urllib.parse import quote, urlencode, urlsplit

from runyard.errors import RunyardError, ServerUnavailableError, StorageFullError, UserErrorException

API, OLDER_PAGES = "/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/"
_TRIES = 4
_BLOCK = 1 << 20
_BROKEN = (OSError, http.client.HTTPException)
_PATIENCE_S = 120.0  # for a byte: a server may fetch a file from elsewhere first


class MlflowRefused(UserErrorException):
    """What an MLflow server does not do, in its own words. ``mlflow_code``: its code, "" where it gives none."""

    def __init__(self, message: str, status: int, mlflow_code: str) -> None:
        super().__init__(message)
        self.status = status
        self.mlflow_code = mlflow_code


class MlflowApi:
    """One MLflow server.

    Args:
        address: where it answers.
        authorization: what is sent as that header; "" for none.
        who: what it is called where it does not answer.
        is_ours: it is on this machine or our own server, to which no proxy stands between.
    """

    def __init__(
        self, address: str, authorization: str = "", who: str = "The MLflow server", is_ours: bool = False
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserErrorException("{!r} is no address of an MLflow server: http://host:port.".format(address))
        if parts.username is not None:
            raise UserErrorException(
                "An address holds no user and password here, since addresses are shown: set MLFLOW_TRACKING_USERNAME "
                "and MLFLOW_TRACKING_PASSWORD."
            )
        self.address = address.rstrip("/")
        self._authorization = authorization
        self._who = who
        direct = [urllib.request.ProxyHandler({})] if is_ours else []
        self._opener = urllib.request.build_opener(_Refuse, *direct)

    def get(self, route: str, **query: Any) -> Any:
        """The answer to a question; ``route`` below ``/api/2.0/mlflow/``."""
        return self._json("GET", API + route, query, None)

    def post(self, path: str, said: Dict[str, Any]) -> Any:
        return self._json("POST", API + path, {}, said)

    def pages(self, path: str, key: str, said: Dict[str, Any], size: int, ask: bool = False) -> Iterator[Any]:
        """All items of a list that comes in pages. ``ask``: by GET."""
        token = None
        while True:
            asked = dict(said, max_results=size, **({"page_token": token} if token else {}))
            answer = self.get(path, **asked) if ask else self.post(path, asked)
            yield from answer.get(key) or ()
            token = answer.get("next_page_token")
            if not token:
                return

    def save(self, path: str, query: Dict[str, Any], target: BinaryIO) -> int:
        """Writes the body of an answer to a file and gives its size. ``path`` from the server's root."""
        for left in reversed(range(_TRIES)):
            target.seek(0)
            target.truncate()
            try:
                with self._open("GET", path, query, None) as answer:
                    said = answer.headers.get("Content-Length")
                    size = 0
                    piece = answer.read(_BLOCK)
                    while piece:
                        _write(target, piece)
                        size += len(piece)
                        piece = answer.read(_BLOCK)
                if said is not None and int(said) != size:
                    raise OSError("{} of {} bytes came".format(size, said))
                _write(target, b"")
                return size
            except _BROKEN as broken:
                self._again(broken, left)
        raise AssertionError("unreachable")

    def _json(self, method: str, path: str, query: Dict[str, Any], said: Optional[Dict[str, Any]]) -> Any:
        body = json_.dumps(said).encode("utf-8") if said is not None else None
        for left in reversed(range(_TRIES)):
            try:
                with self._open(method, path, query, body) as answer:
                    whole = answer.read()
                break
            except _BROKEN as broken:
                self._again(broken, left)
        try:
            return json_.loads(whole or b"{}")
        except (ValueError, RecursionError):
            raise UserErrorException(
                "What answers at {} to {} is no JSON. Is it an MLflow server?".format(self.address, path)
            ) from None

    def _open(self, method: str, path: str, query: Dict[str, Any], body: Optional[bytes]) -> Any:
        kept = {key: value for key, value in query.items() if value is not None}
        address = self.address + path + ("?" + urlencode(kept, doseq=True) if kept else "")
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._authorization:
            headers["Authorization"] = self._authorization
        asked = urllib.request.Request(address, data=body, headers=headers, method=method)
        try:
            return self._opener.open(asked, timeout=_PATIENCE_S)
        except urllib.error.HTTPError as refused:
            with refused:
                if refused.code in (429, 502, 503, 504):
                    raise OSError("it answered {}".format(refused.code)) from None
                raise self._refusal(path, refused.code, refused.read(1 << 16)) from None

    def _refusal(self, path: str, status: int, body: bytes) -> MlflowRefused:
        code, message = "", body[:300].decode("utf-8", "replace").strip()
        try:
            said = json_.loads(body)
            code, message = str(said["error_code"]), str(said["message"])
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        if status in (401, 403):
            message = (
                "{} For a server that asks who you are, set MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD.".format(
                    message
                ).strip()
            )
        return MlflowRefused("{}{} answered {}: {}".format(self.address, path, status, message), status, code)

    def _again(self, broken: Exception, left: int) -> None:
        if not left:
            raise ServerUnavailableError(
                "{} at {} does not answer ({}). What was brought stays; go on with the same command.".format(
                    self._who, self.address, broken
                )
            ) from broken
        time.sleep(0.2 * 4 ** (_TRIES - 1 - left))


class _Refuse(urllib.request.HTTPRedirectHandler):
    """No redirection is followed: the header that says who asks would go to wherever it leads."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        raise RunyardError(
            "{} sends its callers on to {}. Give that address, if it is the server that you mean.".format(
                req.full_url.split("?")[0], newurl.split("?")[0]
            )
        )


def _write(target: BinaryIO, piece: bytes) -> None:
    """Tells a failure of this machine's disk from one of the connection."""
    try:
        target.write(piece)
        if not piece:
            target.flush()
    except OSError as failed:
        raise StorageFullError(
            "A file on its way cannot be kept in {}: {}. TMPDIR names another folder.".format(
                tempfile.gettempdir(), failed.strerror
            )
        ) from failed


def authorization() -> str:
    """What MLflow's own variables say of who asks; "" where they say nothing."""
    token, user = os.environ.get("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
    if user:
        pair = "{}:{}".format(user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))
        return "Basic " + base64.b64encode(pair.encode("utf-8")).decode("ascii")
    return "Bearer " + token if token else ""


def quoted(path: str) -> str:
    return quote(path, safe="/~")
