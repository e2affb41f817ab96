"""Retention rules on pages: they are kept, shown with what they would do, applied and removed; by who may act alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard.protocol.retention import RetentionAction, RetentionRule
from runyard.protocol.runs import InteractiveRunSpec, RunChanges
from runyard_server.app import Server, build
from runyard_server.records import runs
from runyard_server.services.run_table import TableRequest
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

from .conftest import ADDRESS, FORM

RULE = "name=old&action=delete&where=experiment+%3D+digits&older=30&newest="


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    clock = FakeClock()
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments")
    fresh_home(settings.home)
    made = build(settings, Secrets("own-token", b"k" * 32), lambda: ADDRESS, clock)
    for run_id, tags in (("gone", {}), ("kept", {"keep": ""})):
        made.services.runs.start_interactive(InteractiveRunSpec("digits", id=run_id, tags=tags), "user")
        made.services.runs.complete(run_id, "user")
    clock.advance(minutes=31 * 24 * 60)
    yield made
    made.close()


def ids(server: Server) -> list[str]:
    return [run.id for run in server.services.run_table.page(TableRequest(view="all")).runs]


def test_a_rule_is_kept_and_what_it_would_do_is_shown_before_anything_goes(server: Server, operator: Client) -> None:
    answer = operator.post("/settings/retention", content=RULE, headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, "/settings/retention/old")
    shown = operator.get("/settings/retention/old").text
    assert "Deletes runs with experiment = digits that ended more than 30 days ago." in shown
    assert 'href="/runs/gone"' in shown and "it ended 31 days ago" in shown and "it has the tag keep" in shown
    assert 'href="/settings/retention/old"' in operator.get("/settings").text
    assert ids(server) == ["kept", "gone"]


def test_a_rule_is_applied_and_removed_by_buttons(server: Server, operator: Client) -> None:
    operator.post("/settings/retention", content=RULE, headers=FORM)
    shown = operator.get("/settings/retention/old").text
    assert "Yes: 1 run" in shown
    (seen,) = re.findall(r'name="plan" value="([^"]+)"', shown)
    answer = operator.post("/settings/retention/old/apply", content="plan=others", headers=FORM)
    assert answer.status_code == 409 and "names no plan of the last 24 hours; nothing was done" in answer.text
    server.services.runs.change("kept", RunChanges(remove_tags=["keep"]))
    answer = operator.post("/settings/retention/old/apply", content=f"plan={seen}", headers=FORM)
    assert answer.status_code == 409 and "other runs would go by now" in answer.text
    server.services.runs.change("kept", RunChanges(tags={"keep": ""}))
    assert ids(server) == ["kept", "gone"]
    assert operator.post("/settings/retention/old/apply", content=f"plan={seen}", headers=FORM).status_code == 303
    assert ids(server) == ["kept"]
    assert "No run would go by it now" in operator.get("/settings/retention/old").text
    assert operator.post("/settings/retention/old/remove", headers=FORM).headers["location"] == "/settings#retention"
    assert server.services.retention.list() == []
    assert operator.get("/settings/retention/old").status_code == 404


def test_who_only_reads_sees_rules_and_changes_none(server: Server, visitor: Client) -> None:
    server.services.retention.add(RetentionRule("old", RetentionAction.DELETE, older_than_days=30.0), "ann")
    shown = visitor.get("/settings/retention/old")
    assert shown.status_code == 200 and "Apply or remove…" in shown.text
    for address in ("/settings/retention", "/settings/retention/old/apply", "/settings/retention/old/remove"):
        assert visitor.post(address, content=RULE, headers=FORM).status_code == 403
    assert ids(server) == ["kept", "gone"] and len(server.services.retention.list()) == 1


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("name=old&action=delete&older=&newest=", "how old a run must be"),
        ("name=old&action=burn&older=1", "not understood"),
        ("name=old&action=delete&older=soon", "not understood"),
        ("name=old&action=delete&older=1&where=statis+%3D+a", "statis"),
    ],
)
def test_a_rule_that_is_wrong_is_told_and_may_be_mended(operator: Client, form: str, said: str) -> None:
    answer = operator.post("/settings/retention", content=form, headers=FORM)
    assert answer.status_code == 400 and said in answer.text
    assert 'value="old"' in answer.text and '<details class="new-rule" open>' in answer.text


def test_a_run_whose_files_went_says_so_on_its_page(server: Server, visitor: Client) -> None:
    with server.database.write() as connection:
        runs.change(connection, "kept", files_removed_at=1.0)
    assert "A retention rule removed its files" in visitor.get("/runs/kept").text
