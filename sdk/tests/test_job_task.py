"""What an engine starts on a node: the job gets its assignment, is told to end, and its end is written down."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from runyard.job.processes import is_alive, processes_of

A_MOMENT = threading.Event()  # never set: processes are outside, all that one can do is look again
SDK = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REPORTS = """
import json, os, sys
told = json.loads(sys.stdin.readline())
seen = {"told": told, "env": dict(os.environ), "cwd": os.getcwd(), "argv": sys.argv[1:]}
open("seen.json", "w").write(json.dumps(seen))
sys.exit(3)
"""
WAITS = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("up", flush=True)
signal.pause()
"""


@pytest.fixture
def lay_out(tmp_path):
    """``lay_out(program)``: the directory of a node whose job is that program."""

    def lay_out(program, argv=None, **changes):
        directory = tmp_path / "no de"
        directory.mkdir(mode=0o700)
        assignment = {"run_id": "run", "attempt": 1, "node": 1, "node_count": 2, "gpus": [], "salvage": 0}
        assignment.update(addresses=["127.0.0.1", "127.0.0.1"], token="secret", **changes)
        task = {
            "argv": argv or [sys.executable, "-c", program],
            "env": {"RUNYARD_JOB": "run/1/1", "MINE": "yes"},
            "assignment": assignment,
        }
        (directory / "task.json").write_text(json.dumps(task))
        return directory

    return lay_out


