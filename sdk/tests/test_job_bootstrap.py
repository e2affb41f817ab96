"""What a node does that does not see the server's folder, up to the job: with a server played over HTTP."""

import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import runyard
from runyard.job import bootstrap

AWAY = """
import json, os, sys
def make_directory(given, root):
    if os.path.exists(os.path.join(root, "full")):
        raise OSError(28, "No space left on device")
    return root
def run(told, given, root, sdk, directory, holder):
    print(json.dumps([told["node"], given["token"], root, sdk, holder]))
    return 5
"""

DRIVER = """
def run(told, given):
    print(given["token"])
    return 6
"""


class Played:
    """A server that answers what a test says, and keeps what it was told."""

    def __init__(self, modules):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, text in modules:
                archive.writestr(name, text)
        self.archive = packed.getvalue()
        self.digest = hashlib.sha256(self.archive).hexdigest()
        self.refusal = None
        self.away_for = 0  # requests that a proxy in front of a server that is away answers
        self.task = {}
        self.before_it_begins = lambda: None
        self.told = []
        played = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, code, body):
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                played.told.append((self.path, self.headers["Authorization"], None))
                self.answer(200, played.archive)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])).decode())
                if played.away_for:
                    played.away_for -= 1
                    self.answer(503, b"away")
                    return
                played.told.append((self.path, self.headers["Authorization"], body))
                if played.refusal:
                    code, name = played.refusal
                    self.answer(code, json.dumps({"error": {"code": name, "message": "not you"}}).encode())
                else:
                    played.before_it_begins()
                    given = {"token": "the-token", "claim": "c", "wanted": "", "task": played.task}
                    self.answer(200, json.dumps(given).encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:{}".format(self.server.server_port)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def played():
    stand_ins = (("away.py", AWAY), ("ray_gang_away.py", DRIVER), ("__init__.py", ""))
    server = Played([("runyard/__init__.py", "")] + [("runyard/job/" + name, text) for name, text in stand_ins])
    yield server
    server.close()


@pytest.fixture
def real():
    """One that has the SDK as it is."""
    package = pathlib.Path(runyard.__file__).parent
    server = Played([(str(path.relative_to(package.parent)), path.read_text()) for path in package.rglob("*.py")])
    yield server
    server.close()


def run(played, scratch, patience_s=30.0, **changes):
    """As an engine runs it: the text alone, with nothing of ours to import. Its exit code, output and complaint."""
    told = {"server_url": played.url, "run_id": "r", "attempt": 2, "node": 3, "ticket": "the-ticket"}
    told.update(archive=played.digest, scratch=str(scratch), held=False)
    told.update(changes)
    with open(bootstrap.__file__) as file:
        text = file.read().replace("PATIENCE_S = 60.0", "PATIENCE_S = {}".format(patience_s))
    environment = {"PATH": os.defpath, "RUNYARD_STEP": "JOB.STEP", "JOB": "12", "STEP": "0"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", text],
        input=json.dumps(told).encode() + b"\n",
        capture_output=True,
        env=environment,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def own(scratch):
    return os.path.join(str(scratch), "runyard-{}".format(os.geteuid()))


def test_a_node_comes_with_its_ticket_brings_the_sdk_and_becomes_the_job(played, tmp_path):
    code, said, complaint = run(played, tmp_path)
    assert (code, complaint) == (5, "")
    sdk = os.path.join(own(tmp_path), "sdk", played.digest[:16])
    assert json.loads(said) == [3, "the-token", own(tmp_path), sdk, os.getpid()]
    (path, shown, arrival), (archive, shown_then, _) = played.told
    assert (path, shown) == ("/api/v1/runs/r/attempts/2/nodes/3/begin", "Bearer the-ticket")
    assert arrival["step"] == "12.0" and arrival["claim"]
    assert (archive, shown_then) == ("/api/v1/job-archive/" + played.digest, "Bearer the-token")


def test_a_gangs_driver_comes_with_its_own_ticket_and_drives(played, tmp_path):
    assert run(played, tmp_path, node=None) == (6, "the-token\n", "")
    assert played.told[0][:2] == ("/api/v1/runs/r/attempts/2/driver/begin", "Bearer the-ticket")


def test_a_driver_without_a_disk_leaves_its_words_to_its_engine(played):
    code, _, complaint = run(played, "/proc/no/such", node=None)
    assert code == 127 and "scratch='/proc/no/such'" in complaint
    assert [path for path, _, _ in played.told] == ["/api/v1/runs/r/attempts/2/driver/begin"]


def test_a_disk_that_is_full_when_the_job_begins_is_told_to_the_server(played, tmp_path):
    os.makedirs(os.path.join(own(tmp_path), "full"), mode=0o700)
    os.chmod(own(tmp_path), 0o700)
    code, _, complaint = run(played, tmp_path)
    assert code == 127 and "No space left" in complaint
    path, _, end = played.told[-1]
    assert path.endswith("/nodes/3/end") and "No space left" in end["message"] and end["began"] is False


def test_an_sdk_of_which_a_part_was_cleared_away_is_told_and_fetched_anew(played, tmp_path):
    run(played, tmp_path)
    os.unlink(os.path.join(own(tmp_path), "sdk", played.digest[:16], "runyard", "job", "away.py"))
    code, _, _ = run(played, tmp_path)
    assert code == 127 and "only a part of the SDK" in played.told[-1][2]["message"]
    assert run(played, tmp_path)[0] == 5


def test_the_sdk_is_fetched_once_and_lies_where_nobody_else_can_write(played, tmp_path):
    run(played, str(tmp_path) + "/of/$JOB")
    run(played, tmp_path / "of" / "12")
    assert [path for path, _, _ in played.told].count("/api/v1/job-archive/" + played.digest) == 1
    assert os.stat(own(tmp_path / "of" / "12")).st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_write_to_is_not_taken(played, tmp_path):
    os.mkdir(own(tmp_path))
    os.chmod(own(tmp_path), 0o777)
    assert run(played, tmp_path)[0] == 127
    assert "not a folder that only this user can write to" in played.told[-1][2]["message"]


@pytest.mark.parametrize("scratch", ["/proc/no/such", "$NOT_THERE/x", "relative"])
def test_a_scratch_that_cannot_be_had_is_told_to_the_server_with_the_cure(played, scratch):
    code, _, complaint = run(played, scratch)
    path, shown, end = played.told[-1]
    assert (code, path, shown) == (127, "/api/v1/runs/r/attempts/2/nodes/3/end", "Bearer the-token")
    assert (end["exit_code"], end["began"]) == (127, False)
    assert "scratch=" in end["message"] and "has room" in end["message"] and end["message"] in complaint


def test_an_archive_of_other_bytes_is_not_run(played, tmp_path):
    code, said, _ = run(played, tmp_path, archive="0" * 64)
    assert (code, said) == (127, "")
    assert "did not come whole" in played.told[-1][2]["message"]


def test_a_server_that_is_not_reached_is_named_with_the_address(played, tmp_path):
    played.close()
    code, _, complaint = run(played, tmp_path, patience_s=0.5)
    assert code == bootstrap.NOT_REACHED
    assert "does not reach the runyard server at " + played.url in complaint


def test_a_server_that_comes_back_soon_is_waited_for(played, tmp_path):
    played.away_for = 3
    assert run(played, tmp_path)[0] == 5


def test_a_job_does_not_begin_whose_holder_went_while_it_came(real, tmp_path):
    began = tmp_path / "began"
    assignment = {"run_id": "r", "attempt": 2, "node": 3, "build": None, "addresses": [], "gpus": [], "node_count": 1}
    env = {"RUNYARD_JOB": "r/2/3"}
    real.task = {"argv": ["touch", str(began)], "env": env, "assignment": assignment}
    told = {"server_url": real.url, "run_id": "r", "attempt": 2, "node": 3, "ticket": "the-ticket", "held": True}
    told.update(archive=real.digest, scratch=str(tmp_path))
    line = tmp_path / "line"
    line.write_text(json.dumps(told) + "\n")
    holds = 'line=$1; shift; "$@" < "$line" & wait'
    command = [sys.executable, "-S", bootstrap.__file__]
    holder = subprocess.Popen(["sh", "-c", holds, "sh", str(line)] + command, stderr=subprocess.PIPE)

    def goes():
        holder.kill()
        holder.wait()

    real.before_it_begins = goes
    complaint = holder.stderr.read().decode()  # to the end of what it held
    holder.stderr.close()
    assert "nothing is begun" in complaint and not began.exists()
    assert os.listdir(os.path.join(own(tmp_path), "runs")) == []


@pytest.mark.parametrize(
    "refusal, code", [((409, "ticket_used"), bootstrap.USED), ((401, "authentication"), bootstrap.REFUSED)]
)
def test_a_node_that_is_refused_says_why_and_does_nothing(played, tmp_path, refusal, code):
    played.refusal = refusal
    assert run(played, tmp_path)[0] == code
    assert "not you" in run(played, tmp_path)[2]
    assert os.listdir(str(tmp_path)) == []
