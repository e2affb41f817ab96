import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runyard.errors import DatastoreException, DigestMismatchError, PathRefusedError, UnknownDatastoreError
from runyard.protocol.datastores import DatastoreRegistration
from runyard.protocol.files import FileEntry, Manifest
from runyard.protocol.pack import END, entry_header
from runyard_server.records.engine import Database
from runyard_server.services.datastores import DEFAULT, DatastoreService
from runyard_server.testing.clock import FakeClock

NOW = 1_566_000_000.0
LONG_AGO = int(NOW - 1000)


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    folder.mkdir()
    return folder


@pytest.fixture
def datastores(database: Database, tmp_path: Path, allowed: Path) -> Iterator[DatastoreService]:
    service = DatastoreService(database, FakeClock(NOW), tmp_path / "datastores", [allowed])
    service.ensure_defaults()
    yield service
    service.close()


def entry(path: str, content: bytes = b"content") -> FileEntry:
    return FileEntry(path, len(content), hashlib.sha256(content).hexdigest())


def put(datastores: DatastoreService, files: dict[str, bytes], target_path: str = "", name: str = DEFAULT) -> int:
    async def body() -> AsyncIterator[bytes]:
        for path, content in files.items():
            yield entry_header(f"{hashlib.sha256(content).hexdigest()}/{path}", len(content)) + content
        yield END

    return asyncio.run(datastores.receive(name, target_path, body(), None))


def folder(datastores: DatastoreService, name: str = DEFAULT) -> Path:
    return datastores.local_path(name)


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# What is attached


def test_every_workspace_has_two_and_the_blob_store_is_the_default(datastores: DatastoreService) -> None:
    datastores.ensure_defaults()
    assert [(record.name, record.is_default) for record in datastores.list()] == [
        ("workspaceblobstore", True),
        ("workspacefilestore", False),
    ]


def test_an_unknown_one_names_those_that_are_there(datastores: DatastoreService) -> None:
    with pytest.raises(UnknownDatastoreError, match="This workspace has: workspaceblobstore, workspacefilestore"):
        datastores.get("nope")


def test_an_allowed_folder_is_attached_becomes_the_default_and_goes(
    datastores: DatastoreService, allowed: Path
) -> None:
    (allowed / "data").mkdir()
    (allowed / "data" / "x").write_bytes(b"x")
    datastores.register(DatastoreRegistration("mine", settings={"path": str(allowed / "data")}))
    assert [file.path for file in datastores.files("mine")] == ["x"]
    assert datastores.set_default("mine").is_default
    assert [record.name for record in datastores.list() if record.is_default] == ["mine"]
    with pytest.raises(DatastoreException, match="is the default"):
        datastores.unregister("mine")
    datastores.set_default(DEFAULT)
    datastores.unregister("mine")
    assert (allowed / "data" / "x").exists()
    with pytest.raises(UnknownDatastoreError):
        datastores.get("mine")


@pytest.mark.parametrize("path", ["/etc", "/", "relative", "", "{allowed}/../other", "{allowed}/link"])
def test_a_folder_that_the_settings_do_not_allow_is_refused(
    datastores: DatastoreService, allowed: Path, path: str
) -> None:
    (allowed.parent / "other").mkdir()
    (allowed / "link").symlink_to(allowed.parent / "other")
    with pytest.raises(DatastoreException, match="does not allow|absolute path"):
        datastores.register(DatastoreRegistration("mine", settings={"path": path.format(allowed=allowed)}))


def test_the_refusal_says_who_can_allow_it(database: Database, tmp_path: Path) -> None:
    service = DatastoreService(database, FakeClock(), tmp_path / "datastores")
    with pytest.raises(DatastoreException, match=r"allowed: none\. Who runs the server .* RUNYARD_DATASTORE_ROOTS="):
        service.register(DatastoreRegistration("mine", settings={"path": str(tmp_path)}))


