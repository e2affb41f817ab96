"""What a node has before its ranks start: the code, and the data where the script looks for it."""

import os

import pytest

from runyard import transfer
from runyard.errors import RunyardError, ServerUnavailableError, SnapshotException
from runyard.job.fetch import Fetcher
from runyard.protocol.jobs import DataMount, JobAssignment
from runyard.protocol.runs import DataReferenceSpec
from runyard.transport.base import Transport

STORE = "workspaceblobstore"


class Interrupted(Transport):
    """A way to the server on which it is away now and then: for the first ``times`` requests for ``path``."""

    def __init__(self, transport, path, times):
        self._transport, self._path, self.times = transport, path, times

    def send(self, method, path, *rest):
        if self.times and self._path in path:
            self.times -= 1
            raise ServerUnavailableError("nobody answers")
        return self._transport.send(method, path, *rest)

    def with_token(self, token, revives=True):
        return self


class Node:
    def __init__(self, folder, transport):
        self.transport = transport
        self.source = folder / "source"
        self.source.mkdir()
        (self.source / "train.py").write_text("print(1)")
        self.code = folder / "code"
        self.code.mkdir()
        self.lines = []

    def fetch(self, *data, pause=lambda why: False, **changes):
        given = {"data": list(data)}
        given.update(changes)
        if "snapshot" not in given:
            given["snapshot"] = transfer.send_snapshot(self.transport, str(self.source))
        assignment = JobAssignment(
            run_id="exp_1", attempt=1, experiment="exp", node=0, node_count=1, directory=str(self.code.parent),
            server_url="", token="t", python="python", sdk_path="", **given
        )  # fmt: skip
        return Fetcher(assignment, self.transport, str(self.code), self.lines.append).fetch(pause)

    def store(self, **files):
        sent = []
        for name, content in files.items():
            path = self.source.parent / name
            path.write_text(content)
            sent.append((name.replace("__", "/"), str(path)))
        transfer.upload_datastore_files(self.transport, STORE, "mnist", transfer.local_files(sent), overwrite=True)


@pytest.fixture
def node(tmp_path, transport):
    return Node(tmp_path, transport)


def mount(mode, local_path=None, **more):
    return DataMount(DataReferenceSpec("images", STORE, "mnist", mode=mode, **more), local_path)


def test_the_code_is_there_with_the_folders_that_are_kept(node):
    assert node.fetch() == {}
    assert sorted(os.listdir(str(node.code))) == ["logs", "outputs", "train.py"]
    assert any("1 files" in line for line in node.lines)


def test_a_snapshot_that_is_not_there_is_told(node):
    with pytest.raises(SnapshotException):
        node.fetch(snapshot="0" * 64)


def test_a_server_that_is_away_is_waited_for(node, tmp_path):
    (tmp_path / "store").mkdir()
    node.store(a="1")
    asked = transfer.send_snapshot(node.transport, str(node.source))
    node.transport = Interrupted(node.transport, "/datastores/", 2)
    waits = []
    linked = mount("mount", str(tmp_path / "store"), path_on_compute="in/linked")
    copied = DataMount(DataReferenceSpec("copied", STORE, "mnist", mode="download"))
    given = node.fetch(linked, copied, snapshot=asked, pause=lambda why: not waits.append(why))
    assert waits == ["nobody answers"] * 2
    assert sorted(given) == ["copied", "images"]
    assert os.path.islink(given["images"])


def test_a_node_that_nobody_waits_for_does_not_wait_for_the_server(node):
    asked = transfer.send_snapshot(node.transport, str(node.source))
    node.transport = Interrupted(node.transport, "/snapshots/", 1)
    with pytest.raises(ServerUnavailableError):
        node.fetch(snapshot=asked)


def test_a_mount_of_a_folder_here_is_the_folder_itself(node, tmp_path):
    folder = tmp_path / "store" / "mnist"
    assert node.fetch(mount("mount", str(folder))) == {"images": str(folder)}
    assert folder.is_dir()  # an empty place to write to, as a mount would be


def test_a_mount_may_stand_where_the_script_wants_it(node, tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "a").write_text("1")
    given = node.fetch(mount("mount", str(folder), path_on_compute="in/images"))
    assert given == {"images": str(node.code / "in" / "images")}
    assert (node.code / "in" / "images" / "a").read_text() == "1"


def test_a_download_brings_the_files_below_its_path(node):
    node.store(a="1", sub__b="2")
    given = node.fetch(mount("download"))
    place = node.code / ".data" / "images"
    assert given == {"images": str(place)}
    assert ((place / "a").read_text(), (place / "sub" / "b").read_text()) == ("1", "2")


def test_a_mount_of_a_store_elsewhere_is_a_download_and_says_so(node):
    node.store(a="1")
    node.fetch(mount("mount"))
    assert (node.code / ".data" / "images" / "a").read_text() == "1"
    assert any("downloaded instead" in line for line in node.lines)


def test_a_file_that_the_code_brought_along_stays_unless_it_is_to_be_replaced(node):
    node.store(a="from the store")
    (node.source / "in").mkdir()
    (node.source / "in" / "a").write_text("from the code")
    node.fetch(mount("download", path_on_compute="in"))
    assert (node.code / "in" / "a").read_text() == "from the code"
    node.fetch(mount("download", path_on_compute="in", overwrite=True))
    assert (node.code / "in" / "a").read_text() == "from the store"


def test_an_upload_begins_as_an_empty_folder(node):
    assert os.listdir(node.fetch(mount("upload", path_on_compute="out"))["images"]) == []


def test_data_that_is_not_there_is_told_with_the_cure(node):
    with pytest.raises(RunyardError) as told:
        node.fetch(mount("download"))
    assert "nothing at 'mnist'" in str(told.value) and "runyard datastore files" in str(told.value)


def test_one_of_the_nodes_that_share_a_folder_fetches_for_all(transport, tmp_path):
    node = Node(tmp_path, transport)
    node.store(a="1")
    mount = DataMount(DataReferenceSpec("d", STORE, "mnist", mode="download"))
    first = node.fetch(mount, shared_code=str(node.code))
    (node.code / "train.py").write_text("changed by a rank meanwhile")
    assert node.fetch(mount, shared_code=str(node.code)) == first
    assert (node.code / "train.py").read_text() == "changed by a rank meanwhile"
    assert "by another node" in node.lines[-1]


def test_what_one_node_could_not_fetch_the_next_one_fetches(transport, tmp_path):
    node = Node(tmp_path, transport)
    snapshot = transfer.send_snapshot(node.transport, str(node.source))
    node.transport = Interrupted(node.transport, "/snapshots/", 1)
    with pytest.raises(ServerUnavailableError):
        node.fetch(snapshot=snapshot, shared_code=str(node.code))
    node.fetch(snapshot=snapshot, shared_code=str(node.code))
    assert (node.code / "train.py").exists()
