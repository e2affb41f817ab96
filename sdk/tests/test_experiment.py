"""Submitting again and again: what is asked of the server, and what if it is another one by then."""

import io
import json

import pytest

from runyard import Environment, Experiment, ScriptRunConfig, Workspace
from runyard.errors import SnapshotException
from runyard.protocol.codec import from_json
from runyard.protocol.files import Manifest, manifest_id
from runyard.transport.base import Answer, Transport


class Server(Transport):
    """Keeps snapshots and takes runs of those that it has."""

    def __init__(self):
        self.snapshots = set()
        self.asked = []
        self.forgets = False

    def send(self, method, path, body, headers, stream, timeout_s):
        route = method + " " + path.split("/api/v1", 1)[1]
        self.asked.append(route)
        said = json.loads(body)
        if route == "POST /snapshots":
            found = manifest_id(from_json(Manifest, said))
            if not self.forgets:
                self.snapshots.add(found)
            return self._answer(200, {"id": found, "missing": []})
        assert route == "POST /runs"
        if said["snapshot"] not in self.snapshots:
            return self._answer(400, {"error": {"code": "snapshot", "message": "There is no such snapshot."}})
        return self._answer(200, dict(said, id=said["id"], status="Starting", number=1, created_at=1.0, version=1))

    def _answer(self, status, said):
        return Answer(status, {}, io.BytesIO(json.dumps(said).encode()))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    return Server()


@pytest.fixture
def experiment(server):
    return Experiment(Workspace(transport=server), "e")


@pytest.fixture
def config(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text("print(1)")
    return ScriptRunConfig(str(source), "train.py", environment=Environment("e"))


def test_code_that_was_sent_is_not_asked_about_again(server, experiment, config):
    for _ in range(3):
        experiment.submit(config)
    assert server.asked == ["POST /snapshots", "POST /runs", "POST /runs", "POST /runs"]


def test_a_server_that_has_lost_the_code_gets_it_again(server, experiment, config):
    """Another one may answer at the old address, in a home that was made anew."""
    experiment.submit(config)
    server.snapshots.clear()
    del server.asked[:]
    experiment.submit(config)
    assert server.asked == ["POST /runs", "POST /snapshots", "POST /runs"]


def test_a_server_that_refuses_the_code_for_good_is_not_asked_for_ever(server, experiment, config):
    server.forgets = True
    with pytest.raises(SnapshotException, match="no such snapshot"):
        experiment.submit(config)
    assert server.asked.count("POST /runs") == 2
