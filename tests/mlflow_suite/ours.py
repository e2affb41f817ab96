"""A pytest plugin for MLflow's own tests: every server that they start is one of ours, on a fresh workspace.

It runs in a Python that has what MLflow's tests need, with MLflow's sources first on the path; of runyard it knows how
its servers are asked for (servers.py).
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from out_of_scope import reason_of

OF_PAGES = ("/metrics/get-history-bulk", "/experiments/search-datasets")  # what they have for themselves
NOT_ASKED = "not asked: "

_servers = subprocess.Popen(
    json.loads(os.environ["RUNYARD_SUITE_SERVERS"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)


class OurServer:
    """Stands for ``ServerThread`` of MLflow's tests: a context with the address of a server, on a fresh workspace."""

    current = {"url": "", "token": ""}

    def __init__(self, *said: object, **named: object) -> None:
        assert _servers.stdin is not None
        assert _servers.stdout is not None
        _servers.stdin.write("another\n")
        _servers.stdin.flush()
        OurServer.current = json.loads(_servers.stdout.readline())

    def __enter__(self) -> str:
        import mlflow

        os.environ["MLFLOW_TRACKING_TOKEN"] = OurServer.current["token"]
        mlflow.set_tracking_uri(OurServer.current["url"])
        return OurServer.current["url"]

    def __exit__(self, *fault: object) -> None:
        """The next one ends it."""


@contextlib.contextmanager
def _our_server(*said: object, **named: object) -> Iterator[str]:
    with OurServer() as url:
        yield url


def pytest_sessionstart(session: pytest.Session) -> None:
    """Puts ours in place of theirs, before a module of tests is read."""
    import mlflow.server.handlers

    import tests.tracking.integration_test_utils as theirs

    mlflow.server.handlers.initialize_backend_stores = lambda *said, **named: None
    theirs.ServerThread, theirs._init_server = OurServer, _our_server
    plain = requests.Session.request

    def with_token(self: requests.Session, method: str, url: str, **named: object) -> requests.Response:
        if urlsplit(str(url)).netloc == urlsplit(OurServer.current["url"]).netloc:
            # Tests that speak to the server without MLflow's client know of no tokens.
            named["headers"] = {
                "Authorization": f"Bearer {OurServer.current['token']}",
                **(named.get("headers") or {}),
            }
            # Nothing is at two addresses: what MLflow's pages share with its API is asked there.
            if not str(url).partition("?")[0].endswith(OF_PAGES):
                url = str(url).replace("/ajax-api/2.0/", "/api/2.0/")
        return plain(self, method, url, **named)

    requests.Session.request = with_token


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each test once, though MLflow has two stores; what is about other things than ours is skipped, with the reason."""
    once = [item for item in items if "file" not in getattr(getattr(item, "callspec", None), "params", {}).values()]
    for item in once:
        reason = reason_of(item.name.partition("[")[0])
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=NOT_ASKED + reason))
    config.hook.pytest_deselected(items=[item for item in items if item not in once])
    items[:] = once


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Writes down how each test ended, at once: a line of JSON."""
    if report.when == "call" or report.outcome != "passed":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext[-1500:]
        reason = reason.removeprefix("Skipped: ")
        outcome = "skipped by MLflow" if report.outcome == "skipped" else report.outcome
        if reason.startswith(NOT_ASKED):
            outcome, reason = "not asked", reason.removeprefix(NOT_ASKED)
        line = {"test": report.nodeid, "outcome": outcome, "why": reason}
        with open(os.environ["RUNYARD_SUITE_REPORT"], "a", encoding="utf-8") as kept:
            kept.write(json.dumps(line) + "\n")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Ends the server of the last test."""
    _servers.communicate()
