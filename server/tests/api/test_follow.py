"""The events of a run that somebody follows: metrics are told of where they are asked for."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.event import listen

from runyard.protocol.runs import InteractiveRunSpec
from runyard.protocol.status import RunStatus
from runyard_server.api.follow import Follower
from runyard_server.app import Server, build
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

PATIENCE_S = 60
POINT = b'["s", "loss", 0.5, 1.5]\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments")
    fresh_home(settings.home)
    built = build(settings, Secrets("own", b"k" * 32), lambda: "http://127.0.0.1:8000", FakeClock())
    yield built
    built.close()


def heard(server: Server, metrics: bool) -> list[str]:
    """The kinds of the events of a run that logs a point and is completed then."""
    run_id = server.services.runs.start_interactive(InteractiveRunSpec("e"), "user").id

    async def follow() -> list[str]:
        events = Follower(server.services, run_id, None, {}, metrics).events()
        kinds = [await asyncio.wait_for(anext(events), PATIENCE_S)]
        await asyncio.to_thread(server.services.metrics.take, run_id, "w", 0, POINT)
        if metrics:
            kinds.append(await asyncio.wait_for(anext(events), PATIENCE_S))
        await asyncio.to_thread(server.services.runs.end_interactive, run_id, RunStatus.COMPLETED, "user")
        kinds += [event async for event in events]
        return [kind.partition("\n")[0].removeprefix("event: ") for kind in kinds]

    return asyncio.run(follow())


def test_who_asks_for_metrics_is_told_as_they_come(server: Server) -> None:
    assert heard(server, True) == ["status", "metrics", "status", "end"]


def test_who_does_not_ask_for_metrics_hears_nothing_of_them(server: Server) -> None:
    assert heard(server, False) == ["status", "status", "end"]


def test_lines_come_without_a_look_at_the_run_and_each_once(server: Server) -> None:
    run_id = server.services.runs.start_interactive(InteractiveRunSpec("e"), "user").id
    log = "azureml-logs/70_driver_log.txt"
    lines = [b"one\n", b"two \xe2\x82", b"\xac\n"]

    async def follow() -> list[tuple[str, int]]:
        events = Follower(server.services, run_id, "azureml-logs/", {}).events()
        assert (await asyncio.wait_for(anext(events), PATIENCE_S)).startswith("event: status")
        seen, offset = [], 0
        asked: list[str] = []
        listen(
            server.database.engine, "before_cursor_execute", lambda _one, _two, statement, *_: asked.append(statement)
        )
        for line in lines:
            asked.clear()
            await asyncio.to_thread(server.services.logs.append, run_id, log, offset, line)
            offset += len(line)
            said = await asyncio.wait_for(anext(events), PATIENCE_S)
            assert said.startswith("event: log\n")
            event = json.loads(said.partition("data: ")[2])
            seen.append((event["text"], event["end"]))
            assert offset == len(line) or not asked  # with the first piece it is looked whether there is such a run
        await asyncio.to_thread(server.services.logs.append, run_id, "logs/mine.txt", 0, b"not asked for\n")
        await asyncio.to_thread(server.services.runs.end_interactive, run_id, RunStatus.COMPLETED, "user")
        rest = [event.partition("\n")[0] async for event in events]
        assert rest == ["event: status", "event: end"]
        return seen

    assert asyncio.run(follow()) == [("one\n", 4), ("two ", 8), ("€\n", 12)]


def test_points_are_told_of_each_time_that_some_come_and_nobody_is_missed_once_it_has_gone(server: Server) -> None:
    run_id = server.services.runs.start_interactive(InteractiveRunSpec("e"), "user").id

    async def follow() -> list[str]:
        events = Follower(server.services, run_id, None, {}, metrics=True).events()
        told = [await asyncio.wait_for(anext(events), PATIENCE_S)]
        for number in range(3):
            await asyncio.to_thread(server.services.metrics.take, run_id, "w", number * len(POINT), POINT)
            told.append(await asyncio.wait_for(anext(events), PATIENCE_S))
        await events.aclose()
        return [event.partition("\n")[0] for event in told]

    assert asyncio.run(follow()) == ["event: status", *["event: metrics"] * 3]
    assert server.services.hub.measuring() == 0
