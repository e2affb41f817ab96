"""Files on pages: looked at as what they are, saved as they are, and none that was not asked for."""

import base64
import json

import pytest

from runyard.protocol.models import ModelSpec

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = "<script>alert('x')</script>"


def test_each_kind_of_file_has_its_own_look(shelf) -> None:
    run = shelf.run()
    cells = [
        {"cell_type": "code", "source": HOSTILE, "outputs": [{"data": {"image/png": base64.b64encode(PNG).decode()}}]}
    ]
    files = {
        "a picture.png": (PNG, f'<img src="/runs/{run.id}/pictures/outputs/a%20picture.png"'),
        "table.csv": (f"a,b\n{HOSTILE},2\n".encode(), "<th>a</th>"),
        "notes.txt": (HOSTILE.encode(), "&lt;script&gt;alert"),
        "n.ipynb": (json.dumps({"cells": cells}).encode(), '<img src="data:image/png;base64,'),
        "weights.bin": (b"\0\1", "Download it to look inside."),
    }
    for name, (content, expected) in files.items():
        shelf.put(run, f"outputs/{name}", content)
        answer = shelf.visitor.get(f"/runs/{run.id}/files/outputs/{name}")
        assert answer.status_code == 200 and expected in answer.text, name
        assert "<script>" not in answer.text
        assert ("img-src 'self' data:" in answer.headers["content-security-policy"]) == name.endswith("ipynb")
        saved = shelf.visitor.get(f"/runs/{run.id}/downloads/outputs/{name}")
        assert saved.content == content and saved.headers["content-disposition"].startswith("attachment")
        assert saved.headers["content-type"] == "application/octet-stream"


def test_only_a_picture_is_sent_as_one_and_nothing_in_it_can_run(shelf) -> None:
    run = shelf.run()
    shelf.put(run, "outputs/p.bin", PNG)
    shelf.put(run, "outputs/p.svg", b"<svg onload='alert(1)'/>")
    shelf.put(run, "outputs/fake.png", HOSTILE.encode())
    answer = shelf.visitor.get(f"/runs/{run.id}/pictures/outputs/p.bin")
    assert (answer.headers["content-type"], answer.content) == ("image/png", PNG)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    for name in ("p.svg", "fake.png"):
        assert shelf.visitor.get(f"/runs/{run.id}/pictures/outputs/{name}").status_code == 404


def test_a_file_that_is_not_there_is_told(shelf) -> None:
    run = shelf.run()
    for what in ("files", "pictures", "downloads"):
        assert shelf.visitor.get(f"/runs/{run.id}/{what}/outputs/none").status_code == 404
        assert shelf.visitor.get(f"/models/none/1/{what}/x").status_code == 404
        assert shelf.visitor.get(f"/datastores/none/{what}/x").status_code == 404


def test_a_models_files_are_looked_at_and_saved(shelf) -> None:
    run = shelf.run()
    shelf.put(run, "outputs/net/layers.json", b'{"a": 1}')
    shelf.server.services.models.register(ModelSpec("net", run_id=run.id, model_path="outputs/net"))
    assert "&#34;a&#34;: 1" in shelf.visitor.get("/models/net/1/files/net/layers.json").text
    assert shelf.visitor.get("/models/net/1/downloads/net/layers.json").content == b'{"a": 1}'
    assert shelf.visitor.get("/models/net/2").status_code == 404
    answer = shelf.visitor.get("/models/net/x")
    assert answer.status_code == 400 and "version: Input should be a valid integer" in answer.text


def test_folders_of_a_datastore_are_walked_through(shelf) -> None:
    root = shelf.server.services.datastores.local_path("workspaceblobstore")
    (root / "walk" / "in & out").mkdir(parents=True)
    (root / "walk" / "table.csv").write_text("a,b\n1,2\n")
    (root / "walk" / "in & out" / "x.txt").write_text("found")
    text = shelf.visitor.get("/datastores/workspaceblobstore?folder=walk").text
    assert "/datastores/workspaceblobstore?folder=walk/in%20%26%20out" in text
    assert text.index("in &amp; out/") < text.index("table.csv")  # folders first
    assert "x.txt" in shelf.visitor.get("/datastores/workspaceblobstore", params={"folder": "walk/in & out"}).text
    assert "found" in shelf.visitor.get("/datastores/workspaceblobstore/files/walk/in%20%26%20out/x.txt").text
    assert shelf.visitor.get("/datastores/workspaceblobstore/downloads/walk/table.csv").content == b"a,b\n1,2\n"
    led = shelf.visitor.get("/datastores/workspaceblobstore?folder=walk/table.csv")
    assert led.headers["location"] == "/datastores/workspaceblobstore/files/walk/table.csv"


@pytest.mark.parametrize("path", ["../secret", "walk/../../secret", "/etc/passwd", "link", "link/secret"])
def test_nothing_outside_of_a_datastore_is_shown(shelf, path: str) -> None:
    root = shelf.server.services.datastores.local_path("workspaceblobstore")
    (root.parent / "secret").write_text("hidden")
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(root.parent)
    for address in (
        f"/datastores/workspaceblobstore/files/{path}",
        f"/datastores/workspaceblobstore/downloads/{path}",
        f"/datastores/workspaceblobstore/pictures/{path}",
        f"/datastores/workspaceblobstore?folder={path}",
    ):
        answer = shelf.visitor.get(address)
        assert answer.status_code in (400, 404) and "hidden" not in answer.text, address
    assert ">link" not in shelf.visitor.get("/datastores/workspaceblobstore").text
