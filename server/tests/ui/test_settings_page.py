"""The page of settings: a browser is let act and stops acting; tokens are made, work, and are revoked."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard.protocol.runs import InteractiveRunSpec
from runyard_server.app import Server, build
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

from .conftest import ADDRESS, COOKIE, FORM


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def built(home: Path, clock: FakeClock) -> Server:
    settings = Settings(home=home, workspace="hand", environments=home / "environments")
    return build(settings, Secrets("own-token", b"k" * 32), lambda: ADDRESS, clock)


@pytest.fixture
def server(tmp_path: Path, clock: FakeClock) -> Iterator[Server]:
    made = built(fresh_home(tmp_path / "home"), clock)
    yield made
    made.close()


def made_by(operator: Client, **fields: str) -> str:
    """A token as the page shows it, once."""
    asked = {"name": "a notebook", "role": "viewer", "days": "7", **fields}
    answer = operator.request("POST", "/settings/tokens", data=asked, headers={"Origin": ADDRESS})
    assert answer.status_code == 200, answer.text
    [token] = re.findall(r'<pre class="command"[^>]*>([^<]+)</pre>', answer.text)
    assert token not in operator.get("/settings").text
    return str(token)


def bearer(server: Server, token: str) -> Client:
    return Client(server.app, ADDRESS, {"Authorization": f"Bearer {token}"})


def test_a_browser_acts_once_it_has_shown_the_workspaces_token(server: Server, visitor: Client) -> None:
    run = server.services.runs.start_interactive(InteractiveRunSpec("mnist"), "user")
    assert visitor.post(f"/runs/{run.id}/cancel", headers=FORM).status_code == 403
    answer = visitor.post("/settings/unlock", content=f"token=own-token&onward=/runs/{run.id}", headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run.id}")
    said = answer.headers["set-cookie"]
    assert "HttpOnly" in said and "SameSite=strict" in said and "own-token" not in said
    assert "Yes, cancel this run" in visitor.get(f"/runs/{run.id}").text
    assert visitor.post(f"/runs/{run.id}/cancel", headers=FORM).headers["location"] == f"/runs/{run.id}"
    assert server.services.runs.get(run.id).status.value == "CancelRequested"
    events = server.services.runs.events(run.id)
    assert events[-1].by == "user"


def test_another_token_lets_no_browser_act(server: Server, visitor: Client) -> None:
    for token in ("wrong", "", server.services.tokens.ticket(), server.services.tokens.for_run("some-run")):
        answer = visitor.post("/settings/unlock", content=f"token={token}", headers=FORM)
        assert answer.status_code == 400 and "set-cookie" not in answer.headers
        assert "not a token of this workspace" in answer.text


def test_acting_ends_by_itself_and_by_a_button(server: Server, operator: Client, clock: FakeClock) -> None:
    assert "Make a token" in operator.get("/settings").text
    operator.post("/settings/lock", headers=FORM)
    assert "Make a token" not in operator.get("/settings").text
    operator.post("/settings/unlock", content="token=own-token", headers=FORM)
    clock.advance(minutes=12 * 60 + 1)
    assert operator.get("/settings").status_code == 401


def test_an_acting_browser_still_changes_nothing_through_the_api(server: Server, operator: Client) -> None:
    assert operator.get("/api/v1/runs").status_code == 200
    for method, path in (("PATCH", "/api/v1/workspace"), ("POST", "/api/v1/runs"), ("GET", "/api/v1/environments")):
        assert operator.request(method, path, json={}).status_code == 403


def test_another_site_presses_no_button(server: Server, operator: Client) -> None:
    run = server.services.runs.start_interactive(InteractiveRunSpec("mnist"), "user")
    for said in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert operator.post(f"/runs/{run.id}/cancel", headers=said).status_code == 403
    assert server.services.runs.get(run.id).status.value == "Running"


def test_a_printed_address_does_not_take_away_that_a_browser_may_act(server: Server, operator: Client) -> None:
    answer = operator.get(f"/runs?ticket={server.services.tokens.ticket()}")
    assert answer.status_code == 303 and "set-cookie" not in answer.headers
    assert "Make a token" in operator.get("/settings").text


@pytest.mark.parametrize("place", ["//evil.example", "/\\evil.example", "https://evil.example", "x", "/a\nb"])
def test_unlocking_leads_to_no_other_site(visitor: Client, place: str) -> None:
    answer = visitor.request(
        "POST", "/settings/unlock", data={"token": "own-token", "onward": place}, headers={"Origin": ADDRESS}
    )
    assert answer.headers["location"] == "/settings"


def test_a_token_works_until_it_is_revoked(server: Server, operator: Client) -> None:
    reading = made_by(operator)
    mighty = made_by(operator, name="a program", role="member")
    assert bearer(server, reading).get("/api/v1/runs").status_code == 200
    assert bearer(server, reading).request("PATCH", "/api/v1/workspace", json={}).status_code == 403
    assert bearer(server, mighty).request("PATCH", "/api/v1/workspace", json={}).status_code == 200
    page = operator.get("/settings").text
    assert "a notebook" in page and "a program" in page
    for path in re.findall(r'action="(/settings/tokens/[^"]+/revoke)"', page):
        operator.post(path, headers=FORM)
    for token in (reading, mighty):
        answer = bearer(server, token).get("/api/v1/runs")
        assert answer.status_code == 401 and "revoked" in answer.text
    assert "Nobody has made one" in operator.get("/settings").text


def test_tokens_outlive_a_restart_and_their_file_holds_none_of_them(
    server: Server, operator: Client, tmp_path: Path, clock: FakeClock
) -> None:
    token = made_by(operator)
    file = tmp_path / "home" / "tokens.json"
    assert file.stat().st_mode & 0o077 == 0
    assert token not in file.read_text() and token.rsplit(".", 1)[1] not in file.read_text()
    server.close()
    again = built(tmp_path / "home", clock)
    try:
        assert bearer(again, token).get("/api/v1/runs").status_code == 200
        clock.advance(minutes=8 * 24 * 60)
        assert bearer(again, token).get("/api/v1/runs").status_code == 401
    finally:
        again.close()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": " "}, "1 to 60 letters"),
        ({"name": "x" * 61}, "1 to 60 letters"),
        ({"role": "root"}, "&#39;member&#39;"),
        ({"days": "9999"}, "1, 7, 30, 90, 365"),
        ({"days": "x"}, "1, 7, 30, 90, 365"),
    ],
)
def test_a_token_that_cannot_be_is_refused_with_the_cure(operator: Client, fields: dict[str, str], said: str) -> None:
    asked = {"name": "a notebook", "role": "viewer", "days": "7", **fields}
    answer = operator.request("POST", "/settings/tokens", data=asked, headers={"Origin": ADDRESS})
    assert answer.status_code == 400 and said in answer.text


def test_two_tokens_never_share_a_name(operator: Client) -> None:
    made_by(operator)
    again = {"name": "a notebook", "role": "viewer", "days": "7"}
    answer = operator.request("POST", "/settings/tokens", data=again, headers={"Origin": ADDRESS})
    assert answer.status_code == 400 and "Revoke it first" in answer.text


def revoked(operator: Client) -> None:
    """All tokens that people made are revoked."""
    for path in re.findall(r'action="(/settings/tokens/[^"]+/revoke)"', operator.get("/settings").text):
        assert operator.post(path, headers=FORM).status_code == 303


def ticket_of(client: Client, run_id: str) -> str:
    """The page ticket that this caller is told with a run."""
    answer = client.get(f"/api/v1/runs/{run_id}")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["portal_url"]).partition("?ticket=")[2]


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_page_tickets_got_with_a_token_end_when_it_is_revoked(server: Server, operator: Client, role: str) -> None:
    run = server.services.runs.start_interactive(InteractiveRunSpec("mnist"), "user")
    token = made_by(operator, role=role)
    ticket = ticket_of(bearer(server, token), run.id)
    renewed = ticket_of(bearer(server, ticket), run.id)
    stranger = Client(server.app, ADDRESS)
    assert stranger.get(f"/runs?ticket={token}").status_code == 303
    kept = stranger.cookies[COOKIE]
    for each in (ticket, renewed, kept):
        assert bearer(server, each).get("/runs").status_code == 200
    revoked(operator)
    for each in (ticket, renewed, kept):
        assert bearer(server, each).get("/runs").status_code == 401
    assert stranger.get("/runs").status_code == 401
    assert bearer(server, ticket_of(bearer(server, "own-token"), run.id)).get("/runs").status_code == 200


def test_a_browser_that_a_revoked_token_let_act_acts_no_more(server: Server, operator: Client) -> None:
    token = made_by(operator, role="member")
    browser = Client(server.app, ADDRESS)
    browser.cookies.set(COOKIE, server.services.tokens.ticket(), domain="127.0.0.1", path="/")
    assert browser.post("/settings/unlock", content=f"token={token}", headers=FORM).status_code == 303
    assert "Only read from now on" in browser.get("/settings").text
    acting = browser.cookies[COOKIE]
    assert browser.post("/settings/lock", headers=FORM).status_code == 303
    assert browser.get("/settings").status_code == 200
    revoked(operator)
    assert browser.get("/settings").status_code == 401
    assert bearer(server, acting).get("/settings").status_code == 401


def test_who_came_by_a_token_that_a_person_made_makes_no_others(server: Server, operator: Client) -> None:
    token = made_by(operator, role="member")
    browser = Client(server.app, ADDRESS)
    browser.cookies.set(COOKIE, server.services.tokens.ticket(), domain="127.0.0.1", path="/")
    browser.post("/settings/unlock", content=f"token={token}", headers=FORM)
    page = browser.get("/settings").text
    assert "Make a token" not in page and "show the workspace&#39;s own" in page.replace("'", "&#39;")
    asked = {"name": "for ever", "role": "member", "days": "365"}
    for client in (browser, bearer(server, token)):
        answer = client.request("POST", "/settings/tokens", data=asked, headers={"Origin": ADDRESS})
        assert answer.status_code == 403 and "own token" in answer.text
    assert "for ever" not in operator.get("/settings").text
    assert bearer(server, "own-token").request("POST", "/settings/tokens", data=asked).status_code == 200


def test_runs_begun_with_a_token_are_heard_until_it_is_revoked(server: Server, operator: Client) -> None:
    token = made_by(operator, role="member")
    held: list[tuple[str, str]] = []
    for _ in range(3):  # each begins the next one
        asked = {"experiment": "mnist", "parent": held[-1][1] if held else None}
        begun = bearer(server, token).post("/api/v1/interactive-runs", json=asked)
        assert begun.status_code in (200, 201), begun.text
        token = begun.json()["token"]
        held.append((token, begun.json()["run"]["id"]))
    held.append((ticket_of(bearer(server, token), held[-1][1]), held[-1][1]))
    for each, run_id in held:
        assert bearer(server, each).get(f"/api/v1/runs/{run_id}").status_code == 200
    revoked(operator)
    for each, run_id in held:
        assert bearer(server, each).get(f"/api/v1/runs/{run_id}").status_code == 401


def test_no_ticket_outlives_the_token_that_it_was_got_with_or_renews_itself(
    server: Server, operator: Client, clock: FakeClock
) -> None:
    run = server.services.runs.start_interactive(InteractiveRunSpec("mnist"), "user")
    short = ticket_of(bearer(server, made_by(operator, days="1")), run.id)
    week = ticket_of(bearer(server, "own-token"), run.id)
    clock.advance(minutes=23 * 60)
    again = ticket_of(bearer(server, short), run.id)
    clock.advance(minutes=61)
    for each in (short, again):
        assert bearer(server, each).get("/runs").status_code == 401
    clock.advance(minutes=5 * 24 * 60)
    renewed = ticket_of(bearer(server, week), run.id)
    assert bearer(server, renewed).get("/runs").status_code == 200
    clock.advance(minutes=24 * 60 + 1)
    assert bearer(server, renewed).get("/runs").status_code == 401


def test_who_only_reads_locks_nothing(server: Server, operator: Client) -> None:
    reader = bearer(server, server.services.tokens.ticket())
    for client in (reader, bearer(server, made_by(operator))):
        answer = client.post("/settings/lock", headers=FORM)
        assert answer.status_code == 403 and "set-cookie" not in answer.headers
