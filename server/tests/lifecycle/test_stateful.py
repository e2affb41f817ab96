"""Anything in any order: runs, kills, repeated and late reports, clocks that jump, servers that die. What must be
true is checked after each step, and when all faults stop every run ends with its cause.

``HYPOTHESIS_PROFILE=deep`` goes on for minutes, with other examples each time.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from runyard.protocol.runs import LOSSES, ClientProcess, InteractiveRunSpec, RetrySpec, RunError, RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.domain.transitions import is_allowed
from runyard_server.lifecycle.nodes import CLIENT_SILENCE_S
from runyard_server.records import runs as records
from runyard_server.records.tables import runs
from runyard_server.testing.fake_executor import FakeJob
from runyard_server.testing.mortal_server import MortalDatabase, MortalWorld, ServerDied, sqlite_in
from runyard_server.testing.played_jobs import Play, PlayedJob

NODES = 3
GPUS = 2
ROUNDS_TO_THE_END = 250

SHORT = settings(
    max_examples=40,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
DEEP = settings(SHORT, max_examples=1000, stateful_step_count=80, derandomize=False)
SHORTER = settings(SHORT, max_examples=6, phases=[Phase.generate])

plays = st.builds(Play, lines=st.sampled_from([0, 1, 2, None]), exit_code=st.sampled_from([0, 0, 1, 7]))
signals = st.sampled_from(["SIGKILL", "SIGSEGV", "SIGTERM"])


class Runs(RuleBasedStateMachine):
    """The machine. ``database`` is given by the test that runs it."""

    database: MortalDatabase
    submitted = Bundle("submitted")
    interactive = Bundle("interactive")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.planned: dict[str, list[Play]] = {}  # by run, then by node
        self.world = MortalWorld(Path(self.folder.name), self.database, play=self.play_of, gpus=GPUS, cpus=NODES)
        played = self.world.engine.on_start
        self.world.engine.on_start = lambda job: (self.check_its_turn(job), played(job))
        self.out_of_turn: list[str] = []
        self.ended: dict[str, RunRecord] = {}
        self.begun: set[str] = set()  # runs of which an engine has started a job
        self.cancelled: set[str] = set()  # before they had ended
        self.newest: dict[tuple[str, int, int], int] = {}  # sequence of the stored report, by run, attempt and node

    def play_of(self, run_id: str, node: int) -> list[Play]:
        return [self.planned[run_id][node], Play(lines=0)]

    # What people do

    @initialize()
    def a_clock_that_moves(self) -> None:
        self.world.clock.advance(seconds=1)

    @precondition(lambda self: len(self.planned) < 7)
    @rule(
        target=submitted,
        parts=st.lists(plays, min_size=1, max_size=2),
        gpus=st.integers(0, 1),
        priority=st.integers(0, 1),
        retry=st.sampled_from([RetrySpec(), RetrySpec(2), RetrySpec(3, ["script_failed"])]),
    )
    def submit(self, parts: list[Play], gpus: int, priority: int, retry: RetrySpec) -> str:
        run_id = f"tests_{len(self.planned)}"
        self.planned[run_id] = parts
        self.world.clock.advance(seconds=1)
        spec = self.world.ask(
            lambda server: server.spec(
                id=run_id, node_count=len(parts), gpus_per_node=gpus, priority=priority, retry=retry
            )
        )
        self.world.ask(lambda server: server.runs.submit(spec, "ann"))
        return run_id

    @precondition(lambda self: len(self.planned) < 7)
    @rule(target=interactive)
    def start_logging(self) -> str:
        run_id = f"tests_{len(self.planned)}"
        self.planned[run_id] = []
        self.world.clock.advance(seconds=1)
        spec = InteractiveRunSpec("tests", id=run_id, process=ClientProcess(1, 1, "another machine"))
        self.world.ask(lambda server: server.runs.start_interactive(spec, "ann"))
        return run_id

    @rule(run_id=interactive)
    def beat(self, run_id: str) -> None:
        self.world.clock.advance(seconds=1)
        self.world.ask(lambda server: server.runs.heartbeat(run_id))

    @rule(run_id=consumes(interactive), well=st.booleans())
    def end_it(self, run_id: str, well: bool) -> None:
        error = RunError(code="mine", message="the notebook gave up")
        self.world.ask(
            lambda server: server.runs.complete(run_id, "ann") if well else server.runs.fail(run_id, error, "ann")
        )

    @rule(run_id=submitted)
    def the_script_calls_fail(self, run_id: str) -> None:
        error = RunError(code="mine", message="the script gave up")
        self.world.ask(lambda server: server.runs.fail(run_id, error, f"run {run_id}"))

    @rule(run_id=st.one_of(submitted, interactive))
    def cancel(self, run_id: str) -> None:
        had_ended = self.world.server.runs.get(run_id).status.is_terminal
        self.world.ask(lambda server: server.runs.cancel(run_id, "bea"))
        if not had_ended:
            self.cancelled.add(run_id)

    # What jobs do

    @rule(data=st.data(), times=st.integers(1, 4))
    def a_job_works(self, data: st.DataObject, times: int) -> None:
        for _ in range(times):
            self.with_a_job(data, lambda player: player.act(self.world.server))

    @rule(data=st.data())
    def a_job_says_that_it_lives(self, data: st.DataObject) -> None:
        self.world.clock.advance(seconds=1)
        self.with_a_job(data, lambda player: player.beat(self.world.server))

    @rule(data=st.data())
    def a_report_comes_late_or_again(self, data: st.DataObject) -> None:
        said = [(player, report) for player in self.world.players for report in player.said]
        if said:
            player, report = data.draw(st.sampled_from(said), label="report")
            run_id = player.job.handle.run_id
            self.world.ask(lambda server: server.runs.report(run_id, report))

    # What goes wrong

    @rule(data=st.data(), signal=signals)
    def a_script_is_killed(self, data: st.DataObject, signal: str) -> None:
        self.with_a_job(data, lambda player: player.rank_dies(signal))

    @rule(data=st.data(), signal=signals)
    def a_job_is_killed(self, data: st.DataObject, signal: str) -> None:
        self.with_a_job(data, lambda player: player.job.kill(signal))

    @rule(data=st.data())
    def a_job_is_lost(self, data: st.DataObject) -> None:
        self.with_a_job(data, lambda player: player.job.lose())

    @rule(data=st.data(), hangs=st.booleans())
    def a_job_hangs_or_goes_on(self, data: st.DataObject, hangs: bool) -> None:
        def change(player: PlayedJob) -> None:
            player.hangs = hangs

        self.with_a_job(data, change)

    @rule(is_away=st.booleans())
    def the_engine_goes_or_comes(self, is_away: bool) -> None:
        self.world.engine.away = ConnectionError("no route to the engine") if is_away else None

    @rule(node=st.integers(0, 1), refuses=st.booleans())
    def the_engine_refuses_a_node_or_takes_it(self, node: int, refuses: bool) -> None:
        if refuses:
            self.world.engine.refuses[node] = "no more processes"
        else:
            self.world.engine.refuses.pop(node, None)

    @rule()
    def the_server_restarts(self) -> None:
        self.world.restart()

    @rule(steps=st.integers(1, 8))
    def the_server_is_about_to_die(self, steps: int) -> None:
        self.world.fuse.shorten(steps)

    @rule(seconds=st.sampled_from([-3600.0, -5.0, 5.0, 3600.0]))
    def the_clock_is_set(self, seconds: float) -> None:
        self.world.clock.jump(seconds)

    # What time does

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0, 40.0, 70.0]))
    def the_lifecycle_looks(self, seconds: float) -> None:
        self.world.clock.advance(seconds=seconds)
        deaths = self.world.deaths
        for _ in range(2):
            self.world.look()
        if self.world.engine.away is None and self.world.deaths == deaths:
            for run in self.all_runs():
                self.check_that_it_is_not_dead(run)

    @rule(rounds=st.integers(1, 5))
    def all_goes_on(self, rounds: int) -> None:
        for _ in range(rounds):
            self.world.round()

    # What must be true

    @invariant()
    def an_end_is_an_end(self) -> None:
        for run in self.all_runs():
            if run.id in self.ended:
                was = self.ended[run.id]
                assert (run.status, run.reason, run.error, run.ended_at) == (
                    was.status,
                    was.reason,
                    was.error,
                    was.ended_at,
                )
            elif run.status.is_terminal:
                self.ended[run.id] = run

    @invariant()
    def every_story_is_legal_and_has_reasons(self) -> None:
        for run in self.all_runs():
            before = RunStatus.NOT_STARTED
            for event in self.world.server.runs.events(run.id):
                assert event.from_status is before and event.reason and event.by
                assert is_allowed(before, event.to_status) or before is RunStatus.NOT_STARTED
                before = event.to_status
            assert run.status is before and run.reason
            if run.status is RunStatus.QUEUED:
                decision = self.world.server.queue.why(run)
                assert decision is not None and (decision.starts or (decision.reason and decision.position > 0))

    @invariant()
    def nodes_and_gpus_are_given_once(self) -> None:
        live = [player for player in self.world.players if player.has_live_ranks]
        assert len(live) <= NODES, [player.job.handle for player in live]
        given = [index for player in live for index in player.job.assignment.gpus]
        assert len(given) == len(set(given)), [(player.job.handle, player.job.assignment.gpus) for player in live]

    @invariant()
    def a_node_of_an_attempt_is_started_once(self) -> None:
        jobs = [job for job in self.world.engine.jobs if not job.assignment.salvage]
        own = [(job.handle.run_id, job.handle.attempt, job.handle.node) for job in jobs]
        assert len(own) == len(set(own))
        assert all(disk.starts <= 1 for disk in self.world.disks.values())

    @invariant()
    def a_newer_report_is_never_undone(self) -> None:
        for run in self.all_runs():
            for row in self.world.server.runs.jobs(run.id):
                if row.report is not None:
                    key = (run.id, run.attempt, row.node)
                    assert self.newest.get(key, -1) <= row.report.sequence
                    self.newest[key] = row.report.sequence

    def check_its_turn(self, job: FakeJob) -> None:
        """Called when an engine starts a job: nobody who was to come before waits."""
        if job.assignment.salvage or job.handle.node:
            return
        with self.world.database.read() as connection:
            mine = records.get(connection, job.handle.run_id)
            waiting = [
                run
                for run in records.get_many(connection, [*self.planned])
                if run.status is RunStatus.QUEUED and not records.jobs_of(connection, run.id, run.attempt)
            ]
        earlier = [place_in_line(run) for run in waiting if place_in_line(run) < place_in_line(mine)]
        begun_before = mine.id in self.begun
        self.begun.add(mine.id)
        if earlier and not begun_before:  # kept, not raised: this is called by the server, which catches everything
            self.out_of_turn.append(f"{place_in_line(mine)} was started before {earlier}")

    @invariant()
    def nobody_is_served_out_of_turn(self) -> None:
        assert self.out_of_turn == []

    def check_that_it_is_not_dead(self, run: RunRecord) -> None:
        jobs = self.world.engine.jobs_of(run.id)
        if run.status in (RunStatus.RUNNING, RunStatus.NOT_RESPONDING) and run.spec is not None:
            assert any(not job.is_over for job in jobs), f"{run.id} is {run.status}, and all its jobs are over"

    def teardown(self) -> None:
        try:
            self.all_faults_stop()
        finally:
            self.world.close()
            self.folder.cleanup()

    def all_faults_stop(self) -> None:
        """Every run ends with a cause, as it was asked for."""
        world = self.world
        world.fuse.put_out()
        world.engine.away = None
        world.engine.refuses.clear()
        for player in world.players:
            player.hangs = False
        for run in self.all_runs():
            if not run.status.is_terminal and any(play.lines is None for play in self.planned[run.id]):
                self.cancel(run.id)
        for _ in range(int(CLIENT_SILENCE_S / 10) + 2):  # of those clients that say nothing any more
            world.clock.advance(seconds=10)
            world.look()
        world.until(world.has_ended(*self.planned), rounds=ROUNDS_TO_THE_END)
        for player in world.players:
            player.beat(world.server)  # a job whose run ended without it learns of it
        left = [(player.job, player.phase) for player in world.players if not player.job.is_over]
        assert not left, (left, world.stories())
        for run in self.all_runs():
            assert run.reason and run.ended_at is not None
            if run.status is RunStatus.FAILED:
                assert run.error is not None and run.error.code and run.error.message
            if run.id in self.cancelled:
                assert run.status is RunStatus.CANCELED, f"{run.id} was cancelled and is {run.status}"
                assert run.message == "cancelled by bea"
            if run.status is RunStatus.COMPLETED:
                assert world.server.verification.verify(run.id)["ok"]
        self.an_end_is_an_end()
        self.every_story_is_legal_and_has_reasons()

    @invariant()
    def attempts_are_counted_and_have_causes(self) -> None:
        for run in self.all_runs():
            known = [attempt.number for attempt in run.attempts]
            assert known == list(range(1, len(known) + 1)) and len(known) in (run.attempt - 1, run.attempt)
            if run.spec is not None:
                again = [event for event in self.world.server.runs.events(run.id) if event.reason == "retried"]
                assert run.attempt == 1 + len(again) <= run.spec.retry.max_attempts
                allowed = {*LOSSES, *run.spec.retry.causes}
                assert all(attempt.reason in allowed for attempt in run.attempts[: run.attempt - 1])

    # Help

    def all_runs(self) -> list[RunRecord]:
        with self.world.database.read() as connection:
            ids = connection.execute(select(runs.c.id).order_by(runs.c.id)).scalars().all()
            return [records.get(connection, run_id) for run_id in ids]

    def with_a_job(self, data: st.DataObject, do: Callable[[PlayedJob], None]) -> None:
        """Does something to one of the jobs that are not over, if there is one."""
        live = [player for player in self.world.players if not player.job.is_over]
        if not live:
            return
        number = data.draw(st.integers(0, len(live) - 1), label="job")
        try:
            do(live[number])
        except ServerDied:
            self.world.restart()


def place_in_line(run: RunRecord) -> tuple[int, float, str]:
    assert run.spec is not None
    return (-run.spec.priority, run.created_at, run.id)


def machine_on(database: MortalDatabase) -> type[Runs]:
    return type("Runs", (Runs,), {"database": database})


def test_whatever_happens_the_history_is_true(tmp_path: Path) -> None:
    profile = DEEP if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else SHORT
    run_state_machine_as_test(machine_on(sqlite_in(tmp_path)), settings=profile)


@pytest.fixture
def on_postgres(postgres_url: str) -> Iterator[MortalDatabase]:
    database = MortalDatabase(postgres_url)
    yield database
    database.close()


@pytest.mark.postgres
def test_whatever_happens_the_history_is_true_on_postgresql(on_postgres: MortalDatabase) -> None:
    run_state_machine_as_test(machine_on(on_postgres), settings=SHORTER)
