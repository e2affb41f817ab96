"""A server in memory that holds something of everything, and who speaks to it."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from runyard.protocol.datasets import FILE, DatasetDefinition, DatasetSource, DatasetSpec
from runyard.protocol.files import FileEntry, Manifest
from runyard.protocol.models import ModelSpec
from runyard.protocol.pack import END, HEADER
from runyard.protocol.runs import DataReferenceSpec, InteractiveRunSpec, RunSpec
from runyard_server.app import Server, build
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.fresh_home import fresh_home

ADDRESS = "http://127.0.0.1:8000"
MEMBER = "the-workspaces-own-token"
CONTENT = b"weights\n"


@dataclass(frozen=True)
class Yard:
    """A server in memory, its home on disk, and the names of what it holds.

    Attributes:
        run_id: a run that has ended, with a log, metrics, the file ``outputs/model/weights.bin`` and the model
            ``mnist`` of it.
        given_id: a run that was given that run's folder ``outputs`` as MODEL_LOCATION.
        root: everything on disk that the server may touch lies below.
    """

    server: Server
    root: Path
    run_id: str
    snapshot_id: str
    given_id: str

    @property
    def home(self) -> Path:
        return self.root / "home"

    def client(self, token: str | None = MEMBER) -> Client:
        return Client(self.server.app, ADDRESS, headers={"Authorization": f"Bearer {token}"} if token else None)


def pack_of(contents: dict[str, bytes], errors: str = "strict") -> bytes:
    """A pack with these entries. ``errors``: as for ``str.encode``, for names that are no text."""
    pieces = []
    for name, content in contents.items():
        encoded = name.encode("utf-8", errors)
        pieces += [HEADER.pack(len(encoded), len(content)), encoded, content]
    return b"".join(pieces) + END


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    yield body


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    root = tmp_path_factory.mktemp("yard")
    settings = Settings(home=root / "home", environments=root / "environments")
    fresh_home(settings.home)
    server = build(settings, Secrets(MEMBER, b"k" * 32), lambda: ADDRESS)
    held = server.services
    run = held.runs.start_interactive(InteractiveRunSpec(experiment="mnist", id="mnist_1"), by="user")
    digest = sha256(CONTENT).hexdigest()
    asyncio.run(held.objects.receive(_pieces(pack_of({digest: CONTENT})), None))
    entry = FileEntry("outputs/model/weights.bin", len(CONTENT), digest)
    held.files.commit(run.id, Manifest([entry]), overwrite=False)
    snapshot = held.snapshots.create(Manifest([FileEntry("train.py", len(CONTENT), digest)]))
    held.logs.append(run.id, "azureml-logs/70_driver_log.txt", 0, b"step 1\n")
    line = b'["s", "loss", 0.5, 1.0, 1]\n'
    held.metrics.take(run.id, "client", 0, line)
    held.models.register(ModelSpec(name="mnist", run_id=run.id, model_path="outputs/model"))
    definition = DatasetDefinition(FILE, [DatasetSource("workspaceblobstore", "data")])
    held.datasets.keep(DatasetSpec("00000000-0000-4000-8000-000000000001", definition, "mnist"))
    asyncio.run(
        held.datastores.receive("workspaceblobstore", "", _pieces(pack_of({f"{digest}/data/a.bin": CONTENT})), None)
    )
    held.runs.complete(run.id, by="user")
    assert snapshot.id is not None
    reference = DataReferenceSpec("MODEL_LOCATION", "", "outputs", "download", run=run.id)
    given = RunSpec("mnist", snapshot=snapshot.id, script="train.py", id="given_1", data_references=[reference])
    held.runs.submit(given, by="user")
    yield Yard(server, root, run.id, snapshot.id, given.id)
    server.close()


@dataclass(frozen=True)
class Listening:
    """A server process with a fresh home, spoken to in bytes: only this shows what the HTTP parser lets through.

    Attributes:
        temporary: its folder for temporary files.
    """

    home: Path
    port: int
    token: str
    temporary: Path

    def raw(self, request: bytes) -> bytes:
        """What is answered, until the server closes the connection or has answered whole."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def ask(self, line: str, host: str | None = None, headers: str = "", token: bool = True, body: str = "") -> bytes:
        """The answer to a request whose first line is ``line``, less the protocol."""
        said = f"{line} HTTP/1.1\r\nHost: {f'127.0.0.1:{self.port}' if host is None else host}\r\n"
        said += f"Authorization: Bearer {self.token}\r\n" if token else ""
        said += f"Content-Length: {len(body)}\r\n" if body else ""
        return self.raw((said + headers + "Connection: close\r\n\r\n" + body).encode("latin-1"))

    def tell(self, line: str, body: Any = None) -> Any:
        """What a request with JSON is answered, which must be 200."""
        text = json.dumps(body) if body is not None else ""
        answer = self.ask(line, headers="Content-Type: application/json\r\n" if text else "", body=text)
        assert status_of(answer) == 200, answer
        return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.fixture(scope="session")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    root = tmp_path_factory.mktemp("listening")
    command = [sys.executable, "-m", "runyard_server", "--home", str(root / "home"), "--json"]
    (root / "tmp").mkdir()
    environ = {**os.environ, "RUNYARD_HOME": str(root / "runyard"), "TMPDIR": str(root / "tmp")}
    old = os.umask(0o000)  # whatever the person's umask is, the server's files are its owner's alone
    try:
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE)
    finally:
        os.umask(old)
    assert process.stdout is not None
    place = json.loads(process.stdout.readline())
    said = json.loads((root / "home" / "server.json").read_text())
    yield Listening(root / "home", int(place["url"].rpartition(":")[2]), said["token"], root / "tmp")
    process.terminate()
    process.stdout.close()
    assert process.wait(120) == 0


def status_of(answer: bytes) -> int:
    """The status of an answer in bytes."""
    return int(answer.split(b" ", 2)[1])
