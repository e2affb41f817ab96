"""A crowd: who is let in, who waits, who is told to come again."""

import asyncio

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from runyard.errors import LimitReachedError
from runyard_server import ui
from runyard_server.api.lanes import (
    JOBS,
    LANE_OF_ROUTE,
    LIMITS,
    PAGES,
    PERSONS,
    STREAMS,
    TRANSFERS,
    Lane,
    Lanes,
    Limits,
)
from runyard_server.api.roles import TABLE
from runyard_server.services.tokens import Identity
from runyard_server.testing.clock import FakeClock

FOLLOW = "/api/v1/runs/{run_id}/follow"
SMALL = {
    JOBS: Limits(at_once=1, in_line=None),
    PERSONS: Limits(at_once=1, in_line=1),
    TRANSFERS: Limits(at_once=1, in_line=0),
    STREAMS: Limits(at_once=1, in_line=0),
}


class Desk:
    """An application whose requests are in work until they are let go."""

    def __init__(self) -> None:
        self.in_work: list[str] = []
        self._going: dict[str, asyncio.Event] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].rpartition("/")[2]
        self.in_work.append(name)
        await self._event(name).wait()
        self.in_work.remove(name)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name.encode()})

    def let_go(self, *names: str) -> None:
        for name in names:
            self._event(name).set()

    def _event(self, name: str) -> asyncio.Event:
        return self._going.setdefault(name, asyncio.Event())