def test_a_folder_that_is_not_there_another_kind_and_a_bad_name_are_refused(
    datastores: DatastoreService, allowed: Path
) -> None:
    with pytest.raises(DatastoreException, match="Make it first"):
        datastores.register(DatastoreRegistration("mine", settings={"path": str(allowed / "absent")}))
    with pytest.raises(DatastoreException, match="kind 'azure'"):
        datastores.register(DatastoreRegistration("mine", kind="azure"))
    with pytest.raises(DatastoreException, match="no name of a datastore"):
        datastores.register(DatastoreRegistration("my-data", settings={"path": str(allowed)}))


def test_a_taken_name_is_refused_unless_overwritten_and_a_built_in_one_always(
    datastores: DatastoreService, allowed: Path
) -> None:
    wanted = DatastoreRegistration("mine", settings={"path": str(allowed)})
    datastores.register(wanted)
    with pytest.raises(DatastoreException, match="overwrite=True"):
        datastores.register(wanted)
    (allowed / "other").mkdir()
    again = DatastoreRegistration("mine", settings={"path": str(allowed / "other")}, overwrite=True)
    assert datastores.register(again).local_path == str(allowed / "other")
    with pytest.raises(DatastoreException, match="there already. Choose another name"):
        datastores.register(DatastoreRegistration(DEFAULT, settings={"path": str(allowed)}, overwrite=True))
    with pytest.raises(DatastoreException, match="every workspace has it"):
        datastores.unregister("workspacefilestore")


# Files in


def test_files_lie_in_the_folder_as_themselves(datastores: DatastoreService, tmp_path: Path) -> None:
    assert put(datastores, {"train/a": b"a", "b": b"b"}, "mnist") == 2
    assert folder(datastores) == tmp_path / "datastores" / DEFAULT
    assert names(folder(datastores)) == ["mnist/b", "mnist/train/a"]
    assert (folder(datastores) / "mnist" / "train" / "a").read_bytes() == b"a"


def test_the_same_bytes_are_not_asked_for_again(datastores: DatastoreService) -> None:
    put(datastores, {"a": b"content"}, "mnist")
    answer = datastores.plan_upload(DEFAULT, "mnist", Manifest([entry("a"), entry("new")]), overwrite=True)
    assert (answer.send, answer.same, answer.kept) == (["new"], ["a"], [])


def test_other_bytes_are_kept_or_replaced_as_asked(datastores: DatastoreService) -> None:
    put(datastores, {"same_size": b"another", "longer": b"longer than that"})
    offered = Manifest([entry("same_size"), entry("longer")])
    assert datastores.plan_upload(DEFAULT, "", offered, overwrite=False).kept == ["same_size", "longer"]
    assert datastores.plan_upload(DEFAULT, "", offered, overwrite=True).send == ["same_size", "longer"]


def test_a_file_put_there_by_hand_is_hashed_once(datastores: DatastoreService) -> None:
    path = folder(datastores) / "by_hand"
    path.write_bytes(b"content")
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert datastores.files(DEFAULT)[0].digest == ""
    assert datastores.plan_upload(DEFAULT, "", Manifest([entry("by_hand")]), False).same == ["by_hand"]
    assert datastores.files(DEFAULT)[0].digest == entry("").digest


def test_a_file_changed_by_hand_is_noticed(datastores: DatastoreService) -> None:
    put(datastores, {"a": b"content"})
    path = folder(datastores) / "a"
    path.write_bytes(b"changed")
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert datastores.plan_upload(DEFAULT, "", Manifest([entry("a")]), False).kept == ["a"]


