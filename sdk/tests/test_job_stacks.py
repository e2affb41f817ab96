"""Stacks of ranks: what a node says of each, and of what cannot be had."""

import subprocess
import sys

import pytest

from runyard.job import stacks
from runyard.protocol.jobs import JobAssignment, RankReport
from runyard.protocol.runs import DistributionSpec
from runyard.stacks import last_line

REFUSAL = "Error: Permission Denied: Try running again with elevated permissions\n\nStack backtrace:\n   0: x\n"


class Node:
    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        self.assignment = JobAssignment(
            run_id="exp_1", attempt=1, experiment="exp", node=1, node_count=2, directory=str(folder), server_url="",
            token="t", snapshot="0" * 64, python=str(folder / "bin" / "python"), sdk_path="",
            distribution=DistributionSpec(kind="torch", process_count_per_node=2)
        )  # fmt: skip

    def take(self, *reports):
        """The texts by rank, and that each is whole."""
        stacks.take(self.assignment, reports, str(self.folder / "stacks"))
        found = {}
        for rank in ("2", "3"):
            text = (self.folder / "stacks" / "rank-{}.txt".format(rank)).read_text()
            assert text.startswith("Rank {}, node 1, ".format(rank)) and text.endswith(last_line(rank))
            found[rank] = text
        return found

    def install(self, program):
        """A py-spy in the run's environment."""
        path = self.folder / "bin" / "py-spy"
        path.write_text("#!/bin/sh\n" + program)
        path.chmod(0o700)


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))  # the server's py-spy is not there
    monkeypatch.setenv("PATH", str(tmp_path))
    return Node(tmp_path)


@pytest.fixture
def rank():
    """A process that waits."""
    process = subprocess.Popen([_PYTHON, "-c", "input()"], stdin=subprocess.PIPE)
    yield RankReport(rank=2, pid=process.pid, started_at=1.0)
    process.communicate()


_PYTHON = sys.executable


def test_ranks_that_do_not_run_are_told_as_such(node):
    ended = RankReport(rank=2, pid=1, started_at=1.0, ended_at=2.0, signal="SIGKILL")
    said = node.take(ended)
    assert "It has ended (SIGKILL)." in said["2"]
    assert "It was not started yet." in said["3"]


def test_without_py_spy_the_cure_is_told(node, rank):
    assert "pip install py-spy" in node.take(rank)["2"]


def test_the_py_spy_of_the_runs_environment_will_do(node, rank):
    node.install('echo "$@"; echo "  f (train.py:3)"')
    assert "dump --pid {}\n  f (train.py:3)\n".format(rank.pid) in node.take(rank)["2"]


def test_what_the_kernel_forbids_is_told_with_its_cure(node, rank):
    node.install("printf '{}' >&2; exit 1".format(REFUSAL.replace("\n", "\\n")))
    said = node.take(rank)["2"]
    assert "py-spy could not look at it: Error: Permission Denied" in said
    assert "ptrace_scope" in said or "--cap-add SYS_PTRACE" in said
    assert "backtrace" not in said


def test_a_rank_that_is_no_python_is_told_with_its_command(node):
    node.install("exit 1")
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    said = node.take(RankReport(rank=2, pid=process.pid, started_at=1.0))["2"]
    process.communicate()
    assert "No Python runs under process {} (/bin/cat).".format(process.pid) in said


def test_what_a_shell_started_is_looked_at(node):
    node.install("echo looked at $3")
    process = subprocess.Popen(
        ["/bin/sh", "-c", "'{}' -c 'print(1, flush=True); input()'; true".format(_PYTHON)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"1\n"
    said = node.take(RankReport(rank=2, pid=process.pid, started_at=1.0))["2"]
    process.communicate(b"\n")
    assert "looked at " in said and "looked at {}\n".format(process.pid) not in said
