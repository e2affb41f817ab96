"""Many clients at once: submissions from ten processes, fifty runs that log, twenty followers; and the server's memory."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, Target, figures, measured
from benchmarks.mlflow_server import AS_STARTED, mlflow_server
from benchmarks.own_workspace import own_workspace
from benchmarks.peers import PeerUnavailable

TITLE = "A crowd of clients"
METHOD = (
    "200 submissions from 10 client processes at once to a target whose node is taken, then 50 interactive runs (5 "
    "processes, 10 threads each) that log 1,000 points each at once, then 20 clients that follow one log of 3,000 lines; "
    "what the server's memory grew by over further rounds of 200 submissions that are cancelled again; and how many "
    "clients failed, said anything on stderr or saw other than they should. The floor: 200 rows from 10 processes into "
    "one SQLite file, a transaction each. MLflow: `create_run` from 10 processes."
)
MEASURES = (
    Measure("200 submissions", "s"),
    Measure("50 runs log", "s"),
    Measure("20 follow", "s"),
    Measure("growth per 200", "MiB"),
    Measure("errors", "", target=Target(bound=0)),
)
_CLIENTS = 10
_LOG = "azureml-logs/70_driver_log.txt"
_INSERT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    with connection:
        connection.execute("INSERT INTO runs (spec) VALUES (?)", ("x" * 1000,))
"""


def ours(bench: Bench) -> list[Outcome]:
    from tests.crowds.crowd import Crowd, follow_until

    each, points, lines = bench.sized(20, 2), bench.sized(500, 20), bench.sized(3000, 50)
    samples: dict[str, list[float]] = {measure.name: [] for measure in MEASURES}
    with own_workspace(bench) as workspace:
        crowd = Crowd(workspace, bench.folder("crowd"))
        gate = bench.folder("gate") / "go"
        held = crowd.submit(_wait_for(gate), crowd.target("one-node", 1))
        follow_until(held, "Running")
        source = crowd.source("print('done')\n")

        submits = [{"source": source, "target": "one-node", "count": each, "name": str(n)} for n in range(_CLIENTS)]
        sizes = []
        for _ in range(bench.sized(4, 2)):
            ids = [run_id for saw in crowd.does("submit", submits) for run_id in saw]
            samples["200 submissions"].append(crowd.slowest_s)
            for run_id in reversed(ids):
                crowd.run(run_id).cancel()
            for run_id in ids:
                follow_until(crowd.run(run_id), "Canceled")
            sizes.append(crowd.server_bytes())
        grown = (sizes[-1] - sizes[0]) / (len(sizes) - 1)
        samples["growth per 200"] = [grown / 2**20]

        logged = crowd.does("log_metrics", [{"runs": 10, "points": points}] * 5)
        samples["50 runs log"].append(crowd.slowest_s)
        wrong = sum(not crowd.run(run_id).verify()["ok"] for saw in logged for run_id in saw)

        talks = crowd.submit(f"for number in range({lines}):\n    print('line', number)\n", crowd.target("log", 1))
        followed = crowd.does("follow", [{"run_id": talks.id, "log": _LOG, "followers": 5}] * 4)
        samples["20 follow"].append(crowd.slowest_s)
        whole = "".join(f"line {number}\n" for number in range(lines))
        wrong += sum(seen != [whole, "Completed"] for saw in followed for seen in saw)
        wrong += len(crowd.complaints().splitlines())
        samples["errors"] = [wrong]
        gate.touch()
        held.wait_for_completion(show_output=False)
    return figures(RUNYARD, samples)


def _wait_for(gate: Path) -> str:
    return f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.1)\n"


def floor(bench: Bench) -> list[Outcome]:
    times = []
    for number in range(bench.sized(5, 1)):
        path = bench.folder("floor") / f"{number}.db"
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, spec TEXT)")
        connection.close()
        times.append(_insert(path, bench.sized(20, 2)))
    return figures("SQLite, a transaction each", {"200 submissions": times})


def _insert(path: Path, each: int) -> float:
    """Seconds until all clients, which begin at once, are done."""
    command = [sys.executable, "-c", _INSERT, str(path), str(each)]
    clients = [subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) for _ in range(_CLIENTS)]
    for client in clients:
        assert client.stdout is not None
        client.stdout.readline()
    started = time.perf_counter()
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    codes = [client.wait() for client in clients]
    took = time.perf_counter() - started
    for client in clients:
        client.communicate()
    if any(codes):
        raise RuntimeError("a process could not write")
    return took


def peers(bench: Bench) -> list[Outcome]:
    try:
        with mlflow_server(bench) as server:
            arguments = (server.url, _CLIENTS, bench.sized(20, 2))
            return measured(bench, "MLflow server", "mlflow", "crowd_mlflow.py", *arguments, note=AS_STARTED)
    except PeerUnavailable as unavailable:
        return [Absent("MLflow server", str(unavailable))]
