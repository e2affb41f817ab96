"""A page that several wait for: made once, for those who had asked before it was made."""

import asyncio
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from runyard.protocol.runs import InteractiveRunSpec
from runyard_server import ui
from runyard_server.api.coalescing import SHARED, Coalescing
from runyard_server.api.lanes import LANE_OF_ROUTE, PAGES, Lanes, Limits
from runyard_server.api.roles import TABLE
from runyard_server.app import build
from runyard_server.services.tokens import Identity
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

TABLE_OF_RUNS, LIVE = "/runs", "/runs/{run_id}/live"
ADDRESS = "http://127.0.0.1:8000"


class Press:
    """Makes pages, one at a time, each another one than that before; and visitors who ask for them."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.breaks = False
        self._may_go_on = asyncio.Semaphore(0)
        self._ways = Coalescing(Lanes(self._make, page=ui.refused, limits={PAGES: Limits(at_once=1, in_line=10)}))

    async def _make(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.made.append(f"{scope['path']} {len(self.made)}")
        page = self.made[-1].encode()
        await self._may_go_on.acquire()
        if self.breaks:
            self.breaks = False
            raise RuntimeError("the page broke")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": page})

    def go_on(self, pages: int = 1) -> None:
        for _ in range(pages):
            self._may_go_on.release()

    async def ask(
        self, route: str = TABLE_OF_RUNS, query: bytes = b"", role: str = "viewer", sends: asyncio.Event | None = None
    ) -> "asyncio.Task[str]":
        """A visitor, who is in work or in line when this returns. ``sends``: takes nothing until that is set."""
        state = {"identity": Identity(role), "route": route}
        scope = {"type": "http", "method": "GET", "path": route, "query_string": query, "state": state}

        async def visit() -> str:
            said: list[bytes] = []

            async def send(message: Message) -> None:
                if sends is not None:
                    await sends.wait()
                said.append(message.get("body", b""))

            await self._ways(scope, _nothing, send)
            return b"".join(said).decode()

        visitor = asyncio.create_task(visit())
        await self.settle()
        return visitor

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)


async def _nothing() -> Message:
    raise AssertionError("nobody reads a body here")


def test_those_who_wait_in_line_for_one_page_are_given_one_that_was_made_after_all_had_asked() -> None:
    async def story() -> None:
        press = Press()
        visitors = [await press.ask() for _ in range(5)]
        assert press.made == ["/runs 0"]
        press.go_on(2)
        assert await asyncio.gather(*visitors) == ["/runs 0", *["/runs 1"] * 4]
        assert len(press.made) == 2

    asyncio.run(story())


def test_who_asks_while_a_page_is_made_is_given_a_newer_one() -> None:
    async def story() -> None:
        press = Press()
        first, second = await press.ask(), await press.ask()
        press.go_on()
        assert await first == "/runs 0"
        await press.settle()
        third = await press.ask()  # the second one's is being made
        press.go_on(2)
        assert [await second, await third] == ["/runs 1", "/runs 2"]

    asyncio.run(story())


@pytest.mark.parametrize(
    "other",
    [
        {"query": b"filter=a"},
        {"role": "member"},
        {"query": b"ticket=t"},
        {"route": LIVE, "query": b"parts=all"},
        {"route": "/runs/{run_id}"},
    ],
)
def test_another_address_or_role_and_a_page_that_is_ones_own_are_made_apart(other: dict[str, object]) -> None:
    async def story() -> None:
        press = Press()
        visitors = [await press.ask(), await press.ask(), *[await press.ask(**other) for _ in range(2)]]  # type: ignore[arg-type]
        press.go_on(9)
        pages = await asyncio.gather(*visitors)
        is_shared = "route" not in other and "ticket" not in str(other)
        assert len(set(pages)) == (3 if is_shared else 4)
        assert pages[1] not in pages[2:]

    asyncio.run(story())


def test_a_page_that_breaks_breaks_for_the_one_whose_turn_it_was() -> None:
    async def story() -> None:
        press = Press()
        visitors = [await press.ask() for _ in range(4)]
        press.go_on()
        await visitors[0]
        press.breaks = True
        press.go_on(3)
        pages = await asyncio.gather(*visitors[1:], return_exceptions=True)
        assert isinstance(pages[0], RuntimeError) and pages[1:] == ["/runs 2", "/runs 3"]

    asyncio.run(story())


def test_a_visitor_who_leaves_or_takes_nothing_keeps_nobody_waiting() -> None:
    async def story() -> None:
        press = Press()
        await press.ask()
        stands_still = asyncio.Event()
        slow, leaves, waits = await press.ask(sends=stands_still), await press.ask(), await press.ask()
        leaves.cancel()
        press.go_on(2)
        assert await asyncio.wait_for(waits, 30) == "/runs 1"
        assert not slow.done()
        stands_still.set()
        assert await slow == "/runs 1"

    asyncio.run(story())


def test_what_is_shared_are_pages_that_wait_in_the_pages_line() -> None:
    assert set(SHARED) <= set(TABLE)
    assert {LANE_OF_ROUTE[route] for route in SHARED} == {PAGES}


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_a_shared_page_says_the_same_to_all_who_have_a_role(tmp_path: Path, role: str) -> None:
    home, clock = fresh_home(tmp_path / "home"), FakeClock()
    server = build(Settings(home=home, environments=home / "e"), Secrets("own", b"k" * 32), lambda: ADDRESS, clock)
    held = server.services
    runs = [held.runs.start_interactive(InteractiveRunSpec("table"), "somebody") for _ in range(2)]
    for run in runs:
        held.metrics.take(run.id, "rank-0", 0, b'["s","loss",1.0,1.0]\n["s","loss",0.5,2.0]\n')
    seen = []
    for name in ("ada", "grace"):
        token = held.tokens.create(name, role, 3600.0, Identity("member"))
        visitor = Client(server.app, ADDRESS, {"Authorization": f"Bearer {token}"})
        asked = f"run={runs[0].id}&run={runs[1].id}&name=loss&parts=metrics"
        answers = [visitor.get(route.replace("{run_id}", runs[0].id) + "?" + asked) for _, route in SHARED]
        assert {answer.status_code for answer in answers} == {200}
        assert not any("set-cookie" in answer.headers for answer in answers)
        seen.append([answer.text for answer in answers])
    assert seen[0] == seen[1]
    server.close()
