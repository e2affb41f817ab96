import errno
import hashlib
import io
import json
import os

import pytest

from runyard import transfer
from runyard.digests import LocalFile, of_file
from runyard.errors import (
    FileNotInRunError,
    PathRefusedError,
    RunException,
    ServerUnavailableError,
    ServiceException,
    SnapshotException,
    StorageFullError,
    UserErrorException,
)
from runyard.protocol.codec import to_json
from runyard.protocol.files import MANIFEST_ENTRY, FileEntry, Manifest, manifest_id
from runyard.protocol.pack import END, entry_header
from runyard.sending import groups
from runyard.transport.base import Answer, Transport

RUN = "exp_1566000000_abcdef12"
LARGE = bytes(range(256)) * 40_000  # 10 MB: more than a piece, and enough to be hashed by a thread


def digest(content):
    return hashlib.sha256(content).hexdigest()


def tree(folder, **files):
    for name, content in files.items():
        path = folder.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder)


def read_tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Recorded(Transport):
    """Passes requests on and remembers them; ``before`` is called with each first."""

    def __init__(self, inner, before=None):
        self.inner, self.before, self.sent = inner, before, []

    def send(self, method, path, body, headers, stream, timeout_s):
        route = method + " " + path.split("/api/v1", 1)[1].split("?")[0]
        self.sent.append(route)
        if self.before is not None:
            self.before(route, body)
        return self.inner.send(method, path, body, headers, stream, timeout_s)


class Canned(Transport):
    """Answers every request with the next of ``bodies``: a server that cannot be trusted."""

    def __init__(self, *bodies):
        self.bodies = list(bodies)

    def send(self, method, path, body, headers, stream, timeout_s):
        return Answer(200, {}, io.BytesIO(self.bodies.pop(0)))


def pack(*entries):
    return b"".join(entry_header(name, len(content)) + content for name, content in entries) + END


# Snapshots


def test_a_tree_arrives_as_it_was_sent(transport, tmp_path):
    source = tree(tmp_path / "source", train=b"print(1)", lib__model=LARGE, lib__twin=LARGE, lib__deep__empty=b"")
    (tmp_path / "source" / "train").chmod(0o755)
    snapshot = transfer.send_snapshot(transport, source)
    entries = transfer.fetch_snapshot(transport, snapshot, str(tmp_path / "code"))
    assert read_tree(tmp_path / "code") == read_tree(tmp_path / "source")
    assert [entry.path for entry in entries] == ["lib/deep/empty", "lib/model", "lib/twin", "train"]
    assert os.access(str(tmp_path / "code" / "train"), os.X_OK)
    assert not os.access(str(tmp_path / "code" / "lib" / "twin"), os.X_OK)


def test_a_repeated_submit_of_an_unchanged_tree_is_one_request(transport, tmp_path):
    source = tree(tmp_path / "source", train=b"print(1)")
    recorded = Recorded(transport)
    first = transfer.send_snapshot(recorded, source)
    assert recorded.sent == ["POST /snapshots", "POST /objects", "POST /snapshots"]
    del recorded.sent[:]
    assert transfer.send_snapshot(recorded, source) == first
    assert recorded.sent == ["POST /snapshots"]


def test_a_tree_that_the_server_is_known_to_have_is_not_asked_about(transport, tmp_path):
    source, sent = tree(tmp_path / "source", train=b"print(1)"), set()
    recorded = Recorded(transport)
    first = transfer.send_snapshot(recorded, source, sent=sent)
    assert sent == {first}
    del recorded.sent[:]
    assert transfer.send_snapshot(recorded, source, sent=sent) == first
    assert recorded.sent == []
    tree(tmp_path / "source", train=b"print(2)")
    assert transfer.send_snapshot(recorded, source, sent=sent) != first
    assert recorded.sent == ["POST /snapshots", "POST /objects", "POST /snapshots"]


def test_only_what_changed_is_sent(transport, tmp_path):
    source = tree(tmp_path / "source", train=b"print(1)", data=LARGE)
    transfer.send_snapshot(transport, source)
    tree(tmp_path / "source", train=b"print(2)")
    bodies = []
    recorded = Recorded(transport, lambda route, body: bodies.append(body) if route == "POST /objects" else None)
    transfer.send_snapshot(recorded, source)
    assert bodies == [pack((digest(b"print(2)"), b"print(2)"))]


