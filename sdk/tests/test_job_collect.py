"""What a node's ranks left becomes files of the run: all of it, once, whatever the server does meanwhile."""

import os

import pytest

from runyard import transfer
from runyard.errors import ServerUnavailableError, StorageFullError
from runyard.job.collect import Collector
from runyard.protocol.jobs import DataMount, JobAssignment
from runyard.protocol.runs import DataReferenceSpec
from runyard.shipping import Shipped, Shipper
from runyard.transport.base import Transport

RUN = "exp_1566000000_abcdef12"
STORE = "workspaceblobstore"


class Troubled(Transport):
    """Raises ``troubles`` first, one for each request, then passes requests on."""

    def __init__(self, inner, *troubles):
        self.inner, self.troubles = inner, list(troubles)

    def send(self, *request):
        if self.troubles:
            raise self.troubles.pop(0)
        return self.inner.send(*request)


class Streams:
    """Logs and metrics on their way: what each pass comes to. They are a subject of their own (test_shipping.py)."""

    def __init__(self, *passes, attempt=1):
        self.passes = list(passes)
        self.log_name = Shipper(None, RUN, attempt).log_name

    def drain(self, directory, timeout_s):
        shipped = Shipped()
        if self.passes:
            shipped.complete, shipped.trouble = False, self.passes.pop(0)
        return shipped

    def ship_tree(self, folder, prefix=""):
        return Shipped()


class Node:
    def __init__(self, folder, transport, number=0, data=(), shared_code=None):
        self.transport = transport
        self.directory = folder / "node-{}".format(number)
        self.code, self.spool = shared_code or self.directory / "code", self.directory / "spool"
        self.code.mkdir(parents=True, exist_ok=True)
        self.spool.mkdir(parents=True)
        self.lines, self.pauses = [], []
        self.assignment = JobAssignment(
            run_id=RUN, attempt=1, experiment="exp", node=number, node_count=2, directory=str(self.directory),
            server_url="", token="t", snapshot="0" * 64, python="python", sdk_path="", data=list(data),
            shared_code=shared_code and str(shared_code)
        )  # fmt: skip

    def write(self, name, text, folder=None):
        path = (folder or self.code) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def collect(self, streams=None, goes_on=True):
        def pause(why):
            self.pauses.append(why)
            return goes_on

        collector = Collector(
            self.assignment, self.transport, streams or Streams(), str(self.code), str(self.spool), self.lines.append
        )
        problem = collector.collect(pause)
        self.notes = collector.notes
        return problem


@pytest.fixture
def run(file_server):
    file_server.add_run(RUN)
    return file_server


@pytest.fixture
def node(run, transport, tmp_path):
    return Node(tmp_path, transport)


def stored(run):
    return {entry.path: run.files.open(RUN, entry.path).location.read_text() for entry in run.files.list(RUN)}


def test_outputs_logs_and_what_was_set_aside_become_files_and_nothing_else(node, run):
    node.write("outputs/model/weights", "w")
    node.write("logs/own.txt", "l")
    node.write("train.py", "no output")
    node.write("files/plots/a.png", "p", folder=node.spool)
    assert node.collect() is None
    assert stored(run) == {"outputs/model/weights": "w", "logs/own.txt": "l", "plots/a.png": "p"}


def test_a_later_attempts_outputs_take_the_place_of_earlier_ones_and_its_logs_do_not(node, run):
    node.write("outputs/weights", "first"), node.write("logs/own.txt", "of the first")
    assert node.collect() is None
    node.write("outputs/weights", "second"), node.write("logs/own.txt", "of the second")
    assert node.collect(Streams(attempt=2)) is None
    assert stored(run) == {
        "outputs/weights": "second",
        "logs/own.txt": "of the first",
        "logs/attempt-2/own.txt": "of the second",
    }


def test_a_node_that_left_nothing_is_no_problem(node, run):
    assert node.collect() is None
    assert stored(run) == {} and node.pauses == []


