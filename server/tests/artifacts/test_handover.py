import fcntl
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard_server.artifacts.handover import Handover, Invitation


@pytest.fixture
def handover() -> Iterator[Handover]:
    handover = Handover()
    yield handover
    handover.close()


def connected(name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(30)
    connection.connect("\0" + name)
    return connection


def shown(invitation: Invitation | None, ticket: str | None = None) -> socket.socket:
    assert invitation is not None
    connection = connected(invitation.socket)
    connection.send((ticket or invitation.ticket).encode())
    return connection


def refuse(name: str, source: int) -> tuple[str, int]:
    raise AssertionError(f"{name} must not be taken")


def is_hung_up(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_a_ticket_is_good_once(handover: Handover) -> None:
    invitation = handover.expect(lambda name, source: (name, os.fstat(source).st_size))
    with shown(invitation) as first, open(__file__, "rb") as file:
        socket.send_fds(first, [b"name"], [file.fileno()])
        assert b'"digest": "name"' in first.recv(1000)
        with shown(invitation) as second:
            assert is_hung_up(second)


def test_who_has_no_ticket_is_hung_up_on(handover: Handover, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with shown(handover.lend([tmp_path / "secret"]), "guessed") as guesser:
        assert is_hung_up(guesser)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user connects")
def test_another_user_of_the_machine_is_hung_up_on(handover: Handover, tmp_path: Path) -> None:
    # A process of its own, since a user is changed for a whole process.
    invitation = handover.lend([tmp_path])
    assert invitation is not None
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(30)\n"
        "s.connect('\\0' + sys.argv[1])\n"
        "try:\n    s.send(sys.argv[2].encode()); s.send(b'next'); print(s.recv(100))\n"
        "except OSError: print(b'')"
    )
    answer = subprocess.run(
        ["/usr/bin/env", "python3", "-c", program, *invitation], user=65534, capture_output=True, text=True, cwd="/"
    )
    assert answer.stdout.strip() == "b''", answer.stderr
    with shown(invitation) as ours:  # the ticket was not used up by that
        ours.send(b"next")
        assert len(socket.recv_fds(ours, 100, 1)[1]) == 1


@pytest.mark.parametrize("count", [0, 2])
def test_a_message_brings_one_file(handover: Handover, count: int) -> None:
    with shown(handover.expect(refuse)) as client, open(__file__, "rb") as file:
        socket.send_fds(client, [b"name"], [file.fileno()] * count)
        assert b"is not one file" in client.recv(1000)


def test_what_is_no_plain_file_is_refused(handover: Handover) -> None:
    reader, writer = os.pipe()
    with shown(handover.expect(refuse)) as client:
        socket.send_fds(client, [b"pipe"], [reader])
        assert b"is not one file" in client.recv(1000)
    os.close(reader)
    os.close(writer)


def test_a_file_that_was_opened_for_writing_alone_is_an_error(handover: Handover, tmp_path: Path) -> None:
    invitation = handover.expect(lambda name, source: (name, len(os.read(source, 1))))
    with shown(invitation) as client, (tmp_path / "file").open("wb") as file:
        socket.send_fds(client, [b"name"], [file.fileno()])
        assert b"could not be kept: Bad file descriptor" in client.recv(1000)


def test_a_lent_file_is_open_for_reading_alone(handover: Handover, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with shown(handover.lend([tmp_path / "file"])) as client:
        client.send(b"next")
        _, (descriptor,), _, _ = socket.recv_fds(client, 100, 1)
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        assert os.read(descriptor, 100) == b"content"
        os.close(descriptor)
        assert is_hung_up(client)


def test_a_link_in_the_place_of_a_lent_file_is_not_followed(handover: Handover, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with shown(handover.lend([tmp_path / "link"])) as client:
        client.send(b"next")
        assert is_hung_up(client)


def test_closing_hangs_up_and_leaves_no_thread(handover: Handover) -> None:
    with shown(handover.expect(refuse)) as client:
        handover.close()
        assert is_hung_up(client)
    assert handover.expect(refuse) is None
    for thread in threading.enumerate():
        if thread.name == "runyard-handover":
            thread.join(10)
            assert not thread.is_alive()


def test_nothing_listens_before_somebody_is_invited() -> None:
    # A process of its own: other tests' sockets are not counted.
    program = (
        "from runyard_server.artifacts.handover import Handover\nimport os, threading\n"
        "before = len(os.listdir('/proc/self/fd')); handover = Handover()\n"
        "print(len(os.listdir('/proc/self/fd')) - before, threading.active_count())"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["0", "1"]
