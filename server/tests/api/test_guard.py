"""Who may call what: every route, every kind of token, and what browsers may be tricked into."""

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message

from runyard.protocol.runs import InteractiveRunSpec
from runyard_server import ui
from runyard_server.api.auth import Guard, undeclared
from runyard_server.api.roles import TABLE, Role
from runyard_server.app import Server, build
from runyard_server.services.pages import cookie_name
from runyard_server.services.tokens import Identity, Lease, TokenService
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

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
    fresh_home(settings.home)
    built = build(settings, Secrets(MEMBER, b"k" * 32), lambda: ADDRESS, clock)
    yield built
    built.close()


@pytest.fixture
def client(server: Server) -> Client:
    """Without a token."""
    return Client(server.app, ADDRESS)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def filled(path: str, **names: str) -> str:
    """A path of the table with something in each of its holes."""
    values = {"run_id": "some-run", "version": "1", "attempt": "1", "node": "0", **names}
    parts = []
    for part in path.split("/"):
        name = part.strip("{}").split(":")[0]
        parts.append(values.get(name, "x") if part.startswith("{") else part)
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
    assert client.request(method, filled(path, run_id=run.id), headers=bearer(token)).status_code == 403


# Every kind of token: the role that it stands for, how it is made, and which routes of the role's rows it is good for.
HELD: dict[str, tuple[Role, Callable[[TokenService], str], Callable[[str], bool]]] = {
    "the workspace's": (Role.MEMBER, lambda _: MEMBER, lambda path: True),
    "a person's, to do everything": (Role.MEMBER, lambda t: named(t, "member"), lambda path: True),
    "a person's, to read": (Role.VIEWER, lambda t: named(t, "viewer"), lambda path: True),
    "a page's ticket": (Role.VIEWER, lambda t: t.ticket(), lambda path: True),
    "a browser's that acts": (Role.OPERATOR, lambda t: t.acting_ticket(Identity("member")), lambda path: True),
    "the run's own": (Role.RUN, lambda t: t.for_run("some-run"), lambda path: True),
    "its job's": (Role.RUN, lambda t: t.for_run("some-run", Lease("some-run", 1)), lambda path: True),
    "another run's": (Role.RUN, lambda t: t.for_run("other-run"), lambda path: "{run_id}" not in path),
    "the node's": (Role.NODE, lambda t: t.for_node("some-run", 1, 0), lambda path: "{node}" in path),
    "the gang's driver's": (Role.NODE, lambda t: t.for_node("some-run", 1, None), lambda path: "{node}" not in path),
    "another node's": (Role.NODE, lambda t: t.for_node("some-run", 1, 1), lambda path: False),
    "an earlier attempt's node's": (Role.NODE, lambda t: t.for_node("some-run", 2, 0), lambda path: False),
    "another run's node's": (Role.NODE, lambda t: t.for_node("other-run", 1, 0), lambda path: False),
}


_TURNS = itertools.count()


def named(tokens: TokenService, role: str) -> str:
    """A token that a person makes, under a name that is not taken."""
    return tokens.create(f"{role} {next(_TURNS)}", role, 3600.0, Identity("member"))


@pytest.fixture(scope="module")
def gate(server: Server) -> ASGIApp:
    """The server's guard before nothing: who gets past it is told so, and nothing is done."""
    held = server.services
    past = PlainTextResponse("past the guard")
    return Guard(past, held.tokens, held.fence, ["127.0.0.1"], server.app.router.routes, ui.refused)


def statuses(app: ASGIApp, asked: list[tuple[str, str, str]]) -> list[int]:
    """What each (method, path, token) is answered. Without a client between: there are thousands."""
    told: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            told.append(message["status"])

    async def ask() -> None:
        for method, path, token in asked:
            headers = [(b"host", b"127.0.0.1:8000"), (b"authorization", f"Bearer {token}".encode())]
            scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
            await app({**scope, "headers": headers}, receive, send)

    asyncio.run(ask())
    return told


@pytest.mark.parametrize("whose", HELD)
def test_each_kind_of_token_opens_the_routes_of_its_row_and_no_other(gate: ASGIApp, server: Server, whose: str) -> None:
    role, make, reaches = HELD[whose]
    token = make(server.services.tokens)
    open_to_it = [
        (method, path)
        for method, path in ROUTES
        if Role.PUBLIC in TABLE[method, path] or (role in TABLE[method, path] and reaches(path))
    ]
    asked = [(method, filled(path), token) for method, path in ROUTES]
    told = dict(zip(ROUTES, statuses(gate, asked), strict=True))
    assert [row for row in ROUTES if told[row] == 200] == open_to_it
    closed = [row for row in ROUTES if row not in open_to_it]
    assert {told[row] for row in closed} <= {403}
    # Nor does the server itself let it through.
    assert set(statuses(server.app, [(method, filled(path), token) for method, path in closed])) <= {403}


def test_a_revoked_or_expired_token_of_a_person_a_run_or_a_node_opens_nothing(
    gate: ASGIApp, server: Server, clock: FakeClock
) -> None:
    tokens = server.services.tokens
    revoked = named(tokens, "member")
    by = tokens.check(revoked)
    got_with_it = [tokens.ticket(by), tokens.acting_ticket(by), tokens.for_run("some-run", by=by)]
    tokens.revoke(str(by.named))
    opens_nothing(gate, [revoked, *got_with_it])

    late = [named(tokens, "member"), tokens.ticket(), tokens.for_run("some-run"), tokens.for_node("some-run", 1, 0)]
    clock.advance(minutes=61 * 24 * 60)
    opens_nothing(gate, late)


def opens_nothing(gate: ASGIApp, tokens: list[str]) -> None:
    guarded = [row for row in ROUTES if Role.PUBLIC not in TABLE[row]]
    told = statuses(gate, [(method, filled(path), token) for method, path in guarded for token in tokens])
    assert set(told) == {401}


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
