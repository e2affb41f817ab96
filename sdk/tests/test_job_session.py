"""A script that waits for what it has logged. The job beside it is a server that has stored everything once it is hurried."""

import io
import json
import os

import pytest

from runyard.context import JobSession
from runyard.spool import HURRY
from runyard.transport.base import Answer, Transport

PATIENCE_S = 30


class Server(Transport):
    """Says what is stored: nothing, until a file tells the job that somebody waits."""

    def __init__(self, folder):
        self.folder = folder
        self.asked = 0

    def send(self, method, path, body, headers, stream, timeout_s):
        self.asked += 1
        is_hurried = os.path.exists(os.path.join(self.folder, HURRY))
        stored = os.path.getsize(os.path.join(self.folder, "rank-0.metrics")) if is_hurried else 0
        return Answer(200, {}, io.BytesIO(json.dumps({"size": stored}).encode()))


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "spool")


def test_flush_has_the_job_hurry_and_waits_until_everything_is_stored(folder):
    server = Server(folder)
    session = JobSession(folder, server, "exp_1", "0")
    session.spool.scalar("loss", 0.5)
    assert session.flush(PATIENCE_S)
    assert server.asked == 2


def test_flush_asks_nobody_where_nothing_was_logged(folder):
    server = Server(folder)
    assert JobSession(folder, server, "exp_1", "0").flush(PATIENCE_S)
    assert server.asked == 0


def test_flush_gives_up_when_its_time_is_over_and_a_disk_that_takes_no_file_does_not_break_the_script(folder):
    server = Server(folder)
    session = JobSession(folder, server, "exp_1", "0")
    session.spool.scalar("loss", 0.5)
    os.mkdir(os.path.join(folder, "a"))
    os.symlink("a", os.path.join(folder, HURRY))  # what cannot be opened for writing
    server.folder = os.path.join(folder, "a")
    assert not session.flush(0.2)
