"""What nothing needs goes, what anything needs stays: whatever happened before, and whatever happens meanwhile."""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runyard.errors import SnapshotException, UserErrorException
from runyard.protocol.files import FileEntry, Manifest
from runyard.protocol.models import ModelSpec
from runyard_server.records import files as file_records
from runyard_server.records import runs as run_records
from runyard_server.records.engine import Database
from runyard_server.records.tables import runs
from runyard_server.services.cleaning import LEAST_GRACE_S, CleaningService
from runyard_server.services.models import ModelService
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.empty_tables import open_empty
from runyard_server.testing.file_server import FileServer

DAY_S = 24 * 3600.0


class World(FileServer):
    """A store whose time passes when it is told to."""

    def __init__(self, home: Path, database: Database | None = None) -> None:
        self.clock = FakeClock()
        super().__init__(home, database, self.clock)
        self.models = ModelService(self.database, self.clock, self.store, self.files)
        self.cleaning = CleaningService(self.database, self.clock, self.store, self.snapshots.forget)

    def send(self, content: bytes, path: str = "outputs/file") -> FileEntry:
        """What a client does: asks, and sends what the store lacks."""
        digest = hashlib.sha256(content).hexdigest()
        if self.objects.missing([digest]):
            incoming = self.store.begin()
            incoming.write(content)
            self.store.keep(incoming, digest)
        return FileEntry(path, len(content), digest)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for digest, _, came_at in list(self.store.objects()):
            os.utime(self.store.path(digest), (came_at - seconds, came_at - seconds))

    def here(self) -> set[str]:
        return {digest for digest, _, _ in self.store.objects()}

    def set_snapshot(self, run_id: str, snapshot_id: str) -> None:
        self.snapshots.hold(snapshot_id)
        with self.database.write() as connection:
            connection.execute(runs.update().where(runs.c.id == run_id).values(snapshot=snapshot_id))

    def remove_run(self, run_id: str) -> None:
        with self.database.write() as connection:
            run_records.remove(connection, run_id)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, database)
    yield world
    world.close()


def test_what_a_deleted_run_alone_had_goes_and_what_others_have_stays(world: World) -> None:
    own, shared = world.send(b"own", "outputs/own"), world.send(b"shared", "outputs/shared")
    for run_id, files in (("first", [own, shared]), ("second", [shared])):
        world.add_run(run_id)
        world.files.commit(run_id, Manifest(files))
    world.remove_run("first")
    world.pass_time(2 * DAY_S)
    done = world.cleaning.clean(DAY_S, dry_run=False)
    assert (done.objects, done.size_bytes, done.needed_objects, done.needed_bytes) == (1, 3, 1, 6)
    assert world.here() == {shared.digest}
    assert world.files.check("second") == (1, [])


def test_the_files_of_a_model_stay_without_their_run(world: World) -> None:
    entry = world.send(b"weights", "outputs/model")
    world.add_run("first")
    world.files.commit("first", Manifest([entry]))
    world.models.register(ModelSpec(name="digits", run_id="first", model_path="outputs/model"))
    world.remove_run("first")
    world.pass_time(2 * DAY_S)
    assert world.cleaning.clean(DAY_S, dry_run=False).objects == 0
    world.models.delete("digits", 1)
    assert world.cleaning.clean(DAY_S, dry_run=False).objects == 1


def test_a_snapshot_stays_while_a_run_has_it_and_goes_after(world: World) -> None:
    answer = world.snapshots.create(Manifest([world.send(b"code", "train.py")]))
    assert answer.id is not None
    world.add_run("first")
    world.set_snapshot("first", answer.id)
    world.pass_time(2 * DAY_S)
    assert world.cleaning.clean(DAY_S, dry_run=False).snapshots == 0
    world.remove_run("first")
    done = world.cleaning.clean(DAY_S, dry_run=False)
    assert (done.snapshots, done.objects) == (1, 1)
    with pytest.raises(SnapshotException):
        world.snapshots.hold(answer.id)


def test_a_snapshot_that_was_asked_for_again_is_not_taken_for_forgotten(world: World) -> None:
    manifest = Manifest([world.send(b"code", "train.py")])
    answer = world.snapshots.create(manifest)
    assert answer.id is not None
    world.pass_time(2 * DAY_S)
    assert world.snapshots.create(manifest) == answer
    assert world.cleaning.clean(DAY_S, dry_run=False).snapshots == 0
    assert world.snapshots.pack(answer.id)


