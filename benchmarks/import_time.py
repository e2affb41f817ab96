"""What importing the client costs."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, Target, figures
from benchmarks.peers import PeerUnavailable, plain_environment

TITLE = "`import runyard`"
METHOD = (
    "CPU time (user and system) of a new `python -c` that imports the client and ends; byte code is compiled "
    "beforehand. The floor is `python -c pass` of the same interpreter."
)
MEASURES = (Measure("CPU", "ms", target=Target(factor=2.5)), Measure("elapsed", "ms"))


def _timed(python: Path | str, code: str, environment: Mapping[str, str], repetitions: int) -> dict[str, list[float]]:
    cpu, elapsed = [], []
    for _ in range(repetitions + 1):  # the first one warms the caches up
        started = time.perf_counter()
        process = subprocess.Popen([str(python), "-c", code], env=dict(environment), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        elapsed.append((time.perf_counter() - started) * 1000)
        cpu.append((usage.ru_utime + usage.ru_stime) * 1000)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise PeerUnavailable(f"`{code}` failed with exit code {process.returncode}")
    return {"CPU": cpu[1:], "elapsed": elapsed[1:]}


def _own(bench: Bench, code: str) -> dict[str, list[float]]:
    environment = plain_environment(bench.folder("home"), {"PYTHONPATH": os.environ.get("PYTHONPATH", "")})
    return _timed(sys.executable, code, environment, bench.sized(30, 3))


def ours(bench: Bench) -> list[Outcome]:
    return figures(RUNYARD, _own(bench, "import runyard"))


def floor(bench: Bench) -> list[Outcome]:
    return figures("python -c pass", _own(bench, "pass"))


def peers(bench: Bench) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for subject, peer, module in (
        ("MLflow", "mlflow", "mlflow"),
        ("azureml.core", "azureml-core", "azureml.core"),
        ("W&B", "wandb", "wandb"),
        ("Metaflow", "metaflow", "metaflow"),
    ):
        try:
            python = bench.peers.python(peer)
            environment = plain_environment(bench.folder(peer))
            samples = _timed(python, f"import {module}", environment, bench.sized(5, 1))
            outcomes += figures(f"{subject} {bench.peers.version(peer)}", samples)
        except PeerUnavailable as unavailable:
            outcomes.append(Absent(subject, str(unavailable)))
    return outcomes
