"""What stands between nodes and a server, for tests: it passes on what comes, and can be shut for a while."""

import socket
import threading


class Gateway:
    """Listens at construction; its threads stand in the network of whoever makes it. ``close`` ends it.

    Args:
        address: where it listens, and where the server does.
        port: where it listens.
        to: the server's port.
    """

    def __init__(self, address: str, port: int, to: int) -> None:
        self.url = f"http://{address}:{port}"
        self._to = (address, to)
        self._is_open = threading.Event()
        self._lock = threading.Lock()
        self._answers: list[bytes] = []
        self._ends: set[socket.socket] = set()
        self._listener = socket.create_server((address, port))
        self._is_open.set()
        threading.Thread(target=self._accept, name="gateway", daemon=True).start()

    def shut(self) -> None:
        """What is sent from now on waits here, in open connections and in new ones."""
        self._is_open.clear()

    def open(self) -> None:
        """Passes on what has waited, and what comes."""
        with self._lock:
            self._answers.clear()
        self._is_open.set()

    def has_answered(self, words: bytes) -> bool:
        """Whether the server has said so through here since it was opened."""
        with self._lock:
            return words in b"".join(self._answers)

    def close(self) -> None:
        self._listener.close()
        self._is_open.set()
        with self._lock:
            for end in self._ends:
                end.close()

    def _accept(self) -> None:
        while True:
            try:
                asking, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            threading.Thread(target=self._connect, args=(asking,), name="gateway", daemon=True).start()

    def _connect(self, asking: socket.socket) -> None:
        self._is_open.wait()
        try:
            answering = socket.create_connection(self._to)
        except OSError:
            asking.close()  # the server is away
            return
        with self._lock:
            self._ends |= {asking, answering}
        threading.Thread(target=self._pass_on, args=(asking, answering), name="gateway", daemon=True).start()
        self._pass_on(answering, asking, keeps=True)

    def _pass_on(self, source: socket.socket, target: socket.socket, keeps: bool = False) -> None:
        try:
            while True:
                data = source.recv(1 << 16)
                self._is_open.wait()
                if keeps:
                    with self._lock:
                        self._answers.append(data)
                if not data:
                    break
                target.sendall(data)
        except OSError:
            pass  # one side has gone, of which the other hears now
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself
