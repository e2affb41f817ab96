import hashlib
import io
import os
import shutil
from types import SimpleNamespace

import pytest

from runyard import handover, transfer
from runyard.digests import DigestCache, of_file
from runyard.errors import DigestMismatchError, ServiceException, StorageFullError, UserErrorException
from runyard.protocol.digest import HEADER
from runyard.protocol.files import FileEntry
from runyard.protocol.pack import END, PackReader, entry_header
from runyard.transport.base import Transport

RUN = "exp_1566000000_abcdef12"
STORE = "workspaceblobstore"
LARGE = bytes(range(256)) * 40_000  # more than is worth a handover
OTHER = bytes(reversed(LARGE))


class Recorded(Transport):
    """Passes requests on and remembers their routes; one in ``unknown`` is not there."""

    def __init__(self, inner, unknown=()):
        self.inner, self.unknown, self.sent = inner, unknown, []

    def send(self, method, path, body, headers, stream, timeout_s):
        route = path.split("/api/v1", 1)[1].split("?")[0]
        self.sent.append(route)
        if route in self.unknown:
            raise UserErrorException("no such route")
        return self.inner.send(method, path, body, headers, stream, timeout_s)


@pytest.fixture
def run(file_server):
    file_server.add_run(RUN)
    return RUN


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    return path


def name_of(content, folder):
    path = folder / "named"
    path.write_bytes(content)
    return of_file(str(path))


def fetched(transport, run, folder):
    entries = transfer.list_run_files(transport, run)
    target = {entry.path: str(folder / entry.path) for entry in entries}
    transfer.download_run_files(transport, run, entries, target)
    return {path: (folder / path).read_bytes() for path in target}


def test_a_large_file_of_this_machine_is_handed_over_and_lent_never_sent(transport, run, large, tmp_path):
    recorded = Recorded(transport)
    transfer.upload_run_files(recorded, run, [("large", str(large))])
    assert recorded.sent == ["/objects/handover", "/runs/{}/files".format(run)]
    del recorded.sent[:]
    assert fetched(recorded, run, tmp_path / "back") == {"large": LARGE}
    assert recorded.sent[1:] == ["/runs/{}/files/handover".format(run)]


def test_a_client_of_another_machine_is_invited_nowhere_and_sends_bytes(far, run, large, tmp_path):
    recorded = Recorded(far)
    transfer.upload_run_files(recorded, run, [("large", str(large))])
    assert "/objects" in recorded.sent
    assert fetched(recorded, run, tmp_path / "back") == {"large": LARGE}
    assert "/runs/{}/files/pack".format(run) in recorded.sent


def test_a_server_without_the_routes_is_sent_bytes(transport, run, large, tmp_path):
    older = Recorded(transport, ["/objects/handover", "/runs/{}/files/handover".format(run)])
    transfer.upload_run_files(older, run, [("large", str(large))])
    assert "/objects" in older.sent
    assert fetched(older, run, tmp_path / "back") == {"large": LARGE}


def test_a_server_that_hangs_up_is_sent_bytes(file_server, transport, run, large, tmp_path):
    with handover.Bringer(transport) as bringer:
        assert bringer.keep("first", str(large)) is not None
        file_server.objects.close()
        assert bringer.keep("second", str(large)) is None
    transfer.upload_run_files(transport, run, [("large", str(large))])
    assert fetched(transport, run, tmp_path / "back") == {"large": LARGE}


def test_what_is_kept_is_what_was_hashed_even_if_the_file_grows_or_shrinks(transport, run, large, tmp_path):
    with handover.Bringer(transport) as bringer, open(str(large), "r+b") as writer:
        writer.truncate(len(LARGE) - 1)
        assert bringer.keep("a", str(large)) == (name_of(LARGE[:-1], tmp_path), len(LARGE) - 1)
        writer.seek(0, os.SEEK_END)
        writer.write(b"more")
        writer.flush()
        assert bringer.keep("b", str(large)) == (name_of(LARGE[:-1] + b"more", tmp_path), len(LARGE) + 3)


def test_a_full_disk_of_the_server_is_told_as_such(transport, run, large, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(StorageFullError, match="1000 bytes left"):
        transfer.upload_run_files(transport, run, [("large", str(large))])


def test_a_lent_file_that_is_damaged_is_not_kept(file_server, transport, run, large, tmp_path):
    transfer.upload_run_files(transport, run, [("large", str(large))])
    stored = file_server.store.path(of_file(str(large)))
    with stored.open("r+b") as damaged:
        damaged.write(b"\xff")
    with pytest.raises(ServiceException, match="not what its digest says"):
        fetched(transport, run, tmp_path / "back")
    assert [path for path in (tmp_path / "back").rglob("*") if path.is_file()] == []


# What was named by the rule of before, and who knows that rule alone


class OfBefore(Recorded):
    """Says nothing of digests, as a client or job of before."""

    def send(self, method, path, body, headers, stream, timeout_s):
        headers = {name: value for name, value in headers.items() if name != HEADER}
        return super().send(method, path, body, headers, stream, timeout_s)


@pytest.mark.parametrize("nearness", ["transport", "far"])
def test_a_client_of_before_is_told_no_digest_that_it_would_take_for_wrong(
    request, transport, run, large, tmp_path, nearness
):
    transfer.upload_run_files(transport, run, [("large", str(large))])
    offered(transport, [("large", str(large))], False, DigestCache(str(tmp_path)))
    before = OfBefore(request.getfixturevalue(nearness))
    assert transfer.list_run_files(before, run) == [FileEntry("large", len(LARGE), "")]
    assert transfer.list_datastore_files(before, STORE) == [FileEntry("data/large", len(LARGE), "")]
    assert fetched(before, run, tmp_path / "back") == {"large": LARGE}


def sent_as_before(transport, path, content, name=""):
    """As a client or job sends a large content that knows its SHA-256 alone."""
    digest = hashlib.sha256(content).hexdigest()
    entry = digest + name
    transport.request("POST", path, body=entry_header(entry, len(content)) + content + END).close()
    return digest


@pytest.mark.parametrize("nearness", ["transport", "far"])
def test_a_large_file_under_its_sha256_is_taken_listed_fetched_and_verified(
    request, file_server, transport, run, tmp_path, nearness
):
    digest = sent_as_before(transport, "/objects", LARGE)
    listed = {"path": "large", "size": len(LARGE), "digest": digest, "executable": False}
    transport.call("POST", "/runs/{}/files".format(run), json={"files": [listed]})
    assert transfer.list_run_files(transport, run) == [FileEntry("large", len(LARGE), digest)]
    assert file_server.store.path(digest).read_bytes() == LARGE
    assert fetched(request.getfixturevalue(nearness), run, tmp_path / "back") == {"large": LARGE}
    assert file_server.files.check(run) == (1, [])
    with file_server.store.path(digest).open("r+b") as damaged:
        damaged.write(b"\xff")
    assert file_server.files.check(run) == (1, ["large"])
    with pytest.raises(ServiceException, match="not what its digest says"):
        fetched(request.getfixturevalue(nearness), run, tmp_path / "again")


class ServerOfBefore(Transport):
    """Knows no name but the SHA-256, and nobody is near it."""

    def __init__(self, inner):
        self.inner = inner

    def send(self, method, path, body, headers, stream, timeout_s):
        if method == "POST" and headers.get("Content-Type") == "application/octet-stream":
            body = b"".join(body)
            refused, reader = [], PackReader(io.BytesIO(body))
            for name, _ in reader:
                if hashlib.sha256(b"".join(reader.chunks())).hexdigest() != name.partition("/")[0]:
                    refused.append(name)
            if refused:
                raise DigestMismatchError("other bytes", {"refused": refused})
        return self.inner.send(method, path, body, headers, stream, timeout_s)


def test_a_server_of_before_is_sent_a_large_content_under_its_sha256(file_server, far, run, large, tmp_path):
    before = ServerOfBefore(far)
    expected = hashlib.sha256(LARGE).hexdigest()
    transfer.upload_run_files(before, run, [("large", str(large))])
    assert [entry.digest for entry in transfer.list_run_files(far, run)] == [expected]
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(str(large), str(source))
    snapshot = transfer.send_snapshot(before, str(source), say=lambda _: None)
    assert [entry.digest for entry in transfer.fetch_snapshot(far, snapshot, str(tmp_path / "code"))] == [expected]
    assert offered(before, [("large", str(large))], False, DigestCache(str(tmp_path)))[1]["sent"] == ["large"]
    place = file_server.datastores.local_path(STORE) / "data" / "large"
    assert place.read_bytes() == LARGE


def test_other_bytes_under_the_sha256_of_a_large_content_are_refused(file_server, transport):
    digest = hashlib.sha256(LARGE).hexdigest()
    with pytest.raises(DigestMismatchError):
        transport.request("POST", "/objects", body=entry_header(digest, len(OTHER)) + OTHER + END)
    assert file_server.store.has([digest]) == set()


def test_a_datastore_s_file_under_its_sha256_is_the_same_for_every_client(file_server, transport, large, tmp_path):
    path = "/datastores/{}/files?target_path=data".format(STORE)
    digest = sent_as_before(transport, path, LARGE, "/large")
    place = file_server.datastores.local_path(STORE) / "data" / "large"
    os.utime(str(place), (1, 1))
    cache = DigestCache(str(tmp_path))
    for _ in range(2):
        assert offered(transport, [("large", str(large))], True, cache)[1]["same"] == ["large"]
        asked = {"path": "large", "size": len(LARGE), "digest": digest, "executable": False}
        plan = {"files": [asked], "target_path": "data", "overwrite": True}
        assert transport.call("POST", "/datastores/{}/plan".format(STORE), json=plan)["same"] == ["large"]


# Datastores


def offered(transport, files, overwrite, cache):
    found, brought = transfer.bring_to_datastore(transport, STORE, "data", files, cache)
    became = transfer.upload_datastore_files(transport, STORE, "data", found, overwrite)
    return brought, became


def test_a_datastore_is_handed_what_it_has_nothing_in_the_place_of(file_server, transport, large, tmp_path):
    recorded, cache = Recorded(transport), DigestCache(str(tmp_path))
    brought, _ = offered(recorded, [("a/large", str(large))], False, cache)
    assert brought == {"a/large"}
    assert "/datastores/{}/files".format(STORE) not in recorded.sent
    folder = file_server.datastores.local_path(STORE)
    assert (folder / "data" / "a" / "large").read_bytes() == LARGE
    assert [entry.digest for entry in transfer.list_datastore_files(transport, STORE, "data/")] == [of_file(str(large))]


def test_what_a_datastore_has_is_compared_before_anything_moves(file_server, transport, large, tmp_path):
    cache = DigestCache(str(tmp_path))
    offered(transport, [("large", str(large))], False, cache)
    assert offered(transport, [("large", str(large))], True, cache) == (
        set(),
        {"sent": [], "same": ["large"], "kept": []},
    )
    large.write_bytes(OTHER)
    assert offered(transport, [("large", str(large))], False, cache)[1]["kept"] == ["large"]
    place = file_server.datastores.local_path(STORE) / "data" / "large"
    assert place.read_bytes() == LARGE
    assert offered(transport, [("large", str(large))], True, cache)[1]["sent"] == ["large"]
    assert place.read_bytes() == OTHER


def test_a_file_that_was_not_announced_is_not_taken(transport, large):
    path = "/datastores/{}/files/expect?target_path=data".format(STORE)
    with handover.Bringer(transport, path, ["announced"]) as bringer:
        assert bringer.keep("other", str(large)) is None
        bringer._wanted.add("other")  # as a client that does not keep to it
        with pytest.raises(UserErrorException, match="not announced"):
            bringer.keep("other", str(large))


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", ".runyard-incoming/x"])
def test_a_path_that_leaves_the_datastore_is_refused_before_a_file_is_asked_for(transport, name):
    with pytest.raises(UserErrorException):
        transport.call("POST", "/datastores/{}/files/expect".format(STORE), json={"paths": [name]})
    with pytest.raises(UserErrorException):
        transport.call(
            "POST", "/datastores/{}/files/expect".format(STORE), json={"paths": ["x"]}, query={"target_path": name}
        )
