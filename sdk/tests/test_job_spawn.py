"""The ranks of a node as real processes: how each end is seen, and that one end is everybody's."""

import os
import queue
import signal
import sys
import threading

import pytest

from runyard.job.processes import has_process_table, is_alive
from runyard.job.script import Script
from runyard.job.spawn import Ranks, Stop
from runyard.protocol.jobs import JobAssignment
from runyard.protocol.runs import DistributionSpec

RUN = "run-{}-".format(os.getpid())  # jobs are found on the whole machine, where other test runs may go on
# Says that it is up, then stays until a signal comes.
STAY = "import os, signal, sys; open('up-' + os.environ['RUNYARD_RUN_RANK'], 'w').close()\nwhile True: signal.pause()"


class Node:
    """A node's folders, and the ranks of a program on it."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("code", "spool", "logs/azureml-logs"):
            (folder / name).mkdir(parents=True)
        self.events = queue.SimpleQueue()
        self.opened = []
        self.ranks = self.script = None

    def run(self, program, count=1, data=None, started=lambda: None, **changes):
        (self.folder / "code" / "train.py").write_text(program)
        given = {"script": "train.py", "python": sys.executable, "grace_s": 60.0}
        if count > 1:
            given.update(
                distribution=DistributionSpec(kind="torch", process_count_per_node=count),
                addresses=["127.0.0.1"], ports=[29500],
            )  # fmt: skip
        given.update(changes)
        assignment = JobAssignment(
            run_id=RUN + self.folder.name, attempt=1, experiment="exp", node=0, node_count=1,
            directory=str(self.folder), server_url="http://127.0.0.1:1", token="t", snapshot="0" * 64,
            sdk_path="", **given
        )  # fmt: skip
        folders = [str(self.folder / name) for name in ("code", "spool", "logs")]
        self.script = Script(assignment, *folders, data or {})
        opened = lambda name, descriptor: self.opened.append(name)  # noqa: E731
        self.ranks = Ranks(assignment, self.script, self.events, opened, lambda launch: None)
        return self.ranks.run(started, lambda: None)

    def log(self, name="70_driver_log.txt"):
        return (self.folder / "logs" / "azureml-logs" / name).read_text()

    def stop_when_up(self, count, *whys):
        """From another thread: asks the ranks to stop once all of them are up."""
        up = [self.folder / "code" / "up-{}".format(rank) for rank in range(count)]

        def watch():
            looks = threading.Event()
            while not all(path.exists() for path in up):
                looks.wait(0.01)  # they are outside: all that one can do is look again
            for why in whys:
                self.events.put((why,))

        threading.Thread(target=watch, daemon=True).start()


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_a_script_that_ends_well_leaves_its_output_and_no_error(node):
    assert node.run("import sys; print('to stdout'); print('to stderr', file=sys.stderr)") is None
    assert sorted(node.log().split("\n")) == ["", "to stderr", "to stdout"]
    (report,) = node.ranks.reports
    assert (report.rank, report.exit_code, report.signal) == (0, 0, None)
    assert report.ended_at >= report.started_at
    assert node.opened == ["azureml-logs/70_driver_log.txt"]


def test_a_script_that_raises_fails_with_its_traceback(node):
    error = node.run("def f():\n    raise ValueError('no such layer')\nf()")
    assert (error.code, error.exit_code, error.rank) == ("script_failed", 1, 0)
    assert error.traceback.startswith("Traceback") and error.traceback.endswith("ValueError: no such layer")
    assert "no such layer" in error.message


@pytest.mark.parametrize("code", [3, 255])
def test_an_exit_code_is_kept(node, code):
    error = node.run("raise SystemExit({})".format(code))
    assert (error.code, error.exit_code, error.signal) == ("script_failed", code, None)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGTERM", "SIGABRT"])
def test_a_signal_is_kept(node, name):
    error = node.run("import os, signal; os.kill(os.getpid(), signal.{})".format(name))
    assert (error.code, error.exit_code, error.signal) == ("signaled", None, name)


def test_one_ranks_end_ends_the_others_and_is_the_cause(node):
    program = (
        "import os, sys\n"
        "if os.environ['RUNYARD_RUN_RANK'] == '1':\n"
        "    while not os.path.exists('up-0'): pass\n"
        "    sys.exit(9)\n" + STAY
    )
    error = node.run(program, count=2)
    assert (error.rank, error.exit_code) == (1, 9)
    first, second = node.ranks.reports
    assert (first.signal, second.exit_code) == ("SIGTERM", 9)


def test_each_rank_has_a_log_and_finds_the_others(node):
    program = "import os; print(os.environ['RANK'], os.environ['WORLD_SIZE'], os.environ['MASTER_PORT'])"
    assert node.run(program, count=2) is None
    assert [node.log("70_driver_log_{}.txt".format(rank)) for rank in (0, 1)] == ["0 2 29500\n", "1 2 29500\n"]


@pytest.mark.parametrize(("own", "seen"), [({}, "1\n"), ({"OMP_NUM_THREADS": "3"}, "3\n")])
def test_threads_are_those_that_the_run_asks_for_else_one_for_each_rank(node, monkeypatch, own, seen):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert node.run("import os; print(os.environ['OMP_NUM_THREADS'])", count=2, variables=own) is None
    assert [node.log("70_driver_log_{}.txt".format(rank)) for rank in (0, 1)] == [seen, seen]
    assert (node.script.note() is None) == bool(own), "it is said where nobody asked for it"


def test_a_machine_that_has_a_number_of_threads_keeps_it(node, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert node.run("import os; print(os.environ['OMP_NUM_THREADS'])", count=2) is None
    assert node.log("70_driver_log_1.txt") == "5\n"
    assert node.script.note() is None


def test_a_cancelled_rank_may_end_by_itself(node):
    node.stop_when_up(1, Stop.CANCEL, Stop.CANCEL)
    program = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n" + STAY
    assert node.run(program) is None
    assert node.ranks.canceled and not node.ranks.timed_out
    assert node.log() == "saved\n"


def test_a_rank_that_is_deaf_to_it_is_killed_after_the_grace(node):
    node.stop_when_up(1, Stop.CANCEL)
    assert node.run("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAY, grace_s=0.2) is None
    assert node.ranks.reports[0].signal == "SIGKILL"
    assert not is_alive(node.ranks.reports[0].pid)


def test_a_run_that_takes_too_long_is_ended_and_says_so(node):
    error = node.run(STAY, max_run_duration_s=1)
    assert error.code == "time_limit" and "of 1." in error.message
    assert node.ranks.timed_out and not node.ranks.canceled


def test_what_was_stopped_before_it_began_starts_nothing(node):
    node.events.put((Stop.CANCEL,))
    assert node.run("print('never')", started=lambda: pytest.fail("it was started")) is None
    assert node.ranks.canceled and node.ranks.reports == []


def test_a_program_that_is_not_there_is_a_failed_start(node):
    error = node.run("", command=["/nonexistent/program"], script=None)
    assert error.code == "start_failed" and "/nonexistent/program" in error.message


def test_arguments_name_the_places_of_data(node):
    program = "import os, sys; print(sys.argv[1:]); print(os.environ['AZUREML_DATAREFERENCE_images'])"
    node.run(program, data={"images": "/data/i"}, arguments=["$AZUREML_DATAREFERENCE_images/a", "$HOME", "ação 'x'"])
    assert node.log() == "['/data/i/a', '$HOME', \"ação 'x'\"]\n/data/i\n"


def test_gpus_that_were_not_given_are_hidden(node):
    node.run("import os; print(repr(os.environ['CUDA_VISIBLE_DEVICES']))", gpus=[])
    assert node.log() == "''\n"


@pytest.mark.skipif(not has_process_table(), reason="this system shows no /proc")
def test_a_failed_gang_leaves_no_process_that_ignores_the_signal(node):
    program = (
        "import os, signal, sys\n"
        "if os.environ['RUNYARD_RUN_RANK'] == '0':\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    open('up-0', 'w').close()\n"
        "    while True: signal.pause()\n"
        "while not os.path.exists('up-0'): pass\n"
        "sys.exit(2)\n"
    )
    error = node.run(program, count=2, grace_s=0.2)
    assert error.rank == 1
    assert node.ranks.reports[0].signal == signal.Signals.SIGKILL.name
    assert not any(is_alive(report.pid) for report in node.ranks.reports)