def test_a_dry_run_says_what_would_go_and_removes_nothing(world: World) -> None:
    answer = world.snapshots.create(Manifest([world.send(b"code", "train.py")]))
    stray = world.send(b"stray")
    world.pass_time(2 * DAY_S)
    said = world.cleaning.clean(DAY_S, dry_run=True)
    assert (said.dry_run, said.snapshots, said.objects, said.size_bytes) == (True, 1, 2, 9)
    assert len(world.here()) == 2 and answer.id is not None and world.snapshots.get(answer.id)
    done = world.cleaning.clean(DAY_S, dry_run=False)
    assert (done.snapshots, done.objects, done.size_bytes) == (said.snapshots, said.objects, said.size_bytes)
    assert stray.digest not in world.here()


def test_what_is_on_its_way_is_too_young_to_go(world: World) -> None:
    world.send(b"sent an hour ago")
    world.pass_time(3600)
    said = world.cleaning.clean(DAY_S, dry_run=False)
    assert (said.objects, said.young_objects, said.young_bytes) == (0, 1, 16)


def test_an_object_that_a_client_was_told_is_here_counts_as_new(world: World) -> None:
    entry = world.send(b"old")
    world.pass_time(2 * DAY_S)
    assert world.objects.missing([entry.digest]) == []
    assert world.cleaning.clean(DAY_S, dry_run=False).objects == 0
    world.add_run("first")
    assert world.files.commit("first", Manifest([entry])).id is not None


def test_an_object_that_a_client_finds_removed_is_sent_again(world: World) -> None:
    entry = world.send(b"old")
    world.pass_time(2 * DAY_S)
    world.cleaning.clean(DAY_S, dry_run=False)
    world.add_run("first")
    assert world.files.commit("first", Manifest([entry])).missing == [entry.digest]


def test_a_file_that_is_being_written_is_left_alone(world: World) -> None:
    incoming = world.store.begin()
    incoming.write(b"half")
    world.pass_time(2 * DAY_S)
    world.cleaning.clean(DAY_S, dry_run=False)
    incoming.write(b" and half")
    digest = hashlib.sha256(b"half and half").hexdigest()
    world.store.keep(incoming, digest)
    assert world.here() == {digest}


def test_two_clean_ups_do_not_go_on_at_once(world: World) -> None:
    with world.store.sweeping(), pytest.raises(UserErrorException, match="goes on"):
        world.cleaning.clean(DAY_S, dry_run=True)


@pytest.mark.parametrize("grace_s", [0.0, -1.0, LEAST_GRACE_S - 1, float("nan")])
def test_a_grace_time_that_would_lose_uploads_is_refused(world: World, grace_s: float) -> None:
    with pytest.raises(UserErrorException, match="too short"):
        world.cleaning.clean(grace_s, dry_run=True)


def test_objects_committed_by_others_while_a_clean_up_goes_on_are_never_lost(world: World) -> None:
    """Old contents that nothing needs, each committed by a client at the moment at which they are swept."""
    entries = [world.send(f"old {number}".encode(), f"outputs/{number}") for number in range(200)]
    world.add_run("first")
    world.pass_time(2 * DAY_S)
    begun = threading.Event()

    def commit() -> None:
        begun.wait()
        for entry in entries:
            while world.files.commit("first", Manifest([entry])).missing:
                world.send(entry.path.replace("outputs/", "old ").encode(), entry.path)

    client = threading.Thread(target=commit)
    client.start()
    begun.set()
    for _ in range(3):
        world.cleaning.clean(DAY_S, dry_run=False)
    client.join()
    assert world.files.check("first") == (200, [])


class Killed(BaseException):
    """The server is no more."""


