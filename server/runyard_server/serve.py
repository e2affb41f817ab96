"""Listening: the socket, the file that tells clients where it is, and the end of an idle server."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from runyard import home as places
from runyard.errors import ServiceException
from runyard_server.app import Server, build
from runyard_server.artifacts.allocation import keep_large_blocks
from runyard_server.domain.clock import Clock
from runyard_server.records import made_by
from runyard_server.records.migrate import SHIPPED, Migrations
from runyard_server.settings import Settings, secrets_of

CHECK_IDLE_S = 10.0
# Between two threads that compute. Python's own 5 ms would be the wait of a short answer at each of its some ten turns
# (to the loop, to a thread, to the database and back) while a page is made.
TURN_S = 0.001
CANNOT_LISTEN = 3
CANNOT_OPEN = 4  # the home: made by a newer runyard, or its records could not be migrated
PORT_FILE = "port"

log = logging.getLogger("runyard_server")


def serve(settings: Settings, migrations: Migrations = SHIPPED, clock: Clock | None = None) -> int:
    """Serves until a signal or, embedded, until idle for long. Returns the process's exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.umask(0o077)
    keep_large_blocks()
    sys.setswitchinterval(TURN_S)
    try:
        made_by.refuse_newer(settings.home, migrations)
    except ServiceException as fault:
        print(fault, file=sys.stderr)
        return CANNOT_OPEN
    try:
        listener = _listen(settings)
    except (OSError, OverflowError) as fault:
        print(f"Cannot listen at {settings.host}, port {settings.port or 'any'}: {fault}", file=sys.stderr)
        return CANNOT_LISTEN
    port = listener.getsockname()[1]
    url = f"http://{settings.host}:{port}"
    secrets = secrets_of(settings.home)
    try:
        server = build(settings, secrets, lambda: url, clock, migrations=migrations)
    except ServiceException as fault:
        print(fault, file=sys.stderr)
        listener.close()
        return CANNOT_OPEN
    (settings.home / PORT_FILE).write_text(str(port))
    activity = Activity(server)
    config = uvicorn.Config(
        activity,
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=64 << 10,
        server_header=False,
    )
    web = uvicorn.Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn catches these too, but raises them again when it is done: they must not end us before we are.
        signal.signal(number, lambda *_: setattr(web, "should_exit", True))
    server.start()
    said = {"url": url, "token": secrets.token, "pid": os.getpid(), "instance": server.services.instance}
    places.write_json(str(settings.server_file), said, private=True)
    os.makedirs(places.root(), mode=0o700, exist_ok=True)
    places.write_json(os.path.join(places.root(), "server-python.json"), {"python": sys.executable})
    if not settings.embedded:
        place = {"workspace": settings.workspace, "url": url, "pid": os.getpid()}
        text = f"runyard serves '{settings.workspace}' at {url}"
        print(json.dumps(place) if settings.as_json else text, flush=True)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(web, listener, activity, settings))
    finally:
        _forget(settings.server_file, server.services.instance)
        server.close()
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: it halves what a request costs."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class Activity:
    """Counts requests around the application, so that an idle server can end by itself."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._open = 0
        self._last = time.monotonic()

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        self._open += 1
        try:
            await self._server.app(scope, receive, send)
        finally:
            self._open -= 1
            self._last = time.monotonic()

    def idle_s(self) -> float:
        """Seconds since the last request ended; 0 while there is one, or a run that has not ended."""
        if self._open or self._server.services.runs.count_unfinished():
            self._last = time.monotonic()
        return time.monotonic() - self._last


async def _run(web: uvicorn.Server, listener: socket.socket, activity: Activity, settings: Settings) -> None:
    idle = asyncio.create_task(_end_when_idle(web, activity, settings)) if settings.embedded else None
    try:
        await web.serve(sockets=[listener])
    finally:
        if idle is not None:
            idle.cancel()


async def _end_when_idle(web: uvicorn.Server, activity: Activity, settings: Settings) -> None:
    idle_s = 0.0
    while idle_s < settings.idle_s:
        await asyncio.sleep(min(CHECK_IDLE_S, settings.idle_s))
        try:
            idle_s = await asyncio.to_thread(activity.idle_s)
        except SQLAlchemyError:
            log.exception("The database could not be asked whether there is anything to do")
    web.should_exit = True


def _listen(settings: Settings) -> socket.socket:
    """A listening socket at the wanted port; without one, at that of last time where it is free, so that
    addresses of pages stay good."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where a socket names its protocol; without, each answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    wanted = settings.port or _last_port(settings.home / PORT_FILE)
    try:
        listener.bind((settings.host, wanted))
    except OSError:
        if settings.port:
            raise
        listener.bind((settings.host, 0))
    listener.listen(2048)
    return listener


def _last_port(path: Path) -> int:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _forget(path: Path, instance: str) -> None:
    """Removes the address, unless another server has written its own since."""
    said = places.read_json(str(path))
    if said is not None and said.get("instance") == instance:
        path.unlink(missing_ok=True)
