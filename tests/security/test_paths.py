"""Paths from outside: refused as they are, at every door, and nothing of the disk is read or written for them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runyard.errors import PathRefusedError
from runyard_server.api.roles import TABLE
from runyard_server.domain.paths import inside, relative

from .attacks import attack
from .conftest import CONTENT, Yard
from .doors import API, DIGEST, DOORS, READING

# The halves of a pair, letters that fold into dots or slashes, and what a shell, a URL or Windows would read more into.
CLIMBING = ["../../../../../../etc/passwd", "outputs/../../../../etc/passwd", "./../etc/passwd", "..", "a/.."]
WINDOWS = ["C:/", "C:\\Windows\\win.ini", "\\\\host\\share", "..\\..\\x", "a\\..\\..\\x", "c:x"]
URLS = [
    "file:///etc/passwd",
    "file:///etc/passwd#outputs",
    "file:///etc/passwd?outputs",
    "http:///?/../../../../etc/",
    "http:///#/../../../etc/",
    "http://host#/../../../etc/",
    "http:///;/../../etc/",
    "a;/../../x",
    "//etc/passwd",
]
UNIT_LIST = [
    "/path",
    "../path",
    "../../path",
    "./../path",
    "path/../to/file",
    "path/../../to/file",
    "path/./file",
    "a//b",
    "a/",
    "nul\x00byte",
    "~/x",
    "~root/x",
    "line\r\nSet-Cookie: x",
    "trailing./x",
    "trailing /x",
    "x" * 5000,
    "\u2024\u2024/x/../y",
    "\ud800/x",
    "\x1b]0;title\x07",
]
# Fields that could be taken for a place.
TAKING = ["attach a folder", "register a model of a run", "refer to data", "name a script", "define a dataset"]
# What of the list is a plain name on a disk, odd as it looks; it must be taken for that name and no other.
REFUSING = (400, 404, 413, 422)


def disk(root: Path) -> set[str]:
    """Every path below ``root``, but for the files of the database itself."""
    return {
        os.path.join(folder, name)
        for folder, folders, files in os.walk(root)
        for name in folders + files
        if not name.startswith("records.db")
    }


def refuse(yard: Yard, door: str, paths: Sequence[str]) -> None:
    before, client = disk(yard.root), yard.client()
    for path in paths:
        answer = DOORS[door](client, yard, path)
        assert answer.status_code in REFUSING, f"{door} took {path!r}: {answer.status_code} {answer.text[:200]}"
        if answer.request.url.path.startswith(API):
            assert answer.json()["error"]["message"]
        assert b"root:" not in answer.content
    assert disk(yard.root) == before


@pytest.mark.parametrize("door", DOORS)
@attack(8, "mlflow#7166", "`..` in the path of an artifact", "400; 404 where only listed names are looked up")
def test_attack_8_a_path_that_climbs_is_refused_at_every_door(yard: Yard, door: str) -> None:
    refuse(yard, door, CLIMBING)


@pytest.mark.parametrize("door", DOORS)
@attack(9, "CVE-2023-3765", "Windows drives, shares and backslashes", "400; 404 where only listed names are looked up")
def test_attack_9_a_path_of_windows_is_refused_at_every_door(yard: Yard, door: str) -> None:
    refuse(yard, door, WINDOWS)


@pytest.mark.parametrize("path", ["%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%252E%252E%252F%252E%252E%252Fetc%252fpasswd"])
@pytest.mark.parametrize("route", ["files", "logs"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@attack(
    10,
    "CVE-2023-6831, CVE-2024-1560",
    "`../` percent-encoded once and twice",
    "decoded once: 400; what is left encoded is a plain name that is not there: 404; no such method: 405",
)
def test_attack_10_an_encoded_path_is_decoded_once_and_refused(yard: Yard, route: str, path: str, method: str) -> None:
    before = disk(yard.root)
    # The log's offset lies behind its end: even where the doubly encoded name is a plain one, nothing is written.
    answer = yard.client().request(method, f"/api/v1/runs/{yard.run_id}/{route}/{path}?offset=1")
    assert answer.status_code in (400, 404, 405, 409)
    assert b"root:" not in answer.content
    assert disk(yard.root) == before


@pytest.mark.parametrize("door", [*TAKING, *READING])
@attack(
    14,
    "CVE-2024-1593",
    "`;`, `#` and `?` to smuggle `..` past a check of a location",
    "400: no field takes a location; a folder is attached only below the roots that the server was started with",
)
def test_attack_14_no_field_takes_a_location_however_it_is_spelt(yard: Yard, door: str) -> None:
    refuse(yard, door, URLS)


DATASET = {
    "id": "00000000-0000-4000-8000-00000000000e",
    "name": "located",
    "definition": {"kind": "file", "sources": [{"datastore": "workspaceblobstore", "path": "data"}]},
}
# Every route that makes or changes something by the fields of a JSON body, with what it takes.
WRITING: dict[tuple[str, str], dict[str, Any]] = {
    ("PATCH", f"{API}/workspace"): {},
    ("PUT", f"{API}/experiments/{{name}}"): {},
    ("PATCH", f"{API}/experiments/{{name}}"): {},
    ("PATCH", f"{API}/runs/{{run_id}}"): {},
    ("POST", f"{API}/interactive-runs"): {"experiment": "mnist"},
    ("POST", f"{API}/computes"): {"name": "located"},
    ("PATCH", f"{API}/computes/{{name}}"): {},
    ("POST", f"{API}/environments"): {"name": "located"},
    ("POST", f"{API}/retention-rules"): {"name": "located", "action": "archive", "keep_newest": 9},
    ("POST", f"{API}/models"): {"name": "evil"},
    ("PATCH", f"{API}/models/{{name}}/{{version}}"): {},
    ("POST", f"{API}/snapshots"): {"files": []},
    ("POST", f"{API}/datasets"): DATASET,
    ("PATCH", f"{API}/datasets/{{name}}/{{version}}"): {},
    ("POST", f"{API}/datastores"): {"name": "evil"},
    ("PATCH", f"{API}/datastores/{{name}}"): {},
}
# What only a location could complete, and what takes no other fields than it has.
REFUSING_OTHERS = {f"{API}/workspace", f"{API}/models", f"{API}/datastores"}
# Those that start work, whose paths are doors; that take bytes; that keep nothing.
OTHERS = {("POST", f"{API}/{noun}") for noun in ("runs", "environment-builds", "objects", "cleaning", "retention")}
NAMES = {"computes": "located", "datastores": "workspaceblobstore"}


@pytest.mark.parametrize("field", ["artifact_location", "source", "local_path", "uri", "url", "root", "kind"])
@pytest.mark.parametrize("location", ["file:///etc#x", "file:///etc?x", "/etc", "http://127.0.0.1:1/x"])
@attack(
    15,
    "CVE-2024-1483, GHSA-m49c-5c52-6696",
    "a local URI with `#` or `?`, in every field and route that could hold a location",
    "fields that are none are passed over and none is ever opened; those that are: 400",
)
def test_attack_15_a_location_that_a_client_names_is_never_stored(yard: Yard, field: str, location: str) -> None:
    client, before = yard.client(), disk(yard.root)
    for (method, path), said in WRITING.items():
        name = NAMES.get(path.split("/")[3], "mnist")
        address = path.format(name=name, version=1, run_id=yard.run_id)
        asked = {**said, field: location}
        if path == f"{API}/snapshots":
            asked["files"] = [{"path": "train.py", "size": len(CONTENT), "digest": DIGEST, field: location}]
        answer = client.request(method, address, json=asked)
        assert answer.status_code == (400 if path in REFUSING_OTHERS else 200), (method, address, answer.text)
        assert answer.status_code == 400 or location not in answer.text, (method, address, answer.text)
    # Its name is taken now, unlike the others', which may be asked for again.
    assert client.request("DELETE", f"{API}/retention-rules/located").status_code == 200
    for path in sorted({path.split("/{")[0] for _, path in WRITING}):
        if ("GET", path) in TABLE:
            told = client.get(path)
            assert told.status_code == 200 and location not in told.text, path
    assert disk(yard.root) == before


def test_every_route_that_creates_or_changes_something_by_its_fields_is_asked_for_locations() -> None:
    ours = {row for row in TABLE if row[1].startswith(API)}
    made = {row for row in ours if row[0] == "POST" and row[1].count("/") == 3}
    changed = {row for row in ours if row[0] in ("PUT", "PATCH") and ":path}" not in row[1]}
    assert made | changed == set(WRITING) | OTHERS


@pytest.mark.parametrize("door", DOORS)
@attack(
    16,
    "MLflow's own list of bad paths",
    "absolute, empty and dotted parts, NUL, `~`, CR/LF, dots and spaces at an end, 5,000 letters, half a letter",
    "400, 404 or 422 (no valid text); nothing is cleaned into something that would pass",
)
def test_attack_16_a_path_that_is_not_plain_is_refused_at_every_door(yard: Yard, door: str) -> None:
    refuse(yard, door, UNIT_LIST)


# The path function itself

SPECIAL = st.text(st.sampled_from(list("ab./\\:~ \x00\n%;?#\u2024\uff0e\uff0f\u2215\u202e\ud800")), max_size=12)


@settings(
    max_examples=400, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example("a/b")
@given(st.one_of(SPECIAL, st.text(max_size=40)))
def test_the_path_function_gives_a_path_back_as_it_was_or_refuses_it(tmp_path: Path, path: str) -> None:
    try:
        kept = relative(path)
    except PathRefusedError:
        return
    assert kept == path
    parts = path.split("/")
    assert all(part not in ("", ".", "..") for part in parts)
    assert not set(path) & set("\\\x00\r\n")
    # What the system makes of it lies below, as deep as it says.
    assert os.path.normpath(os.path.join("/root-of-all", path)) == "/root-of-all/" + path
    located = inside(tmp_path, path)
    assert located.relative_to(tmp_path).parts == tuple(parts)


@settings(
    max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    before=st.lists(st.sampled_from(["a", "b"]), max_size=2), after=st.lists(st.sampled_from(["a", "b"]), max_size=2)
)
def test_a_link_on_the_way_never_leads_out(tmp_path: Path, before: list[str], after: list[str]) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir(exist_ok=True)
    folder = root.joinpath(*before)
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "link"
    if not link.is_symlink():
        link.symlink_to(outside)
    with pytest.raises(PathRefusedError):
        inside(root, "/".join([*before, "link", *after]))
