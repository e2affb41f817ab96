"""What travels as one body and becomes many files, in both directions: inside its folder and whole, or not at all."""

import io
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import pytest

from runyard import transfer
from runyard.errors import RunyardError, ServiceException
from runyard.protocol.codec import to_json
from runyard.protocol.files import MANIFEST_ENTRY, FileEntry, Manifest, manifest_id
from runyard.protocol.pack import END, HEADER, PackReader
from runyard.transport.base import Answer, Body, Transport

from .attacks import attack
from .conftest import CONTENT, Yard, pack_of
from .doors import API, DIGEST
from .test_paths import CLIMBING, UNIT_LIST, WINDOWS, disk

STORE = f"{API}/datastores/workspaceblobstore/files"
ESCAPING = [*CLIMBING, *WINDOWS, *(path for path in UNIT_LIST if path.isprintable() and len(path) < 1000)]
THIRTY_TWO = (
    32,
    "mlflow#21824, mlflow#6961 (CVE-2007-4559)",
    "archives with `..`, absolute names, links, devices, a name twice or in other capitals, sizes that are lies, too "
    "many entries",
    "no tar or zip is unpacked: the one framing (a pack) has names, sizes and bytes, and nothing to make a link of; "
    "a name that is not plain is refused and nothing of the entry is written",
)


class Liar(Transport):
    """A server that answers every request with the same body."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def send(
        self, method: str, path: str, body: Body | None, headers: dict[str, str], stream: bool, timeout_s: float | None
    ) -> Answer:
        return Answer(200, {}, io.BytesIO(self.body))


def snapshot_of(paths: list[str], content: bytes = CONTENT) -> tuple[str, bytes]:
    """Id and pack of a snapshot with these paths, as a server that lies about nothing but the paths would send it."""
    digest = sha256(content).hexdigest()
    manifest = Manifest([FileEntry(path, len(content), digest) for path in paths])
    listed = json.dumps(to_json(manifest)).encode()
    return manifest_id(manifest), pack_of({MANIFEST_ENTRY: listed, digest: content})


@pytest.mark.parametrize("path", ESCAPING, ids=ascii)
@attack(*THIRTY_TWO)
def test_attack_32_an_entry_that_leaves_its_folder_is_refused_with_all_that_follows(yard: Yard, path: str) -> None:
    before = disk(yard.root)
    answer = yard.client().post(STORE, content=pack_of({f"{DIGEST}/{path}": CONTENT, f"{DIGEST}/after": CONTENT}))
    assert answer.status_code == 400
    assert disk(yard.root) == before


@attack(*THIRTY_TWO)
def test_attack_32_a_file_is_never_written_through_a_link(yard: Yard, tmp_path: Path) -> None:
    store = yard.home / "datastores" / "workspaceblobstore"
    (tmp_path / "outside").write_bytes(b"kept")
    (store / "folder-link").symlink_to(tmp_path)
    (store / "file-link").symlink_to(tmp_path / "outside")
    through = yard.client().post(STORE, content=pack_of({f"{DIGEST}/folder-link/x": CONTENT}))
    assert through.status_code == 400
    over = yard.client().post(STORE, content=pack_of({f"{DIGEST}/file-link": CONTENT}))
    assert over.status_code == 200
    assert (tmp_path / "outside").read_bytes() == b"kept" and not (tmp_path / "x").exists()
    assert (store / "file-link").read_bytes() == CONTENT and not (store / "file-link").is_symlink()
    read = yard.client().post(f"{STORE}/pack", json={"paths": ["folder-link/outside"]})
    assert read.status_code == 400
    (store / "folder-link").unlink()
    (store / "file-link").unlink()


@attack(*THIRTY_TWO)
def test_attack_32_a_size_that_is_a_lie_fills_neither_memory_nor_disk(yard: Yard) -> None:
    before = disk(yard.root)
    name = DIGEST.encode()
    for size in (10 << 30, (1 << 64) - 1):
        with little_memory():
            answer = yard.client().post(f"{API}/objects", content=HEADER.pack(len(name), size) + name + b"0" * 100)
        assert answer.status_code == 400
    said = {"Content-Length": str(1 << 60)}
    assert yard.client().post(f"{API}/objects", content=b"", headers=said).status_code in (400, 507)
    assert disk(yard.root) == before


@attack(*THIRTY_TWO)
def test_attack_32_more_entries_than_a_tree_may_have_are_refused(yard: Yard) -> None:
    empty = sha256(b"").hexdigest()
    header = HEADER.pack(64, 0) + empty.encode()
    with little_memory():
        answer = yard.client().post(f"{API}/objects", content=header * 2_000 + END)
    assert answer.status_code == 200
    listed = [{"path": f"{number}", "size": 0, "digest": empty} for number in range(200_001)]
    assert yard.client().post(f"{API}/snapshots", json={"files": listed}).status_code == 400


@contextmanager
def little_memory() -> Iterator[None]:
    """At most 1 GiB more of addresses than now: what allocates by a size that was only said fails here."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "a/b"], ["a/b", "a"]])
