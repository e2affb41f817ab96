"""Searching a log: every place, in any case, over the edges of what is read at once."""

from collections.abc import Iterator

import pytest

from runyard.errors import FileNotInRunError
from runyard.protocol.runs import InteractiveRunSpec
from runyard_server.app import Server, build
from runyard_server.services.pages import cookie_name
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home
from runyard_server.ui.log_page import MOST_MATCHES, find

ADDRESS = "http://127.0.0.1:8000"
LOG = "azureml-logs/70_driver_log.txt"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = fresh_home(tmp_path_factory.mktemp("home"))
    built = build(Settings(home=home, environments=home / "e"), Secrets("own", b"k" * 32), lambda: ADDRESS, FakeClock())
    yield built
    built.close()


def logged(server: Server, text: bytes) -> str:
    run = server.services.runs.start_interactive(InteractiveRunSpec("mnist"), "user")
    server.services.logs.append(run.id, LOG, 0, text)
    return run.id


@pytest.mark.parametrize("block", [5, 7, 8, 64, 1 << 20])
@pytest.mark.parametrize(
    ("text", "wanted", "places"),
    [
        (b"abc ABC xabc", "abc", [0, 4, 9]),
        (b"aaaaa", "aa", [0, 2]),
        (b"x" * 20 + b"needle" + b"x" * 20, "needle", [20]),
        ("naïve Naïve".encode(), "naïve", [0, 7]),
        (b"a.c abc [a]", "a.c", [0]),
        (b"one\ntwo\n", "e\nt", [2]),
        (b"nothing", "here", []),
        (b"abababab", "abab", [0, 4]),
        (b"q q q", "q", [0, 2, 4]),
    ],
)
def test_every_place_is_found_wherever_it_is_read(
    server: Server, text: bytes, wanted: str, places: list[int], block: int
) -> None:
    assert find(server.services, logged(server, text), LOG, wanted, block) == (places, False)


def test_of_very_many_places_the_first_are_told_and_that_there_are_more(server: Server) -> None:
    found, more = find(server.services, logged(server, b"x\n" * (MOST_MATCHES + 5)), LOG, "x")
    assert len(found) == MOST_MATCHES and found[-1] == 2 * (MOST_MATCHES - 1) and more


def test_a_log_that_is_not_there_is_told(server: Server) -> None:
    run_id = logged(server, b"x")
    with pytest.raises(FileNotInRunError):
        find(server.services, run_id, "azureml-logs/none.txt", "x")
    client = Client(server.app, ADDRESS)
    client.cookies.set(cookie_name("127.0.0.1:8000"), server.services.tokens.ticket())
    assert client.get(f"/runs/{run_id}/log?name=logs/none.txt").status_code == 404
    assert client.get(f"/runs/{run_id}/log").status_code == 200
    answer = client.get(f"/runs/{run_id}/log/matches", params={"name": LOG, "text": "X"})
    assert answer.json() == {"offsets": [0], "more": False}
    for text in ("", "x" * 501):
        said = client.get(f"/runs/{run_id}/log/matches", params={"name": LOG, "text": text})
        assert said.status_code == 400 and "1 to 500 letters" in said.text
