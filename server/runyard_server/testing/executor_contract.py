"""What every executor must do, as tests. An executor's own test class derives from ``ExecutorContract``.

It gives the fixtures ``new_executor`` (a function that builds a new executor object on the same engine each time),
``home`` (a folder that the engine's nodes reach) and ``lose`` (what makes the engine lose a job). One whose engine is a
service with a queue of its own derives from ``QueueContract`` too. Jobs are small Python programs that stand in for
``runyard.job``: they start in their directory, read the assignment from their input and may write ``exit.json``, as it
does.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

import runyard
from runyard.errors import RunyardError
from runyard.job.processes import is_alive, marker_of, processes_of
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.jobs import JobAssignment
from runyard_server.executors.base import EngineAwayError, Executor, JobHandle, JobObservation, JobRequest, JobState

MakeExecutor = Callable[[], Executor]
Lose = Callable[[JobHandle], None]
Fill = Callable[[], Callable[[], None]]
Away = Callable[[], AbstractContextManager[None]]
T = TypeVar("T")

RUN_ID = f"exp_{uuid4().hex[:12]}"  # jobs are found by it on the whole machine, where other test runs may go on
SDK_PATH = str(Path(runyard.__file__).parents[1])  # of the package ``runyard``, for nodes
_A_MOMENT = threading.Event()  # never set: engines are outside, all that one can do is look again

# Writes its input and what it sees to seen.json, whole or not at all.
REPORT = """
import json, os, sys
seen = {"input": sys.stdin.read(), "cwd": os.getcwd(), "env": dict(os.environ), "argv": sys.argv[1:]}
open("seen.new", "w").write(json.dumps(seen))
os.replace("seen.new", "seen.json")
"""
# Stays until a signal comes; says so by the file "up".
STAY = """
import os, signal
open("up.new", "w").write(str(os.getpid()))
os.replace("up.new", "up")
while True:
    signal.pause()
"""
# The same, but deaf to SIGTERM.
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAY
# Dies at once, without a word.
DIES = "import os; os.kill(os.getpid(), 9)"
# Leaves a process behind that is in another session and has lost its parent.
DAEMON = """
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("daemon.new", "w").write(str(os.getpid()))
        os.replace("daemon.new", "daemon")
        while True:
            signal.pause()
    os._exit(0)