class Crowd:
    """Requests through the lanes to a desk, each as whom its role says."""

    def __init__(self) -> None:
        self.desk = Desk()
        self._lanes = Lanes(self.desk, page=ui.refused, limits=SMALL)
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(self._known), base_url="http://server")

    async def _known(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What the guard does in front of the lanes."""
        role = dict(scope["headers"])[b"role"].decode()
        route = dict(scope["headers"])[b"route"].decode()
        scope["state"] = {"identity": Identity(role, "r" if role == "run" else None), "route": route}
        await self._lanes(scope, receive, send)

    def ask(
        self, name: str, role: str = "member", route: str = "/api/v1/runs", below: str = "/api/v1/"
    ) -> "asyncio.Task[httpx.Response]":
        headers = {"role": role, "route": route}
        return asyncio.create_task(self._client.get(below + name, headers=headers))

    async def settle(self) -> None:
        """Lets every task go as far as it can."""
        for _ in range(50):
            await asyncio.sleep(0)


def test_a_request_beyond_those_in_work_waits_and_one_beyond_the_line_is_told_when_to_come_again() -> None:
    async def story() -> None:
        crowd = Crowd()
        first, second = crowd.ask("first"), crowd.ask("second")
        await crowd.settle()
        assert crowd.desk.in_work == ["first"]
        refused = await crowd.ask("third")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        error = refused.json()["error"]
        assert (error["code"], error["details"]) == ("limit_reached", {"retry_after_s": 1})
        assert "2 requests of this kind before this one" in error["message"]
        crowd.desk.let_go("first", "second")
        assert [(await first).text, (await second).text] == ["first", "second"]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("below", "kind", "said"),
    [
        ("/api/2.0/mlflow/", "application/json", '"error_code"'),
        ("/ajax-api/2.0/mlflow/", "application/json", '"error_code"'),
        ("/", "text/html; charset=utf-8", "<html"),
    ],
)
def test_who_is_refused_is_told_so_in_the_words_of_its_address(below: str, kind: str, said: str) -> None:
    async def story() -> None:
        crowd = Crowd()
        first, second = crowd.ask("first"), crowd.ask("second")
        await crowd.settle()
        refused = await crowd.ask("third", below=below)
        assert (refused.status_code, refused.headers["content-type"]) == (429, kind)
        assert said in refused.text
        crowd.desk.let_go("first", "second")
        await asyncio.gather(first, second)

    asyncio.run(story())


def test_jobs_have_a_lane_of_their_own_and_are_never_refused() -> None:
    async def story() -> None:
        crowd = Crowd()
        persons = [crowd.ask("first"), crowd.ask("second")]
        jobs = [crowd.ask(f"job-{number}", role="run") for number in range(20)]
        await crowd.settle()
        assert sorted(crowd.desk.in_work) == ["first", "job-0"]
        crowd.desk.let_go("first", "second", *(f"job-{number}" for number in range(20)))
        assert {answer.status_code for answer in await asyncio.gather(*persons, *jobs)} == {200}

    asyncio.run(story())


def test_a_job_that_sends_its_files_waits_where_a_person_is_refused() -> None:
    async def story() -> None:
        crowd = Crowd()
        first = crowd.ask("first", route="/api/v1/runs/{run_id}/files/pack")
        await crowd.settle()
        crowd.desk.let_go("first", "job")
        answers = await asyncio.gather(first, crowd.ask("job", "run", "/api/v1/runs/{run_id}/files/pack"))
        assert {answer.status_code for answer in answers} == {200}

    asyncio.run(story())


def test_a_stream_that_stays_open_keeps_nobody_else_out() -> None:
    async def story() -> None:
        crowd = Crowd()
        stream = crowd.ask("stream", route=FOLLOW)
        await crowd.settle()
        assert (await crowd.ask("another", route=FOLLOW)).status_code == 429
        crowd.desk.let_go("request", "stream")
        assert (await crowd.ask("request")).status_code == 200
        await stream

    asyncio.run(story())


def test_those_in_line_are_served_as_they_came_and_nobody_overtakes() -> None:
    async def story() -> None:
        lane = Lane(Limits(at_once=1, in_line=None))
        served: list[int] = []

        async def visit(number: int) -> None:
            await lane.enter()
            served.append(number)
            await asyncio.sleep(0)
            lane.leave()

        await asyncio.gather(*(visit(number) for number in range(100)))
        assert served == list(range(100))

    asyncio.run(story())


@pytest.mark.parametrize("its_turn_has_come", [False, True])
def test_one_that_gives_up_in_line_leaves_no_place_taken(its_turn_has_come: bool) -> None:
    async def story() -> None:
        lane = Lane(Limits(at_once=1, in_line=None))
        await lane.enter()
        waits = asyncio.create_task(lane.enter())
        await asyncio.sleep(0)
        if its_turn_has_come:
            lane.leave()
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        if not its_turn_has_come:
            lane.leave()
        await asyncio.wait_for(lane.enter(), timeout=60)

    asyncio.run(story())


def test_a_client_that_stands_still_holds_its_place_for_a_while_only() -> None:
    async def story() -> None:
        lane = Lane(Limits(at_once=1, in_line=None, place_for_s=0.01))
        async with lane.place():
            async with asyncio.timeout(60), lane.place():
                pass
        async with asyncio.timeout(60), lane.place():
            pass  # what had left before has not left twice
        assert not lane.is_used

    asyncio.run(story())


def test_the_time_to_come_again_follows_from_the_pace_and_the_line() -> None:
    async def story() -> None:
        clock = FakeClock()
        lane = Lane(Limits(at_once=1, in_line=0), clock.monotonic)
        for _ in range(10):
            await lane.enter()
            clock.advance(seconds=4)
            lane.leave()
        await lane.enter()
        with pytest.raises(LimitReachedError) as refused:
            await lane.enter()
        assert refused.value.details == {"retry_after_s": 4}

    asyncio.run(story())


def test_every_route_of_a_lane_is_one_that_there_is() -> None:
    assert set(LANE_OF_ROUTE) <= set(TABLE)


def test_persons_pages_and_jobs_together_leave_threads_free() -> None:
    threads = 40  # of the server's thread pool, as anyio makes it
    assert sum(LIMITS[lane].at_once for lane in (PERSONS, PAGES, JOBS)) < threads
