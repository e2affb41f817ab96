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
    "From the start of the server process to its first answer, in a home that is made with it and in one that was there. "
    "Ours: the whole of `Workspace.create()`, and of `Workspace()` with a first question, in a client that has imported "
    "runyard, where no server runs. Then the proportional set size of all its processes once they are idle. The floor is "
    "Python's own `http.server`, which does nothing but listen; MLflow makes a new database each time."
)
MEASURES = (Measure("new home", "s"), Measure("again", "s"), Measure("idle memory", "MiB"))


def ours(bench: Bench) -> list[Outcome]:
    from runyard import Workspace, embedded

    samples: dict[str, list[float]] = {measure.name: [] for measure in MEASURES}
    with own_home(bench):
        Workspace.create(NAME, show_output=False)  # the packages are read from the disk once before
    for _ in range(bench.sized(5, 1)):
        with own_home(bench) as folder:
            samples["new home"].append(seconds(lambda: Workspace.create(NAME, show_output=False)))
            embedded.stop(str(folder))
            samples["again"].append(seconds(lambda: Workspace(workspace_name=NAME).experiments))
            server = embedded.describe(str(folder))
            assert server is not None
            settle(server["pid"])
            samples["idle memory"].append(pss_mib(server["pid"]))
    return figures(RUNYARD, samples)


def floor(bench: Bench) -> list[Outcome]:
    samples: dict[str, list[float]] = {measure.name: [] for measure in MEASURES}
    for _ in range(bench.sized(5, 1)):
        folder = bench.folder("floor")
        with serving([sys.executable, "-m", "http.server", "--bind", "127.0.0.1"], "", "/", folder) as server:
            for start in ("new home", "again"):  # it keeps nothing, so both are the same
                samples[start].append(server.started_in_s)
            settle(server.pid)
            samples["idle memory"].append(pss_mib(server.pid))
    return figures("python -m http.server", samples)


def peers(bench: Bench) -> list[Outcome]:
    samples: dict[str, list[float]] = {"new home": [], "idle memory": []}
    try:
        for _ in range(bench.sized(3, 1)):
            with mlflow_server(bench) as server:
                samples["new home"].append(server.started_in_s)
                samples["idle memory"].append(pss_mib(server.pid))
    except PeerUnavailable as unavailable:
        return [Absent("MLflow server", str(unavailable))]
    return figures(f"MLflow server {bench.peers.version('mlflow')}", samples)
