"""The standard library's HTTP under the conditions of a real network: answers break off, servers go and are busy."""

import io
import os
import socket
import threading
from contextlib import closing

import pytest

from runyard.errors import ServerUnavailableError, ServiceException
from runyard.transport.http import HttpTransport


class Server:
    """Answers each connection with what the test says; keeps what was asked.

    Args:
        conversations: for each connection that comes, the raw answers to its requests; after them it is closed.
    """

    def __init__(self, *conversations):
        self.asked = []
        self.connections = 0
        self._conversations = conversations
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(8)
        self.address = "http://127.0.0.1:{}".format(self._socket.getsockname()[1])
        self.has_closed = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        for answers in self._conversations:
            connection, _ = self._socket.accept()
            self.connections += 1
            with connection, closing(connection.makefile("rb")) as reader:
                for answer in answers:
                    self.asked.append(_request(reader))
                    connection.sendall(answer)
            self.has_closed.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.join(60)
        self._socket.close()
        assert not self._thread.is_alive(), "the client did not come as often as expected"


def _request(reader):
    head, length, chunked = [], 0, False
    for line in iter(reader.readline, b"\r\n"):
        head.append(line)
        name, _, value = line.lower().partition(b":")
        length = int(value) if name == b"content-length" else length
        chunked = chunked or name == b"transfer-encoding"
    body = reader.read(length)
    while chunked:
        size = int(reader.readline(), 16)
        body += reader.read(size)
        reader.readline()
        chunked = size > 0
    return head[0].split()[0].decode(), body


def answer(body=b"{}", status="200 OK", headers=(), length=None):
    head = ["HTTP/1.1 " + status, "Content-Length: {}".format(len(body) if length is None else length)]
    return "\r\n".join(head + list(headers) + ["", ""]).encode() + body


def transport(server, patience_s=10.0, **more):
    return HttpTransport(lambda: server.address, lambda: "token", patience_s=patience_s, **more)


BUSY = answer(b"{}", "429 Too Many Requests", ["Retry-After: 0.01"])


def test_one_connection_serves_many_requests():
    with Server([answer(b"1"), answer(b"2")]) as server:
        client = transport(server)
        assert [client.call("GET", "/a"), client.call("GET", "/b")] == [1, 2]
    assert server.connections == 1


def test_a_connection_that_the_server_has_closed_is_not_used_again():
    with Server([answer(b"1")], [answer(b"2")]) as server:
        client = transport(server)
        assert client.call("GET", "/a") == 1
        assert server.has_closed.wait(60)
        # A body that can be sent once only shows that nothing was sent into the dead connection.
        with client.request("POST", "/b", body=iter([b"once"])) as answered:
            assert answered.json() == 2
    assert server.asked == [("GET", b""), ("POST", b"once")]


def test_an_answer_that_breaks_off_is_asked_for_again():
    with Server([answer(b'{"half":', length=100)], [answer(b'{"whole": 1}')]) as server:
        assert transport(server).call("GET", "/a") == {"whole": 1}


def test_a_streamed_answer_that_breaks_off_is_an_error_and_not_an_end():
    with Server([answer(b"half", length=100)]) as server:
        with transport(server).request("GET", "/a", stream=True) as answered:
            with pytest.raises(ConnectionError, match="broke off"):
                answered.read()


def test_a_busy_server_is_asked_again_when_it_says():
    with Server([BUSY, BUSY, answer(b"1")]) as server:
        assert transport(server).call("POST", "/a", json={"x": 1}) == 1
    assert server.asked == [("POST", b'{"x": 1}')] * 3


def test_a_busy_server_is_waited_for_longer_than_one_that_is_gone():
    with Server([BUSY, BUSY, BUSY, answer(b"1")]) as server:
        assert transport(server, patience_s=0.001).call("GET", "/a") == 1


def test_a_client_that_has_no_patience_is_told_that_the_server_is_busy():
    with Server([BUSY]) as server:
        client = transport(server, patience_s=0.0)
        with pytest.raises(ServiceException):
            client.call("GET", "/a")
        client.close()


@pytest.mark.parametrize("said", ["Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", "Retry-After: -5"])
def test_a_busy_servers_date_or_nonsense_does_not_break_the_wait(said):
    with Server([answer(b"{}", "429 Too Many Requests", [said]), answer(b"1")]) as server:
        assert transport(server).call("GET", "/a") == 1


class Pieces:
    """A body that can be read again from its beginning."""

    def __iter__(self):
        return iter([b"first ", b"second"])


def test_a_body_in_pieces_is_sent_whole_again_to_a_busy_server():
    with Server([BUSY], [answer(b"1")]) as server:
        with transport(server).request("POST", "/a", body=Pieces()) as answered:
            assert answered.json() == 1
    assert server.asked == [("POST", b"first second")] * 2


def test_a_body_that_can_be_read_once_is_never_sent_by_half():
    with Server([answer(b"{}", "429 Too Many Requests", ["Retry-After: 0.01"])]) as server:
        client = transport(server)
        with pytest.raises(ServiceException):
            client.request("POST", "/a", body=io.BytesIO(b"all of it"), length=9)
        client.close()
    assert server.asked == [("POST", b"all of it")]


def test_where_nobody_answers_the_error_names_the_address_and_the_cure():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = "http://127.0.0.1:{}".format(unused.getsockname()[1])
        client = HttpTransport(lambda: address, lambda: "token", patience_s=0.0)
        with pytest.raises(ServerUnavailableError, match="{}.*runyard up".format(address)):
            client.call("GET", "/a")


def test_a_server_that_came_back_elsewhere_is_found():
    with Server([answer(b"1")]) as old, Server([answer(b"2")]) as new:
        addresses = [old.address]
        client = HttpTransport(lambda: addresses[0], lambda: "token")
        assert client.call("GET", "/a") == 1
        addresses[0] = new.address
        assert client.call("GET", "/b") == 2


def test_a_server_that_was_revived_is_tried_however_long_that_took():
    with Server([answer(b"1")]) as server, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        addresses = ["http://127.0.0.1:{}".format(unused.getsockname()[1])]

        def revive():
            addresses[0] = server.address

        client = HttpTransport(lambda: addresses[0], lambda: "token", patience_s=0.5, revive=revive)
        assert client.call("GET", "/a") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_opens_a_connection_of_its_own():
    with Server([answer(b"1")], [answer(b"2")]) as server:
        client = transport(server)
        assert client.call("GET", "/a") == 1
        child = os.fork()
        if child == 0:
            os._exit(0 if client.call("GET", "/b") == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert server.connections == 2
