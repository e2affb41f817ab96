"""The local executor: the contract, and what is its own (standby, restarts, pids that come again)."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runyard.job.processes import is_alive, processes_of
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.jobs import JobAssignment
from runyard_server.executors.base import Ability, Executor, JobHandle, JobRequest, JobState
from runyard_server.executors.gpus import GpuInventory
from runyard_server.executors.identity import Identity
from runyard_server.executors.local import LocalExecutor
from runyard_server.testing import own_network
from runyard_server.testing.executor_contract import (
    DEAF,
    REPORT,
    RUN_ID,
    SDK_PATH,
    STAY,
    ExecutorContract,
    Lose,
    MakeExecutor,
    directory_of,
    job_request,
)

SDK = str(Path(__file__).parents[3] / "sdk")
NO_GPUS = GpuInventory(library=None, environment={"CUDA_VISIBLE_DEVICES": ""})

# A stand-in for `runyard.job --standby`: makes the folder that it is told, if any, waits for its line, takes its place,
# then reports and ends.
STANDBY = """
import json, os, sys
if sys.argv[1:]:
    os.makedirs(os.path.join(sys.argv[1], str(os.getpid())))
line = sys.stdin.buffer.readline()
if not line:
    sys.exit(0)
from runyard.job.processes import node_environment, take_place
a = json.loads(line)
take_place(a["directory"], node_environment(a["run_id"], a["attempt"], a["node"], a["gpus"]))
print("a warm job's output", flush=True)
seen = {"input": line.decode(), "rest": sys.stdin.read(), "cwd": os.getcwd(), "pid": os.getpid()}
seen.update(marker=os.environ["RUNYARD_JOB"], gpus=os.environ["CUDA_VISIBLE_DEVICES"])
open("seen.new", "w").write(json.dumps(seen))
os.replace("seen.new", "seen.json")
sys.exit(5)
"""


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        return tmp_path / "ho me 'of' \"jobs\""

    @pytest.fixture
    def new_executor(self) -> MakeExecutor:
        return lambda: LocalExecutor(gpus=NO_GPUS)

    @pytest.fixture
    def lose(self) -> Lose:
        def lose(handle: JobHandle) -> None:
            pid = int(handle.job_id.split("/")[0])
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # whose child it was has its exit code, and tells nobody

        return lose

    def test_it_promises_gangs_and_gpus(self, executor: Executor) -> None:
        assert executor.abilities == {Ability.MULTI_NODE, Ability.GPUS, Ability.SHARED_FOLDER, Ability.ONE_HOST}

    def test_the_real_job_is_the_default_command(self, executor: Executor, home: Path) -> None:
        request = job_request(home, "pass")
        plan = executor.plan(JobRequest(RUN_ID, 1, request.assignments))
        assert plan.nodes[0].argv == [sys.executable, "-S", "-P", "-m", "runyard.job"]
        assert plan.nodes[0].env["PYTHONPATH"] == request.assignments[0].sdk_path

    def test_what_belongs_to_the_servers_own_interpreter_is_not_inherited(
        self, executor: Executor, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VIRTUAL_ENV", "/server/venv")
        monkeypatch.setenv("RUNYARD_TOKEN", "the server's")
        monkeypatch.setenv("AZUREML_RUN_ID", "an outer run")
        monkeypatch.setenv("KEPT", "yes")
        handles = executor.start(executor.plan(job_request(home, REPORT)))
        self.ended(executor, handles)
        seen = json.loads(Path(handles[0].directory, "seen.json").read_text())["env"]
        assert seen["KEPT"] == "yes"
        assert not {"VIRTUAL_ENV", "RUNYARD_TOKEN", "AZUREML_RUN_ID"} & set(seen)
        assert seen["PYTHONPATH"] == SDK_PATH

    def test_a_job_leads_its_own_session(self, executor: Executor, home: Path) -> None:
        handles = executor.start(executor.plan(job_request(home, STAY)))
        pid = int(self.appears(home, "up"))
        assert os.getsid(pid) == pid != os.getsid(0)
        executor.cancel(handles, firmly=True)
        self.ended(executor, handles)

    def test_another_process_with_the_same_pid_is_not_the_job(self, executor: Executor, home: Path) -> None:
        (handle,) = executor.start(executor.plan(job_request(home, STAY)))
        pid = int(self.appears(home, "up"))
        identity = Identity.parse(handle.job_id)
        earlier = replace(
            handle, run_id=RUN_ID + "old", job_id=str(replace(identity, start_ticks=identity.start_ticks - 1))
        )
        other_boot = replace(handle, run_id=RUN_ID + "old", job_id=str(replace(identity, machine="another-boot")))
        for old in (earlier, other_boot):
            assert executor.observe([old])[old].state is JobState.LOST
            executor.cancel([old], firmly=False)
            executor.cancel([old], firmly=True)
        assert is_alive(pid)
        executor.cancel([handle], firmly=True)
        self.ended(executor, [handle])

    def test_a_job_without_a_last_word_is_lost_and_its_rests_are_ended(self, home: Path) -> None:
        handles = start_in_another_server(home, CHILD + "os.kill(os.getpid(), 9)")
        child = int(self.appears(home, "child"))
        executor = LocalExecutor(gpus=NO_GPUS)
        seen = self.ended(executor, handles)[handles[0]]
        assert seen.state is JobState.LOST
        assert "left no word" in seen.message
        assert not is_alive(child)

    def test_a_job_of_an_earlier_server_is_followed_to_its_exit_code(self, home: Path) -> None:
        program = """
