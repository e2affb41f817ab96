"""Open files handed over between processes of one machine: large files without a network between.

A socket carries descriptors and nothing else. What may be done with them was decided before, by the route that
gave the ticket: the socket knows no tokens, no names of files and no places. A client shows a file by having it
open, so the server opens nothing that a client names.
"""

import json
import logging
import os
import secrets
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runyard.errors import RunyardError, ServiceException, UserErrorException

# Keeps the file of a descriptor under a name that the client gives; the digest of its bytes, and their number.
Keeper = Callable[[str, int], tuple[str, int]]

TICKET_S = 60.0
_SILENCE_S = 300.0  # a client may hash many small files between two large ones
_MOST_CLIENTS = 16
_MESSAGE = 8192  # bytes; a name has at most half as many
_PEER = struct.Struct("3i")  # pid, uid, gid

log = logging.getLogger("runyard_server")


class Invitation(NamedTuple):
    """Where to come with which ticket: an abstract Unix socket's name, and a secret that is good once."""

    socket: str
    ticket: str


class Handover:
    """Takes open files, and lends files to be read. Listens from the first invitation on.

    Only a process of the server's own user on this machine is let in; whoever else comes, or has no good ticket,
    is hung up on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._name = ""
        self._invited: dict[str, tuple[float, Keeper | Sequence[Path]]] = {}
        self._clients: set[socket.socket] = set()
        self._closed = False

    def expect(self, keep: Keeper) -> Invitation | None:
        """Lets one client bring files, each of which ``keep`` takes. None where this system has no such sockets."""
        return self._invite(keep)

    def lend(self, paths: Sequence[Path]) -> Invitation | None:
        """Lets one client fetch these files, opened for reading, in this order. None as for ``expect``."""
        return self._invite(paths)

    def close(self) -> None:
        """Hangs up on everybody."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._listener is not None:
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            for client in self._clients:
                with suppress(OSError):  # it has hung up by itself
                    client.shutdown(socket.SHUT_RDWR)

    def _invite(self, errand: Keeper | Sequence[Path]) -> Invitation | None:
        if sys.platform != "linux":
            return None
        ticket = secrets.token_urlsafe(24)
        now = time.monotonic()
        with self._lock:
            if self._closed:
                return None
            self._invited = {known: entry for known, entry in self._invited.items() if entry[0] > now}
            self._invited[ticket] = (now + TICKET_S, errand)
            if self._listener is None:
                # An abstract name: it is in no folder, nobody can guess it, and it goes away with this process.
                self._name = f"runyard-{secrets.token_hex(16)}"
                self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self._listener.bind("\0" + self._name)
                self._listener.listen(64)
                threading.Thread(
                    target=self._accept, args=(self._listener,), name="runyard-handover", daemon=True
                ).start()
        return Invitation(self._name, ticket)

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return  # closed
                if not self._admit(client):
                    client.close()
                    continue
                threading.Thread(target=self._attend, args=(client,), name="runyard-handover", daemon=True).start()

    def _admit(self, client: socket.socket) -> bool:
        _, user, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        with self._lock:
            if user != os.geteuid() or self._closed or len(self._clients) >= _MOST_CLIENTS:
                return False
            self._clients.add(client)
            return True

    def _attend(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(_SILENCE_S)
                ticket = client.recv(_MESSAGE).decode("ascii", "replace")
                with self._lock:
                    until, errand = self._invited.pop(ticket, (0.0, ()))
                if until <= time.monotonic():
                    return
                if callable(errand):
                    _take(client, errand)
                else:
                    _give(client, errand)
        except OSError:
            pass  # it went away or said nothing for long: what came whole is kept, and it asks anew
        except Exception:
            log.exception("A handover of files failed")
        finally:
            with self._lock:
                self._clients.discard(client)


def _take(client: socket.socket, keep: Keeper) -> None:
    """Each message brings a name and one file, and is answered by its digest and size, or by an error."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(client, _MESSAGE, 4, socket.MSG_CMSG_CLOEXEC)
        try:
            if not message:
                return
            client.send(json.dumps(_kept(keep, message, descriptors)).encode())
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _kept(keep: Keeper, message: bytes, descriptors: Sequence[int]) -> dict[str, object]:
    try:
        if len(descriptors) != 1 or not stat.S_ISREG(os.fstat(descriptors[0]).st_mode):
            raise UserErrorException("What was handed over is not one file. Send its bytes instead.")
        digest, size = keep(message.decode("utf-8"), descriptors[0])
    except UnicodeDecodeError:
        return _error(UserErrorException("The name of a file that was handed over is not UTF-8."))
    except RunyardError as refused:
        return _error(refused)
    except OSError as failed:
        return _error(ServiceException(f"A file that was handed over could not be kept: {failed.strerror}."))
    return {"digest": digest, "size": size}


def _give(client: socket.socket, paths: Sequence[Path]) -> None:
    """Sends one open file a message, each when the client has asked for it by any message."""
    for path in paths:
        if not client.recv(_MESSAGE):
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            socket.send_fds(client, [b"file"], [descriptor])
        finally:
            os.close(descriptor)


def _error(fault: RunyardError) -> dict[str, object]:
    return {"status": fault.http_status, "error": {"code": fault.code, "message": fault.message[:1000], "details": {}}}