@attack(*THIRTY_TWO)
def test_attack_32_two_files_never_share_a_name(yard: Yard, paths: list[str]) -> None:
    listed = {"files": [{"path": path, "size": len(CONTENT), "digest": DIGEST} for path in paths]}
    assert yard.client().post(f"{API}/snapshots", json=listed).status_code == 400


@attack(*THIRTY_TWO)
def test_attack_32_names_that_differ_in_capitals_alone_are_two_files_with_their_own_bytes(yard: Yard) -> None:
    contents = {"twins/Weights.bin": b"capital", "twins/weights.bin": b"small", "TWINS/weights.bin": b"elsewhere"}
    named = {f"{sha256(content).hexdigest()}/{path}": content for path, content in contents.items()}
    assert yard.client().post(STORE, content=pack_of(named)).status_code == 200
    for path, content in contents.items():
        answer = yard.client().post(f"{STORE}/pack", json={"paths": [path]})
        assert {
            name: b"".join(reader.chunks()) for reader in [PackReader(io.BytesIO(answer.content))] for name, _ in reader
        } == {path: content}


@attack(*THIRTY_TWO)
def test_attack_32_a_name_that_comes_twice_is_one_of_the_two_whole(yard: Yard) -> None:
    one, other = b"one" * 1000, b"other"
    pack = pack_of({f"{sha256(content).hexdigest()}/twice/x": content for content in (one, other)})
    assert yard.client().post(STORE, content=pack).status_code in (200, 400)
    assert (yard.home / "datastores" / "workspaceblobstore" / "twice" / "x").read_bytes() in (one, other)


@attack(*THIRTY_TWO)
def test_attack_32_entries_without_end_take_no_memory_and_leave_nothing_where_the_pack_breaks_off(yard: Yard) -> None:
    empty = sha256(b"").hexdigest().encode()
    before = disk(yard.root)
    name = empty + b"/endless"
    with little_memory():
        answer = yard.client().post(STORE, content=(HEADER.pack(len(name), 0) + name) * 5_000)
    assert answer.status_code == 400
    assert disk(yard.root) - before <= {str(yard.home / "datastores" / "workspaceblobstore" / "endless")}


@attack(*THIRTY_TWO)
def test_attack_32_a_client_writes_no_entry_that_its_list_does_not_name(tmp_path: Path) -> None:
    snapshot_id, body = snapshot_of(["first"])
    more = pack_of({"second": b"more", sha256(b"more").hexdigest(): b"more"})
    with suppress(RunyardError):
        transfer.fetch_snapshot(Liar(body[: -len(END)] + more), snapshot_id, str(tmp_path / "code"))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] in ([], ["first"])


# A dot or space at an end is a plain letter to a client; Windows alone takes it away, and there it stays inside too.
LEAVING = ["../../.ssh/authorized_keys", *(path for path in ESCAPING if not path.startswith("trailing"))]


@pytest.mark.parametrize("path", LEAVING, ids=ascii)
@attack(
    45,
    "ClearML CVE-2024-24591",
    "a server, or who can write to it, makes a client's download write outside the folder",
    "the client looks at every name itself before it writes a byte, and at links on the way",
)
def test_attack_45_a_server_cannot_write_outside_the_clients_folder(tmp_path: Path, path: str) -> None:
    snapshot_id, body = snapshot_of(["first", path])
    with pytest.raises(RunyardError):
        transfer.fetch_snapshot(Liar(body), snapshot_id, str(tmp_path / "code"))
    assert not [name for name in tmp_path.rglob("*") if name.is_file()]
    assert not (tmp_path.parent / ".ssh").exists()


@attack(45, "ClearML CVE-2024-24591", "", "")
def test_attack_45_a_pack_that_was_not_asked_for_is_not_believed(tmp_path: Path) -> None:
    wanted = FileEntry("outputs/model", len(CONTENT), DIGEST)
    target = tmp_path / "outputs" / "model"
    for name, content in [("../evil", CONTENT), ("outputs/model", b"others\n\n")]:
        with pytest.raises(ServiceException):
            transfer.download_run_files(Liar(pack_of({name: content})), "run", [wanted], {wanted.path: str(target)})
        assert not target.exists() and not (tmp_path.parent / "evil").exists()
    assert os.listdir(tmp_path) in ([], ["outputs"])
