import io
import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from runyard.errors import PathRefusedError, ServerUnavailableError, UnknownRunError
from runyard.leftovers import leftover_spools, open_folder, spool_root, sync
from runyard.spool import Spool
from runyard.transport.base import Answer, Transport


class TakingServer(Transport):
    """Takes everything, or answers with ``problem``."""

    def __init__(self, problem=None):
        self.problem = problem
        self.bodies = []

    def send(self, method, path, body, headers, stream, timeout_s):
        if self.problem is not None:
            raise self.problem
        self.bodies.append(body)
        return Answer(200, {}, io.BytesIO(json.dumps({"size": len(body)}).encode()))


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "spool")


def left_behind(root, run_id="run-1", **meta):
    """A folder whose client has died with one point unsent."""
    folder = open_folder(root, run_id, dict(meta, server_file="server.json"))
    spool = Spool(folder.spool_directory, folder.writer)
    spool.scalar("loss", 0.5)
    spool.close()
    folder.release(delete=False)
    return folder


def test_a_folder_is_the_clients_own_and_says_where_its_run_lives(root):
    folder = open_folder(root, "run-1", {"server_file": "home/server.json"})
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700
    with open(os.path.join(folder.path, "meta.json")) as file:
        assert json.load(file) == {"server_file": "home/server.json", "run_id": "run-1"}
    assert os.path.isdir(folder.spool_directory)
    other = open_folder(root, "run-1", {})
    assert other.path != folder.path and other.writer != folder.writer
    folder.release(delete=True)
    other.release(delete=True)
    assert os.listdir(root) == []


def test_what_a_living_client_holds_is_no_leftover(root):
    folder = open_folder(root, "run-1", {})
    assert leftover_spools(root) == []
    folder.release(delete=False)
    (found,) = leftover_spools(root)
    assert found.path == folder.path and found.meta["run_id"] == "run-1"
    assert leftover_spools(root) == []  # it is held by who found it
    found.release(delete=False)


def test_syncing_stores_what_was_left_and_clears_it_away(root):
    left_behind(root)
    server = TakingServer()
    asked = []

    def connect(meta):
        asked.append(meta["server_file"])
        return server

    report = sync(root, connect)
    assert (report.stored, report.waiting, asked) == (["run-1"], {}, ["server.json"])
    assert json.loads(server.bodies[0])[:3] == ["s", "loss", 0.5]
    assert os.listdir(root) == []
    assert sync(root, connect).stored == []


@pytest.mark.parametrize(
    "problem",
    [ServerUnavailableError("no server answers"), UnknownRunError("no such run"), PathRefusedError("a bad name")],
)
def test_what_cannot_be_stored_stays_and_the_reason_is_told(root, problem):
    left_behind(root)
    report = sync(root, lambda meta: TakingServer(problem), timeout_s=0)
    assert (report.stored, report.waiting) == ([], {"run-1": str(problem)})
    assert sync(root, lambda meta: TakingServer()).stored == ["run-1"]


def test_files_that_were_set_aside_are_stored_before_their_folder_goes(root):
    folder = left_behind(root)
    os.makedirs(os.path.join(folder.spool_directory, "files", "images"))
    picture = os.path.join(folder.spool_directory, "files", "images", "a.png")
    with open(picture, "w") as file:
        file.write("png")
    uploaded = []

    def upload(transport, run_id, files, overwrite):
        if not uploaded:
            uploaded.append(None)
            raise ServerUnavailableError("away again")
        uploaded.append((run_id, files, overwrite))

    report = sync(root, lambda meta: TakingServer(), upload=upload)
    assert (report.stored, report.waiting) == ([], {"run-1": "away again"})
    assert sync(root, lambda meta: TakingServer(), upload=upload).stored == ["run-1"]
    assert uploaded[1] == ("run-1", [("images/a.png", picture)], True)
    assert os.listdir(root) == []


def test_another_servers_leftovers_are_let_alone(root):
    left_behind(root, "run-1")
    assert sync(root, lambda meta: None).stored == []
    assert len(os.listdir(root)) == 1


def test_a_server_that_cannot_even_be_named_keeps_nobody_else_waiting(root):
    left_behind(root, "run-1", which="gone")
    left_behind(root, "run-2", which="here")

    def connect(meta):
        if meta["which"] == "gone":
            raise ServerUnavailableError("its file is gone")
        return TakingServer()

    report = sync(root, connect)
    assert (report.stored, report.waiting) == (["run-2"], {"run-1": "its file is gone"})


def test_strange_things_among_the_folders_are_passed_over(root):
    os.makedirs(os.path.join(root, "empty"))
    os.makedirs(os.path.join(root, ".unready~1"))
    with open(os.path.join(root, "file"), "w") as file:
        file.write("x")
    assert leftover_spools(root) == []
    assert leftover_spools(os.path.join(root, "missing")) == []


def test_what_a_killed_client_logged_last_is_stored_by_the_next_one(root):
    client = subprocess.Popen(
        [
            sys.executable,
            "-c",
            """
import sys, time
from runyard.leftovers import open_folder
from runyard.spool import Spool
folder = open_folder(sys.argv[1], "run-1", {"server_file": "server.json"})
spool = Spool(folder.spool_directory, folder.writer)
for number in range(1000):
    spool.scalar("loss", number)
print("logged", flush=True)
sys.stdin.read()
""",
            root,
        ],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert client.stdout.readline() == b"logged\n"
    assert leftover_spools(root) == []
    client.send_signal(signal.SIGKILL)
    client.wait()
    client.stdin.close()
    client.stdout.close()
    server = TakingServer()
    assert sync(root, lambda meta: server).stored == ["run-1"]
    assert [json.loads(line)[2] for line in b"".join(server.bodies).splitlines()] == list(range(1000))


def test_runs_spool_below_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path))
    assert spool_root() == str(tmp_path / "spool")
