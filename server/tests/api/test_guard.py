"""Who may call what: every route, every kind of token, and what browsers may be tricked into."""

from collections.abc import Iterator

import pytest

from runyard.protocol.runs import InteractiveRunSpec
from runyard_server.api.auth import undeclared
from runyard_server.api.roles import TABLE, Role
from runyard_server.app import Server, build
from runyard_server.services.pages import cookie_name
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock

ADDRESS = "http://127.0.0.1:8000"
MEMBER = "the-workspaces-own-token"


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, clock: FakeClock) -> Iterator[Server]:
    """One for all: hundreds of tests ask it, and hardly anything that they ask is done."""
    folder = tmp_path_factory.mktemp("guarded")
    settings = Settings(home=folder / "home", environments=folder / "environments")
    settings.home.mkdir(mode=0o700)
    built = build(settings, Secrets(MEMBER, b"k" * 32), lambda: ADDRESS, clock)
    yield built
    built.close()


@pytest.fixture
def client(server: Server) -> Client:
    """Without a token."""
    return Client(server.app, ADDRESS)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def filled(path: str, run_id: str = "some-run") -> str:
    """A path of the table with something in each of its holes."""
    parts = []
    for part in path.split("/"):
        name = part.strip("{}").split(":")[0]
        value = run_id if name == "run_id" else "1" if name == "version" else "x"
        parts.append(value if part.startswith("{") else part)
    return "/".join(parts)


ROUTES = sorted(TABLE)


def test_every_route_has_a_row_and_every_row_a_route(server: Server) -> None:
    assert undeclared(server.app.router.routes) == []
    served = {
        (method, str(getattr(route, "path", "")))
        for route in server.app.router.routes
        for method in getattr(route, "methods", None) or ()
    }
    assert set(TABLE) <= served


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_token_only_public_routes_answer(client: Client, method: str, path: str) -> None:
    answer = client.request(method, filled(path))
    if Role.PUBLIC in TABLE[method, path]:
        assert answer.status_code not in (401, 403)
    else:
        assert answer.status_code == 401


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_wrong_or_expired_token_is_none(
    client: Client, server: Server, clock: FakeClock, method: str, path: str
) -> None:
    if Role.PUBLIC in TABLE[method, path]:
        return
    ticket = server.services.tokens.ticket()
    clock.advance(minutes=8 * 24 * 60)
    forged = ticket.rsplit(".", 1)[0] + "." + "0" * 64
    for token in ("wrong", ticket, forged, "", "a.b.c.d", MEMBER + "x"):
        assert client.request(method, filled(path), headers=bearer(token)).status_code == 401


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_viewer_only_reads(client: Client, server: Server, method: str, path: str) -> None:
    answer = client.request(method, filled(path), headers=bearer(server.services.tokens.ticket()))
    assert (answer.status_code == 403) == (not {Role.VIEWER, Role.PUBLIC} & TABLE[method, path])


@pytest.mark.parametrize(("method", "path"), [row for row in ROUTES if "{run_id}" in row[1]])
def test_a_runs_token_is_good_for_that_run_alone(client: Client, server: Server, method: str, path: str) -> None:
    run = server.services.runs.start_interactive(InteractiveRunSpec(experiment="e"), by="user")
    token = server.services.tokens.for_run("some-run")
    if Role.PUBLIC in TABLE[method, path]:
        return
    assert client.request(method, filled(path, run.id), headers=bearer(token)).status_code == 403


def test_a_cookie_is_as_good_as_a_header_and_a_ticket_only_opens_pages(client: Client, server: Server) -> None:
    ticket = server.services.tokens.ticket()
    cookie = {"Cookie": f"{cookie_name(ADDRESS)}={ticket}"}
    assert client.get("/api/v1/runs", headers=cookie).status_code == 200
    assert client.get(f"/api/v1/runs?ticket={ticket}").status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil", "", "127.0.0.1/x?y"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_rebound_host_name_is_refused_on_every_method(client: Client, host: str, method: str) -> None:
    answer = client.request(method, "/api/v1/health", headers={"Host": host, **bearer(MEMBER)})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_other_sites_change_nothing(client: Client, headers: dict[str, str], method: str) -> None:
    answer = client.request(method, "/api/v1/experiments/x", headers={**headers, **bearer(MEMBER)})
    assert answer.status_code == 403
    known = client.get("/api/v1/experiments", headers=bearer(MEMBER)).json()
    assert "x" not in [experiment["name"] for experiment in known]


def test_unknown_routes_look_like_known_ones_to_strangers(client: Client) -> None:
    assert client.get("/api/v1/no-such-route").status_code == 401
    assert client.get("/api/v1/no-such-route", headers=bearer(MEMBER)).status_code == 404


def test_what_a_handler_breaks_on_is_told_without_its_insides(client: Client) -> None:
    answer = client.post("/api/v1/runs", json={"experiment": 3}, headers=bearer(MEMBER))
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "user_error"
