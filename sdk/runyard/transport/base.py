"""What the SDK and the job need of a server: one request method."""

import json as json_
from typing import Any, BinaryIO, Dict, Iterable, Optional, Tuple, Union
from urllib.parse import quote, urlencode

from runyard.errors import ServiceException, from_answer
from runyard.protocol.digest import HEADER, KNOWN
from runyard.protocol.version import API_PREFIX

Body = Union[bytes, BinaryIO, Iterable[bytes]]


class Answer:
    """A server's answer. ``read(n)`` streams; ``json()`` and ``whole()`` take all of it."""

    def __init__(self, status: int, headers: Dict[str, str], stream: BinaryIO) -> None:
        self.status = status
        self.headers = headers
        self.stream = stream

    def whole(self) -> bytes:
        return self.stream.read()

    def json(self) -> Any:
        return json_.loads(self.stream.read() or b"null")

    def read(self, size: int = -1) -> bytes:
        return self.stream.read(size)

    def readinto(self, buffer: Any) -> int:
        return self.stream.readinto(buffer)  # type: ignore[attr-defined, no-any-return]

    def readline(self) -> bytes:
        return self.stream.readline()

    def close(self) -> None:
        self.stream.close()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """Carries requests to one server. Safe to share between threads.

    Implementations raise ServerUnavailableError where no server answers, after the retries that
    the request allows; every answer of 400 or more becomes its error class here.
    """

    def send(
        self,
        method: str,
        path: str,
        body: Optional[Body],
        headers: Dict[str, str],
        stream: bool,
        timeout_s: Optional[float],
    ) -> Answer:
        raise NotImplementedError

    def close(self) -> None:
        """Frees what the transport holds; it may be used again afterwards."""

    def place(self) -> Tuple[str, str]:
        """The server's URL and the token that this speaks for: for another program that is to speak to it."""
        raise NotImplementedError

    def with_token(self, token: Optional[str], revives: bool = True) -> "Transport":
        """A transport to the same server that speaks for another token (None: for the same).

        Args:
            revives: whether it may start an embedded server that is gone.
        """
        raise NotImplementedError

    def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        query: Optional[Dict[str, Any]] = None,
        body: Optional[Body] = None,
        length: Optional[int] = None,
        stream: bool = False,
        timeout_s: Optional[float] = None,
    ) -> Answer:
        """Sends a request under ``/api/v1`` and gives the answer.

        Args:
            path: below the prefix, its parts already quoted (see ``url_path``).
            json: a JSON value to send; excludes ``body``.
            body: bytes, a file object or an iterable of bytes; ``length`` its size where not bytes.
            stream: whether the answer is read piece by piece (the caller closes it).
            timeout_s: seconds without a byte before the server counts as away; None for the default.
        Raises:
            RunyardError: the class that the server's error code names.
        """
        headers: Dict[str, str] = {HEADER: KNOWN}
        if json is not None:
            body = json_.dumps(json).encode("utf-8")
            headers["Content-Type"] = "application/json"
        elif body is not None:
            headers["Content-Type"] = "application/octet-stream"
        if body is not None:
            size = len(body) if isinstance(body, bytes) else length
            if size is not None:
                headers["Content-Length"] = str(size)
        if query:
            kept = {key: value for key, value in query.items() if value is not None}
            if kept:
                path = path + "?" + urlencode(kept, doseq=True)
        answer = self.send(method, API_PREFIX + path, body, headers, stream, timeout_s)
        if answer.status >= 400:
            with answer:
                try:
                    detail = answer.json()
                except (ValueError, RecursionError):
                    detail = None
            raise from_answer(answer.status, detail)
        return answer

    def call(self, method: str, path: str, json: Any = None, query: Optional[Dict[str, Any]] = None) -> Any:
        """``request`` for plain JSON in and out."""
        with self.request(method, path, json=json, query=query) as answer:
            try:
                return answer.json()
            except (ValueError, RecursionError) as fault:
                raise ServiceException(
                    "What the server answered to {} {} is no JSON ({}). Is it a runyard server?".format(
                        method, path, fault
                    )
                ) from fault


def url_path(*parts: str) -> str:
    """A request path from its parts, each quoted; ``/`` inside a part stays a separator."""
    return "/" + "/".join(quote(part, safe="/~") for part in parts)
