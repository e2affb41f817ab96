"""More requests than the server holds: it says when to come again, and the SDK's clients do."""

import json
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from runyard.transport.http import HttpTransport
from runyard_server.api.lanes import LIMITS, PERSONS
from tests.crowds.crowd import Crowd

BEYOND = 5


class Visitor:
    """A bare connection that asks and waits."""

    def __init__(self, url: str, token: str, request: str, headers: str = "") -> None:
        place = urlsplit(url)
        self.socket = socket.create_connection((place.hostname, place.port), timeout=240)
        head = f"{request} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {token}\r\n{headers}\r\n"
        self.socket.sendall(head.encode())

    def fileno(self) -> int:
        return self.socket.fileno()

    def answer(self) -> tuple[int, dict[str, str]]:
        head = self.socket.recv(1 << 16).decode().partition("\r\n\r\n")[0].split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:])
        return int(head[0].split()[1]), headers


def test_whoever_does_not_fit_in_is_told_when_to_come_again_and_the_sdk_does(crowd: Crowd) -> None:
    """Only real connections show that nothing on the way (uvicorn, sockets, the SDK's retries) breaks the promise."""
    said = json.loads((crowd.folder / "server.json").read_text())
    limits = LIMITS[PERSONS]
    assert limits.in_line is not None
    # Their bodies never come, so they stay in work; what the lane allows such a client is more than this test takes.
    in_work = [
        Visitor(
            said["url"], said["token"], "POST /api/v1/runs", "Content-Type: application/json\r\nContent-Length: 9\r\n"
        )
        for _ in range(limits.at_once)
    ]
    asking = [Visitor(said["url"], said["token"], "GET /api/v1/workspace") for _ in range(limits.in_line + BEYOND)]
    refused: set[Visitor] = set()
    deadline = time.monotonic() + 120
    while len(refused) < BEYOND and time.monotonic() < deadline:
        refused.update(select.select(asking, [], [], 1)[0])
    answers = [visitor.answer() for visitor in refused]
    assert [status for status, _ in answers] == [429] * BEYOND
    assert all(int(headers["retry-after"]) >= 1 for _, headers in answers)

    tries: list[float] = []
    came_again = threading.Event()

    def token() -> str:
        """Asked for with each try."""
        tries.append(time.monotonic())
        if len(tries) == 2:
            came_again.set()
        return str(said["token"])

    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(HttpTransport(lambda: said["url"], token).call, "GET", "/workspace")
        assert came_again.wait(240)  # it was refused as they were, and tries again by itself
        for visitor in in_work:
            visitor.socket.close()
        assert waits.result(240)["name"] == crowd.workspace.name
    assert tries[1] - tries[0] >= 1.0  # not sooner than it was told
    assert [visitor.answer()[0] for visitor in asking if visitor not in refused] == [200] * limits.in_line
    for visitor in asking:
        visitor.socket.close()
