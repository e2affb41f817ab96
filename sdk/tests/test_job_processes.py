"""Which processes belong to a job. Real processes are started: the kernel's table is what is read."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from runyard.job import processes

pytestmark = pytest.mark.skipif(not processes.has_process_table(), reason="this system shows no /proc")

RUN = "run-{}-".format(os.getpid())  # jobs are found on the whole machine, where other test runs may go on
STAY = "import signal, sys; print('up', flush=True); signal.pause()"


@contextmanager
def child(marker, program=STAY, **options):
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=dict(os.environ, RUNYARD_JOB=marker), **options
    )
    try:
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_marker_names_run_attempt_and_node():
    assert processes.marker_of("exp_1", 2, 3) == "exp_1/2/3"


def test_a_process_is_found_by_its_marker_alone():
    with child(RUN + "t1/1/0") as one, child(RUN + "t1/1/1") as other:
        assert processes.processes_of(RUN + "t1/1/0") == [one.pid]
        assert processes.processes_by_marker([RUN + "t1/1/1", RUN + "t1/9/9"]) == {
            RUN + "t1/1/1": [other.pid],
            RUN + "t1/9/9": [],
        }
        assert processes.processes_of(RUN + "t1/1/0", but=[one.pid]) == []
        assert processes.marker_in(one.pid) == RUN + "t1/1/0"


def test_a_marker_that_begins_alike_is_another():
    with child(RUN + "t2/1/10"):
        assert processes.processes_of(RUN + "t2/1/1") == []


def test_a_pid_and_its_start_name_one_process():
    with child(RUN + "t3/1/0") as one:
        ticks = processes.start_ticks(one.pid)
        assert ticks == processes.look_up(one.pid).start_ticks > 0
        assert processes.look_up(one.pid).parent == os.getpid()
    assert processes.start_ticks(one.pid) is None


def test_a_process_with_brackets_in_its_name_is_read_right(tmp_path):
    odd = tmp_path / "a) R 1 (b"
    os.symlink("/bin/sleep", str(odd))
    process = subprocess.Popen([str(odd), "1000"])
    try:
        seen = processes.look_up(process.pid)
        assert (seen.parent, seen.is_alive) == (os.getpid(), True)
    finally:
        process.kill()
        process.wait()


def test_a_zombie_is_not_alive():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.is_alive(process.pid)
    assert processes.look_up(process.pid).state == "Z"
    process.wait()
    assert processes.look_up(process.pid) is None


def test_the_command_of_a_process_is_known():
    with child(RUN + "t4/1/0") as one:
        assert processes.command_of(one.pid) == [sys.executable, "-c", STAY]
    assert processes.command_of(one.pid) == []


def test_members_are_the_session_the_descendants_and_those_with_the_marker():
    # The child's own child clears its environment and leaves the session: only descent shows it.
    program = (
        "import subprocess, sys, signal; p = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'],"
        " env={}, start_new_session=True); print(p.pid, flush=True); signal.pause()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=dict(os.environ, RUNYARD_JOB=RUN + "t5/1/0")
    )
    hidden = int(process.stdout.readline())
    with child(RUN + "t5/1/0", start_new_session=True) as stray:
        assert processes.members_of(RUN + "t5/1/0") == sorted([process.pid, hidden, stray.pid])
        assert processes.members_of(RUN + "t5/1/0", but=[process.pid]) == sorted([hidden, stray.pid])
        assert processes.kill_group(RUN + "t5/1/0") == []
        assert not any(processes.is_alive(pid) for pid in (process.pid, hidden, stray.pid))
    process.wait()
    process.stdout.close()


def test_a_leaders_session_is_ended_with_it():
    program = (
        "import subprocess, sys, signal; p = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'],"
        " env={}); print(p.pid, flush=True); signal.pause()"
    )
    with child(RUN + "t6/1/0", program=STAY) as bystander:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            env=dict(os.environ, RUNYARD_JOB=RUN + "t7/1/0"),
            start_new_session=True,
        )
        inner = int(process.stdout.readline())
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert processes.members_of(RUN + "t7/1/0") == []  # it has no marker and lost its parent
        assert processes.members_of(RUN + "t7/1/0", leader=process.pid) == [inner]
        assert processes.kill_group(RUN + "t7/1/0", leader=process.pid) == []
        assert not processes.is_alive(inner)
        assert processes.is_alive(bystander.pid)
        process.wait()
        process.stdout.close()


def test_a_process_never_ends_itself():
    with child(RUN + "t8/1/0") as one:
        assert os.getpid() not in processes.members_of(RUN + "t8/1/0", leader=os.getpid())
        assert one.pid in processes.members_of(RUN + "t8/1/0", leader=os.getpid())


def test_a_signal_to_a_process_that_is_gone_is_no_error():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    assert processes.send(process.pid, signal.SIGTERM) is False


def test_a_machine_has_one_name_without_slashes():
    assert processes.machine_name() == processes.machine_name() != ""
    assert "/" not in processes.machine_name()


def test_a_job_without_gpus_is_shown_none():
    assert processes.node_environment("r", 1, 0, []) == {
        "RUNYARD_JOB": "r/1/0",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "",
    }
    assert processes.node_environment("r", 1, 0, [2, 0])["CUDA_VISIBLE_DEVICES"] == "2,0"


def test_a_process_takes_its_place(tmp_path):
    (tmp_path / "job.log").write_text("before\n")
    program = (
        "import os, sys; from runyard.job.processes import take_place; take_place(sys.argv[1], {'A': 'b'});"
        "print(os.getcwd(), os.environ['A'], flush=True); os.system('echo child'); sys.stderr.write('error\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    expected = "before\n{} b\nchild\nerror\n".format(os.path.realpath(str(tmp_path)))
    assert (tmp_path / "job.log").read_text() == expected


ADOPTS = """
import os, sys
from runyard.job import processes
adopted = processes.adopt_orphans()
told, says = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        os.write(says, str(os.getpid()).encode())
        os.close(told), os.close(says)
        sys.stdin.readline()
        os._exit(0)
    os._exit(0)
os.wait()
os.close(says)
orphan = int(os.read(told, 20))
print(adopted, processes.look_up(orphan).parent == os.getpid(), processes.members_of("no/such/job", os.getpid()) == [orphan])
sys.stdout.flush()
os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
processes.reap_orphans(but=[orphan])
print(processes.look_up(orphan) is None)
processes.reap_orphans()
print(processes.look_up(orphan) is None)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has subreapers")
def test_an_orphan_that_hides_is_adopted_and_buried():
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    with subprocess.Popen(
        [sys.executable, "-c", ADOPTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as adopter:
        first = adopter.stdout.readline()
        rest, _ = adopter.communicate(b"\n")
    assert (first, rest) == (b"True True True\n", b"False\nTrue\n")
