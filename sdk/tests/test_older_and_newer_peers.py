"""Client, server and job of different versions: what they do not know of each other is passed over, or said plainly."""

import subprocess
import sys
import threading

import pytest

from runyard import embedded
from runyard import home as places
from runyard.errors import WorkspaceException
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.jobs import JobAssignment, JobReply, JobReport
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard.protocol.version import PROTOCOL, VERSION

# Another version's server as far as it matters: it tells its health and ends when told to.
SERVER = """
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"instance": "i", "protocol": int(sys.argv[1]), "version": sys.argv[2]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server = HTTPServer(("127.0.0.1", 0), Health)
print("http://127.0.0.1:{}".format(server.server_address[1]), flush=True)
server.serve_forever()
"""

ASSIGNMENT = JobAssignment("r", 1, "e", 0, 1, "/d", "http://127.0.0.1:1", "t", "s", "/python", "/sdk")


def test_a_job_reads_the_assignment_of_a_newer_server():
    said = dict(to_json(ASSIGNMENT), colour="grey", distribution={"kind": "none", "colour": "grey"})
    assert from_json(JobAssignment, said).run_id == "r"


def test_a_job_reads_the_assignment_of_an_older_server_that_left_out_what_came_later():
    later = ("salvage", "max_run_duration_s", "data", "ports")
    said = {name: value for name, value in to_json(ASSIGNMENT).items() if name not in later}
    assert from_json(JobAssignment, said) == ASSIGNMENT


def test_what_has_no_default_is_missed_by_its_name():
    said = to_json(ASSIGNMENT)
    del said["token"]
    with pytest.raises(ValueError, match="JobAssignment lacks its field 'token'"):
        from_json(JobAssignment, said)


def test_a_job_understands_the_reply_of_a_newer_server():
    assert from_json(JobReply, {"cancel": True, "colour": "grey"}) == JobReply(cancel=True)


def test_a_server_reads_the_report_of_a_newer_job():
    said = dict(to_json(JobReport(1, 0, 1, "running")), colour="grey", ranks=[])
    assert from_json(JobReport, said) == JobReport(1, 0, 1, "running")


def test_a_status_that_came_later_stays_readable():
    said = {"id": "r", "number": 1, "experiment": "e", "type": "t", "status": "Paused", "created_at": 0.0, "version": 1}
    assert from_json(RunRecord, said).status == "Paused"
    assert from_json(RunRecord, dict(said, status="Queued")).status is RunStatus.QUEUED


@pytest.fixture
def folder(tmp_path):
    """A workspace's folder whose server, a process of its own, tells what the test says of its version."""
    processes = []

    def folder(protocol, version):
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(protocol), version],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
        )
        processes.append(process)
        address = process.stdout.readline().strip()
        said = {"url": address, "token": "t", "pid": process.pid, "instance": "i"}
        places.write_json(embedded.server_file(str(tmp_path)), said)
        threading.Thread(target=process.wait, daemon=True).start()  # as init does with a server whose client has gone
        return str(tmp_path)

    yield folder
    for process in processes:
        process.stdout.close()
        try:
            process.kill()
        except ProcessLookupError:  # it has ended, and is not waited for yet
            continue
        process.wait()


def test_a_client_that_is_too_old_for_its_server_says_which_version_to_install(folder):
    with pytest.raises(WorkspaceException) as refused:
        embedded.running(folder(PROTOCOL + 1, "9.1.0"))
    assert "The server of this workspace is runyard 9.1.0 and speaks protocol 2" in str(refused.value)
    assert "Install runyard 9.1.0 here." in str(refused.value)


def test_a_server_that_is_too_old_for_its_client_is_named_with_the_cure_which_works(folder):
    older = folder(PROTOCOL - 1, "0.0.9")
    with pytest.raises(WorkspaceException) as refused:
        embedded.ensure(older)
    assert "Install runyard-server {} and stop the old one with `runyard down`".format(VERSION) in str(refused.value)
    assert embedded.stop(older)


def test_another_version_of_the_same_protocol_is_as_good(folder):
    assert embedded.running(folder(PROTOCOL, "9.1.0"))["instance"] == "i"
