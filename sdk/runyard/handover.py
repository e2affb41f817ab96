"""Open files handed to a server on the same machine and fetched from it: large files without a network between.

The server reads what it is handed by itself, so a large file is read and hashed once instead of twice and sent
through no socket. Who cannot do this (another machine, another user, another system) sends and fetches bytes.
"""

import array
import json
import os
import socket
import struct
import sys
from typing import Any, Dict, Iterator, Optional, Sequence, Set, Tuple

from runyard.errors import UserErrorException, from_answer
from runyard.progress import Progress, silent
from runyard.protocol.digest import LARGE
from runyard.transport.base import Transport

WORTHWHILE = LARGE  # bytes of a file; a smaller one is as quick in a pack
_MESSAGE = 8192
_PATIENCE_S = 600.0  # the server answers when it has copied a whole file
_PEER = struct.Struct("3i")  # pid, uid, gid


class Bringer:
    """Hands files to the server, one after the other. Use it in a ``with``.

    Args:
        path: the route that expects files; by default their bytes go to the object store.
        names: the files that may be brought, for a route that asks for their names.
    """

    def __init__(
        self,
        transport: Transport,
        path: str = "/objects/handover",
        names: Optional[Sequence[str]] = None,
        progress: Progress = silent,
    ) -> None:
        self._transport, self._path, self._names, self._progress = transport, path, names, progress
        self._socket: Optional[socket.socket] = None
        self._wanted: Optional[Set[str]] = None
        self._is_near: Optional[bool] = None  # unknown until the first file
        self.brought: Set[str] = set()

    def __enter__(self) -> "Bringer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def keep(self, name: str, local: str) -> Optional[Tuple[str, int]]:
        """Has the server keep the bytes of the file at ``local``: their digest and their number.

        None where the server cannot or does not want it this way; then its bytes are to be sent.

        Raises:
            OSError: the file cannot be opened.
            RunyardError: why the server did not keep it.
        """
        if self._is_near is None:
            self._connect()
        if not self._is_near or (self._wanted is not None and name not in self._wanted):
            return None
        descriptor = os.open(local, os.O_RDONLY | os.O_CLOEXEC)
        try:
            answer = self._answer(name, descriptor)
        finally:
            os.close(descriptor)
        if answer is None:
            self._is_near = False  # the server went away: whoever sends the bytes tells why, or finds the next one
            return None
        if "error" in answer:
            raise from_answer(int(answer["status"]), answer)
        self.brought.add(name)
        self._progress(int(answer["size"]), 1)
        return str(answer["digest"]), int(answer["size"])

    def _connect(self) -> None:
        invitation = _invitation(self._transport, self._path, None if self._names is None else list(self._names))
        self._socket = _connected(invitation)
        self._is_near = self._socket is not None
        if "paths" in invitation:
            self._wanted = set(invitation["paths"])

    def _answer(self, name: str, descriptor: int) -> Optional[Dict[str, Any]]:
        assert self._socket is not None
        rights = array.array("i", [descriptor])
        try:
            self._socket.sendmsg([name.encode("utf-8")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            said = self._socket.recv(_MESSAGE)
        except OSError:
            return None
        return json.loads(said) if said else None


def fetch(transport: Transport, path: str, names: Sequence[str]) -> Iterator[Tuple[str, int]]:
    """Files opened for reading, as (name, descriptor); the caller closes them. Ends early where the server hangs up.

    Args:
        path: the route that lends them.
    """
    invitation = _invitation(transport, path, names)
    connection = _connected(invitation)
    if connection is None:
        return
    with connection:
        for name in invitation["paths"]:
            descriptor = _received(connection)
            if descriptor is None:
                return
            yield str(name), descriptor


def _received(connection: socket.socket) -> Optional[int]:
    size = array.array("i").itemsize
    try:
        connection.send(b"next")
        said, rights, _, _ = connection.recvmsg(_MESSAGE, socket.CMSG_SPACE(size), socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return None
    received = array.array("i")
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(data[: len(data) - len(data) % size])
    return received[0] if said and received else None


def _invitation(transport: Transport, path: str, names: Optional[Sequence[str]]) -> Dict[str, Any]:
    if sys.platform != "linux":
        return {}
    asked = None if names is None else {"paths": list(names)}
    try:
        answer: Dict[str, Any] = transport.call("POST", path, json=asked)
    except UserErrorException:
        return {}  # a server of an older version; where it is something else, sending the bytes tells it
    return answer


def _connected(invitation: Dict[str, Any]) -> Optional[socket.socket]:
    """A connection on which the ticket was shown, None where there is no such server of this user here."""
    if not invitation.get("socket"):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(_PATIENCE_S)
        connection.connect("\0" + invitation["socket"])
        _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if user != os.geteuid():
            connection.close()
            return None
        connection.send(invitation["ticket"].encode("ascii"))
    except OSError:
        connection.close()
        return None
    return connection
