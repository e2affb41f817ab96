"""Cold start of the server, and what it holds while it does nothing."""

import sys

from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, figures
from benchmarks.mlflow_server import mlflow_server, serving
from benchmarks.own_workspace import NAME, own_home
from benchmarks.peers import PeerUnavailable
from benchmarks.process_tree import pss_mib, settle
from benchmarks.programs.stopwatch import seconds

TITLE = "The server's cold start and idle memory"
METHOD = (
    "From the start of the server process to its first answer (ours: from `Workspace.create()` in a home where nothing "
    "runs, to the answer that it needs), and the proportional set size of all its processes once they are idle. The "
    "floor is Python's own `http.server`, which does nothing but listen."
)
MEASURES = (Measure("first answer", "s"), Measure("idle memory", "MiB"))


def ours(bench: Bench) -> list[Outcome]:
    from runyard import Workspace, embedded

    samples: dict[str, list[float]] = {"first answer": [], "idle memory": []}
    for _ in range(bench.sized(5, 1)):
        with own_home(bench) as folder:
            samples["first answer"].append(seconds(lambda: Workspace.create(NAME, show_output=False)))
            server = embedded.describe(str(folder))
            assert server is not None
            settle(server["pid"])
            samples["idle memory"].append(pss_mib(server["pid"]))
    return figures(RUNYARD, samples)


def floor(bench: Bench) -> list[Outcome]:
    samples: dict[str, list[float]] = {"first answer": [], "idle memory": []}
    for _ in range(bench.sized(5, 1)):
        folder = bench.folder("floor")
        with serving([sys.executable, "-m", "http.server", "--bind", "127.0.0.1"], "", "/", folder) as server:
            samples["first answer"].append(server.started_in_s)
            settle(server.pid)
            samples["idle memory"].append(pss_mib(server.pid))
    return figures("python -m http.server", samples)


def peers(bench: Bench) -> list[Outcome]:
    samples: dict[str, list[float]] = {"first answer": [], "idle memory": []}
    try:
        for _ in range(bench.sized(3, 1)):
            with mlflow_server(bench) as server:
                samples["first answer"].append(server.started_in_s)
                samples["idle memory"].append(pss_mib(server.pid))
    except PeerUnavailable as unavailable:
        return [Absent("MLflow server", str(unavailable))]
    return figures(f"MLflow server {bench.peers.version('mlflow')}", samples)