import json, os, signal
def end(*_):
    open("exit.new", "w").write(json.dumps({"exit_code": 9}))
    os.replace("exit.new", "exit.json")
    os._exit(9)
signal.signal(signal.SIGTERM, end)
"""
        handles = start_in_another_server(home, program + STAY)
        self.appears(home, "up")
        executor = LocalExecutor(gpus=NO_GPUS)
        assert executor.observe(handles)[handles[0]].state is JobState.RUNNING
        executor.cancel(handles, firmly=False)
        seen = self.ended(executor, handles)[handles[0]]
        assert (seen.state, seen.exit_code, seen.signal) == (JobState.ENDED, 9, None)

    def test_a_cut_exit_file_is_no_word(self, home: Path) -> None:
        handles = start_in_another_server(home, "open('exit.json', 'w').write('{\"exit_co')")
        executor = LocalExecutor(gpus=NO_GPUS)
        assert self.ended(executor, handles)[handles[0]].state is JobState.LOST

    def test_a_job_whose_handle_was_never_written_is_found_again(self, executor: Executor, home: Path) -> None:
        request = job_request(home, DEAF)
        handles = executor.start(executor.plan(request))
        self.appears(home, "up")
        Path(handles[0].directory, "handle.json").unlink()
        assert LocalExecutor(gpus=NO_GPUS).start(executor.plan(request)) == handles
        executor.cancel(handles, firmly=True)
        self.ended(executor, handles)

    def test_a_salvaging_job_is_a_second_job_in_the_same_directory(self, executor: Executor, home: Path) -> None:
        first = executor.start(executor.plan(job_request(home, "import os; os.kill(os.getpid(), 9)")))
        self.ended(executor, first)
        salvage = executor.plan(job_request(home, "raise SystemExit(4)", salvage=1))
        second = executor.start(salvage)
        assert second != first
        assert executor.start(salvage) == second
        assert self.ended(executor, second)[second[0]].exit_code == 4
        assert executor.observe(first)[first[0]].signal == "SIGKILL"

    def test_ended_jobs_leave_no_zombies(self, executor: Executor, home: Path) -> None:
        handles = executor.start(executor.plan(job_request(home, "pass", nodes=3)))
        self.ended(executor, handles)
        assert all(Identity.parse(handle.job_id).look_up() is None for handle in handles)


CHILD = """
import os, signal
if os.fork() == 0:
    open("child.new", "w").write(str(os.getpid()))
    os.replace("child.new", "child")
    while True:
        signal.pause()
while not os.path.exists("child"):
    pass