def test_a_fetch_is_one_request(transport, tmp_path):
    snapshot = transfer.send_snapshot(transport, tree(tmp_path / "source", train=b"print(1)"))
    recorded = Recorded(transport)
    transfer.fetch_snapshot(recorded, snapshot, str(tmp_path / "code"))
    assert recorded.sent == ["GET /snapshots/{}/pack".format(snapshot)]


def test_a_file_that_changes_while_it_is_sent_is_read_once_more(transport, tmp_path):
    source = tree(tmp_path / "source", train=b"first")

    def change_after_the_first_look(route, body):
        recorded.before = None
        tree(tmp_path / "source", train=b"final")

    recorded = Recorded(transport, change_after_the_first_look)
    snapshot = transfer.send_snapshot(recorded, source)
    transfer.fetch_snapshot(transport, snapshot, str(tmp_path / "code"))
    assert read_tree(tmp_path / "code") == {"train": b"final"}


@pytest.mark.parametrize("change", ["grows", "shrinks"])
def test_a_file_that_never_stays_the_same_is_an_error_that_names_it(transport, tmp_path, change):
    source = tree(tmp_path / "source", log=b"0")
    path = tmp_path / "source" / "log"
    count = [0]

    def touch(route, body):
        if route == "POST /snapshots":
            count[0] += 1
            path.write_bytes(b"x" * (100 - count[0]) if change == "shrinks" else b"%d" % count[0] * count[0])

    with pytest.raises(SnapshotException, match="keep changing while they are sent: .*log"):
        transfer.send_snapshot(Recorded(transport, touch), source)


def test_an_unknown_snapshot_is_said_by_the_server(transport, tmp_path):
    with pytest.raises(SnapshotException, match="no snapshot"):
        transfer.fetch_snapshot(transport, "ab" * 32, str(tmp_path / "code"))


EVIL_PATHS = [
    "../evil",
    "a/../../evil",
    "/etc/evil",
    "a//evil",
    "./evil",
    "..",
    "",
    "~/evil",
    "C:/evil",
    "a\\..\\..\\evil",
    "a\x00b",
    "a/\nb",
]


@pytest.mark.parametrize("path", EVIL_PATHS)
def test_a_server_cannot_make_the_client_write_outside(tmp_path, path):
    entry = FileEntry(path, 4, digest(b"evil"))
    manifest = Manifest([FileEntry("good", 4, digest(b"good")), entry])
    listed = json.dumps(to_json(manifest)).encode()
    body = pack((MANIFEST_ENTRY, listed), (digest(b"good"), b"good"), (entry.digest, b"evil"))
    with pytest.raises(PathRefusedError):
        transfer.fetch_snapshot(Canned(body), manifest_id(manifest), str(tmp_path / "code"))
    assert read_tree(tmp_path) == {}
    with pytest.raises(PathRefusedError):
        transfer.contained(str(tmp_path), path)


def test_a_link_out_of_the_folder_is_not_written_through(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "lib").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "kept").write_text("kept")
    (tmp_path / "code" / "file").symlink_to(tmp_path / "outside" / "kept")
    with pytest.raises(PathRefusedError, match="is a link out of"):
        transfer.contained(str(tmp_path / "code"), "lib/x")
    manifest = Manifest([FileEntry("file", 3, digest(b"new"))])
    body = pack((MANIFEST_ENTRY, json.dumps(to_json(manifest)).encode()), (digest(b"new"), b"new"))
    transfer.fetch_snapshot(Canned(body), manifest_id(manifest), str(tmp_path / "code"))
    assert (tmp_path / "outside" / "kept").read_text() == "kept"
    assert (tmp_path / "code" / "file").read_text() == "new"


def test_a_list_of_files_that_is_not_the_snapshot_s_is_refused(tmp_path):
    manifest = Manifest([FileEntry("train.py", 4, digest(b"evil"))])
    body = pack((MANIFEST_ENTRY, json.dumps(to_json(manifest)).encode()), (digest(b"evil"), b"evil"))
    with pytest.raises(ServiceException, match="not that of the snapshot"):
        transfer.fetch_snapshot(Canned(body), "ab" * 32, str(tmp_path / "code"))
    assert read_tree(tmp_path) == {}


@pytest.mark.parametrize("content", [b"good", LARGE])
def test_bytes_that_are_not_those_of_their_digest_are_not_kept(tmp_path, content):
    manifest = Manifest([FileEntry("train.py", len(content), digest(content))])
    changed = b"x" + content[1:]
    body = pack((MANIFEST_ENTRY, json.dumps(to_json(manifest)).encode()), (digest(content), changed))
    with pytest.raises(ServiceException, match="not what its digest says"):
        transfer.fetch_snapshot(Canned(body), manifest_id(manifest), str(tmp_path / "code"))
    assert read_tree(tmp_path) == {}


