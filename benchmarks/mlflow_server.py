"""An MLflow server on loopback, with SQLite and its artifact proxy: the peer of our server."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks.measurement import Bench
from benchmarks.peers import PeerUnavailable, plain_environment, process_group
from benchmarks.process_tree import settle

# Told in the table, as it is most of what a small request costs.
AS_STARTED = (
    "started with its defaults (four workers); here it answers on a kept connection 40 ms later than on a new one"
)


@dataclass(frozen=True)
class Server:
    """A server that answers: its address, its process, its folder, and the seconds from its start to its first answer."""

    url: str
    pid: int
    folder: Path
    started_in_s: float


@contextmanager
def mlflow_server(bench: Bench) -> Iterator[Server]:
    """The server as MLflow's documentation starts it, all its workers up.

    Raises PeerUnavailable where it does not answer.
    """
    mlflow = bench.peers.python("mlflow").parent / "mlflow"
    folder = bench.folder("mlflow-server")
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    artifacts = ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
    with serving(
        [str(mlflow), "server", "--host", "127.0.0.1", *store, *artifacts], "--port", "/health", folder
    ) as server:
        settle(server.pid)
        yield server


@contextmanager
def serving(command: list[str], port_option: str, path: str, folder: Path, patience_s: float = 90) -> Iterator[Server]:
    """Any HTTP server on a free loopback port, from its start until ``path`` answers, ended afterwards.

    ``port_option`` goes before the port at the command's end; "" gives the port alone.
    """
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    full = [*command, *([port_option] if port_option else []), str(port)]
    environment = plain_environment(folder, {"PATH": f"{Path(command[0]).parent}:/usr/local/bin:/usr/bin:/bin"})
    started_at = time.perf_counter()
    with (folder / "server.log").open("wb") as log, process_group(full, folder, environment, log) as process:
        while not _answers(port, path):
            if process.poll() is not None or time.perf_counter() - started_at > patience_s:
                raise PeerUnavailable(f"its server gave no answer within {patience_s:.0f} s")
            time.sleep(0.002)
        yield Server(f"http://127.0.0.1:{port}", process.pid, folder, time.perf_counter() - started_at)


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