@pytest.mark.parametrize("after", range(4))
def test_a_clean_up_that_is_killed_anywhere_has_lost_nothing_and_the_next_goes_on(
    world: World, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = world.send(b"kept", "outputs/kept")
    world.snapshots.create(Manifest([world.send(b"code", "train.py")]))
    for number in range(3):
        world.send(f"stray {number}".encode())
    world.add_run("first")
    world.files.commit("first", Manifest([kept]))
    world.pass_time(2 * DAY_S)
    unlinked = 0
    unlink = os.unlink

    def mortal(path: str) -> None:
        nonlocal unlinked
        if unlinked == after:
            raise Killed
        unlinked += 1
        unlink(path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "unlink", mortal)
        world.cleaning.clean(DAY_S, dry_run=False)
    assert world.files.check("first") == (1, [])
    assert world.cleaning.clean(DAY_S, dry_run=False).objects == 4 - after
    assert world.here() == {kept.digest}


CONTENTS = st.sampled_from([b"a", b"b", b"c", b"d"])
NAMES = st.sampled_from(["one", "two", "three"])


class Cleaned(RuleBasedStateMachine):
    """A model of what is needed, beside a store that is cleaned at any moment."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        home = self.folder / os.urandom(8).hex()
        home.mkdir()
        self.world = World(home, open_empty(home / "records.db"))
        self.runs: dict[str, dict[str, bytes]] = {}
        self.code: dict[str, str] = {}
        self.snapshots: dict[str, bytes] = {}
        self.models: dict[tuple[str, int], bytes] = {}

    @rule(content=CONTENTS)
    def upload(self, content: bytes) -> None:
        self.world.send(content)

    @rule(name=NAMES, content=CONTENTS)
    def commit(self, name: str, content: bytes) -> None:
        if name in self.runs:
            path = f"outputs/{content.decode()}"
            entry = FileEntry(path, len(content), hashlib.sha256(content).hexdigest())
            answer = self.world.files.commit(name, Manifest([entry]))
            if answer.missing:
                self.world.send(content)
                answer = self.world.files.commit(name, Manifest([entry]))
            assert answer.id is not None
            self.runs[name][path] = content

    @rule(name=NAMES, content=CONTENTS)
    def submit(self, name: str, content: bytes) -> None:
        if name not in self.runs:
            answer = self.world.snapshots.create(Manifest([self.world.send(content, "train.py")]))
            assert answer.id is not None
            self.world.add_run(name)
            self.world.set_snapshot(name, answer.id)
            self.runs[name], self.code[name] = {}, answer.id
            self.snapshots[answer.id] = content

    @rule(name=NAMES)
    def register(self, name: str) -> None:
        for path, content in self.runs.get(name, {}).items():
            spec = ModelSpec(name="model", run_id=name, model_path=path)
            record = self.world.models.register(spec)
            self.models["model", record.version] = content  # type: ignore[union-attr]
            break

    @rule(name=NAMES)
    def delete_run(self, name: str) -> None:
        if self.runs.pop(name, None) is not None:
            self.world.remove_run(name)
            del self.code[name]

    @rule()
    def delete_model(self) -> None:
        if self.models:
            model = min(self.models)
            del self.models[model]
            self.world.models.delete(*model)

    @rule(hours=st.sampled_from([1, 12, 30]))
    def pass_time(self, hours: int) -> None:
        self.world.pass_time(hours * 3600.0)

    @rule(dry_run=st.booleans())
    def clean(self, dry_run: bool) -> None:
        before = self.world.here()
        self.world.cleaning.clean(DAY_S, dry_run)
        assert not dry_run or self.world.here() == before

    @invariant()
    def nothing_that_is_needed_is_missing(self) -> None:
        assert self.needed() <= self.world.here()
        with self.world.database.read() as connection:
            for snapshot_id in self.code.values():
                assert file_records.snapshot(connection, snapshot_id) is not None

    def needed(self) -> set[str]:
        contents = [content for files in self.runs.values() for content in files.values()]
        contents += [*self.models.values(), *(self.snapshots[known] for known in self.code.values())]
        return {hashlib.sha256(content).hexdigest() for content in contents}

    def teardown(self) -> None:
        self.world.pass_time(2 * DAY_S)
        self.world.cleaning.clean(DAY_S, dry_run=False)
        assert self.world.here() == self.needed(), "in the end nothing is left that nothing needs"
        self.world.close()


def test_whatever_happens_nothing_needed_goes_and_nothing_unneeded_stays(tmp_path: Path) -> None:
    machine = type("CleanedHere", (Cleaned,), {"folder": tmp_path})
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