def test_a_connection_that_breaks_is_made_again(tmp_path):
    manifest = Manifest([FileEntry("a", 4, digest(b"aaaa")), FileEntry("b", 4, digest(b"bbbb"))])
    listed = json.dumps(to_json(manifest)).encode()
    whole = pack((MANIFEST_ENTRY, listed), (digest(b"aaaa"), b"aaaa"), (digest(b"bbbb"), b"bbbb"))
    code = tmp_path / "code"
    transfer.fetch_snapshot(Canned(whole[:-30], whole[:10], whole), manifest_id(manifest), str(code))
    assert read_tree(code) == {"a": b"aaaa", "b": b"bbbb"}
    with pytest.raises(ServiceException, match="broke 3 times"):
        transfer.fetch_snapshot(Canned(*[whole[:-30]] * 3), manifest_id(manifest), str(code))


def test_a_snapshot_that_lacks_a_file_is_an_error(tmp_path):
    manifest = Manifest([FileEntry("a", 4, digest(b"aaaa"))])
    body = pack((MANIFEST_ENTRY, json.dumps(to_json(manifest)).encode()))
    with pytest.raises(ServiceException, match="lacks 1 files"):
        transfer.fetch_snapshot(Canned(body), manifest_id(manifest), str(tmp_path / "code"))


# A run's files


@pytest.fixture
def run(file_server):
    file_server.add_run(RUN)
    return RUN


@pytest.mark.parametrize("where", ["transport", "far"])
def test_files_go_to_a_run_and_come_back(request, where, run, tmp_path):
    transport = request.getfixturevalue(where)
    tree(tmp_path / "made", large=LARGE, small=b"small")
    sent = [
        ("outputs/large", str(tmp_path / "made" / "large")),
        ("outputs/deep/small", str(tmp_path / "made" / "small")),
    ]
    moved = []
    stored = transfer.upload_run_files(transport, run, sent, lambda size, files: moved.append((size, files)))
    assert [entry.path for entry in stored] == ["outputs/large", "outputs/deep/small"]
    assert sum(files for _, files in moved) == 2
    assert sum(size for size, _ in moved) == len(LARGE) + 5
    entries = transfer.list_run_files(transport, run)
    assert {entry.path: entry.size for entry in entries} == {"outputs/deep/small": 5, "outputs/large": len(LARGE)}
    target = {entry.path: transfer.contained(str(tmp_path / "back"), entry.path) for entry in entries}
    del moved[:]
    assert transfer.download_run_files(transport, run, entries, target, lambda *step: moved.append(step)) == 2
    assert read_tree(tmp_path / "back") == {"outputs/deep/small": b"small", "outputs/large": LARGE}
    assert (sum(size for size, _ in moved), sum(files for _, files in moved)) == (len(LARGE) + 5, 2)


def test_thousands_of_files_go_in_packs_of_a_thousand(transport, run, tmp_path):
    files = []
    for number in range(2500):
        path = tmp_path / "made" / str(number)
        path.parent.mkdir(exist_ok=True)
        path.write_text("file {}".format(number))
        files.append(("outputs/{}".format(number), str(path)))
    recorded = Recorded(transport)
    transfer.upload_run_files(recorded, run, files)
    assert recorded.sent.count("POST /objects") == 3
    entries = transfer.list_run_files(transport, run)
    target = {entry.path: transfer.contained(str(tmp_path / "back"), entry.path) for entry in entries}
    assert transfer.download_run_files(transport, run, entries, target) == 2500
    assert len(read_tree(tmp_path / "back")) == 2500


def test_a_file_larger_than_a_pack_goes_alone():
    sizes = [10, 100 << 20, 20, 30 << 20, 40 << 20]
    files = [LocalFile(str(number), "", size, str(number)) for number, size in enumerate(sizes)]
    grouped = [[file.name for file in group] for group in groups(files, lambda file: file.digest)]
    assert grouped == [["0"], ["1"], ["2", "3"], ["4"]]


def test_the_same_content_under_two_names_is_sent_once(transport, run, tmp_path):
    tree(tmp_path / "made", a=b"same", b=b"same")
    bodies = []
    recorded = Recorded(transport, lambda route, body: bodies.append(body) if route == "POST /objects" else None)
    transfer.upload_run_files(recorded, run, [(name, str(tmp_path / "made" / name)) for name in ("a", "b")])
    assert bodies == [pack((digest(b"same"), b"same"))]
    assert [entry.path for entry in transfer.list_run_files(transport, run)] == ["a", "b"]


