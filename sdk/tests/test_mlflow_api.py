"""How an import speaks to a server over HTTP: past proxies where it is our own, and again where an answer broke off."""

import io
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from runyard.errors import StorageFullError
from runyard.mlflow_api import MlflowApi

_WHOLE = b'{"here":true}'


class Answers(BaseHTTPRequestHandler):
    """Breaks its first answer off in the middle."""

    def do_GET(self):
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(_WHOLE)))
        self.end_headers()
        self.wfile.write(_WHOLE[:4] if self.server.asked == 1 else _WHOLE)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        server.asked = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def address(server):
    return "http://127.0.0.1:{}".format(server.server_port)


def test_an_answer_that_broke_off_is_asked_for_again(server, address):
    target = io.BytesIO()
    assert MlflowApi(address).save("/file", {}, target) == len(_WHOLE)
    assert (target.getvalue(), server.asked) == (_WHOLE, 2)


def test_no_proxy_hears_what_is_said_to_our_own_server(server, address, monkeypatch):
    server.asked = 1
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert MlflowApi(address, "Bearer secret", is_ours=True).get("experiments/get") == {"here": True}


def test_a_full_disk_is_not_taken_for_a_server_that_is_away(server, address):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    server.asked = 1
    with pytest.raises(StorageFullError, match="No space left"):
        MlflowApi(address).save("/file", {}, Full())
    assert server.asked == 2