os.wait()
"""


class JobContract:
    """What the lifecycle relies on, of any engine: one in memory, too (``fake_executor.py``).

    Derive, give the fixtures, and the tests run. ``patience_s``: how long the engine may take.
    """

    patience_s = 120.0

    @pytest.fixture
    def new_executor(self) -> MakeExecutor:
        raise NotImplementedError("give a fixture 'new_executor'")

    @pytest.fixture
    def made(self) -> list[Executor]:
        """All executors of a test."""
        return []

    @pytest.fixture
    def make_executor(self, new_executor: MakeExecutor, made: list[Executor]) -> Iterator[MakeExecutor]:
        """A further executor on the same engine; it is closed at the end."""

        def make() -> Executor:
            made.append(new_executor())
            return made[-1]

        yield make
        for executor in made:
            executor.close()

    @pytest.fixture
    def home(self) -> Path:
        raise NotImplementedError("give a fixture 'home'")

    @pytest.fixture
    def lose(self) -> Lose:
        """Ends a living job so that nobody can say how it ended, as the death of its node does."""
        raise NotImplementedError("give a fixture 'lose'")

    @pytest.fixture
    def executor(self, make_executor: MakeExecutor) -> Executor:
        return make_executor()

    # Starting

    def test_a_plan_touches_nothing_and_shows_no_token(self, executor: Executor, home: Path) -> None:
        plan = executor.plan(job_request(home, STAY, nodes=2))
        assert not Path(plan.nodes[0].directory).exists()
        shown = json.dumps(plan.shown())
        assert "secret-token" not in shown
        assert [node["node"] for node in json.loads(shown)] == [0, 1]

    def test_starting_the_same_attempt_again_starts_no_second_job(
        self, make_executor: MakeExecutor, home: Path
    ) -> None:
        first, second = make_executor(), make_executor()
        request = job_request(home, STAY)
        handles = first.start(first.plan(request))
        self.appears(home, "up")
        assert second.start(second.plan(request)) == handles
        first.cancel(handles, firmly=True)
        self.ended(first, handles)

    def test_a_gang_starts_as_a_whole_or_not_at_all(self, executor: Executor, home: Path) -> None:
        request = job_request(home, STAY, nodes=3)
        blocked = Path(request.assignments[2].directory)
        blocked.parent.mkdir(parents=True)
        blocked.write_text("a file where the job's directory should be")
        with pytest.raises(RunyardError) as failure:
            executor.start(executor.plan(request))
        assert failure.value.code == "start_failed"
        assert RUN_ID in str(failure.value)
        blocked.unlink()
        handles = executor.start(executor.plan(request))
        assert {seen.state for seen in executor.observe(handles).values()} <= {JobState.RUNNING, JobState.PENDING}
        executor.cancel(handles, firmly=True)
        self.ended(executor, handles)

    def test_each_salvage_of_a_lost_job_is_another_job_in_the_same_directory(
        self, executor: Executor, home: Path
    ) -> None:
        jobs = executor.start(executor.plan(job_request(home, DIES)))
        self.ended(executor, jobs)
        for number in (1, 2):
            plan = executor.plan(job_request(home, DIES, salvage=number))
            (again,) = executor.start(plan)
            assert again not in jobs and again.directory == jobs[0].directory
            assert executor.start(plan) == [again]
            assert self.ended(executor, [again])[again].signal == "SIGKILL"
            jobs.append(again)

    # Observing

    def test_many_jobs_are_observed_at_once(self, executor: Executor, home: Path) -> None:
        stays = executor.start(executor.plan(job_request(home / "a", STAY, run_id=RUN_ID + "a", nodes=2)))
        fails = executor.start(executor.plan(job_request(home / "b", "raise SystemExit(3)", run_id=RUN_ID + "b")))
        self.ended(executor, fails)
        self.appears(home / "a", "up")  # an engine with a queue may begin them in any order
        seen = executor.observe([*stays, *fails])
        assert [seen[handle].state for handle in stays] == [JobState.RUNNING, JobState.RUNNING]
        assert (seen[fails[0]].state, seen[fails[0]].exit_code) == (JobState.ENDED, 3)
        executor.cancel(stays, firmly=True)
        self.ended(executor, stays)

    def test_exit_codes_are_kept(self, make_executor: MakeExecutor, home: Path) -> None:
        programs = {code: f"raise SystemExit({code})" for code in (0, 1, 42, 255)}
        for code, (first, later) in self.seen_twice(make_executor, home, programs).items():
            assert (first.state, first.exit_code, first.signal) == (JobState.ENDED, code, None)
            assert (later.state, later.exit_code) == (JobState.ENDED, code)

    def test_signals_are_kept(self, make_executor: MakeExecutor, home: Path) -> None:
        names = ("SIGKILL", "SIGSEGV", "SIGTERM")
        programs = {name: f"import os, signal; os.kill(os.getpid(), signal.{name})" for name in names}
        for name, (first, later) in self.seen_twice(make_executor, home, programs).items():
            assert (first.state, first.exit_code, first.signal) == (JobState.ENDED, None, name)
            assert (later.state, later.exit_code, later.signal) == (JobState.ENDED, None, name)

    def test_a_new_executor_object_observes_old_handles(self, make_executor: MakeExecutor, home: Path) -> None:
        first = make_executor()
        handles = first.start(first.plan(job_request(home, STAY, nodes=2)))
        written = json.dumps(to_json(handles))
        first.close()
        second = make_executor()
        known = [from_json(JobHandle, item) for item in json.loads(written)]
        assert known == handles
        assert {seen.state for seen in second.observe(known).values()} <= {JobState.RUNNING, JobState.PENDING}
        second.cancel(known, firmly=True)
        assert {seen.state for seen in self.ended(second, known).values()} == {JobState.ENDED}

    def test_a_job_that_was_lost_is_told_so_now_and_by_a_later_executor(
        self, make_executor: MakeExecutor, home: Path, lose: Lose
    ) -> None:
        executor = make_executor()
        (handle,) = executor.start(executor.plan(job_request(home, STAY)))
        self.appears(home, "up")
        lose(handle)
        seen = self.ended(executor, [handle])[handle]
        assert (seen.state, seen.exit_code, seen.signal) == (JobState.LOST, None, None)
        assert seen.message and seen.began
        for firmly in (False, True):
            executor.cancel([handle], firmly)
        assert executor.observe([handle])[handle] == seen
        later = make_executor()
        assert self.ended(later, [handle])[handle].state is JobState.LOST

    def test_observing_nothing_is_nothing(self, executor: Executor) -> None:
        assert executor.observe([]) == {}

    # Ending

    def test_a_gentle_cancel_lets_the_job_end_itself(self, executor: Executor, home: Path) -> None:
        program = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n" + STAY
        handles = executor.start(executor.plan(job_request(home, program)))
        self.appears(home, "up")
        executor.cancel(handles, firmly=False)
        assert self.ended(executor, handles)[handles[0]].exit_code == 7

    def test_a_job_deaf_to_the_gentle_cancel_is_ended_firmly(self, executor: Executor, home: Path) -> None:
        handles = executor.start(executor.plan(job_request(home, DEAF)))
        self.appears(home, "up")
        executor.cancel(handles, firmly=False)
        assert executor.observe(handles)[handles[0]].state is JobState.RUNNING
        executor.cancel(handles, firmly=True)
        assert self.ended(executor, handles)[handles[0]].state is JobState.ENDED

    def test_a_living_job_may_be_cancelled_twice_gently_and_twice_firmly(self, executor: Executor, home: Path) -> None:
        handles = executor.start(executor.plan(job_request(home, DEAF)))
        self.appears(home, "up")
        for _ in range(2):
            executor.cancel(handles, firmly=False)
        assert executor.observe(handles)[handles[0]].state is JobState.RUNNING
        for _ in range(2):
            executor.cancel(handles, firmly=True)
        seen = self.ended(executor, handles)
        assert (seen[handles[0]].state, seen[handles[0]].signal) == (JobState.ENDED, "SIGKILL")

    def test_cancelling_twice_or_too_late_is_harmless(self, executor: Executor, home: Path) -> None:
        handles = executor.start(executor.plan(job_request(home, "pass")))
        before = self.ended(executor, handles)
        for firmly in (False, True, True, False):
            executor.cancel(handles, firmly)
        assert executor.observe(handles) == before
        assert before[handles[0]].exit_code == 0

    def test_ending_one_job_leaves_its_neighbours_alone(self, executor: Executor, home: Path) -> None:
        first, second = executor.start(executor.plan(job_request(home, STAY, nodes=2)))
        self.appears(home, "up")
        executor.cancel([first], firmly=True)
        self.ended(executor, [first])
        assert executor.observe([second])[second].state is JobState.RUNNING
        executor.cancel([second], firmly=True)
        self.ended(executor, [second])

    def test_the_inventory_names_the_machines_processors(self, executor: Executor) -> None:
        assert executor.inventory().cpus >= 1

    # Help

    def seen_twice(
        self, make_executor: MakeExecutor, home: Path, programs: dict[T, str]
    ) -> dict[T, tuple[JobObservation, JobObservation]]:
        """Runs one job for each program, all at once; how each is seen to end, now and by a later executor."""
        executor = make_executor()
        handles: dict[T, JobHandle] = {}
        for name, program in programs.items():
            request = job_request(home / str(name), program, run_id=f"{RUN_ID}-{name}")
            (handles[name],) = executor.start(executor.plan(request))
        first = self.ended(executor, list(handles.values()))
        assert executor.observe(handles.values()) == first
        later = self.ended(make_executor(), list(handles.values()))
        return {name: (first[handle], later[handle]) for name, handle in handles.items()}

    def ended(self, executor: Executor, handles: list[JobHandle]) -> dict[JobHandle, JobObservation]:
        """What is seen once every job is over."""
        deadline = time.monotonic() + self.patience_s
        while True:
            seen = self.when_it_answers(lambda: executor.observe(handles))
            if all(observation.state.is_over for observation in seen.values()):
                return seen
            assert time.monotonic() < deadline, f"still not over: {seen}"
            _A_MOMENT.wait(0.01)

    def when_it_answers(self, ask: Callable[[], T]) -> T:
        """What the engine answers, as soon as it does."""
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                return ask()
            except EngineAwayError:
                assert time.monotonic() < deadline, "the engine does not come back"
                _A_MOMENT.wait(0.01)

    def appears(self, home: Path, name: str) -> str:
        """The text of the file that a job of ``home`` writes, once it is there (node 0's)."""
        path = Path(directory_of(home, 0), name)
        deadline = time.monotonic() + self.patience_s
        while not path.exists():
            assert time.monotonic() < deadline, f"no file {name} came: {_log(path.parent)}"
            _A_MOMENT.wait(0.01)
        return path.read_text()


class QueueContract(JobContract):
    """The same, of an engine that is a service with a queue of its own: its jobs may wait, and it may be away.

    Derive from this beside ``ExecutorContract``. ``many``: how many jobs are put into its queue at once. ``ends_by``: the
    signals by which the engine may end a job firmly.
    """

    many = 1000
    ends_by = frozenset({"SIGKILL"})

    @pytest.fixture
    def fill(self) -> Fill:
        """Takes all the room that the engine has; it gives what makes room again."""
        raise NotImplementedError("give a fixture 'fill'")

    @pytest.fixture
    def away(self) -> Away:
        """A context in which the engine does not answer, while its jobs go on."""
        raise NotImplementedError("give a fixture 'away'")

    @pytest.fixture
    def calls(self) -> Callable[[], int]:
        """How often the engine has been asked so far, by all executors together."""
        raise NotImplementedError("give a fixture 'calls'")

    @pytest.mark.parametrize("firmly", [False, True], ids=["gently", "firmly"])
    def test_a_job_that_waits_may_be_cancelled_twice(
        self, executor: Executor, home: Path, fill: Fill, firmly: bool
    ) -> None:
        make_room = fill()
        handles = executor.start(executor.plan(job_request(home, STAY)))
        self.wait_in_the_queue(executor, handles)
        for _ in range(2):
            executor.cancel(handles, firmly)
        seen = self.ended(executor, handles)
        assert (seen[handles[0]].state, seen[handles[0]].began) == (JobState.ENDED, False)
        make_room()
        executor.cancel(handles, firmly)
        assert executor.observe(handles) == seen
        assert not Path(directory_of(home, 0), "up").exists()

    def test_many_jobs_wait_and_are_observed_and_taken_back_with_few_calls(
        self, executor: Executor, home: Path, fill: Fill, calls: Callable[[], int]
    ) -> None:
        make_room = fill()
        handles: list[JobHandle] = []
        for number in range(self.many):
            request = job_request(home / str(number), STAY, run_id=f"{RUN_ID}-{number}")
            handles += executor.start(executor.plan(request))
        self.wait_in_the_queue(executor, handles)
        before, looks = calls(), 20
        for _ in range(looks):
            seen = executor.observe(handles)
            assert len(seen) == self.many and {each.state for each in seen.values()} == {JobState.PENDING}
        assert calls() - before <= looks
        executor.cancel(handles, firmly=True)
        assert {each.began for each in self.ended(executor, handles).values()} == {False}
        make_room()

    def test_an_engine_that_is_away_says_so_and_loses_no_job(
        self, make_executor: MakeExecutor, home: Path, away: Away
    ) -> None:
        executor = make_executor()
        handles = executor.start(executor.plan(job_request(home, STAY)))
        self.appears(home, "up")
        self.when_it_answers(lambda: executor.observe(handles))
        late = executor.plan(job_request(home / "late", STAY, run_id=f"{RUN_ID}-late"))
        with away():
            with pytest.raises(EngineAwayError):
                executor.start(late)
            deadline = time.monotonic() + self.patience_s
            with pytest.raises(EngineAwayError):  # for a moment the last look is good
                while time.monotonic() < deadline:
                    assert not executor.observe(handles)[handles[0]].state.is_over
                    _A_MOMENT.wait(0.01)
        seen = self.when_it_answers(lambda: executor.observe(handles))
        assert seen[handles[0]].state is JobState.RUNNING
        handles += self.when_it_answers(lambda: executor.start(late))
        self.appears(home / "late", "up")
        self.when_it_answers(lambda: executor.cancel(handles, firmly=True))
        ended = self.ended(executor, handles)
        assert {each.signal for each in ended.values()} <= self.ends_by

    def wait_in_the_queue(self, executor: Executor, handles: list[JobHandle]) -> None:
        """Looks until the engine says of each job that it waits, and for what."""
        deadline = time.monotonic() + self.patience_s
        while not _all_wait(seen := self.when_it_answers(lambda: executor.observe(handles)).values()):
            assert time.monotonic() < deadline, f"not in the queue: {[each for each in seen if not each.message][:3]}"
            _A_MOMENT.wait(0.01)


class ExecutorContract(JobContract):
    """The same, and what a job finds and leaves: for engines whose jobs are processes of this machine's kind."""

    # Starting

    def test_a_job_gets_its_assignment_its_directory_and_its_marker(self, executor: Executor, home: Path) -> None:
        request = job_request(home, REPORT, gpus=[2, 3])
        (handle,) = executor.start(executor.plan(request))
        self.ended(executor, [handle])
        seen = json.loads(Path(handle.directory, "seen.json").read_text())
        assert seen["input"].count("\n") == 1
        assert from_json(JobAssignment, json.loads(seen["input"])) == request.assignments[0]
        assert os.path.samefile(seen["cwd"], handle.directory)
        assert seen["env"]["RUNYARD_JOB"] == f"{RUN_ID}/1/0"
        assert seen["env"]["CUDA_VISIBLE_DEVICES"] == "2,3"

    def test_a_job_without_gpus_sees_none(self, executor: Executor, home: Path) -> None:
        (handle,) = executor.start(executor.plan(job_request(home, REPORT)))
        self.ended(executor, [handle])
        assert json.loads(Path(handle.directory, "seen.json").read_text())["env"]["CUDA_VISIBLE_DEVICES"] == ""

    def test_the_directory_is_the_owners_alone(self, executor: Executor, home: Path) -> None:
        (handle,) = executor.start(executor.plan(job_request(home, "pass")))
        self.ended(executor, [handle])
        assert Path(handle.directory).stat().st_mode & 0o777 == 0o700

    def test_output_goes_to_the_jobs_log(self, executor: Executor, home: Path) -> None:
        program = "import sys; print('to stdout', flush=True); print('to stderr', file=sys.stderr)"
        (handle,) = executor.start(executor.plan(job_request(home, program)))
        self.ended(executor, [handle])
        assert Path(handle.directory, "job.log").read_text().split("\n") == ["to stdout", "to stderr", ""]

    def test_awkward_words_arrive_as_they_are(self, executor: Executor, home: Path) -> None:
        words = ["two words", 'it\'s "quoted"', "$HOME `id`; a&b|c>d", "ação 数据", "line\nbreak", "-x", "*", "%j %%"]
        handles = []
        for number, word in enumerate(words):
            place = home / word.replace("/", "_")
            request = job_request(place, REPORT, run_id=f"{RUN_ID}-{number}", words=[word, ""])
            handles += executor.start(executor.plan(request))
        self.ended(executor, handles)
        for word, handle in zip(words, handles, strict=True):
            seen = json.loads(Path(handle.directory, "seen.json").read_text())
            assert seen["argv"] == [word, ""]
            assert os.path.samefile(seen["cwd"], handle.directory)

    def test_a_gang_that_could_not_start_leaves_no_process(self, executor: Executor, home: Path) -> None:
        request = job_request(home, STAY, nodes=3)
        blocked = Path(request.assignments[2].directory)
        blocked.parent.mkdir(parents=True)
        blocked.write_text("a file where the job's directory should be")
        with pytest.raises(RunyardError):
            executor.start(executor.plan(request))
        for node in range(3):
            assert processes_of(marker_of(RUN_ID, 1, node)) == []

    def test_a_program_that_is_not_there_is_named(self, executor: Executor, home: Path) -> None:
        request = job_request(home, STAY)
        plan = executor.plan(JobRequest(RUN_ID, 1, request.assignments, argv=["/nonexistent/program"]))
        try:
            handles = executor.start(plan)
        except RunyardError as failure:
            assert failure.code == "start_failed"
            said = str(failure)
        else:  # an engine that starts jobs when it has room says so of the job
            seen = self.ended(executor, handles)[handles[0]]
            assert (seen.state, seen.exit_code) == (JobState.ENDED, 127)
            said = seen.message
        assert "/nonexistent/program" in said

    # Observing

    def test_a_failed_job_says_what_its_log_ended_with(self, executor: Executor, home: Path) -> None:
        handles = executor.start(executor.plan(job_request(home, "raise RuntimeError('no such module')")))
        seen = self.ended(executor, handles)[handles[0]]
        assert "exit code 1" in seen.message
        assert "RuntimeError: no such module" in seen.message

    # Ending

    def test_a_firm_cancel_reaches_a_process_that_made_itself_a_daemon(self, executor: Executor, home: Path) -> None:
        handles = executor.start(executor.plan(job_request(home, DAEMON + STAY)))
        daemon = int(self.appears(home, "daemon"))
        self.appears(home, "up")
        executor.cancel(handles, firmly=True)
        self.ended(executor, handles)
        assert not is_alive(daemon)

    def test_nothing_is_left_of_a_job_that_is_reported_as_over(self, executor: Executor, home: Path) -> None:
        handles = executor.start(executor.plan(job_request(home, DAEMON + "os.kill(os.getpid(), 9)")))
        daemon = int(self.appears(home, "daemon"))
        self.ended(executor, handles)
        assert not is_alive(daemon)


def directory_of(home: Path, node: int, attempt: int = 1) -> str:
    return str(home / "runs" / f"attempt-{attempt}" / f"node-{node}")


def job_request(
    home: Path,
    program: str,
    run_id: str = RUN_ID,
    nodes: int = 1,
    gpus: list[int] | None = None,
    words: list[str] | None = None,
    **changes: Any,
) -> JobRequest:
    """A request for jobs that run ``program`` (Python) with ``words`` as arguments."""
    assignments = [
        JobAssignment(
            run_id=run_id,
            attempt=1,
            experiment="exp",
            node=node,
            node_count=nodes,
            directory=directory_of(home, node),
            server_url="http://127.0.0.1:1",
            token="secret-token",
            snapshot="0" * 64,
            python=sys.executable,
            sdk_path=SDK_PATH,
            arguments=["--text", "ação 'x'"],
            gpus=gpus or [],
            **changes,
        )
        for node in range(nodes)
    ]
    return JobRequest(run_id, 1, assignments, argv=[sys.executable, "-c", program, *(words or [])])


def _all_wait(seen: Iterable[JobObservation]) -> bool:
    return all(each.state is JobState.PENDING and each.message for each in seen)


def _log(directory: Path) -> str:
    path = directory / "job.log"
    return path.read_text() if path.exists() else "no job.log"