def start(directory, **variables):
    command = [sys.executable, "-S", "-m", "runyard.job.task", str(directory)]
    environment = dict(os.environ, PYTHONPATH=SDK, **variables)
    return subprocess.Popen(command, env=environment, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def end_of(process):
    said = process.communicate(timeout=60)[1].decode()
    return process.returncode, said


def written(directory, name="exit.json"):
    return json.loads((directory / name).read_text())


def test_what_python_compiles_of_a_job_is_kept_for_the_next_one_whatever_its_user_wants_for_scripts(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(os.path.join(SDK, "runyard"), str(tmp_path / "runyard"), ignore=ignored)
    environment = dict(os.environ, PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    job = [sys.executable, "-S", "-m", "runyard.job"]
    assert subprocess.run(job, env=environment, stdin=subprocess.DEVNULL, cwd=str(tmp_path)).returncode == 0
    assert list((tmp_path / "runyard" / "job" / "__pycache__").glob("node.*.pyc"))


def test_the_job_gets_its_assignment_with_the_nodes_and_gpus_that_the_engine_gave(lay_out):
    directory = lay_out(REPORTS)
    engine = {"RUNYARD_NODES": "n1 n2 ", "CUDA_VISIBLE_DEVICES": "0,3", "RUNYARD_STEP": "ENGINE_JOB.ENGINE_STEP"}
    process = start(directory, ENGINE_JOB="12", ENGINE_STEP="1", **engine)
    assert end_of(process)[0] == 3
    seen = written(directory, "seen.json")
    assert seen["told"]["addresses"] == ["n1", "n2"]
    assert seen["told"]["gpus"] == ["0", "3"]
    assert (seen["env"]["CUDA_VISIBLE_DEVICES"], seen["env"]["MINE"]) == ("0,3", "yes")
    assert os.path.samefile(seen["cwd"], str(directory))
    assert written(directory, "where.json")["step"] == "12.1"
    assert (written(directory)["exit_code"], written(directory)["signal"]) == (3, None)


def test_a_node_without_gpus_hides_all(lay_out):
    directory = lay_out(REPORTS)
    end_of(start(directory, CUDA_VISIBLE_DEVICES=""))
    assert written(directory, "seen.json")["env"]["CUDA_VISIBLE_DEVICES"] == ""


def test_a_signal_is_written_by_name_and_given_as_a_shell_does(lay_out):
    directory = lay_out("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert end_of(start(directory))[0] == 128 + signal.SIGKILL
    assert (written(directory)["exit_code"], written(directory)["signal"]) == (None, "SIGKILL")


@pytest.mark.parametrize("way", ["file", "signal"])
def test_the_job_alone_is_told_to_end(lay_out, way):
    directory = lay_out(WAITS)
    process = start(directory)
    while not (directory / "job.log").exists() or "up" not in (directory / "job.log").read_text():
        assert process.poll() is None
    if way == "file":
        (directory / "end").write_text("0")
    else:
        process.send_signal(signal.SIGTERM)
    assert end_of(process)[0] == 7
    assert written(directory)["exit_code"] == 7


def test_a_job_is_killed_by_its_file(lay_out):
    directory = lay_out(WAITS.replace("sys.exit(7)", "None"))
    process = start(directory)
    while not (directory / "job.log").exists() or "up" not in (directory / "job.log").read_text():
        assert process.poll() is None
    (directory / "kill").write_text("0")
    assert end_of(process)[0] == 128 + signal.SIGKILL
    assert written(directory)["signal"] == "SIGKILL"


def test_a_job_that_was_killed_before_it_began_never_begins(lay_out):
    directory = lay_out("open('ran', 'w')")
    (directory / "kill").write_text("0")
    assert end_of(start(directory))[0] == 128 + signal.SIGKILL
    assert (written(directory)["exit_code"], written(directory)["signal"]) == (None, "SIGKILL")
    assert not (directory / "ran").exists()


def test_what_an_earlier_job_of_the_directory_was_told_is_not_this_ones(lay_out):
    directory = lay_out(REPORTS, salvage=1)
    for name in ("end", "kill"):
        (directory / name).write_text("0")
    assert end_of(start(directory))[0] == 3


def test_a_program_that_is_not_there_is_named(lay_out):
    directory = lay_out("", argv=["/nonexistent/program"])
    assert end_of(start(directory))[0] == 127
    assert "/nonexistent/program could not be started" in written(directory)["message"]


def test_a_folder_that_the_node_does_not_see_is_told(tmp_path):
    code, said = end_of(start(tmp_path / "elsewhere"))
    assert code == 127
    assert "the nodes must see the server's folder" in said


HOLDS = """
import sys
from runyard.job.held import hold
sys.exit(hold(sys.argv[1], sys.argv[2], ["10.0.0.1", "10.0.0.2"], ["1"]))
"""


def held(directory, **variables):
    """A process of an engine's that holds the directory's task."""
    command = [sys.executable, "-S", "-c", HOLDS, str(directory), SDK]
    environment = dict(os.environ, PYTHONPATH=SDK, **variables)
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_a_held_job_sees_nothing_that_is_the_engines_own(lay_out):
    directory = lay_out(REPORTS)
    process = held(directory, RAY_AUTH_TOKEN="secret", RAY_ADDRESS="10.0.0.1:6379", PYTHONBREAKPOINT="ray.util")
    assert end_of(process)[0] == 3
    seen = written(directory, "seen.json")
    assert not [name for name in seen["env"] if name.startswith("RAY_") or name == "PYTHONBREAKPOINT"]
    assert seen["told"]["addresses"] == ["10.0.0.1", "10.0.0.2"]
    assert seen["env"]["CUDA_VISIBLE_DEVICES"] == "1"


def test_a_held_job_runs_on_the_python_that_holds_it(lay_out):
    directory = lay_out("", argv=["{python}", "-c", REPORTS])
    assert end_of(held(directory))[0] == 3
    assert written(directory)["exit_code"] == 3


def test_a_held_job_goes_with_its_holder_and_leaves_the_word_to_the_engine(lay_out):
    directory = lay_out(WAITS)
    process = held(directory)
    until(lambda: "up" in log_of(directory))
    task = written(directory, "where.json")["pid"]
    process.kill()
    end_of(process)
    until(lambda: not is_alive(task))
    assert processes_of("run/1/1") == []
    assert not (directory / "exit.json").exists()


def test_a_killed_task_takes_its_job_along_and_its_holder_says_so(lay_out):
    directory = lay_out(WAITS)
    process = held(directory)
    until(lambda: "up" in log_of(directory))
    os.kill(written(directory, "where.json")["pid"], signal.SIGKILL)
    assert end_of(process)[0] != 0
    assert written(directory)["signal"] == "SIGKILL"
    assert processes_of("run/1/1") == []


def until(is_so, patience_s=60.0):
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline
        A_MOMENT.wait(0.02)


def log_of(directory):
    path = directory / "job.log"
    return path.read_text() if path.exists() else ""
