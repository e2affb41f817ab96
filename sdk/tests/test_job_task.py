"""What an engine starts on a node: the job gets its assignment, is told to end, and its end is written down."""

import json
import os
import signal
import subprocess
import sys

import pytest

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