def test_a_taken_name_with_other_bytes_is_refused(transport, run, tmp_path):
    tree(tmp_path / "made", a=b"first", b=b"second")
    transfer.upload_run_files(transport, run, [("outputs/a", str(tmp_path / "made" / "a"))])
    second = [("outputs/a", str(tmp_path / "made" / "b"))]
    with pytest.raises(RunException, match="with other bytes"):
        transfer.upload_run_files(transport, run, second)
    transfer.upload_run_files(transport, run, second, overwrite=True)
    assert transfer.list_run_files(transport, run)[0].digest == digest(b"second")


def test_a_local_file_that_is_not_there_is_named(transport, run, tmp_path):
    with pytest.raises(UserErrorException, match="absent cannot be read: No such file"):
        transfer.upload_run_files(transport, run, [("outputs/a", str(tmp_path / "absent"))])


def test_a_file_that_the_run_does_not_have_is_said_by_the_server(transport, run):
    with pytest.raises(FileNotInRunError, match="no file 'outputs/a'"):
        transfer.download_run_files(transport, run, [FileEntry("outputs/a", 1, "")], {"outputs/a": "a"})


def test_a_server_that_sends_what_was_not_asked_for_is_not_believed(tmp_path):
    entries = [FileEntry("a", 1, digest(b"a"))]
    target = {"a": str(tmp_path / "a")}
    with pytest.raises(ServiceException, match="not asked for"):
        transfer.download_run_files(Canned(pack(("../b", b"b"))), "run", entries, target)
    with pytest.raises(ServiceException, match="did not send 1"):
        transfer.download_run_files(Canned(pack()), "run", entries, target)
    assert read_tree(tmp_path) == {}


def test_what_came_before_a_break_is_not_fetched_again(tmp_path):
    entries = [FileEntry(name, 4, digest(name.encode() * 4)) for name in ("a", "b")]
    target = {name: str(tmp_path / name) for name in ("a", "b")}
    whole = pack(("a", b"aaaa"), ("b", b"bbbb"))
    transport = Canned(whole[:-20], pack(("b", b"bbbb")))
    assert transfer.download_run_files(transport, "run", entries, target) == 2
    assert read_tree(tmp_path) == {"a": b"aaaa", "b": b"bbbb"}


def test_a_full_disk_of_this_machine_is_not_taken_for_a_broken_connection(tmp_path, monkeypatch):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.write", full)
    entries = [FileEntry("a", 1, digest(b"a"))]
    with pytest.raises(StorageFullError, match="no room for .*/a"):
        transfer.download_run_files(Canned(pack(("a", b"a"))), "run", entries, {"a": str(tmp_path / "a")})
    assert read_tree(tmp_path) == {}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    entries = [FileEntry("a", 1, digest(b"a"))]
    with pytest.raises(UserErrorException, match="file/a cannot be written"):
        transfer.download_run_files(Canned(pack(("a", b"a"))), "run", entries, {"a": str(tmp_path / "file" / "a")})


# Sending where the connection breaks


class Breaking(Transport):
    """Takes part of the first ``breaks`` bodies, then breaks."""

    def __init__(self, inner, breaks):
        self.inner, self.breaks = inner, breaks

    def send(self, method, path, body, headers, stream, timeout_s):
        if self.breaks and not isinstance(body, (bytes, type(None))):
            self.breaks -= 1
            next(iter(body))
            raise ServerUnavailableError("away")
        return self.inner.send(method, path, body, headers, stream, timeout_s)


def test_a_pack_whose_connection_breaks_is_sent_again(far, run, tmp_path):
    tree(tmp_path / "made", large=LARGE)
    moved = []
    files = [("outputs/large", str(tmp_path / "made" / "large"))]
    transfer.upload_run_files(Breaking(far, 2), run, files, lambda *step: moved.append(step))
    assert transfer.list_run_files(far, run)[0].digest == of_file(str(tmp_path / "made" / "large"))
    assert (sum(size for size, _ in moved), sum(files for _, files in moved)) == (len(LARGE), 1)


def test_a_server_that_stays_away_is_an_error(far, run, tmp_path):
    tree(tmp_path / "made", large=LARGE)
    with pytest.raises(ServerUnavailableError):
        transfer.upload_run_files(Breaking(far, 3), run, [("a", str(tmp_path / "made" / "large"))])
    assert transfer.list_run_files(far, run) == []