def test_a_file_whose_bytes_are_not_those_of_its_digest_does_not_replace_the_old_one(
    datastores: DatastoreService,
) -> None:
    put(datastores, {"a": b"old"})
    name = "ab" * 32 + "/a"

    async def body() -> AsyncIterator[bytes]:
        yield entry_header(name, 3) + b"new" + END

    with pytest.raises(DigestMismatchError) as refused:
        asyncio.run(datastores.receive(DEFAULT, "", body(), None))
    assert refused.value.details == {"refused": [name]}
    assert (folder(datastores) / "a").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("target", "path"),
    [("", "../x"), ("..", "x"), ("", "/etc/x"), ("/etc", "x"), ("a", "b/../../../x"), ("", ".runyard-incoming/x")],
)
def test_a_path_outside_the_datastore_is_refused(
    datastores: DatastoreService, tmp_path: Path, target: str, path: str
) -> None:
    with pytest.raises(PathRefusedError):
        put(datastores, {path: b"evil"}, target)
    with pytest.raises(PathRefusedError):
        datastores.plan_upload(DEFAULT, target, Manifest([entry(path)]), True)
    assert not list(tmp_path.rglob("x"))


def test_a_link_out_of_the_datastore_is_not_followed(datastores: DatastoreService, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (folder(datastores) / "link").symlink_to(outside)
    (folder(datastores) / "file").symlink_to(outside / "secret")
    with pytest.raises(PathRefusedError):
        put(datastores, {"link/x": b"evil"})
    with pytest.raises(PathRefusedError):
        datastores.pack(DEFAULT, ["link/secret"])
    with pytest.raises(PathRefusedError):
        datastores.pack(DEFAULT, ["file"])
    assert datastores.files(DEFAULT) == []
    put(datastores, {"file": b"mine"})
    assert (outside / "secret").read_bytes() == b"secret"
    assert names(outside) == ["secret"]


def test_a_file_in_the_place_of_a_folder_is_refused_with_its_path(datastores: DatastoreService) -> None:
    put(datastores, {"a/b": b"x", "c": b"x"})
    for path in ("a", "c/d"):
        with pytest.raises(DatastoreException, match=f"'{path}' cannot be a file"):
            put(datastores, {path: b"x"})
        with pytest.raises(DatastoreException, match=f"'{path}' cannot be a file"):
            datastores.plan_upload(DEFAULT, "", Manifest([entry(path)]), True)


# Files out


def test_files_are_listed_by_prefix(datastores: DatastoreService) -> None:
    put(datastores, {"mnist/train/a": b"a", "mnist/test/b": b"b", "other": b"o"})
    assert [file.path for file in datastores.files(DEFAULT)] == ["mnist/test/b", "mnist/train/a", "other"]
    assert [file.path for file in datastores.files(DEFAULT, "mnist/")] == ["mnist/test/b", "mnist/train/a"]
    assert [file.path for file in datastores.files(DEFAULT, "mnist/tr")] == ["mnist/train/a"]
    assert datastores.files(DEFAULT, "nothing/here") == []
    assert datastores.files(DEFAULT, "other")[0].digest == entry("", b"o").digest


def test_files_are_packed_by_path(datastores: DatastoreService) -> None:
    put(datastores, {"a": b"aa", "b": b"b"})
    assert [(item.name, item.size) for item in datastores.pack(DEFAULT, ["b", "a", "b"])] == [("b", 1), ("a", 2)]
    with pytest.raises(DatastoreException, match="no file 'absent'"):
        datastores.pack(DEFAULT, ["a", "absent"])


def test_half_written_files_are_never_seen_in_an_attached_folder(datastores: DatastoreService, allowed: Path) -> None:
    datastores.register(DatastoreRegistration("mine", settings={"path": str(allowed)}))
    put(datastores, {"a": b"a"}, name="mine")
    (next((allowed / ".runyard-incoming").iterdir()) / "half").write_bytes(b"half")
    assert [file.path for file in datastores.files("mine")] == ["a"]


def test_a_folder_that_is_gone_says_so(datastores: DatastoreService, allowed: Path) -> None:
    (allowed / "disk").mkdir()
    datastores.register(DatastoreRegistration("mine", settings={"path": str(allowed / "disk")}))
    (allowed / "disk").rmdir()
    with pytest.raises(DatastoreException, match="Is its disk mounted"):
        datastores.files("mine")
