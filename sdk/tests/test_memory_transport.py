import itertools
import threading

import pytest

from runyard.errors import ServerUnavailableError, UserErrorException
from runyard.transport.memory import MemoryTransport


def served(handle):
    """An application that answers every request with ``handle(scope, body) -> (status, pieces)``."""

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        status, pieces = handle(scope, body)
        await send({"type": "http.response.start", "status": status, "headers": [(b"X-Kind", b"test")]})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


@pytest.fixture
def open_transport():
    opened = []

    def make(app, **options):
        opened.append(MemoryTransport(app, **options))
        return opened[-1]

    yield make
    for transport in opened:
        transport.close()
        transport.close()


def test_a_request_arrives_with_all_its_parts(open_transport):
    seen = []

    def handle(scope, body):
        seen.append((scope["method"], scope["path"], scope["query_string"], dict(scope["headers"]), body))
        return 200, [b'{"a": 1}']

    transport = open_transport(served(handle), token="secret")
    assert transport.call("POST", "/x%20y", json=[1], query={"q": "a b"}) == {"a": 1}
    ((method, path, query, headers, body),) = seen
    assert (method, path, query, body) == ("POST", "/api/v1/x y", b"q=a+b", b"[1]")
    assert headers[b"authorization"] == b"Bearer secret"
    assert headers[b"content-type"] == b"application/json"


@pytest.mark.parametrize("body", [b"abc", [b"a", b"bc"]])
def test_a_body_may_be_bytes_or_pieces(open_transport, body):
    transport = open_transport(served(lambda scope, found: (200, [found])))
    with transport.request("POST", "/x", body=body, length=3) as answer:
        assert (answer.read(), answer.headers["x-kind"]) == (b"abc", "test")


def test_an_answer_is_streamed_line_by_line_and_may_be_left(open_transport):
    ended = threading.Event()

    inner = served(lambda scope, body: (200, itertools.repeat(b"line\n")))

    async def app(scope, receive, send):
        try:
            await inner(scope, receive, send)
        finally:
            if scope["type"] == "http":
                ended.set()

    transport = open_transport(app)
    with transport.request("GET", "/follow", stream=True) as answer:
        assert [answer.readline() for _ in range(3)] == [b"line\n"] * 3
        assert answer.read(4) == b"line"
    assert ended.wait(60)


def test_an_error_answer_becomes_its_class(open_transport):
    answer = b'{"error": {"code": "user_error", "message": "no"}}'
    transport = open_transport(served(lambda scope, body: (400, [answer])))
    with pytest.raises(UserErrorException, match="no"):
        transport.call("GET", "/x")


def test_an_application_that_breaks_is_told(open_transport):
    def broken(scope, body):
        raise ValueError("broken inside")

    with pytest.raises(ServerUnavailableError, match="broken inside"):
        open_transport(served(broken)).call("GET", "/x")


def test_an_application_without_lifespan_is_served(open_transport):
    inner = served(lambda scope, body: (200, [b"1"]))

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await inner(scope, receive, send)

    assert open_transport(app).call("GET", "/x") == 1


def test_an_application_that_cannot_start_is_told():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(ServerUnavailableError, match="no database"):
        MemoryTransport(app)


def test_threads_share_one_transport(open_transport):
    transport = open_transport(served(lambda scope, body: (200, [body])))
    wrong = []

    def ask(number):
        for _ in range(20):
            if transport.call("POST", "/x", json=number) != number:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
