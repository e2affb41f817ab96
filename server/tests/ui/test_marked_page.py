"""Runs that are marked in the table are archived, restored, tagged, cancelled and deleted; by who may act alone."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from httpx import Response

from runyard.protocol.runs import InteractiveRunSpec
from runyard.protocol.status import RunStatus
from runyard_server.app import Server, build
from runyard_server.services.run_table import TableRequest
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

from .conftest import ADDRESS, FORM

BACK = "/runs?experiment=digits&sort=-name"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments")
    fresh_home(settings.home)
    made = build(settings, Secrets("own-token", b"k" * 32), lambda: ADDRESS, FakeClock())
    for run_id in ("first", "second", "third"):
        made.services.runs.start_interactive(InteractiveRunSpec("digits", id=run_id), "user")
        made.services.runs.complete(run_id, "user")
    made.services.runs.start_interactive(InteractiveRunSpec("digits", id="going-on"), "user")
    yield made
    made.close()


def press(browser: Client, act: str, *run_ids: str, **said: str) -> Response:
    """A button of the table, with runs marked and what the page that asked was told."""
    body = urlencode([*(("run", run_id) for run_id in run_ids), *said.items()])
    return browser.post(f"/marked-runs/{act}?back={quote(BACK, safe='')}", content=body, headers=FORM)


def listed(server: Server, view: str = "active") -> set[str]:
    return {run.id for run in server.services.run_table.page(TableRequest(view=view)).runs}


def test_marked_runs_are_archived_and_restored_from_the_view_of_archived_ones(server: Server, operator: Client) -> None:
    answer = press(operator, "archive", "first", "second")
    assert (answer.status_code, answer.headers["location"]) == (303, BACK)
    assert listed(server) == {"third", "going-on"}
    shown = operator.get("/runs?view=archived").text
    assert 'value="first"' in shown and 'value="third"' not in shown
    assert "/marked-runs/restore?" in shown and "/marked-runs/archive?" not in shown
    press(operator, "restore", "first")
    assert listed(server, "archived") == {"second"}


def test_the_table_offers_its_marks_to_one_form_and_each_button_comes_back_to_the_same_view(operator: Client) -> None:
    shown = operator.get(BACK).text
    assert shown.count('form="marked" name="run"') == 4
    addresses = re.findall(r'formaction="(/marked-runs/\w+)\?back=([^"]+)" formmethod="post"', shown)
    assert [address for address, _ in addresses] == [
        f"/marked-runs/{act}" for act in ("archive", "tag", "cancel", "delete")
    ]
    assert {back for _, back in addresses} == {quote("/runs?experiment=digits&sort=-name")}
    assert '<form id="marked" class="marked" action="/compare" method="get"' in shown


def test_marked_runs_are_tagged_and_lose_a_tag(server: Server, operator: Client) -> None:
    asked = press(operator, "tag", "first", "second").text
    assert 'name="run" value="first"' in asked and 'name="key"' in asked
    press(operator, "tag", "first", "second", key=" keep ", value="for the paper", do="set")
    assert server.services.runs.get("first").tags == {"keep": "for the paper"}
    press(operator, "tag", "first", key="keep", value="", do="remove")
    assert [server.services.runs.get(run_id).tags for run_id in ("first", "second")] == [{}, {"keep": "for the paper"}]


def test_deleting_asks_first_and_what_cannot_go_is_told_and_stops_no_other(server: Server, operator: Client) -> None:
    asked = press(operator, "delete", "first", "going-on")
    assert asked.status_code == 200 and "Yes, delete 2 runs" in asked.text
    assert listed(server) == {"first", "second", "third", "going-on"}
    answer = press(operator, "delete", "going-on", "first", sure="yes")
    assert answer.status_code == 409 and "1 run could not be deleted" in answer.text
    assert "has not ended" in answer.text and "1 other one was." in answer.text
    assert listed(server) == {"second", "third", "going-on"}
    assert server.services.deletion.list(1)[0].deleted_by == "user"


def test_a_run_that_went_with_the_one_above_it_is_no_fault(server: Server, operator: Client) -> None:
    server.services.runs.start_interactive(InteractiveRunSpec("digits", id="below", parent="first"), "user")
    server.services.runs.complete("below", "user")
    assert press(operator, "delete", "first", "below", sure="yes").status_code == 303
    assert listed(server) == {"second", "third", "going-on"}


def test_cancelling_asks_first(server: Server, operator: Client) -> None:
    assert "Yes, cancel 1 run" in press(operator, "cancel", "going-on").text
    assert server.services.runs.get("going-on").status is RunStatus.RUNNING
    assert press(operator, "cancel", "going-on", "first", sure="yes").headers["location"] == BACK
    assert server.services.runs.get("going-on").status is RunStatus.CANCEL_REQUESTED
    assert server.services.runs.get("first").status is RunStatus.COMPLETED


def test_no_mark_too_many_and_an_unknown_run_are_told(server: Server, operator: Client) -> None:
    assert press(operator, "archive").status_code == 400
    for many in (501, 2000):
        answer = press(operator, "archive", *(f"r{number}" for number in range(many)))
        assert answer.status_code == 400 and f"not {many:,}. Mark fewer" in answer.text
    assert press(operator, "delete", "no-such-run").status_code == 404
    answer = press(operator, "archive", "no-such-run", "first")
    assert answer.status_code == 409 and "There is no run" in answer.text
    assert "first" not in listed(server)


def test_an_address_elsewhere_is_nowhere_to_go_on_to(operator: Client) -> None:
    answer = operator.post("/marked-runs/archive?back=//evil.example", content="run=first", headers=FORM)
    assert answer.headers["location"] == "/runs"


def test_who_only_reads_is_led_to_the_settings_and_changes_nothing(server: Server, visitor: Client) -> None:
    shown = visitor.get(BACK).text
    assert "/marked-runs/" not in shown and f'href="/settings?onward={quote(BACK)}"' in shown
    for act in ("archive", "restore", "tag", "cancel", "delete"):
        assert press(visitor, act, "first", "going-on", sure="yes", do="set", key="k").status_code == 403
    assert listed(server) == {"first", "second", "third", "going-on"}
    assert server.services.runs.get("going-on").status is RunStatus.RUNNING


def test_a_runs_own_page_has_the_same_buttons(server: Server, operator: Client) -> None:
    shown = operator.get("/runs/first").text
    assert 'action="/marked-runs/archive?back=/runs/first"' in shown
    assert 'action="/marked-runs/delete?back=/runs%3Fexperiment%3Ddigits"' in shown
    press(operator, "archive", "first")
    shown = operator.get("/runs/first").text
    assert 'action="/marked-runs/restore?back=/runs/first"' in shown and "lists do not show it" in shown
    assert "/marked-runs/delete" not in operator.get("/runs/going-on").text
