"""The first process of a container, run without one, and what an engine is told."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest

from runyard.distributed.topology import Rank
from runyard.job import in_container, processes
from runyard.job.container import Container
from runyard.protocol.jobs import DataMount, JobAssignment, JobContainer
from runyard.protocol.runs import DataReferenceSpec


@pytest.fixture
def launched(tmp_path):
    """Starts a script under the first process: ``launched(text)``; ``tmp_path/end`` says how it ended."""
    made = []

    def launch(text, **environment):
        launch = {
            "command": [sys.executable, "-c", text],
            "environment": environment,
            "path": "/opt/env/bin",
            "code": str(tmp_path),
            "output": str(tmp_path / "output"),
            "end": str(tmp_path / "end"),
            "alive": "",
        }
        (tmp_path / "launch").write_text(json.dumps(launch))
        argv = [sys.executable, "-I", "-S", in_container.__file__, str(tmp_path / "launch")]
        made.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        return made[-1]

    yield launch
    for process in made:
        process.kill()
        process.stdout.close()
        process.wait()


def end(tmp_path):
    return json.loads((tmp_path / "end").read_text())


@pytest.mark.parametrize(
    "text, code, given",
    [
        ("pass", 0, 0),
        ("raise SystemExit(137)", 137, 137),
        ("import os; os.kill(os.getpid(), 11)", -11, 139),
    ],
)
def test_the_end_is_told_exactly_beside_the_engines_number(launched, tmp_path, text, code, given):
    assert launched(text).wait() == given
    assert end(tmp_path)["code"] == code


def test_a_script_that_cannot_be_started_is_told_as_refused(launched, tmp_path):
    process = launched("pass")
    process.wait()
    launch = json.loads((tmp_path / "launch").read_text())
    (tmp_path / "launch").write_text(json.dumps(dict(launch, command=["/there/is/none"])))
    argv = [sys.executable, "-I", "-S", in_container.__file__, str(tmp_path / "launch")]
    assert subprocess.call(argv) == 127
    assert end(tmp_path)["refused"].startswith("No such file or directory")  # Python 3.7 names the file, too


def test_variables_come_from_the_file_and_the_environments_programs_come_first(launched, tmp_path):
    launched("import os; print(os.environ['PATH'].split(':')[0], repr(os.environ['TOLD']))", TOLD="a\n'b'").wait()
    assert (tmp_path / "output").read_text() == "/opt/env/bin \"a\\n'b'\"\n"


def test_signals_reach_the_script_and_all_of_its_group(launched, tmp_path):
    text = (
        "import os, signal, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(40 + (child.wait() == -signal.SIGTERM)))\n"
        "os.mkfifo('up.new')\nos.rename('up.new', 'up')\n"
        "open('up', 'w').close()\n"
        "signal.pause()\n"
    )
    process = launched(text)
    while not (tmp_path / "up").exists():
        assert process.poll() is None
    open(str(tmp_path / "up")).close()
    process.send_signal(signal.SIGTERM)
    process.wait()
    assert end(tmp_path)["code"] == 41


def container(tmp_path, **options):
    directory = tmp_path / "a, \"b\" 'c'"
    directory.mkdir(exist_ok=True)
    data = DataMount(DataReferenceSpec("d", "store"), str(tmp_path / "data"))
    told = {"gpus": options.pop("gpus", []), "server_file": "/srv/server.json", "data": [data]}
    assignment = JobAssignment(
        "run/1", 2, "e", 0, 1, str(directory), "http://server", "the-token", "s", "/env/bin/python", "/sdk", **told
    )
    return Container(assignment, JobContainer("image@sha256:1", **options), str(directory / "code")), directory


def option(argv, name):
    return [argv[position + 1] for position, word in enumerate(argv) if word == name]


def test_the_engine_is_told_mounts_user_and_marker_and_no_secret(tmp_path):
    made, directory = container(tmp_path, shm_size="3g")
    argv = made.launch(Rank(0, 0, 0), ["python", "train.py"], {"AZUREML_RUN_TOKEN": "the-token"}, "output")
    assert "the-token" not in " ".join(argv)
    (launch,) = directory.glob("*.launch.json")
    assert launch.stat().st_mode & 0o777 == 0o600
    assert json.loads(launch.read_text())["environment"]["AZUREML_RUN_TOKEN"] == "the-token"
    mounts = [dict(field.partition("=")[::2] for field in next(csv.reader([line]))) for line in option(argv, "--mount")]
    assert [(mount["source"], mount["target"], "readonly" in mount) for mount in mounts] == [
        (str(directory), str(directory), False),
        ("/sdk", "/sdk", True),
        (str(tmp_path / "data"), str(tmp_path / "data"), False),
    ]
    assert option(argv, "--user") == ["{}:{}".format(os.getuid(), os.getgid())]
    assert option(argv, "--env") == ["RUNYARD_JOB=run/1/2/0"]
    assert option(argv, "--name") == ["runyard-run-1-2-0"]
    assert option(argv, "--shm-size") == ["3g"]
    assert option(argv, "--security-opt") == ["no-new-privileges", "label=disable"]
    assert "--privileged" not in argv
    assert made.variables()["RUNYARD_RUN_SERVER_FILE"] == str(directory / "server.json")


def test_gpus_are_passed_as_each_engine_takes_them_and_counted_from_0_inside(tmp_path):
    podman, _ = container(tmp_path, gpus=[1, 3])
    argv = podman.launch(Rank(0, 0, 0), ["x"], {}, "output")
    assert option(argv, "--device") == ["nvidia.com/gpu=1", "nvidia.com/gpu=3"]
    docker, _ = container(tmp_path, gpus=[1, 3], engine="/usr/bin/docker")
    argv = docker.launch(Rank(0, 0, 0), ["x"], {}, "output")
    assert option(argv, "--gpus") == ['"device=1,3"']
    assert podman.variables()["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_the_hosts_own_shared_memory_has_no_size_of_ours(tmp_path):
    made, _ = container(tmp_path, shm_size="3g", arguments=["--ipc=host"])
    argv = made.launch(Rank(0, 0, 0), ["x"], {}, "output")
    assert option(argv, "--shm-size") == []
    assert "--ipc=host" in argv


def test_what_clears_up_after_a_container_is_left_to_end_by_itself(tmp_path):
    os.symlink("/bin/sh", str(tmp_path / "conmon"))
    text = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.argv[1], '-c', 'read line; :'], env={})\n"
        "print('up', flush=True)\ninput()"
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", text, str(tmp_path / "conmon")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        leader.stdout.readline()
        children = [each.pid for each in processes.all_processes().values() if each.parent == leader.pid]
        assert len(children) == 1
        assert leader.pid in processes.members_of("no/1/0", leader.pid)
        assert children[0] not in processes.members_of("no/1/0", leader.pid)
    finally:
        leader.stdin.close()
        leader.wait()
        leader.stdout.close()