"""

# Another server process: starts the jobs, writes the handles down and dies.
OTHER_SERVER = """
import json, os, sys
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.jobs import JobAssignment
from runyard_server.executors.base import JobRequest
from runyard_server.executors.local import LocalExecutor
request = from_json(JobRequest, json.load(sys.stdin))
executor = LocalExecutor()
print(json.dumps(to_json(executor.start(executor.plan(request)))), flush=True)
os._exit(1)
"""


def start_in_another_server(home: Path, program: str) -> list[JobHandle]:
    """Handles of jobs whose server is dead: they are no children of ours."""
    done = subprocess.run(
        [sys.executable, "-c", OTHER_SERVER],
        input=json.dumps(to_json(job_request(home, program))),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 1
    return [from_json(JobHandle, item) for item in json.loads(done.stdout)]


class TestStandby:
    @pytest.fixture
    def ready(self, tmp_path: Path) -> Path:
        """Where each process that stands by has a folder of its pid, once it waits."""
        return tmp_path / "ready"

    @pytest.fixture
    def executor(self, ready: Path) -> Iterator[LocalExecutor]:
        standby = [sys.executable, "-c", STANDBY, str(ready)]
        executor = LocalExecutor(sdk_path=SDK, gpus=NO_GPUS, standby_argv=standby)
        yield executor
        executor.close()

    def real_request(self, home: Path, **changes: object) -> JobRequest:
        request = job_request(home, "unused", gpus=[1])
        return JobRequest(RUN_ID, 1, [replace(request.assignments[0], sdk_path=SDK, **changes)])  # type: ignore[arg-type]

    def standing_by(self, executor: LocalExecutor, ready: Path) -> int:
        executor.prepare()
        pid = executor.standby_pid
        assert pid is not None
        own_network.until((ready / str(pid)).is_dir, "a process that stands by")
        return pid

    def test_a_ready_process_becomes_the_job(self, executor: LocalExecutor, ready: Path, tmp_path: Path) -> None:
        pid = self.standing_by(executor, ready)
        request = self.real_request(tmp_path)
        handles = executor.start(executor.plan(request))
        seen = ExecutorContract().ended(executor, handles)[handles[0]]
        assert (seen.state, seen.exit_code) == (JobState.ENDED, 5)
        told = json.loads(Path(handles[0].directory, "seen.json").read_text())
        assert told["pid"] == pid == Identity.parse(handles[0].job_id).pid
        assert from_json(JobAssignment, json.loads(told["input"])) == request.assignments[0]
        assert told["rest"] == ""
        assert (told["marker"], told["gpus"]) == (f"{RUN_ID}/1/0", "1")
        assert os.path.samefile(told["cwd"], directory_of(tmp_path, 0))
        assert Path(directory_of(tmp_path, 0), "job.log").read_text() == "a warm job's output\n"

    def test_an_assignment_larger_than_a_pipe_goes_through(
        self, executor: LocalExecutor, ready: Path, tmp_path: Path
    ) -> None:
        self.standing_by(executor, ready)
        request = self.real_request(tmp_path, arguments=["x" * 1_000_000])
        handles = executor.start(executor.plan(request))
        assert ExecutorContract().ended(executor, handles)[handles[0]].exit_code == 5
        told = json.loads(Path(handles[0].directory, "seen.json").read_text())
        assert from_json(JobAssignment, json.loads(told["input"])) == request.assignments[0]

    def test_a_standby_that_died_is_replaced_by_a_cold_start(
        self, executor: LocalExecutor, ready: Path, tmp_path: Path
    ) -> None:
        pid = self.standing_by(executor, ready)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        handles = executor.start(executor.plan(self.real_request(tmp_path)))
        assert Identity.parse(handles[0].job_id).pid != pid
        executor.cancel(handles, firmly=True)
        ExecutorContract().ended(executor, handles)

    def test_a_standby_that_does_not_read_is_replaced_by_a_cold_start(
        self, executor: LocalExecutor, ready: Path, tmp_path: Path
    ) -> None:
        pid = self.standing_by(executor, ready)
        os.kill(pid, signal.SIGSTOP)
        handles = executor.start(executor.plan(self.real_request(tmp_path, arguments=["x" * 1_000_000])))
        assert Identity.parse(handles[0].job_id).pid != pid
        assert not is_alive(pid)
        executor.cancel(handles, firmly=True)
        ExecutorContract().ended(executor, handles)

    def test_another_command_or_another_sdk_is_started_cold(
        self, executor: LocalExecutor, ready: Path, tmp_path: Path
    ) -> None:
        pid = self.standing_by(executor, ready)
        handles = executor.start(executor.plan(job_request(tmp_path, "pass")))
        assert Identity.parse(handles[0].job_id).pid != pid
        assert is_alive(pid)
        ExecutorContract().ended(executor, handles)

    def test_closing_ends_the_standby_and_starts_no_other(self, executor: LocalExecutor, ready: Path) -> None:
        pid = self.standing_by(executor, ready)
        executor.close()
        assert not is_alive(pid)
        executor.prepare()
        assert executor.standby_pid is None

    def test_a_standby_ends_when_its_server_is_killed(self, tmp_path: Path) -> None:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER_WITH_STANDBY, SDK, STANDBY],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        watched = os.pidfd_open(pid)
        server.kill()
        server.wait()
        server.stdout.close()
        wait_for_end(watched)
        assert not is_alive(pid)


SERVER_WITH_STANDBY = """
import signal, sys
from runyard_server.executors.local import LocalExecutor
executor = LocalExecutor(sdk_path=sys.argv[1], standby_argv=[sys.executable, "-c", sys.argv[2]])
executor.prepare()
print(executor.standby_pid, flush=True)
signal.pause()
"""


def wait_for_end(pidfd: int, timeout_s: float = 120.0) -> None:
    import select

    readable, _, _ = select.select([pidfd], [], [], timeout_s)
    os.close(pidfd)
    assert readable


def test_no_process_of_these_tests_is_left() -> None:
    assert processes_of(f"{RUN_ID}/1/0") == []
