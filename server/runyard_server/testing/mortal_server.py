"""A server that dies where a test says: between any two things that outlive it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, delete, select

from runyard_server.environments.provision import Environments
from runyard_server.records.engine import Database
from runyard_server.records.tables import metadata, runs
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.empty_tables import write_empty
from runyard_server.testing.fake_executor import FakeEngine, FakeJob
from runyard_server.testing.played_jobs import Disk, Play, PlayedJob
from runyard_server.testing.run_server import RunServer

T = TypeVar("T")


class ServerDied(BaseException):
    """Not an ``Exception``: no code of a server that has died runs on."""


class Fuse:
    """Counts the steps of servers and ends the server at the steps of the given numbers, counted from 1."""

    def __init__(self, dies_at: Iterable[int] = ()) -> None:
        self.passed = 0
        self._dies_at = set(dies_at)

    def shorten(self, steps: int) -> None:
        """The server dies at the so-manyth step from now."""
        self._dies_at.add(self.passed + steps)

    def put_out(self) -> None:
        """No server dies any more."""
        self._dies_at.clear()

    def burn(self) -> None:
        self.passed += 1
        if self.passed in self._dies_at:
            raise ServerDied(f"at step {self.passed}")


class MortalDatabase(Database):
    """A database with tables whose server may die before and after each commit. Serves one world after the other."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.fuse = Fuse()

    def begin_anew(self, fuse: Fuse) -> None:
        """Forgets every row: another world begins."""
        with self.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))
        self.fuse = fuse

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as connection:
            yield connection
            self.fuse.burn()  # nothing of the transaction is there
        self.fuse.burn()  # it is there, and nobody was told


def sqlite_in(folder: Path) -> MortalDatabase:
    """A SQLite file with empty tables."""
    write_empty(folder / "records.db")
    return MortalDatabase(f"sqlite:///{folder / 'records.db'}")


class MortalWorld:
    """An engine, its jobs and a database, and the server of the moment.

    Args:
        folder: an empty folder.
        database: which is emptied.
        dies_at: numbers of the steps at which the server dies.
        play: what the jobs of the run with that id do on a node, in the order in which they are started there.
    Attributes:
        players: every job that was started, in order.
        disks: what lies on the nodes, by directory.
    """

    def __init__(
        self,
        folder: Path,
        database: MortalDatabase,
        dies_at: Iterable[int] = (),
        play: Callable[[str, int], list[Play]] = lambda run_id, node: [Play()],
        gpus: int = 0,
        cpus: int = 4,
        environments: Environments | None = None,
    ) -> None:
        self.home = folder
        self.clock = FakeClock()
        self.fuse = Fuse(dies_at)
        self.engine = FakeEngine(gpus=gpus, interrupt=self.fuse.burn)
        self.engine.on_start = self._on_start
        self.play = play
        self.players: list[PlayedJob] = []
        self.disks: dict[str, Disk] = {}
        self.deaths = 0
        self._cpus, self._environments = cpus, environments
        # One for all its servers: what a server keeps in it is connections, and those end with the server.
        self.database = database
        database.begin_anew(self.fuse)
        self.server = self._new_server()

    # The server

    def ask(self, what: Callable[[RunServer], T]) -> T:
        """What a client gets that repeats its request until it has an answer."""
        while True:
            try:
                return what(self.server)
            except ServerDied:
                self.restart()

    def restart(self) -> None:
        """The server is gone with all that it had in memory; another one takes its place."""
        while True:
            self.server.close()
            self.deaths += 1
            self.server = self._new_server()
            try:
                self.server.closing.sweep()  # a lifecycle begins with it
                return
            except ServerDied:
                continue

    def look(self) -> None:
        """The lifecycle makes one pass."""
        try:
            self.server.lifecycle.step()
        except ServerDied:
            self.restart()

    def close(self) -> None:
        self.server.close()

    def stories(self) -> list[str]:
        """Each run's statuses so far, for messages."""
        with self.server.database.read() as connection:
            run_ids = connection.execute(select(runs.c.id).order_by(runs.c.created_at)).scalars().all()
        return [
            f"{run_id}: " + " > ".join(str(event.to_status) for event in self.server.runs.events(run_id))
            for run_id in run_ids
        ]

    # Jobs

    def round(self, seconds: float = 1.0) -> None:
        """Time passes, each job does its next thing, and the lifecycle looks."""
        self.clock.advance(seconds=seconds)
        for player in list(self.players):
            try:
                player.act(self.server)
            except ServerDied:
                self.restart()
        self.look()

    def until(self, is_so: Callable[[], bool], rounds: int = 200) -> None:
        """Rounds until something is so; fails where it never comes."""
        for _ in range(rounds):
            if is_so():
                return
            self.round()
        raise AssertionError(f"it did not come in {rounds} rounds: " + "; ".join(self.stories()))

    def has_ended(self, *run_ids: str) -> Callable[[], bool]:
        """Whether these runs have ended."""
        return lambda: all(self.server.runs.get(run_id).status.is_terminal for run_id in run_ids)

    def _on_start(self, job: FakeJob) -> None:
        handle = job.handle
        before = [other for other in self.engine.jobs_of(handle.run_id, handle.node) if other is not job]
        plays = self.play(handle.run_id, handle.node)
        play = plays[min(len(before), len(plays) - 1)]
        of_attempt = [other for other in before if other.handle.attempt == handle.attempt]
        disk = self.disks.setdefault(handle.directory, Disk())
        self.players.append(PlayedJob(job, play, disk, lambda: of_attempt, self.clock.now))

    def _new_server(self) -> RunServer:
        return RunServer(self.home, self.engine, self.clock, self.database, self._cpus, self._environments)