def test_what_is_no_plain_file_is_not_followed_into_the_machine(node, run, tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("s")
    (node.code / "outputs").mkdir()
    (node.code / "outputs" / "folder").symlink_to(tmp_path / "secrets")
    os.mkfifo(str(node.code / "outputs" / "pipe"))
    assert node.collect() is None
    assert stored(run) == {}


def test_collecting_again_changes_nothing(node, run):
    node.write("outputs/a", "1")
    assert node.collect() is None and node.collect() is None
    assert stored(run) == {"outputs/a": "1"}


def test_a_second_nodes_file_of_the_same_name_is_kept_beside_the_first(node, run, tmp_path):
    other = Node(tmp_path, node.transport, number=1)
    node.write("outputs/a", "of node 0"), other.write("outputs/a", "of node 1")
    assert node.collect() is None and other.collect() is None
    assert stored(run) == {"outputs/a": "of node 0", "outputs/node-1/a": "of node 1"}


def test_of_a_second_nodes_files_only_those_that_clash_are_kept_beside_and_the_run_is_told(node, run, tmp_path):
    other = Node(tmp_path, node.transport, number=1)
    node.write("outputs/a", "of node 0"), node.write("outputs/same", "s")
    other.write("outputs/a", "of node 1"), other.write("outputs/same", "s"), other.write("outputs/own", "o")
    assert node.collect() is None and other.collect() is None
    assert stored(run) == {
        "outputs/a": "of node 0",
        "outputs/node-1/a": "of node 1",
        "outputs/same": "s",
        "outputs/own": "o",
    }
    assert node.notes == []
    assert other.notes == [
        "Node 1 wrote outputs/a with other bytes than a node before it: its own is outputs/node-1/a."
    ]


def test_logs_of_two_nodes_are_all_kept_those_that_clash_beside_each_other(node, run, tmp_path):
    other = Node(tmp_path, node.transport, number=1)
    node.write("logs/notes.txt", "of node 0"), node.write("logs/deep/own-0", "0")
    other.write("logs/notes.txt", "of node 1"), other.write("logs/deep/own-1", "1")
    assert node.collect() is None and other.collect() is None
    assert stored(run) == {
        "logs/notes.txt": "of node 0",
        "logs/node-1/notes.txt": "of node 1",
        "logs/deep/own-0": "0",
        "logs/deep/own-1": "1",
    }
    assert other.notes == [
        "Node 1 wrote logs/notes.txt with other bytes than a node before it: its own is logs/node-1/notes.txt."
    ]


def test_a_later_node_that_collects_again_keeps_what_it_has_beside(node, run, tmp_path):
    other = Node(tmp_path, node.transport, number=1)
    node.write("outputs/a", "of node 0"), other.write("outputs/a", "of node 1")
    assert node.collect() is None and other.collect() is None and other.collect() is None
    assert stored(run) == {"outputs/a": "of node 0", "outputs/node-1/a": "of node 1"}


def test_a_folder_that_nodes_share_is_collected_by_the_first_alone(run, transport, tmp_path):
    reference = DataReferenceSpec("results", STORE, "there", mode="upload", path_on_compute="out")
    code = tmp_path / "node-0" / "code"
    one, other = (Node(tmp_path, transport, number, [DataMount(reference)], code) for number in (0, 1))
    one.write("outputs/a", "of all"), one.write("out/b", "1")
    other.write("files/plots/c", "set aside", folder=other.spool)
    assert other.collect() is None
    assert stored(run) == {"plots/c": "set aside"}
    assert transfer.list_datastore_files(transport, STORE) == []
    assert one.collect() is None
    assert stored(run) == {"outputs/a": "of all", "plots/c": "set aside"}
    assert [entry.path for entry in transfer.list_datastore_files(transport, STORE)] == ["there/b"]


@pytest.mark.parametrize("trouble", [ServerUnavailableError("away"), StorageFullError("the disk is full")])
def test_a_server_that_is_away_or_full_is_waited_for(node, run, trouble):
    node.write("outputs/a", "1")
    node.transport = Troubled(node.transport, trouble)
    assert node.collect() is None
    assert node.pauses == [str(trouble)]
    assert stored(run) == {"outputs/a": "1"}


def test_a_job_that_nobody_wants_any_more_waits_no_longer(node, run):
    node.write("outputs/a", "1")
    node.transport = Troubled(node.transport, ServerUnavailableError("away"))
    assert node.collect(goes_on=False) == "away"


def test_streams_that_are_kept_back_are_waited_for(node, run):
    assert node.collect(Streams(StorageFullError("the disk is full"), None)) is None
    assert node.pauses[0] == "the disk is full" and len(node.pauses) == 2


def test_what_the_server_refuses_is_a_problem_of_the_run_not_of_the_job(node, run):
    node.write("outputs/" + "n" * 200 + "/" + "m" * 200, "1")
    node.transport = Troubled(node.transport, PermissionError("refused"))
    problem = node.collect()
    assert problem is not None and "refused" in problem
    assert problem in node.lines


def test_data_to_upload_goes_to_its_datastore(run, transport, tmp_path):
    reference = DataReferenceSpec("results", STORE, "there", mode="upload", path_on_compute="out")
    node = Node(tmp_path, transport, data=[DataMount(reference)])
    node.write("out/a/b", "1")
    assert node.collect() is None
    assert [entry.path for entry in transfer.list_datastore_files(transport, STORE)] == ["there/a/b"]
