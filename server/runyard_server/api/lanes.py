"""How many requests are in work at once, and what becomes of those beyond.

A crowd waits in line in front of a lane, first come first served; where the line is full too, a request is
refused with 429 and when to come again, before a byte of its body is read. So the server's memory, threads and
database connections stay bounded however many clients there are.

What jobs say has a lane of its own and is never refused: a crowd of clients cannot make a living run look dead.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from runyard.errors import LimitReachedError, RunyardError
from runyard_server.api.coalescing import in_work
from runyard_server.api.errors import ADDRESSES, answer

RETRY_AT_MOST_S = 30
# One that is in work for longer waits for its client, not for us: clients that stand still do not hold a lane up.
PLACE_FOR_S = 30.0


@dataclass(frozen=True)
class Limits:
    """A lane's size.

    Attributes:
        at_once: requests in work.
        in_line: requests that wait beyond these; None for as many as come.
        place_for_s: how long a request in work counts; None until it is done.
    """

    at_once: int
    in_line: int | None
    place_for_s: float | None = PLACE_FOR_S


# A request in work holds a thread and at most one database connection while it computes. Jobs, persons and pages
# together stay below the 40 threads that there are; transfers wait for their clients most of the time.
JOBS = "jobs"
PERSONS = "persons"
PAGES = "pages"
TRANSFERS = "transfers"
STREAMS = "streams"
LIMITS: Mapping[str, Limits] = {
    JOBS: Limits(at_once=12, in_line=None),
    PERSONS: Limits(at_once=16, in_line=256),
    # They compute all the time that they take, and only one thread does so at a time: more of them at once are each
    # slower, and hold up the short answers between them.
    PAGES: Limits(at_once=2, in_line=256),
    TRANSFERS: Limits(at_once=32, in_line=256),
    STREAMS: Limits(at_once=500, in_line=0, place_for_s=None),
}

# Routes that do not go the caller's lane. A stream stays open for as long as its run lives, and costs a coroutine.
LANE_OF_ROUTE: Mapping[tuple[str, str], str] = {
    ("GET", "/runs"): PAGES,
    ("GET", "/runs/{run_id}"): PAGES,
    ("GET", "/runs/{run_id}/live"): PAGES,
    ("GET", "/charts"): PAGES,
    ("GET", "/compare"): PAGES,
    ("GET", "/experiments"): PAGES,
    ("GET", "/settings/retention/{name}"): PAGES,
    ("GET", "/api/v1/runs/{run_id}/follow"): STREAMS,
    ("POST", "/api/v1/objects"): TRANSFERS,
    ("GET", "/api/v1/snapshots/{snapshot_id}/pack"): TRANSFERS,
    ("POST", "/api/v1/runs/{run_id}/files/pack"): TRANSFERS,
    ("POST", "/api/v1/runs/{run_id}/given/{name}/pack"): TRANSFERS,
    ("GET", "/api/v1/runs/{run_id}/files/{path:path}"): TRANSFERS,
    ("POST", "/api/v1/models/{name}/{version}/pack"): TRANSFERS,
    ("POST", "/api/v1/datastores/{name}/files"): TRANSFERS,
    ("POST", "/api/v1/datastores/{name}/files/pack"): TRANSFERS,
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/{path:path}"): TRANSFERS,
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/{path:path}"): TRANSFERS,
    ("PUT", "/api/2.0/mlflow-artifacts/mpu/parts/{upload_id}/{part_number}"): TRANSFERS,
    ("POST", "/api/2.0/mlflow-artifacts/mpu/complete/{path:path}"): TRANSFERS,
}
UNCOUNTED = frozenset({("GET", "/api/v1/health")})  # whether the server lives is not a question of the crowd


class Lane:
    """Lets requests through, a bounded number at once, in the order in which they came."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._in_work = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._pace = _Pace(monotonic)

    @asynccontextmanager
    async def place(self, may_be_refused: bool = True) -> AsyncIterator[None]:
        """A place in the lane, once its turn has come.

        Raises:
            LimitReachedError: the line is full; says when to come again.
        """
        await self.enter(may_be_refused)
        has_left = False

        def leave_once() -> None:
            nonlocal has_left
            if not has_left:
                has_left = True
                self.leave()

        seconds = self._limits.place_for_s
        timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, leave_once)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            leave_once()

    async def enter(self, may_be_refused: bool = True) -> None:
        """Waits for its turn; ``leave`` must follow.

        Raises:
            LimitReachedError: the line is full; says when to come again.
        """
        if self._in_work < self._limits.at_once and not self._line:
            self._in_work += 1
            return
        if may_be_refused and self._limits.in_line is not None and len(self._line) >= self._limits.in_line:
            raise self._refusal()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.leave()  # its turn came while it was cancelled
            elif turn in self._line:
                self._line.remove(turn)
            raise

    def leave(self) -> None:
        """The request is done: the next one's turn has come."""
        self._pace.one_done()
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)  # it takes over our place: whoever comes now does not overtake it
                return
        self._in_work -= 1

    @property
    def is_used(self) -> bool:
        return bool(self._in_work or self._line)

    def _refusal(self) -> LimitReachedError:
        ahead = self._in_work + len(self._line)
        seconds = min(RETRY_AT_MOST_S, max(1, math.ceil(self._pace.seconds_for(ahead))))
        return LimitReachedError(
            f"The server has {ahead} requests of this kind before this one. Come again in {seconds} s; "
            "clients of runyard do by themselves.",
            details={"retry_after_s": seconds},
        )


class _Pace:
    """How quickly requests are done, from the last ones."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._done_at: deque[float] = deque(maxlen=50)

    def one_done(self) -> None:
        self._done_at.append(self._monotonic())

    def seconds_for(self, count: int) -> float:
        """What that many requests will take at the present pace; 0 while nothing is known of it."""
        if len(self._done_at) < 2:
            return 0.0
        took = self._monotonic() - self._done_at[0]
        return count * took / len(self._done_at)


class Lanes:
    """ASGI middleware behind the guard: puts each request into its lane.

    Args:
        page: answers a refused request for a page (any address that is none of ``errors.ADDRESSES``).
    """

    def __init__(
        self, app: ASGIApp, page: Callable[[RunyardError, bool], ASGIApp], limits: Mapping[str, Limits] = LIMITS
    ) -> None:
        self._app = app
        self._page = page
        self._lanes = {name: Lane(size) for name, size in limits.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = _lane(scope)
        if name is None:
            await self._app(scope, receive, send)
            return
        has_begun = False
        try:
            async with self._lanes[name].place(may_be_refused=not _is_job(scope)):
                has_begun = True
                in_work(scope)
                await self._app(scope, receive, send)
        except LimitReachedError as refused:
            if has_begun:
                raise
            await self._refuse(refused, scope)(scope, receive, send)

    def _refuse(self, refused: LimitReachedError, scope: Scope) -> ASGIApp:
        if not scope["path"].startswith(ADDRESSES):
            return self._page(refused, False)
        return answer(scope, refused)


def _is_job(scope: Scope) -> bool:
    identity = scope["state"]["identity"]
    return identity is not None and identity.role == "run"


def _lane(scope: Scope) -> str | None:
    """The lane of a request that the guard has let in; None for one that is not counted."""
    route = (scope["method"], scope["state"]["route"])
    if route in UNCOUNTED:
        return None
    return LANE_OF_ROUTE.get(route) or (JOBS if _is_job(scope) else PERSONS)
